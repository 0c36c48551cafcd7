"""`conduit bench`: it counts right, tells what fails, and ends when it is told."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import threading

import pytest

from tests.cli.command import COMMAND, environment, run_here
from tests.cli.running import serving, terminal
from tests.cli.sockets import upstream

ECHO = ("serve", "tcp://127.0.0.1:0", "--echo")


@pytest.fixture(scope="module")
def echo():
    with serving(*ECHO) as server:
        yield server.addresses[0]


def measured(*args: str) -> tuple[int, dict]:
    result = run_here("bench", "--json", *args)
    assert result.stderr == ""
    return result.returncode, json.loads(result.stdout)


def test_it_does_as_much_as_it_is_told(echo):
    status, found = measured(
        *("--connections", "6", "--concurrency", "3", "--messages", "50", "--size", "100000", echo)
    )
    assert status == 0
    assert (found["connections"], found["round_trips"]) == (6, 300)
    assert (found["failures"], found["interrupted"]) == ({}, False)
    for kind in ("connect_seconds", "round_trip_seconds"):
        times = [found[kind][at] for at in ("min", "p50", "p90", "p99", "p99.9", "max")]
        assert times[0] > 0
        assert times == sorted(times)
        assert times[-1] <= found["seconds"]
    rate = found["round_trips_per_second"]
    assert rate == pytest.approx(300 / found["seconds"], rel=0.01)
    assert found["bytes_per_second_each_way"] == pytest.approx(rate * 100_000, rel=0.01)


def test_without_messages_it_only_connects(echo):
    status, found = measured("--connections", "30", "--messages", "0", echo)
    assert (status, found["connections"], found["round_trips"]) == (0, 30, 0)
    assert found["round_trip_seconds"] == {}


def test_time_ends_it(echo):
    status, found = measured("--seconds", "0.3", "--messages", "100000000", echo)
    assert status == 0
    assert found["connections"] == found["concurrency"] == 10
    assert found["round_trips"] > 0
    assert 0.29 <= found["seconds"] < 5


def test_failures_are_counted_by_what_they_say():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"tcp://127.0.0.1:{gone.getsockname()[1]}"
    status, found = measured("--connections", "20", address)
    assert status == 1
    [(what, count)] = found["failures"].items()
    assert "Connection refused" in what
    assert (count, found["connections"]) == (20, 0)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100), "this is no echo server"),
        (b"x", "the server ended before it had sent all back"),
        (None, "no echo within 0.3 s"),
    ],
    ids=["another answer", "an end", "silence"],
)
def test_server_that_does_not_echo(answer, complaint):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            sock, _ = listener.accept()
            with sock:
                sock.recv(64)
                if answer is None:
                    while sock.recv(64):
                        pass
                else:
                    sock.sendall(answer)
                    sock.shutdown(socket.SHUT_WR)
                    sock.recv(64)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        status, found = measured(
            "--connections", "1", "--timeout", "0.3", f"tcp://127.0.0.1:{port}"
        )
        thread.join(10)
    assert status == 1
    [what] = found["failures"]
    assert complaint in what


def test_time_that_ends_before_anybody_answers_is_no_success():
    with upstream() as (address, _):
        silent = address.replace("tcp:", "tls:") + "?hostname=localhost"
        status, found = measured("--seconds", "0.1", silent)
    assert (status, found["connections"], found["failures"]) == (1, 0, {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_what_there_is_is_shown(number):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [*COMMAND, "bench", "--concurrency", "1", "--messages", "100000000", address],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        sock, _ = listener.accept()
        with sock:
            sent = 0
            with contextlib.suppress(ConnectionError):
                while data := sock.recv(64):
                    sent += 1
                    sock.sendall(data)
                    if sent == 50:
                        process.send_signal(number)
            out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    trips = re.search(r"^(\d+) round trips of 64 B", out, re.MULTILINE)
    assert trips is not None
    assert 49 <= int(trips[1]) <= sent
    assert re.search(r"^1 connections, 1 at once, \d+\.\d\d s$", out, re.MULTILINE)
    assert out.endswith("interrupted before the end\n")


@pytest.mark.parametrize("columns", [36, 80])
def test_it_fits_and_is_ascii_where_there_is_no_more(echo, columns):
    result = run_here("bench", echo, COLUMNS=str(columns), PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.isascii()
    assert "\x1b" not in result.stdout
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    histogram = [line for line in lines if re.match(r" *to [\d.]+ [um]?s #* +\d+ *$", line)]
    assert 1 < len(histogram) <= 12
    assert sum(int(line.split()[-1]) for line in histogram) == 10_000


def test_in_a_terminal_it_shows_how_far_it_is(program, echo):
    with terminal(program("tmux")) as screen:
        screen.run("bench", "--seconds", "2", "--messages", "100000000", echo)
        screen.wait_for(r"10 connections, [1-9]\d* round trips")
        screen.wait_for(r"99\.9 %")
        assert screen.status() == 0
        shown = screen.screen()
    assert "█" in shown
    assert "round trips 0:" not in shown  # the bar is gone
