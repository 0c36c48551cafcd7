"""Listening sockets of any family: what TCP, Unix and inherited sockets have in common."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from .. import endp, flow
from .._fields import unchecked
from ..channels import Wire, pair
from ..channels.names import unmapped
from ..context import Context, IPAddress
from .base import Arrival, Listener, Shared, Triple
from .keepalive import keep_alive

AF_VSOCK: int | None = getattr(socket, "AF_VSOCK", None)
"""The family of vsock; None where Python has none."""


class SocketListener(Listener):
    """A listening stream socket.

    sock: owned from now on, and closed by `close`; it is made non-blocking and is not inherited by
    child processes. ctx: for the flows.
    """

    __slots__ = ("_ctx", "_loop", "_sock", "_watching")

    def __init__(self, sock: socket.socket, ctx: Context) -> None:
        sock.setblocking(False)
        sock.set_inheritable(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # Accepted sockets inherit it; asyncio sets it only where it is told the protocol.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if ctx.keepalive is not None:
                keep_alive(sock, ctx.keepalive)  # inherited as well
        self._sock = sock
        self._ctx = ctx
        self._loop = asyncio.get_running_loop()
        self._watching = False
        self.endp = endp_of_socket(sock)

    def watch(self, ready: Callable[[], None]) -> None:
        """As every listener."""
        self._watching = True
        self._loop.add_reader(self._sock.fileno(), ready)

    def unwatch(self) -> None:
        """As every listener."""
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._sock.fileno())

    def accept(self) -> Arrival:
        """As every listener."""
        sock, address = self._sock.accept()
        sock.setblocking(False)
        return SocketArrival(sock, address, self.endp, self._ctx)

    def share(self) -> Shared:
        """As every listener."""
        return Shared(self._sock.fileno())

    def close(self) -> None:
        """As every listener."""
        self.unwatch()
        try:
            self._sock.close()
        except OSError:
            pass  # Somebody has closed the descriptor already.


class SocketArrival(Arrival):
    """A connected socket that a listener accepted."""

    __slots__ = ("_address", "_ctx", "_listener", "_sock")

    def __init__(
        self, sock: socket.socket, address: Any, listener: endp.Endp, ctx: Context
    ) -> None:
        self._sock = sock
        self._address = address
        self._listener = listener
        self._ctx = ctx

    async def open(self, on_closed: Callable[[], None]) -> Triple:
        """As every arrival; there is no handshake."""
        loop = asyncio.get_running_loop()
        sock = self._sock
        if isinstance(self._listener, endp.Vsock):
            sock = self._sock = for_loops(sock)
        fd = sock.fileno()
        wire = Wire(loop, self._ctx.close_timeout, on_closed)
        try:
            await loop.connect_accepted_socket(lambda: wire, sock)
        except BaseException:
            wire.on_closed = None
            sock.close()
            raise
        wire.flow = self._flow(fd)
        return Triple(wire.flow, *pair(wire))

    def discard(self) -> None:
        """As every arrival."""
        self._sock.close()

    def _flow(self, fd: int) -> flow.Flow:
        # A Unix client has no name of its own: what it reached is what identifies the flow.
        address = self._address
        listener = self._listener
        if not isinstance(address, str | bytes):
            if isinstance(listener, endp.Vsock):
                cid, port = address
                return flow.Vsock(cid, port, origin=unchecked(endp.Vsock, cid=cid, port=port))
            ip, port = ip_and_port(address)
            return flow.TCP(fd, ip, port, origin=unchecked(endp.TCP, ip=ip, port=port))
        path = listener.path if isinstance(listener, endp.UnixDomainSocket) else ""
        return flow.DomainSocket(fd, path, origin=listener)


def endp_of_socket(sock: socket.socket) -> endp.Endp:
    """How to reach a bound socket."""
    name = sock.getsockname()
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return endp.TCP(*ip_and_port(name))
    if sock.family == getattr(socket, "AF_UNIX", None):
        return (
            endp.UnixDomainSocket(path)
            if (path := path_of_name(name))
            else endp.Unknown("a Unix socket without a name")
        )
    if sock.family == AF_VSOCK:
        return endp.Vsock(*name)
    return endp.Unknown(f"a socket of family {sock.family}")


def for_loops(sock: socket.socket) -> socket.socket:
    """A vsock socket as a loop takes it: the same descriptor, called one of AF_UNIX.

    uvloop refuses every other family than it knows; what it does to a Unix stream is right for
    vsock, too. sock: is detached.
    """
    kind = sock.type
    return socket.socket(socket.AF_UNIX, kind, fileno=sock.detach())


def path_of_name(name: str | bytes) -> str:
    """A Unix socket's name as our addresses write it: an abstract one starts with `@`."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", "surrogateescape")
    if name.startswith("\0"):
        return "@" + name[1:]
    return "./" + name if name.startswith("@") else name


def ip_and_port(address: Any) -> tuple[IPAddress, int]:
    """The two that matter of a socket address, with the scope in the IP address."""
    host, port, *rest = unmapped(address)
    scope = rest[1] if len(rest) == 2 else 0
    return _ip(str(host), int(scope)), int(port)


@lru_cache(maxsize=4096)
def _ip(host: str, scope: int) -> IPAddress:
    if scope and "%" not in host:
        try:
            host = f"{host}%{socket.if_indextoname(scope)}"
        except OSError:
            host = f"{host}%{scope}"
    return ipaddress.ip_address(host)
