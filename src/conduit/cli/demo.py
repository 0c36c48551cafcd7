"""`conduit demo`: every transport of this host, tried in every form an address can take."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TypeAlias, TypeVar, cast

import conduit
from conduit import UnsupportedTransport, client, endp, server, testing

from ..transports import vchan
from .exchange import Exchange, Target, reason_of
from .papers import NAME, Papers, issue
from .report import JSONLines, Report, Row, Table

Mode: TypeAlias = server.Mode | endp.Endp
Forms: TypeAlias = Callable[[endp.Endp], list[Target]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to be reached, and what makes the ways to reach it of the endpoint that it is at.

    papers: for TLS. mutual: whether the client must show a certificate as well.
    """

    mode: Mode
    forms: Forms
    papers: Papers | None = None
    mutual: bool = False

    @property
    def ctx(self) -> conduit.Context | None:
        """What both sides know of each other."""
        if self.papers is None:
            return None
        return self.papers.mutual if self.mutual else self.papers.ctx

    @property
    def name(self) -> str:
        """What it is called in the report; the files of the demo are not worth their room."""
        name = repr(self.mode)
        if self.papers is not None:
            key = self.papers.key
            shown = f"{key.crt_file!r}, {key.key_file!r}, password=None"
            name = name.replace(shown, "crt, key, None")
        return f"{name} with client_auth='required'" if self.mutual else name


_SECONDS_TO_SAY_NO = 5.0

# The system's own limits on a Unix path are about 100 bytes.
_LONGEST_DIRECTORY = 60

# Of vsock: the context identifier of a machine for itself, and what lets the system choose a port.
_THIS_MACHINE = 1
_ANY_PORT = 2**32 - 1

# How long a handler may go on when its row is done.
_DRAIN = 2.0


def run(*, size: int, as_json: bool) -> int:
    """Run the demo.

    size: bytes to send each way. as_json: show JSON instead of a table.

    Returns the exit status: 0 if every connection passed.
    """
    report = JSONLines(sys.stdout) if as_json else _table()
    # What goes wrong is told in its row, not a second time on standard error.
    logging.getLogger("conduit").addHandler(logging.NullHandler())
    usual = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(
        prefix="conduit-", dir="/tmp" if len(usual) > _LONGEST_DIRECTORY else usual
    ) as directory:
        return conduit.run(_Demo(report, size, directory).run)


def _table() -> Table:
    stream = sys.stdout
    terminal = stream.isatty() and os.environ.get("TERM") != "dumb" and sys.platform != "win32"
    return Table(
        stream,
        width=shutil.get_terminal_size().columns,
        colour=terminal and not os.environ.get("NO_COLOR"),
        live=terminal,
    )


