"""`conduit connect`, through pipes and in a terminal, with real peers."""

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from conduit.testing import Authority
from tests.cli.running import serving, started, talk, terminal
from tests.cli.sockets import reset, until_end


@pytest.fixture(scope="module")
def echo():
    with serving("serve", "tcp://127.0.0.1:0", "--echo") as server:
        yield server.addresses[0]


def peer(talking) -> tuple[str, threading.Thread]:
    """A server for one client: its address. talking: gets the connected socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)

    def run() -> None:
        with listener, listener.accept()[0] as sock:
            sock.settimeout(20)
            talking(sock)

    thread = threading.Thread(target=run)
    thread.start()
    return f"tcp://127.0.0.1:{listener.getsockname()[1]}", thread


def test_both_ways_and_not_a_byte_changed(echo):
    said = os.urandom(3_000_000)
    result = talk("connect", echo, said=said)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == said


def test_end_of_stdin_reaches_a_peer_that_answers_afterwards():
    address, thread = peer(lambda sock: sock.sendall(b"you said %d" % len(until_end(sock))))
    result = talk("connect", address, said=b"x" * 100_000)
    thread.join()
    assert (result.returncode, result.stdout) == (0, b"you said 100000")


def test_peer_that_has_ended_ends_it_though_stdin_stays_open():
    address, thread = peer(lambda sock: sock.sendall(b"bye"))
    with started("connect", "--wait", "0.1", address) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"bye"
        assert process.wait(20) == 0
    thread.join()


def test_peer_that_ends_first_still_gets_all_of_stdin():
    got = []

    def talking(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        got.append(len(until_end(sock)))

    address, thread = peer(talking)
    assert talk("connect", address, said=bytes(5_000_000)).returncode == 0
    thread.join()
    assert got == [5_000_000]


def test_s_expressions_and_files(echo, tmp_path: Path):
    port = echo.rpartition(":")[2]
    sexp = f"(TCP((IP 127.0.0.1)(Port {port})))"
    assert talk("connect", sexp, said=b"1").stdout == b"1"
    (tmp_path / "where").write_text(f"{sexp}\n")
    assert talk("connect", f"@{tmp_path}/where", said=b"2").stdout == b"2"


def test_refused_connection_is_told_with_the_address():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    result = talk("connect", f"tcp://127.0.0.1:{port}")
    assert result.returncode == 1
    assert b"conduit connect: cannot connect to tcp://127.0.0.1:" in result.stderr
    assert b"refused" in result.stderr
    assert b"Traceback" not in result.stderr


def test_socat_over_a_unix_socket(program, socket_path):
    with subprocess.Popen(
        [program("socat"), "-d", "-d", f"UNIX-LISTEN:{socket_path}", "EXEC:tr a-z A-Z"],
        stderr=subprocess.PIPE,
    ) as socat:
        assert socat.stderr is not None
        while b"listening" not in socat.stderr.readline():
            pass
        result = talk("connect", f"unix:{socket_path}", said=b"loud\n")
        socat.stderr.read()
    assert (result.returncode, result.stdout) == (0, b"LOUD\n")


def test_openssl_server_its_facts_and_an_untrusted_one(program, tmp_path: Path):
    ca = Authority()
    key = ca.issue("localhost").write(tmp_path)
    trusted = ca.write(tmp_path)
    with subprocess.Popen(
        [program("openssl"), "s_server", "-accept", "127.0.0.1:0", "-cert", key.crt_file,
         "-key", key.key_file, "-rev"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            while not (line := server.stdout.readline()).startswith(b"ACCEPT"):
                assert line
            address = f"tls://127.0.0.1:{line.rpartition(b':')[2].decode().strip()}"
            address += "?hostname=localhost"
            result = talk("connect", "--ca", trusted, "--json", address, said=b"abc\n")
            assert (result.returncode, result.stdout) == (0, b"cba\n")
            tls = json.loads(result.stderr)["tls"]
            assert tls["version"] == "TLSv1.3"
            assert tls["chain"][0]["names"] == ["localhost"]
            result = talk("connect", "--ca", trusted, "--facts", address, said=b"abc\n")
            assert b"names: localhost" in result.stderr
            result = talk("connect", address)
            assert result.returncode == 1
            assert b"is not trusted" in result.stderr or b"authority" in result.stderr
        finally:
            server.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_it_without_a_word(number, status):
    said = threading.Event()

    def talking(sock: socket.socket) -> None:
        sock.sendall(b"x")
        said.set()
        try:
            until_end(sock)
        except ConnectionError:
            pass

    address, thread = peer(talking)
    with started("connect", address) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"x"
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    thread.join()
    assert (process.returncode, err) == (status, b"")


def test_reader_that_has_gone_ends_it_without_a_traceback(program):
    def talking(sock: socket.socket) -> None:
        try:
            while True:
                sock.sendall(bytes(65536))
        except ConnectionError:
            pass

    address, thread = peer(talking)
    with started("connect", address) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.wait(20) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""
    thread.join()


def test_peer_that_resets_is_told_and_is_no_closed_pipe():
    def talking(sock: socket.socket) -> None:
        assert sock.recv(1)
        reset(sock)

    address, thread = peer(talking)
    result = talk("connect", address, said=bytes(20_000_000))
    thread.join()
    assert result.returncode == 1
    assert b"conduit connect: " in result.stderr
    assert b"Traceback" not in result.stderr


def test_in_a_terminal(program, echo):
    with terminal(program("tmux")) as screen:
        screen.run("connect", echo)
        screen.type("good day")
        screen.type("Enter")
        screen.wait_for("good day\ngood day\n")
        screen.type("C-d")
        assert screen.status() == 0
        screen.run("connect", echo)
        screen.type("again")
        screen.type("Enter")
        screen.wait_for("again\nagain\n")
        screen.type("C-c")
        assert screen.status() == 130
        assert "Traceback" not in screen.screen()
