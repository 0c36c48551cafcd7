"""TCP: by IP address, and by name with all its addresses in turn."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

from .. import client, endp, events, flow, server
from .._fields import unchecked
from ..channels import Wire, pair
from ..context import Context, IPAddress
from ..errors import AddressError, ResolutionError, UnsupportedTransport
from . import inherited
from .base import Attempts, Listener, ListenOptions, Triple
from .keepalive import keep_alive
from .sockets import SocketListener, ip_and_port

# How often a free port is looked for that is free on every address to listen on.
_PORT_TRIES = 16


async def connect(target: client.TCP | client.Host, ctx: Context, attempts: Attempts) -> Triple:
    """Connect to an IP address, or to the addresses of a name, in getaddrinfo's order."""
    if isinstance(target, client.TCP):
        where = unchecked(endp.TCP, ip=target.ip, port=target.port)
        return await _open(target.ip, target.port, ctx, where)
    origin = endp.Host(target.name, target.port)
    failure: Exception | None = None
    for ip, port in await _resolve(target):
        try:
            return await _open(ip, port, ctx, origin)
        except (OSError, AddressError) as error:
            attempts.append((endp.TCP(ip, port), error))
            failure = error
    raise failure or ResolutionError(f"{target.name!r} has no address")


async def connect_any(
    endps: Sequence[endp.TCP | endp.Host], ctx: Context, attempts: Attempts
) -> Triple:
    """Connect to one of several endpoints, which becomes the origin of the flow."""
    failure: Exception | None = None
    for one in endps:
        told: Attempts = []
        try:
            if isinstance(one, endp.TCP):
                return await _open(one.ip, one.port, ctx, one)
            return await connect(client.Host(one.name, one.port), ctx, told)
        except (OSError, AddressError) as error:
            failure = error
            attempts += told or [(one, error)]
    assert failure is not None
    raise failure


async def listen(mode: server.TCP, ctx: Context, options: ListenOptions) -> list[Listener]:
    """Listen on the address of the mode, else of the context, else on all."""
    if isinstance(mode.config, server.Socket):
        return inherited.listen_on(mode.config.sock_or_fd, ctx, options)
    port = mode.config.port
    addresses = (mode.ip,) if mode.ip is not None else ctx.src
    try:
        if not addresses:
            return [SocketListener(_bind_all(port, options), ctx)]
        return [SocketListener(sock, ctx) for sock in _bind_each(addresses, port, options)]
    except UnsupportedTransport:
        raise
    except OSError as error:
        where = " and ".join(map(str, addresses)) or "all addresses"
        raise OSError(
            error.errno, f"cannot listen on port {port} of {where}: {error.strerror}"
        ) from error


async def _open(ip: IPAddress, port: int, ctx: Context, origin: endp.Endp) -> Triple:
    if events.observers:
        events.emit(events.Attempt(endp.TCP(ip, port)))
    source = ctx.src_for(ip)
    if isinstance(ip, IPv6Address) and ip.is_link_local and ip.scope_id is None:
        raise AddressError(f"{ip} is on every link: say on which one, as in {ip}%eth0")
    loop = asyncio.get_running_loop()
    wire = Wire(loop, ctx.close_timeout)
    if source is None and _scope(ip) is None:
        transport, _ = await loop.create_connection(lambda: wire, str(ip), port)
    else:
        # uvloop knows nothing of scopes, and does not say which of the two addresses is wrong.
        sock = await _connected(loop, ip, port, source)
        try:
            transport, _ = await loop.create_connection(lambda: wire, sock=sock)
        except BaseException:
            sock.close()
            raise
    sock = transport.get_extra_info("socket")
    if ctx.keepalive is not None:
        keep_alive(sock, ctx.keepalive)
    fd = sock.fileno()
    wire.flow = flow.TCP(fd, ip, port, origin=origin)
    return Triple(wire.flow, *pair(wire))


async def _connected(
    loop: asyncio.AbstractEventLoop, ip: IPAddress, port: int, source: IPAddress | None
) -> socket.socket:
    """A socket that is connected to an address, from a source and within a scope."""
    family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        if source is not None:
            try:
                sock.bind(_sockaddr(source, 0))
            except OSError as error:
                raise OSError(
                    error.errno, f"cannot connect from src={source}: {error.strerror}"
                ) from error
        try:
            sock.connect(_sockaddr(ip, port))
        except BlockingIOError:
            writable = loop.create_future()
            loop.add_writer(sock.fileno(), _set_done, writable)
            try:
                await writable
            finally:
                loop.remove_writer(sock.fileno())
            failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure:
                raise OSError(failure, os.strerror(failure)) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _sockaddr(ip: IPAddress, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """A socket address. Raises AddressError for a scope that is no interface here."""
    scope = _scope(ip)
    if scope is None:
        return str(ip), port
    host = str(ip).partition("%")[0]
    if scope.isdecimal():
        return host, port, 0, int(scope)
    try:
        return host, port, 0, socket.if_nametoindex(scope)
    except OSError:
        raise AddressError(f"{ip}: there is no interface {scope!r} here") from None


def _scope(ip: IPAddress) -> str | None:
    return ip.scope_id if isinstance(ip, IPv6Address) else None


async def _resolve(target: client.Host) -> list[tuple[IPAddress, int]]:
    loop = asyncio.get_running_loop()
    try:
        # Not by getaddrinfo, which forgets the zone on uvloop.
        return [(ip_address(target.name), target.port)]
    except ValueError:
        pass
    try:
        infos = await loop.getaddrinfo(target.name, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ResolutionError(f"cannot resolve {target.name!r}: {reason}") from error
    # Without doubles, in order.
    return list(dict.fromkeys(ip_and_port(info[4]) for info in infos))


def _bind_all(port: int, options: ListenOptions) -> socket.socket:
    """One socket for IPv6 and IPv4; for IPv4 alone on a host without IPv6."""
    try:
        return _bind("::", port, options, both_families=True)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT):
            raise
    return _bind("0.0.0.0", port, options)


def _bind_each(
    addresses: tuple[IPAddress, ...], port: int, options: ListenOptions
) -> list[socket.socket]:
    """A socket for each address, all on the same port, also when the kernel chooses it."""
    tries = _PORT_TRIES
    while True:
        tries -= 1
        sockets: list[socket.socket] = []
        chosen = port
        try:
            for address in addresses:
                sockets.append(_bind(str(address), chosen, options))
                chosen = sockets[0].getsockname()[1]
        except OSError as error:
            for sock in sockets:
                sock.close()
            # Somebody has the port that the kernel chose, on another of the addresses.
            if port or not sockets or error.errno != errno.EADDRINUSE or not tries:
                raise
        else:
            return sockets


def _bind(
    host: str, port: int, options: ListenOptions, both_families: bool = False
) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        # Not to wait until old connections are forgotten. On Windows, where that is never needed,
        # it would mean to share the port with anyone.
        if sys.platform != "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.reuse_port:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise UnsupportedTransport(
                    f"reuse_port: there is no SO_REUSEPORT on {sys.platform}"
                )
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both_families)
        sock.bind(address)
        sock.listen(options.backlog)
    except BaseException:
        sock.close()
        raise
    return sock
