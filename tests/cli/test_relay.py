"""`conduit relay`: bytes, ends, limits, the PROXY protocol, and the view."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit.proxy_protocol import parse, wanted
from conduit.testing import Authority
from tests.cli.command import COMMAND
from tests.cli.running import serving, talk, terminal

MEGABYTES = 100


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


@contextlib.contextmanager
def upstream() -> Iterator[tuple[str, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", listener


def accepted(listener: socket.socket) -> socket.socket:
    sock = listener.accept()[0]
    sock.settimeout(20)
    return sock


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data)) or pytest.fail(f"it ended after {data!r}")
    return data


def header_of(sock: socket.socket):
    data = b""
    while more := wanted(data):
        data += exactly(sock, more)
    return parse(data)


def peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    directory = tmp_path_factory.mktemp("relay")
    ca = Authority()
    key = ca.issue("localhost").write(directory)
    return f"crt={key.crt_file}&key={key.key_file}", ca.write(directory)


@pytest.mark.parametrize("way_in", ["tcp", "unix", "tls"])
@pytest.mark.parametrize("way_out", ["tcp", "unix", "tls"])
def test_every_pair_of_transports_keeps_the_bytes_and_little_memory(
    way_in, way_out, key, socket_path
):
    files, ca = key
    modes = {
        "tcp": "tcp://127.0.0.1:0",
        "unix": f"unix:{socket_path}",
        "tls": f"tls://127.0.0.1:0?{files}",
    }
    big = (way_in, way_out) == ("tcp", "unix")
    data = os.urandom(1_000_000)
    times = MEGABYTES if big else 8

    def trusted(address: str) -> str:
        if not address.startswith("tls"):
            return address
        return f"{address}&ca={ca}"

    out = modes[way_out].replace(socket_path, f"{socket_path}2")
    with (
        serving("serve", out, "--echo") as behind,
        serving("relay", modes[way_in], trusted(behind.addresses[0])) as relay,
    ):
        process = subprocess.Popen(
            [*COMMAND, "connect", trusted(relay.addresses[0])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        sent, got = hashlib.sha256(), hashlib.sha256()

        def send(pipe) -> None:
            for _ in range(times):
                pipe.write(data)
                sent.update(data)
            pipe.close()

        thread = threading.Thread(target=send, args=(process.stdin,))
        thread.start()
        while piece := process.stdout.read(1 << 20):
            got.update(piece)
        thread.join()
        process.stdout.close()
        assert process.wait(20) == 0
        assert peak_memory(relay.process.pid) < 80_000_000
    assert got.digest() == sent.digest()


def test_several_listeners_lead_to_one_target(socket_path):
    with serving("serve", "tcp://127.0.0.1:0", "--echo") as behind:
        ways = ("tcp://127.0.0.1:0", f"unix:{socket_path}")
        with serving("relay", *ways, behind.addresses[0], listeners=2) as relay:
            for address in relay.addresses:
                assert talk("connect", address, said=b"abc").stdout == b"abc"


@pytest.mark.parametrize("side", ["client", "target"])
def test_either_side_that_is_cut_off_ends_the_other(side):
    with upstream() as (target, listener), serving("relay", "tcp://127.0.0.1:0", target) as relay:
        client = connected(relay.port)
        there = accepted(listener)
        client.sendall(b"x")
        assert there.recv(1) == b"x"
        cut, other = (client, there) if side == "client" else (there, client)
        cut.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        cut.close()
        with contextlib.suppress(ConnectionResetError):
            assert other.recv(1) == b""
        other.close()


def test_half_close_goes_through_both_ways():
    with upstream() as (target, listener), serving("relay", "tcp://127.0.0.1:0", target) as relay:
        with connected(relay.port) as client, accepted(listener) as there:
            client.shutdown(socket.SHUT_WR)
            assert there.recv(1) == b""
            there.sendall(b"still here")
            assert exactly(client, 10) == b"still here"
            there.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""


def test_target_that_is_away_is_told_and_resets_the_client():
    with upstream() as (target, _):
        pass
    with serving("relay", "tcp://127.0.0.1:0", target) as relay:
        with connected(relay.port) as client, contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        _, err = relay.stop()
        assert "1: tcp://127.0.0.1:" in err
        assert f"cannot connect to {target}" in err
        assert "Traceback" not in err


def test_sigterm_lets_connections_end_and_then_cuts_them():
    with upstream() as (target, listener):
        with serving("relay", "tcp://127.0.0.1:0", target, "--drain", "20") as relay:
            with connected(relay.port) as client, accepted(listener) as there:
                relay.process.send_signal(signal.SIGTERM)
                until = time.monotonic() + 20
                while True:  # until nobody listens any more
                    try:
                        connected(relay.port).close()
                    except ConnectionRefusedError:
                        break
                    assert time.monotonic() < until
                client.sendall(b"last words")
                assert exactly(there, 10) == b"last words"
            listener.close()  # and with it those that came while we tried
            assert relay.process.wait(20) == 0
    with upstream() as (target, listener):
        with serving("relay", "tcp://127.0.0.1:0", target, "--drain", "0.1") as relay:
            with connected(relay.port) as client, accepted(listener):
                relay.process.terminate()
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
                assert relay.process.wait(20) == 0


# The PROXY protocol -------------------------------------------------------------------------------


def proxying(target: str, *args: str, listen: str = "tcp://127.0.0.1:0"):
    return serving("relay", *args, listen, target)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_target_is_told_who_the_client_is(version):
    with upstream() as (target, listener), proxying(target, "--proxy-to", version) as relay:
        with connected(relay.port) as client, accepted(listener) as there:
            client.sendall(b"data")
            header = header_of(there)
            assert (str(header.source.ip), header.source.port) == client.getsockname()
            assert header.destination.port == relay.port
            assert exactly(there, 4) == b"data"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_sends_a_header_and_it_is_passed_on(version, program, tmp_path: Path):
    with (
        upstream() as (target, listener),
        proxying(target, "--proxy-from", "127.0.0.0/8", "--proxy-to", "v2") as relay,
    ):
        send = "send-proxy" if version == "v1" else "send-proxy-v2"
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            os.set_inheritable(reserved.fileno(), True)
            (tmp_path / "haproxy.cfg").write_text(
                "defaults\n mode tcp\n timeout connect 20s\n timeout client 20s\n"
                f" timeout server 20s\nlisten l\n bind fd@{reserved.fileno()}\n"
                f" server s 127.0.0.1:{relay.port} {send}\n"
            )
            with subprocess.Popen(
                [program("haproxy"), "-db", "-q", "-f", str(tmp_path / "haproxy.cfg")],
                pass_fds=[reserved.fileno()],
            ) as haproxy:
                try:
                    with connected(reserved.getsockname()[1]) as client:
                        client.sendall(b"data")
                        with accepted(listener) as there:
                            header = header_of(there)
                            assert (
                                str(header.source.ip),
                                header.source.port,
                            ) == client.getsockname()
                            assert exactly(there, 4) == b"data"
                finally:
                    haproxy.kill()


def test_haproxy_accepts_our_header(program, tmp_path: Path):
    with upstream() as (behind, listener), socket.create_server(("127.0.0.1", 0)) as reserved:
        os.set_inheritable(reserved.fileno(), True)
        (tmp_path / "haproxy.cfg").write_text(
            "defaults\n mode tcp\n timeout connect 20s\n timeout client 20s\n"
            f" timeout server 20s\nlisten l\n bind fd@{reserved.fileno()} accept-proxy\n"
            f" server s {behind.removeprefix('tcp://')} send-proxy\n"
        )
        with subprocess.Popen(
            [program("haproxy"), "-db", "-q", "-f", str(tmp_path / "haproxy.cfg")],
            pass_fds=[reserved.fileno()],
        ) as haproxy:
            try:
                target = f"tcp://127.0.0.1:{reserved.getsockname()[1]}"
                with proxying(target, "--proxy-to", "v2") as relay:
                    with connected(relay.port) as client, accepted(listener) as there:
                        assert header_of(there).source.port == client.getsockname()[1]
            finally:
                haproxy.kill()


def test_header_precedes_tls(key):
    files, ca = key
    with (
        serving("serve", f"tls://127.0.0.1:0?{files}", "--echo") as behind,
        proxying(f"tcp://127.0.0.1:{behind.port}", "--proxy-from", "127.0.0.1") as strip,
    ):
        target = f"tls://127.0.0.1:{strip.port}?hostname=localhost&ca={ca}"
        with proxying(target, "--proxy-to", "v1") as relay, connected(relay.port) as client:
            client.sendall(b"secret")
            assert exactly(client, 6) == b"secret"


def test_peer_that_is_not_trusted_cannot_say_who_it_is():
    forged = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    args = ("--proxy-from", "192.0.2.0/24", "--proxy-to", "v1")
    with upstream() as (target, listener), proxying(target, *args) as relay:
        with connected(relay.port) as client, accepted(listener) as there:
            client.sendall(forged)
            assert header_of(there).source.port == client.getsockname()[1]
            assert exactly(there, len(forged)) == forged  # it is data


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no PROXY header"),
        (b"PROXY TCP4 1.2.3.4", "ended before its PROXY header did"),
        (b"PROXY UNKNOWN " + b"x" * 200, "more than 107 bytes"),
        (None, "no PROXY header within 0.2 s"),
    ],
)
def test_trusted_peer_without_a_header_is_refused(said, complaint):
    args = ("--proxy-from", "127.0.0.1", "--proxy-timeout", "0.2" if said is None else "20")
    with upstream() as (target, _), proxying(target, *args) as relay:
        with connected(relay.port) as client:
            if said is not None:
                client.sendall(said)
                client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        _, err = relay.stop()
        assert complaint in err


# Views --------------------------------------------------------------------------------------------


def test_view_in_a_terminal_shows_connections_and_ends_with_ctrl_c(program):
    with upstream() as (target, listener), terminal(program("tmux"), columns=100) as screen:
        screen.run("relay", "tcp://127.0.0.1:0", target)
        port = int(screen.wait_for(r"listening on tcp://127\.0\.0\.1:(\d+)")[1])
        screen.wait_for("0 open, 0 accepted, 0 failed")
        with connected(port) as client, accepted(listener) as there:
            client.sendall(bytes(5000))
            exactly(there, 5000)
            screen.wait_for("1 open, 1 accepted, 0 failed, 5.0 kB in")
            screen.wait_for(rf"tcp://127\.0\.0\.1:{client.getsockname()[1]}")
        screen.wait_for("0 open, 1 accepted")
        screen.type("C-c")
        assert screen.status() == 0
        assert "Traceback" not in screen.screen()


def test_json_tells_of_the_target():
    with upstream() as (target, listener):
        with subprocess.Popen(
            [*COMMAND, "relay", "--json", "tcp://127.0.0.1:0", target],
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            port = int(json.loads(process.stdout.readline())["address"].rpartition(":")[2])
            with connected(port), accepted(listener):
                events = [json.loads(process.stdout.readline()) for _ in range(2)]
            process.terminate()
    assert [event["event"] for event in events] == ["accepted", "connected"]
    assert events[1]["target"] == target
