"""`conduit serve`: an echo, programs, and other addresses."""

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from conduit.testing import Authority
from tests.cli.command import COMMAND
from tests.cli.running import serving, talk, terminal
from tests.cli.sockets import connected, reset, until_end


def test_echo_to_a_real_client_and_what_json_tells(program):
    with serving("serve", "tcp://127.0.0.1:0", "--echo", "-v") as server:
        result = subprocess.run(
            [program("socat"), "-t", "20", "-", f"TCP:127.0.0.1:{server.port}"],
            input=b"hello", capture_output=True, timeout=30,
        )  # fmt: skip
        assert result.stdout == b"hello"
        out, err = server.stop()
        assert out == ""
        assert "1: closed after" in err
        assert "5 B in, 5 B out" in err
        assert server.process.returncode == 0


def test_json_tells_all_that_happens():
    with subprocess.Popen(
        [*COMMAND, "serve", "tcp://127.0.0.1:0", "--echo", "--json"],
        stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first["event"] == "listening"
        assert talk("connect", first["address"], said=b"abc").stdout == b"abc"
        events = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.terminate()
    assert [event["event"] for event in events] == ["accepted", "closed"]
    assert (events[1]["received"], events[1]["sent"], events[1]["id"]) == (3, 3, 1)


def test_program_gets_the_client_and_its_end(tmp_path: Path):
    script = tmp_path / "count.sh"
    script.write_text('n=$(wc -c); echo "$n of $CONDUIT_PEER"\n')
    with serving("serve", "tcp://127.0.0.1:0", "--exec", f"sh {script}") as server:
        with connected(server.port) as sock:
            sock.sendall(bytes(100_000))
            sock.shutdown(socket.SHUT_WR)
            own = sock.getsockname()[1]
            assert until_end(sock).split() == [b"100000", b"of", b"tcp://127.0.0.1:%d" % own]


def test_program_that_reads_nothing_and_one_that_fails_end_the_connection():
    for program in ("echo done", "false"):
        with serving("serve", "tcp://127.0.0.1:0", "--exec", program) as server:
            with connected(server.port) as sock:
                sock.sendall(bytes(1_000_000))
                assert until_end(sock) == (b"done\n" if program == "echo done" else b"")


def test_program_that_has_ended_ends_a_client_that_says_nothing():
    with serving("serve", "tcp://127.0.0.1:0", "--exec", "echo done", "-v") as server:
        assert server.process.stderr is not None
        with connected(server.port) as sock:
            assert until_end(sock) == b"done\n"
            assert b"accepted" in server.process.stderr.readline()
            assert b"closed after" in server.process.stderr.readline()


def test_reader_of_the_json_that_has_gone_ends_the_server():
    with subprocess.Popen(
        [*COMMAND, "serve", "tcp://127.0.0.1:0", "--echo", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        address = json.loads(process.stdout.readline())["address"]
        process.stdout.close()
        talk("connect", address, said=b"x")
        assert process.wait(20) == 1
        assert process.stderr.read() == b""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_client_that_resets_ends_the_program_and_all_it_has_started(tmp_path: Path):
    script = tmp_path / "family.sh"
    script.write_text("sleep 1000 & echo $! $$; wait\n")
    with serving("serve", "tcp://127.0.0.1:0", "--exec", f"sh {script}") as server:
        with connected(server.port) as sock:
            pids = [int(pid) for pid in sock.makefile("rb").readline().split()]
            assert all(map(is_running, pids))
            reset(sock)
        until = time.monotonic() + 20
        while any(map(is_running, pids)):
            assert time.monotonic() < until, "they still run"
            time.sleep(0.02)  # nobody tells of the end of what is not one's child


def test_tls_to_an_address_without(program, tmp_path: Path):
    ca = Authority()
    key = ca.issue("localhost").write(tmp_path)
    trusted = ca.write(tmp_path)
    mode = f"tls://127.0.0.1:0?crt={key.crt_file}&key={key.key_file}"
    with serving("serve", "tcp://127.0.0.1:0", "--echo") as behind:
        with serving("serve", mode, "--to", behind.addresses[0]) as server:
            result = subprocess.run(
                [program("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}", "-quiet",
                 "-CAfile", trusted, "-verify_return_error", "-servername", "localhost",
                 "-no_ign_eof"],
                input=b"through TLS\n", capture_output=True, timeout=30,
            )  # fmt: skip
            address = f"tls://127.0.0.1:{server.port}?hostname=localhost&ca={trusted}"
            assert talk("connect", address, said=b"and ours").stdout == b"and ours"
    assert result.returncode == 0


def test_limit_makes_others_wait():
    with serving("serve", "tcp://127.0.0.1:0", "--echo", "--max-active", "1") as server:
        with connected(server.port) as first, connected(server.port) as second:
            second.sendall(b"2")
            first.sendall(b"1")
            assert first.recv(1) == b"1"
            second.settimeout(0.2)
            with pytest.raises(TimeoutError):
                second.recv(1)
            first.shutdown(socket.SHUT_WR)
            second.settimeout(20)
            assert second.recv(1) == b"2"


def test_address_in_use_is_told():
    with serving("serve", "tcp://127.0.0.1:0", "--echo") as server:
        result = talk("serve", server.addresses[0], "--echo")
    assert result.returncode == 1
    assert b"cannot listen on port" in result.stderr
    assert b"in use" in result.stderr


def test_inherited_socket():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(listener.fileno(), True)
        with subprocess.Popen(
            [*COMMAND, "serve", f"fd:{listener.fileno()}", "--echo"],
            pass_fds=[listener.fileno()], stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            process.stdout.readline()
            with connected(listener.getsockname()[1]) as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
            process.terminate()
        assert process.returncode == 0


def test_in_a_terminal(program):
    with terminal(program("tmux")) as screen:
        screen.run("serve", "tcp://127.0.0.1:0", "--echo", "-v")
        port = int(screen.wait_for(r"listening on tcp://127\.0\.0\.1:(\d+)")[1])
        with connected(port) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        screen.wait_for("1: closed after .*, 1 B in, 1 B out")
        screen.type("C-c")
        assert screen.status() == 0
        assert "Traceback" not in screen.screen()
