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
from pathlib import Path

import pytest

from conduit.testing import Authority
from tests.cli.command import COMMAND
from tests.cli.running import serving, talk, terminal
from tests.cli.sockets import accepted, connected, exactly, upstream

MEGABYTES = 100


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
