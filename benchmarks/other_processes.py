"""Programs that are measured from outside: CPU time for each byte or operation, in turn.

Each is a process, or a few, that serves on the CPU of the run, while what keeps it busy runs on the
others. What it took is read from the kernel, in nanoseconds of user and system time together.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which

from .ratios import turns

RELAY = "relay"
WORKERS = ("workers/connect-100", "workers/ping-pong-100")
NAMES = (RELAY, *WORKERS)

MEBIBYTE = 1 << 20
TRANSFER = 128 * MEBIBYTE
PIECE = 512 * 1024
"""What the ends of a relay send and receive at once."""

OPERATIONS = {"connect": 2000, "ping-pong": 20_000}
AT_ONCE = 100

HAPROXY = """\
global
    nbthread 1
    maxconn 100
defaults
    mode tcp
    option splice-auto
    timeout connect 10s
    timeout client 100s
    timeout server 100s
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server there 127.0.0.1:{there}
"""


@dataclass(frozen=True, slots=True)
class CostResult:
    """CPU seconds of one program and of others for the same work, one figure a round.

    ours: the name of the one that is measured. unit: what the work is counted in.
    """

    row: str
    title: str
    ours: str
    unit: str
    count: int
    costs: dict[str, list[float]]
    failures: dict[str, str] = field(default_factory=dict[str, str])


def cpu_seconds(pid: int) -> float:
    """What a process and its children have used; it must not end meanwhile."""
    used = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        used += int((task / "schedstat").read_text().split()[0])
        for child in (task / "children").read_text().split():
            used += int(cpu_seconds(int(child)) * 1e9)
    return used / 1e9


def on(cpu: int | None, command: Sequence[str]) -> Sequence[str]:
    """The command, to run on one CPU."""
    return command if cpu is None else ("taskset", "-c", str(cpu), *command)


def measure(
    row: str, rounds: int, directory: Path, cpu: int | None, say: Callable[[str], None]
) -> CostResult:
    """Measure one row."""
    if row == RELAY:
        return _measure_relays(rounds, directory, cpu, say)
    return _measure_workers(row, rounds, cpu)


# Relays -------------------------------------------------------------------------------------------


class _Relayed:
    """A connection through a relay, whose two ends are ours."""

    def __init__(self, command: Callable[[int, int], Sequence[str]], cpu: int | None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as back:
            with socket.create_server(("127.0.0.1", 0)) as front:
                port = front.getsockname()[1]
            self._process = subprocess.Popen(
                on(cpu, command(port, back.getsockname()[1])), stdin=subprocess.DEVNULL
            )
            back.settimeout(20)
            self._source = _connected(port)
            self._sink, _ = back.accept()
            self._sink.settimeout(60)

    def transfer(self, size: int) -> float:
        """CPU seconds for so many bytes."""
        before = cpu_seconds(self._process.pid)
        sending = threading.Thread(target=self._send, args=(size,))
        sending.start()
        into, left = bytearray(PIECE), size
        while left:
            received = self._sink.recv_into(into, min(left, PIECE))
            if not received:
                raise RuntimeError(f"the relay ended {left} bytes before the end")
            left -= received
        sending.join()
        return cpu_seconds(self._process.pid) - before

    def _send(self, size: int) -> None:
        piece = bytes(PIECE)
        for _ in range(size // PIECE):
            self._source.sendall(piece)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._source.close()
        self._sink.close()


def _connected(port: int) -> socket.socket:
    """A connection to a program that is about to listen."""
    until = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _relays(directory: Path) -> dict[str, Callable[[int, int], Sequence[str]]]:
    """The commands, given the port to listen at and the one to connect to."""

    def haproxy(port: int, there: int) -> Sequence[str]:
        settings = directory / "haproxy.cfg"
        settings.write_text(HAPROXY.format(port=port, there=there))
        return (_found("haproxy"), "-db", "-q", "-f", str(settings))

    def socat(port: int, there: int) -> Sequence[str]:
        here = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr"
        return (_found("socat"), "-b", "65536", here, f"TCP:127.0.0.1:{there}")

    def conduit(port: int, there: int) -> Sequence[str]:
        return (sys.executable, "-m", f"{__package__}.relaying", str(port), str(there))

    return {"conduit": conduit, "socat": socat, "haproxy": haproxy}


def _found(program: str) -> str:
    return which(program, path=os.environ.get("PATH", "") + ":/usr/sbin") or ""


def _measure_relays(
    rounds: int, directory: Path, cpu: int | None, say: Callable[[str], None]
) -> CostResult:
    result = CostResult(RELAY, "relay, TCP to TCP", "conduit", "MiB", TRANSFER // MEBIBYTE, {})
    running: dict[str, _Relayed] = {}
    with ExitStack() as stack:
        for name, command in _relays(directory).items():
            if name != "conduit" and not _found(name):
                say(f"left out: {RELAY} by {name} (not installed)")
                continue
            relayed = running[name] = _Relayed(command, cpu)
            stack.callback(relayed.end)
            relayed.transfer(TRANSFER // 4)
            result.costs[name] = []
        for order in turns([*running], rounds):
            for name in order:
                result.costs[name].append(running[name].transfer(TRANSFER))
    return result


# Workers ------------------------------------------------------------------------------------------


class _Served:
    """A server of one process, or of several, and a process full of clients."""

    def __init__(self, workers: int, cpu: int | None) -> None:
        module = f"{__package__}.serving"
        self._process = subprocess.Popen(
            on(cpu, (sys.executable, "-m", module, str(workers))), stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        ports = {int(self._process.stdout.readline()) for _ in range(workers)}
        self._clients = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.many_clients", str(ports.pop())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        others = os.sched_getaffinity(0) - {cpu}
        if others:
            os.sched_setaffinity(self._clients.pid, others)

    def work(self, what: str, count: int) -> float:
        """CPU seconds of the server for so many operations."""
        before = cpu_seconds(self._process.pid)
        assert self._clients.stdin is not None
        assert self._clients.stdout is not None
        self._clients.stdin.write(f"{what} {count} {AT_ONCE}\n".encode())
        self._clients.stdin.flush()
        if self._clients.stdout.readline() != b"done\n":
            raise RuntimeError(f"the clients could not do {what}")
        return cpu_seconds(self._process.pid) - before

    def end(self) -> None:
        for process in (self._clients, self._process):
            process.kill()
            process.communicate()


def _measure_workers(row: str, rounds: int, cpu: int | None) -> CostResult:
    what = row.removeprefix("workers/").removesuffix(f"-{AT_ONCE}")
    count = OPERATIONS[what]
    title = {"connect": "connect+echo+close", "ping-pong": "64 B ping-pong"}[what]
    result = CostResult(row, f"{title}, {AT_ONCE}", "two workers", "operation", count, {})
    with ExitStack() as stack:
        running = {}
        for name, workers in (("two workers", 2), ("one process", 1)):
            served = running[name] = _Served(workers, cpu)
            stack.callback(served.end)
            served.work(what, count)
            result.costs[name] = []
        for order in turns([*running], rounds):
            for name in order:
                result.costs[name].append(running[name].work(what, count))
    return result
