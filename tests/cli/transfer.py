"""Noise both ways through `conduit relay`, by every way in and out; also by hand, with any size:

    python -m tests.cli.transfer MEGABYTES [WAY-OUT ...]

says for each pair how fast it was, what the relay took of the processor, and what of memory.
"""

import asyncio
import hashlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import conduit
from tests.cli.running import Server, serving
from tests.peers.proxies import dante, squid
from tests.peers.tls_server import Papers

WAYS_IN = ("tcp", "unix", "tls", "tls-native", "tls+unix", "fd", "systemd")
WAYS_OUT = ("tcp", "unix", "tls", "tls-native", "tls+unix", "socks5", "connect")

_PIECE = 256 * 1024

# Puts a descriptor where systemd would have put it.
_AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Figures:
    """Of one transfer. right: whether both hashes were. memory: the relay's most, in bytes."""

    way_in: str
    way_out: str
    right: bool
    seconds: float
    cpu_seconds: float
    memory: int


class Noise:
    """Bytes that repeat nowhere in the same order. Each piece is a part of one block."""

    def __init__(self) -> None:
        self._block = memoryview(os.urandom(4 * _PIECE + 1))

    def pieces(self, size: int) -> Iterator[memoryview]:
        at = 0
        while size > 0:
            piece = self._block[at : at + min(_PIECE, size)]
            at = (at + 7919) % (3 * _PIECE)
            size -= len(piece)
            yield piece


NOISE = Noise()


async def swap(
    ic: conduit.Input, oc: conduit.Output, size: int, expected: int
) -> tuple[bytes, bytes]:
    """Send so many bytes, and read as many as are expected; then end, and read to the end.

    Squid lets nobody end one way alone, so nobody does while bytes are under way.

    Returns the hash of what was sent, and of what came.
    """
    sent, got = hashlib.sha256(), hashlib.sha256()

    async def send() -> None:
        for piece in NOISE.pieces(size):
            sent.update(piece)
            await oc.write(piece)

    async def receive() -> None:
        missing = expected
        while missing > 0 and (data := await ic.read(_PIECE)):
            got.update(data)
            missing -= len(data)

    await asyncio.gather(send(), receive())
    oc.write_eof()
    while data := await ic.read(_PIECE):
        got.update(data)
    return sent.digest(), got.digest()


