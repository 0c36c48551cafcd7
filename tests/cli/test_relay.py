"""`conduit relay`: bytes, ends, limits, the PROXY protocol, and the view."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import COMMAND
from tests.cli.running import Server, serving, terminal
from tests.cli.sockets import accepted, connected, exactly, reset, sees_its_end, upstream
from tests.cli.transfer import WAYS_IN, WAYS_OUT, relaying
from tests.peers.tls_server import Papers, on_one_loop


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return Papers(tmp_path_factory.mktemp("relay"))


@on_one_loop
@pytest.mark.parametrize("way_out", WAYS_OUT)
async def test_every_pair_of_transports_keeps_the_bytes_and_little_memory(
    way_out, papers, program, socket_path
):
    """By hand, `python -m tests.cli.transfer 1000` does the same with a gigabyte."""
    directory = Path(socket_path).parent
    ways_in = WAYS_IN if way_out in ("tcp", "unix", "tls") else ("tcp", "tls")
    async with relaying(way_out, papers, directory, program, ways_in) as relay:
        for way_in in ways_in:
            assert (await relay.transfer(way_in, 100_000)).right
        before = relay.memory()
        for way_in in ways_in:
            assert (await relay.transfer(way_in, 8_000_000)).right
        assert relay.memory() - before < 8_000_000


def cut(sock: socket.socket) -> None:
    """Close it as a kernel does whose program was killed."""
    if sock.family == socket.AF_INET and not isinstance(sock, ssl.SSLSocket):
        reset(sock)
    else:
        sock.close()  # of TLS without its close_notify; of a Unix socket with a byte unread


@contextlib.contextmanager
def far_end(transport: str, path: str, papers: Papers) -> Iterator[tuple[str, socket.socket]]:
    """Where a relay leads to: its address, and what listens there."""
    if transport == "unix":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            listener.settimeout(20)
            yield f"unix:{path}", listener
        return
    with upstream() as (target, listener):
        if transport == "tls":
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(papers.own.crt_file, papers.own.key_file)
            target = f"{target.replace('tcp', 'tls')}?hostname=localhost&ca={papers.ca_file}"
            with context.wrap_socket(listener, server_side=True) as secure:
                yield target, secure
        else:
            yield target, listener


def client_of(relay: Server, papers: Papers) -> socket.socket:
    address = relay.addresses[0]
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address.removeprefix("unix:"))
        sock.settimeout(20)
        return sock
    sock = connected(relay.port)
    if address.startswith("tcp:"):
        return sock
    context = ssl.create_default_context(cafile=papers.ca_file)
    return context.wrap_socket(sock, server_hostname="localhost")


@pytest.mark.parametrize("transport", ["tcp", "unix", "tls"])
def test_either_side_that_is_cut_off_ends_the_other(transport, papers, socket_path):
    files = f"crt={papers.own.crt_file}&key={papers.own.key_file}"
    listen = {
        "tcp": "tcp://127.0.0.1:0",
        "unix": f"unix:{socket_path}-in",
        "tls": f"tls://127.0.0.1:0?{files}",
    }[transport]
    with far_end(transport, socket_path, papers) as (target, listener):
        with serving("relay", listen, target) as relay:
            for side in ("client", "target"):
                client = client_of(relay, papers)
                client.sendall(b"x")
                with accepted(listener) as there, client:
                    assert there.recv(1) == b"x"
                    there.sendall(b"yz")
                    assert client.recv(1) == b"y"
                    client.sendall(b"z")
                    cut_off, other = (client, there) if side == "client" else (there, client)
                    cut(cut_off)
                    with contextlib.suppress(ConnectionResetError):
                        while other.recv(1):
                            pass
            _, err = relay.stop()
            assert "Traceback" not in err
            # An end of TLS without its close_notify is no ordinary end.
            assert (transport == "tls") <= ("truncated" in err or "close_notify" in err), err


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
        sees_its_end(relay.port)
        _, err = relay.stop()
        assert "1: tcp://127.0.0.1:" in err
        assert f"cannot connect to {target}" in err
        assert "Traceback" not in err


def test_sigterm_lets_connections_end_and_then_cuts_them(socket_path):
    with upstream() as (target, listener):
        with serving("relay", f"unix:{socket_path}", target, "--drain", "20") as relay:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(socket_path)
                with accepted(listener) as there:
                    relay.process.send_signal(signal.SIGTERM)
                    until = time.monotonic() + 20
                    while os.path.exists(socket_path):
                        assert time.monotonic() < until, "it still listens"
                        time.sleep(0.01)  # nobody tells of that
                    client.sendall(b"last words")
                    assert exactly(there, 10) == b"last words"
            assert relay.process.wait(15) == 0
    with upstream() as (target, listener):
        with serving("relay", "tcp://127.0.0.1:0", target, "--drain", "0.1") as relay:
            with connected(relay.port) as client, accepted(listener):
                relay.process.terminate()
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
                assert relay.process.wait(20) == 0


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
