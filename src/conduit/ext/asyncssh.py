"""AsyncSSH over any flow, on either side: SSH over Unix sockets, vsock, vchan, TLS, proxies.

    tunnel = ConduitTunnel("vsock://3:22")
    async with asyncssh.connect("guest", tunnel=tunnel) as ssh:
        ...

Needs asyncssh: `pip install "conduit-net[asyncssh]"`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, TypeVar

from .. import client, endp, flow, server
from .._connect import connect
from .._left_out import left_out
from .._serve import listen
from .._server import Server
from .._target import to_client
from ..channels import Input, Output, wire_of
from ..context import Context, default_ctx
from ._needed import needs
from ._routes import Target
from .protocols import FlowTransport

with needs("asyncssh"):
    import asyncssh

P = TypeVar("P", bound=asyncio.BaseProtocol)

_TIMEOUT: float | None = left_out(30.0)


class ConduitTunnel:
    """What `asyncssh.connect` takes as its `tunnel=`: the way to the server is an address of ours.

    target: where the SSH server is, as `conduit.connect` takes it (default: the host and the port
    that `asyncssh.connect` is given, by the resolver of the context). ctx: settings of the
    connections (default: `default_ctx()`). timeout: seconds for connecting, before SSH begins
    (default: what the text of the target says, else 30).

    The host that `asyncssh.connect` is given stays what its key is looked up by, in known_hosts.
    A tunnel holds nothing; several connections may use it.

    Raises AddressError for a target that cannot be. Connecting raises what `conduit.connect`
    raises, which is an OSError.
    """

    logger = asyncssh.logging.logger

    def __init__(
        self,
        target: Target | None = None,
        *,
        ctx: Context | None = None,
        timeout: float | None = _TIMEOUT,
    ) -> None:
        self._target = target
        self._ctx = ctx or default_ctx()
        self._timeout = timeout
        if target is not None:
            to_client(target, self._ctx, timeout)

    def __repr__(self) -> str:
        where = "the given host" if self._target is None else self._target
        return f"<ConduitTunnel to {where}>"

    async def create_connection(
        self, session_factory: Callable[[], P], remote_host: str, remote_port: int
    ) -> tuple[asyncio.Transport, P]:
        """Connect; called by AsyncSSH.

        session_factory: makes the SSH side of it. remote_host, remote_port: what it was told.
        """
        target = self._target
        if target is None:
            target = client.Host(remote_host, remote_port)
        _, ic, oc = await connect(target, ctx=self._ctx, timeout=self._timeout)
        try:
            protocol = session_factory()
            return _SSHTransport(ic, oc, protocol), protocol
        except BaseException:
            wire_of(oc).abort()
            raise

    def close(self) -> None:
        """Do nothing: a tunnel holds nothing."""

    async def wait_closed(self) -> None:
        """Do nothing, as `close`."""


class ConduitListener:
    """What `asyncssh.listen` takes as its `tunnel=`: how it is reached is an address of ours.

        acceptor = await asyncssh.listen(tunnel=ConduitListener("unix:/run/ssh"), ...)

    mode: how to be reached, as `conduit.serve` takes it. options: those of `conduit.listen`: `ctx`,
    `max_active`, `drain`, `unix_mode` and so on.

    The acceptor is AsyncSSH's: its `close` closes the listeners, and `wait_closed` waits until the
    connections have ended, for `drain` seconds at most; then they are dropped. `get_port` is the
    port of a port 0. `conduit.run` ends it by a signal, as it does every server.

    Listening raises what `conduit.listen` raises.
    """

    logger = asyncssh.logging.logger

    def __init__(self, mode: server.Mode | endp.Endp | str, **options: Any) -> None:
        self._mode = mode
        self._options = options

    def __repr__(self) -> str:
        return f"<ConduitListener on {self._mode}>"

    async def create_server(
        self,
        session_factory: Callable[[str, int], asyncio.BaseProtocol],
        listen_host: str,
        listen_port: int,
    ) -> _Accepting:
        """Listen; called by AsyncSSH.

        session_factory: makes the SSH side of a connection. listen_host, listen_port: what it was
        told, which means nothing here.
        """

        async def handle(f: flow.Flow, ic: Input, oc: Output) -> None:
            await _SSHTransport(ic, oc, session_factory("", 0)).wait_closing()

        running = await listen(self._mode, handle, **self._options).__aenter__()
        running.ends_by_itself = True
        return _Accepting(running)

    def close(self) -> None:
        """Do nothing: the acceptor is closed by itself."""

    async def wait_closed(self) -> None:
        """Do nothing, as `close`."""


class _Accepting:
    """A server of ours as AsyncSSH's acceptor wants one."""

    def __init__(self, running: Server) -> None:
        self._running = running
        self._stopping: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Listen no more; connections have their time."""
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._running.stop())

    async def wait_closed(self) -> None:
        """Wait until the connections have ended, too."""
        await self._running.wait_stopped()

    def get_addresses(self) -> list[tuple[Any, ...]]:
        """Where it listens: host and port, or a text and 0 for what has none."""
        return [_host_and_port(where) for where in self._running.endps]

    def get_port(self) -> int:
        """The TCP port, if there is just one."""
        ports = {address[1] for address in self.get_addresses()}
        return ports.pop() if len(ports) == 1 else 0


class _SSHTransport(FlowTransport):
    """A transport as AsyncSSH uses one."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As ever, but for ends that are no IP address: AsyncSSH takes every name for one."""
        info = super().get_extra_info(name, default)
        return default if name in ("peername", "sockname") and not _is_ip(info) else info

    def abort(self) -> None:
        """Close at once, but with the goodbye of TLS: AsyncSSH closes in no other way."""
        if self.can_write_eof():
            self.write_eof()
        # Some loops send when they turn.
        self._wire.loop.call_soon(super().abort)


def _host_and_port(where: endp.Endp) -> tuple[Any, ...]:
    while isinstance(where, endp.TLS):
        where = where.endp
    if isinstance(where, endp.TCP):
        return str(where.ip), where.port
    return str(where), 0


def _is_ip(name: Any) -> bool:
    try:
        host, _, *_ = name
        return isinstance(host, str) and bool(ip_address(host))
    except (TypeError, ValueError):
        return False