class Behind:
    """Where the relay leads to: a server that swaps as well.

    It sends half of what it gets, so that what comes back is something else.
    """

    def __init__(self) -> None:
        self.size = 0
        self.hashes: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()

    async def handle(self, f: conduit.flow.Flow, ic: conduit.Input, oc: conduit.Output) -> None:
        self.hashes.put_nowait(await swap(ic, oc, self.size // 2, self.size))


@dataclass
class Relay:
    """A relay that runs, with an address to connect to for each of the ways in."""

    way_out: str
    behind: Behind
    server: Server
    addresses: dict[str, str]

    def memory(self) -> int:
        """The most that it has had so far, in bytes."""
        return int(self._status("VmHWM:")) * 1024

    def _status(self, name: str) -> str:
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return status.partition(name)[2].split()[0]

    def _cpu_seconds(self) -> float:
        stat = Path(f"/proc/{self.server.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    async def transfer(self, way_in: str, size: int) -> Figures:
        """Send so many bytes through it, and half as many back."""
        self.behind.size = size
        cpu, began = self._cpu_seconds(), time.perf_counter()
        async with conduit.connect(self.addresses[way_in]) as (_, ic, oc):
            sent, got = await swap(ic, oc, size, size // 2)
        theirs_sent, theirs_got = await self.behind.hashes.get()
        return Figures(
            way_in,
            self.way_out,
            (sent, got) == (theirs_got, theirs_sent),
            time.perf_counter() - began,
            self._cpu_seconds() - cpu,
            self.memory(),
        )


@asynccontextmanager
async def relaying(
    way_out: str, papers: Papers, directory: Path, find: object, ways_in: tuple[str, ...] = WAYS_IN
) -> AsyncIterator[Relay]:
    """A relay with listeners for all ways in, to a server of ours by one way out.

    find: a program by its name, as the fixture `program`.
    """
    behind = Behind()
    files = f"crt={papers.own.crt_file}&key={papers.own.key_file}"
    trusted = f"hostname=localhost&ca={papers.ca_file}"
    async with AsyncExitStack() as stack:
        mode = _served_at(way_out, f"{directory}/out", files)
        srv = await stack.enter_async_context(conduit.listen(mode, behind.handle))
        where = _plain(str(srv.endps[0]))
        if way_out == "socks5":
            proxy = await stack.enter_async_context(dante(find, directory))
            target = f"socks5+tcp://127.0.0.1:{proxy}?to={where.partition('://')[2]}"
        elif way_out == "connect":
            ports = await stack.enter_async_context(squid(find, papers))
            target = f"connect+tcp://127.0.0.1:{ports.plain}?to={where.partition('://')[2]}"
        else:
            target = _with_scheme(way_out, where, trusted)
        inherited = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in ("fd", "systemd")
        ]
        listening = {
            way: _served_at(way, f"{directory}/in-{way}", files)
            for way in ways_in
            if way not in ("fd", "systemd")
        }
        wrapper: tuple[str, ...] = ()
        if "fd" in ways_in:
            listening["fd"] = f"fd:{inherited[0].fileno()}"
        if "systemd" in ways_in:
            listening["systemd"] = "systemd:web"
            wrapper = (sys.executable, "-c", _AS_SYSTEMD, str(inherited[1].fileno()))
        server = stack.enter_context(
            serving(
                *("relay", *listening.values(), target),
                listeners=len(listening),
                fds=[sock.fileno() for sock in inherited],
                wrapper=wrapper,
            )
        )
        addresses = {
            way: _with_scheme(way, _plain(said), trusted)
            for way, said in zip(listening, server.addresses, strict=True)
        }
        yield Relay(way_out, behind, server, addresses)


def _served_at(way: str, path: str, files: str) -> str:
    if way.endswith("unix"):
        return f"{way}:{path}" + (f"?{files}" if way.startswith("tls") else "")
    if way.startswith("tls"):
        return f"{way}://127.0.0.1:0?{files}"
    return "tcp://127.0.0.1:0"


def _plain(address: str) -> str:
    """An address without its TLS: tcp://HOST:PORT or unix:PATH."""
    address = address.partition("?")[0]
    if "unix:" in address:
        return address[address.index("unix:") :]
    return "tcp://" + address.partition("://")[2]


def _with_scheme(way: str, plain: str, trusted: str) -> str:
    if way.endswith("unix"):
        return f"tls+{plain}?{trusted}" if way.startswith("tls") else plain
    if way.startswith("tls"):
        return f"{way}://{plain.partition('://')[2]}?{trusted}"
    return plain


async def _by_hand(megabytes: int, ways_out: list[str]) -> int:
    wrong = 0
    print(f"{'in':>10} {'out':>10}  hash      time   cpu    rate   memory")
    with tempfile.TemporaryDirectory(prefix="conduit-") as name:
        directory = Path(name)
        papers = Papers(directory)
        for way_out in ways_out or WAYS_OUT:
            (directory / way_out).mkdir()
            find = lambda name, _="": shutil.which(name, path="/usr/bin:/usr/sbin") or name  # noqa: E731
            async with relaying(way_out, papers, directory / way_out, find) as relay:
                for way_in in relay.addresses:
                    got = await relay.transfer(way_in, megabytes * 1_000_000)
                    wrong += not got.right
                    rate = 1.5 * megabytes / got.seconds
                    print(
                        f"{way_in:>10} {way_out:>10}  {'right' if got.right else 'WRONG'} "
                        f"{got.seconds:6.1f} s {got.cpu_seconds:5.1f} s {rate:4.0f} MB/s "
                        f"{got.memory / 2**20:5.1f} MiB",
                        flush=True,
                    )
    return wrong


if __name__ == "__main__":
    sys.exit(conduit.run(_by_hand(int(sys.argv[1]), sys.argv[2:])) > 0)
