"""Listening sockets of any family: what TCP, Unix and inherited sockets have in common."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

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

    __slots__ = (
        "_family",
        "_on_uvloop",
        "_proto",
        "_sock",
        "_take",
        "_watching",
        "ctx",
        "loop",
    )

    def __init__(self, sock: socket.socket, ctx: Context) -> None:
        sock.setblocking(False)
        sock.set_inheritable(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # Accepted sockets inherit it; asyncio sets it only where it is told the protocol.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if ctx.keepalive is not None:
                keep_alive(sock, ctx.keepalive)  # inherited as well
        self._sock = sock
        self.ctx = ctx
        self.loop = asyncio.get_running_loop()
        self._watching = False
        self._take: Callable[[], tuple[int, Any]] = cast("Any", sock)._accept
        self._family, self._proto = family_for_loops(sock), sock.proto
        self._on_uvloop = is_uvloop(self.loop)
        self.endp = endp_of_socket(sock)

    def watch(self, ready: Callable[[], None]) -> None:
        """As every listener."""
        self._watching = True
        self.loop.add_reader(self._sock.fileno(), ready)

    def unwatch(self) -> None:
        """As every listener."""
        if self._watching:
            self._watching = False
            self.loop.remove_reader(self._sock.fileno())

    def accept(self) -> Arrival:
        """As every listener."""
        # As socket.accept, without what it does for all the kinds of sockets that there are.
        fd, address = self._take()
        if self._on_uvloop:
            sock: socket.socket | Accepted = Accepted(self._family, fd)
        else:
            sock = socket.socket(self._family, socket.SOCK_STREAM, self._proto, fd)
            sock.setblocking(False)
        return SocketArrival(self, sock, fd, address)

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

    __slots__ = ("_address", "_fd", "_listener", "_sock")

    def __init__(
        self, listener: SocketListener, sock: socket.socket | Accepted, fd: int, address: Any
    ) -> None:
        self._listener = listener
        self._sock = sock
        self._fd = fd
        self._address = address

    async def open(self, on_closed: Callable[[], None]) -> Triple:
        """As every arrival; there is no handshake."""
        loop = self._listener.loop
        wire = Wire(loop, self._listener.ctx.close_timeout, on_closed)
        try:
            # mypy: uvloop asks no more of a socket than Accepted has.
            await loop.connect_accepted_socket(lambda: wire, self._sock)  # type: ignore[arg-type]
        except BaseException:
            wire.on_closed = None
            self.discard()
            raise
        wire.fd = self._fd
        wire.flow = self._flow(self._fd)
        return Triple(wire.flow, *pair(wire))

    def discard(self) -> None:
        """As every arrival."""
        if isinstance(self._sock, Accepted):
            self._sock.give_up()
        else:
            self._sock.close()

    def _flow(self, fd: int) -> flow.Flow:
        # A Unix client has no name of its own: what it reached is what identifies the flow.
        listener = self._listener.endp
        if not isinstance(self._address, str | bytes):
            if isinstance(listener, endp.Vsock):
                cid, port = self._address
                return flow.Vsock(cid, port, origin=unchecked(endp.Vsock, cid=cid, port=port))
            ip, port = ip_and_port(self._address)
            return tcp_flow(fd, ip, port, tcp_endp(ip, port))
        path = listener.path if isinstance(listener, endp.UnixDomainSocket) else ""
        return unix_flow(fd, path, listener)


def is_uvloop(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop is one of uvloop's, some of whose ways cost less than those of asyncio."""
    kind = type(loop)
    known = _of_uvloop.get(kind)
    if known is None:
        known = _of_uvloop[kind] = any(one.__module__ == "uvloop" for one in kind.__mro__)
    return known


_of_uvloop: dict[type, bool] = {}


class Accepted:
    """What uvloop has to know of a connected socket, and to tell.

    A `socket.socket` makes members of an enum of its facts each time that it is asked for them,
    which costs more than to accept a connection.
    """

    __slots__ = ("_fd", "family")

    type = int(socket.SOCK_STREAM)

    def __init__(self, family: int, fd: int) -> None:
        self.family = family
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor; -1 when it is closed."""
        return self._fd

    def close(self) -> None:
        """Called by uvloop when it has closed the descriptor."""
        self._fd = -1

    def give_up(self) -> None:
        """Close the descriptor, unless uvloop has."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


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


def family_for_loops(sock: socket.socket) -> int:
    """The family that a loop is told; of a vsock that of Unix sockets.

    uvloop refuses every other family than it knows; what it does to a Unix stream is right for
    vsock, too.
    """
    return int(socket.AF_UNIX if sock.family == AF_VSOCK else sock.family)


def path_of_name(name: str | bytes) -> str:
    """A Unix socket's name as our addresses write it: an abstract one starts with `@`."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", "surrogateescape")
    if name.startswith("\0"):
        return "@" + name[1:]
    return "./" + name if name.startswith("@") else name


def ip_and_port(address: Any) -> tuple[IPAddress, int]:
    """The two that matter of a socket address, with the scope in the IP address."""
    if len(address) == 2:
        return _ip(address[0], 0), address[1]
    host, port, *rest = unmapped(address)
    scope = rest[1] if len(rest) == 2 else 0
    return _ip(str(host), int(scope)), int(port)


# One of each for every connection. The constructors of frozen dataclasses ask for every field by
# name, and those of endpoints check it; the fields' own setters cost a third of that.
def _setter(record: type, field: str) -> Callable[[object, object], None]:
    return cast("Callable[[object, object], None]", vars(record)[field].__set__)


_new = object.__new__
_set_ip, _set_port = _setter(endp.TCP, "ip"), _setter(endp.TCP, "port")
_set_flow_fd, _set_flow_ip = _setter(flow.TCP, "fd"), _setter(flow.TCP, "ip")
_set_flow_port, _set_flow_origin = _setter(flow.TCP, "port"), _setter(flow.TCP, "origin")


_set_path = _setter(endp.UnixDomainSocket, "path")
_set_unix_fd, _set_unix_path = _setter(flow.DomainSocket, "fd"), _setter(flow.DomainSocket, "path")
_set_unix_origin = _setter(flow.DomainSocket, "origin")


def unix_endp(path: str) -> endp.UnixDomainSocket:
    """An endpoint of a path that is known to be right."""
    made = _new(endp.UnixDomainSocket)
    _set_path(made, path)
    return made


def unix_flow(fd: int, path: str, origin: endp.Endp) -> flow.DomainSocket:
    """A flow."""
    made = _new(flow.DomainSocket)
    _set_unix_fd(made, fd)
    _set_unix_path(made, path)
    _set_unix_origin(made, origin)
    return made


def tcp_endp(ip: IPAddress, port: int) -> endp.TCP:
    """An endpoint of parts that are known to be right."""
    made = _new(endp.TCP)
    _set_ip(made, ip)
    _set_port(made, port)
    return made


def tcp_flow(fd: int, ip: IPAddress, port: int, origin: endp.Endp) -> flow.TCP:
    """A flow."""
    made = _new(flow.TCP)
    _set_flow_fd(made, fd)
    _set_flow_ip(made, ip)
    _set_flow_port(made, port)
    _set_flow_origin(made, origin)
    return made


@lru_cache(maxsize=4096)
def _ip(host: str, scope: int) -> IPAddress:
    if scope and "%" not in host:
        try:
            host = f"{host}%{socket.if_indextoname(scope)}"
        except OSError:
            host = f"{host}%{scope}"
    return ipaddress.ip_address(host)