class _Demo:
    """One run of the demo.

    report: is told all. size: bytes each way. directory: for Unix sockets; empty.
    """

    def __init__(self, report: Report, size: int, directory: str) -> None:
        self._report = report
        self._size = size
        self._directory = directory
        self._rows: list[Row] = []
        self._signal: signal.Signals | None = None
        # What the system itself says it lacks, in words; empty if it has it.
        self._no_ipv6 = ""
        self._no_localhost = ""
        self._domid = 0

    async def run(self) -> int:
        """Try everything. Returns the exit status."""
        started = time.perf_counter()
        self._end_at_the_first_signal()
        self._report.begin(_versions(), self._size)
        try:
            self._no_ipv6 = _lack_of_ipv6()
            self._no_localhost = await _lack_of_localhost()
            self._domid = await _domid()
            exchange = Exchange(self._size)
            for way in self._plain():
                await self._serve(way, exchange)
            await self._try_tls(exchange)
        except asyncio.CancelledError:
            if self._signal is None:
                raise
            self._report.interrupted()
            return 128 + self._signal
        self._report.end(time.perf_counter() - started)
        return 1 if any(row.state == "failed" for row in self._rows) else 0

    def _end_at_the_first_signal(self) -> None:
        """Leave nobody waiting: `conduit.run` would first stop the server, and then go on here."""
        task = asyncio.current_task()
        assert task is not None

        def end(number: signal.Signals) -> None:
            self._signal = number
            task.cancel()

        if sys.platform != "win32":
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, end, number)

    # What there is.

    def _plain(self) -> Iterator[_Way]:
        """Every way to be reached without TLS."""
        unix = os.path.join(self._directory, "s")
        abstract = f"@conduit-{os.getpid()}"
        yield _Way(server.TCP(0, ip="127.0.0.1"), _both)
        yield _Way(server.TCP(0, ip="::1"), _both)
        yield _Way(server.TCP(0), _by_every_family_and_name)
        yield _Way(endp.TCP("127.0.0.1", 0), _as_it_is)
        yield _Way(server.TCP(server.Socket(_bound_socket())), _both)
        yield _Way(server.ListeningSocket(_bound_socket(listening=True)), _both)
        yield _Way(server.UnixDomainSocket(unix), _both)
        yield _Way(endp.UnixDomainSocket(unix), _as_it_is)
        yield _Way(server.UnixDomainSocket(abstract), _both)
        yield _Way(server.Handover(abstract, server.TCP(0, ip="127.0.0.1")), _both)
        yield _Way(cast("Mode", testing.Memory("demo")), _as_it_is)
        yield _Way(server.Vsock(_THIS_MACHINE, _ANY_PORT), _both)
        # A domain can be its own peer.
        yield _Way(server.VchanDirect(self._domid, "demo"), _both)
        yield _Way(server.VchanDomainSocket("demo", "demo"), _both)
        yield _Way(server.Systemd(), _both)
        yield _Way(server.Launchd("demo"), _both)

    async def _try_tls(self, exchange: Exchange) -> None:
        """Everything with TLS, for which there have to be certificates."""
        try:
            papers = await issue(self._directory)
        except ImportError as error:
            for name in ("TLS", "OpenSSL", "TLSNative", "TLSOver"):
                self._miss(f"server.{name}", f"server.{name}", str(error))
            self._miss("", "client.TLSTunnel", str(error))
            return
        for way in self._secured(papers):
            await self._serve(way, exchange)

    def _secured(self, papers: Papers) -> Iterator[_Way]:
        """Every way to be reached by TLS."""
        key = papers.key
        files = key.crt_file, key.key_file, key.password
        tls = server.TLS(*files, 0, ip="127.0.0.1")
        unix = server.UnixDomainSocket(os.path.join(self._directory, "s"))
        yield _Way(tls, _both, papers)
        yield _Way(tls, _both, papers, mutual=True)
        yield _Way(server.OpenSSL(*files, 0, ip="127.0.0.1"), _by_either_stack, papers)
        yield _Way(server.TLSNative(*files, 0, ip="127.0.0.1"), _by_either_stack, papers)
        yield _Way(server.TLSOver(unix, *files), _both, papers)
        yield _Way(server.TLSOver(tls, *files), _both, papers)

    # What comes of it.

    async def _serve(self, way: _Way, exchange: Exchange) -> None:
        """Serve in one way, and connect in every form."""
        name = way.name
        lack = self._lack_of(way.mode)
        if lack:
            self._miss(name, name, lack)
            return
        async with AsyncExitStack() as stack:
            try:
                listening = conduit.listen(
                    way.mode,
                    exchange.serve,
                    ctx=way.ctx,
                    on_exn=exchange.failed,
                    drain=_DRAIN,
                    client_auth="required" if way.mutual else "none",
                )
                srv = await stack.enter_async_context(listening)
            except UnsupportedTransport as error:
                self._miss(name, name, error, way.mode)
                return
            except Exception as error:
                reason = reason_of(error)
                self._add(Row(server=name, address=name, state="failed", reason=reason))
                return
            where = srv.endps[0]
            self._report.serving(name, repr(where))
            for target in way.forms(where):
                await self._connect(target, name, exchange, way.ctx)
            if isinstance(way.mode, server.TLS) and not way.mutual:
                await self._connect_through_a_tunnel(where, name, exchange, way.ctx)

    async def _connect(
        self,
        target: Target,
        server: str,
        exchange: Exchange,
        ctx: conduit.Context | None,
        name: str = "",
    ) -> None:
        name = name or repr(target)
        lack = self._lack_of(target)
        if lack:
            self._miss(server, name, lack)
            return
        self._report.trying(name)
        try:
            self._add(await exchange.connect(target, server, name, ctx))
        except UnsupportedTransport as error:
            self._miss(server, name, error, target)

    async def _connect_through_a_tunnel(
        self, at: endp.Endp, server: str, exchange: Exchange, ctx: conduit.Context | None
    ) -> None:
        """Connect to what is below TLS, and begin TLS over these channels."""
        name = f"client.TLSTunnel('{NAME}', ic, oc)"
        assert isinstance(at, endp.TLS)
        try:
            _, ic, oc = await conduit.connect(at.endp)
        except Exception as error:
            reason = reason_of(error)
            self._add(Row(server=server, address=name, state="failed", reason=reason))
            return
        await self._connect(client.TLSTunnel(NAME, ic, oc), server, exchange, ctx, name)

    def _lack_of(self, address: Mode | Target) -> str:
        """What the host lacks for an address, in words; empty if it lacks nothing known."""
        if isinstance(address, client.Host | endp.Host):
            return self._no_localhost
        return self._no_ipv6 if isinstance(getattr(address, "ip", None), IPv6Address) else ""

    def _miss(
        self, server: str, address: str, why: str | UnsupportedTransport, said: object = None
    ) -> None:
        reason = str(why)
        for prefix in (f"{said!r}: ", f"{said}: ", f"cannot serve {said}: "):
            # The library begins with the address it speaks of, which is shown already.
            reason = reason.removeprefix(prefix)
        self._add(Row(server=server, address=address, state="missing", reason=reason))

    def _add(self, row: Row) -> None:
        self._rows.append(row)
        self._report.add(row)


