"""Real programs as peers: run to their end, or kept while a test talks to them."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from types import TracebackType

SECONDS = 30


async def run(*command: str, stdin: bytes = b"", status: int = 0) -> bytes:
    """Run a program to its end, while the loop turns: what it wrote.

    It must end with `status` and have nothing to complain of.
    """

    def whole() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command, input=stdin, capture_output=True, check=False, timeout=SECONDS
        )

    result = await asyncio.to_thread(whole)
    complaints = result.stderr.decode(errors="replace")
    assert (result.returncode, complaints) == (status, ""), (result.returncode, complaints)
    return result.stdout


async def run_python(program: str, *args: str, stdin: bytes = b"", status: int = 0) -> bytes:
    """Run Python source in a process of its own, as `run`."""
    command = (sys.executable, "-W", "error", "-c", dedent(program))
    return await run(*command, *args, stdin=stdin, status=status)


class Listening:
    """A program that listens while the block lasts; ended and reaped afterwards.

    command: what to run. says: what it writes to standard error when it is ready. stdin, stdout:
    files to take its input from and to put its output in.
    """

    def __init__(
        self, *command: str, says: str, stdin: str = os.devnull, stdout: str = os.devnull
    ) -> None:
        self._command = command
        self._says = says
        self._files = stdin, stdout

    async def __aenter__(self) -> "Listening":
        with open(self._files[0], "rb") as stdin, open(self._files[1], "wb") as stdout:
            self._process = subprocess.Popen(
                self._command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
            )
        assert self._process.stderr is not None
        while True:
            line = (await asyncio.to_thread(self._process.stderr.readline)).decode()
            assert line, f"{self._command} ended before it listened"
            if self._says in line:
                return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        process.terminate()
        try:
            await asyncio.to_thread(process.communicate, timeout=SECONDS)
        finally:
            process.kill()
            process.wait()

    async def ended(self) -> int:
        """Wait until it ends by itself: its status."""
        return await asyncio.to_thread(self._process.wait, SECONDS)

    @property
    def port(self) -> int:
        """The TCP port that it listens on, as the kernel knows it."""
        return listening_port(self._process.pid)


def listening_port(pid: int) -> int:
    """The TCP port that a process listens on, as the kernel knows it."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
        except FileNotFoundError:
            pass  # it closed this one meanwhile
    for port, inode in _listening_on_tcp():
        if inode in inodes:
            return port
    raise AssertionError(f"process {pid} listens on no TCP port")


async def until_listening(*places: int | str) -> None:
    """Wait until programs listen there: some say that they do a moment too early.

    places: TCP ports, and paths of Unix sockets.
    """
    async with asyncio.timeout(SECONDS):
        while not _listening().issuperset(places):  # noqa: ASYNC110
            # Nothing tells of it; it is a matter of a millisecond.
            await asyncio.sleep(0)


def _listening() -> set[int | str]:
    unix = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    paths = {fields[7] for fields in unix if len(fields) > 7 and fields[3] == "00010000"}
    return paths | {port for port, _ in _listening_on_tcp()}


def _listening_on_tcp() -> Iterator[tuple[int, str]]:
    """The port and the inode of each TCP socket of this host that listens."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":  # TCP_LISTEN
                yield int(fields[1].rpartition(":")[2], 16), fields[9]


@contextmanager
def port_of_its_own() -> Iterator[int]:
    """A TCP port of 127.0.0.1 for a program that must be told one; nobody else is given it.

    It stays bound here, without listening, which keeps others off it; programs that set
    SO_REUSEADDR, as servers do, can listen on it all the same.
    """
    with socket.socket() as keeper:
        keeper.bind(("127.0.0.1", 0))
        # Only now: it must not be given a port that another keeps in this way.
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield keeper.getsockname()[1]