# The forms of a client's address, made from the endpoint that a server is at.


def _as_it_is(at: endp.Endp) -> list[Target]:
    return [at]


def _both(at: endp.Endp) -> list[Target]:
    """As an address of a client, and as the endpoint."""
    return [conduit.endp_to_client(at), at]


def _by_either_stack(at: endp.Endp) -> list[Target]:
    """By the stack that the address names, whichever one is the usual one."""
    assert isinstance(at, endp.TLS)
    assert isinstance(at.endp, endp.TCP)
    where = at.host, at.endp.ip, at.endp.port
    return [client.OpenSSL(*where), client.TLSNative(*where)]


def _by_every_family_and_name(at: endp.Endp) -> list[Target]:
    """For a server on all addresses: by either family, and by name."""
    assert isinstance(at, endp.TCP)
    return [
        client.TCP("127.0.0.1", at.port),
        client.TCP("::1", at.port),
        client.Host("localhost", at.port),
        endp.Host("localhost", at.port),
    ]


# The host.


def _versions() -> dict[str, str]:
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    return {
        "conduit": f"Conduit {conduit.__version__}",
        "python": f"Python {platform.python_version()}",
        "loop": f"{loop} {getattr(sys.modules[loop], '__version__', '')}".rstrip(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _bound_socket(*, listening: bool = False) -> int:
    """A socket as a parent process or a supervisor would leave it: its descriptor."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        if listening:
            sock.listen()
        return sock.detach()


def _lack_of_ipv6() -> str:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError as error:
        return f"this host has no IPv6: {error.strerror}"
    return ""


async def _domid() -> int:
    """The number of this domain of Xen; 0 where there is no Xen."""
    try:
        return await vchan.own_domid()
    except OSError:
        return 0


async def _lack_of_localhost() -> str:
    try:
        await asyncio.get_running_loop().getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)
    except OSError as error:
        return f"this host does not know the name localhost: {error.strerror}"
    return ""
