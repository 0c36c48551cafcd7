"""TCP: by IP address, and by name or endpoints with all their addresses raced."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Coroutine, Sequence
from functools import partial
from ipaddress import IPv4Address, ip_address
from typing import Any, NamedTuple

from .. import _lookup, client, endp, events, server
from .._hostnames import ascii_host
from ..channels import Wire, pair
from ..context import Context, IPAddress
from ..errors import AddressError, ResolutionError, UnsupportedTransport
from . import inherited, lent
from .base import Attempts, Listener, ListenOptions, Triple
from .dial import check_zone, dial, zone_of
from .keepalive import keep_alive
from .race import interleaved, no_answer, race
from .sockets import SocketListener, ip_and_port, tcp_endp, tcp_flow

# How often a free port is looked for that is free on every address to listen on.
_PORT_TRIES = 16


def connect(
    target: client.TCP | client.Host, ctx: Context, attempts: Attempts
) -> Coroutine[Any, Any, Triple]:
    """Connect to an IP address, or to that of the addresses of a name which answers first."""
    if isinstance(target, client.TCP):
        return _open(tcp_endp(target.ip, target.port), ctx, None)
    return _connect_to_name(target, ctx, attempts)


async def _connect_to_name(target: client.Host, ctx: Context, attempts: Attempts) -> Triple:
    origin = endp.Host(target.name, target.port)
    found = await _resolve(origin, attempts)
    if len(found) > 1:
        reached = await _race(found, ctx, attempts)
        return await _flow_over(reached._replace(origin=origin), ctx)
    [only] = found
    started = asyncio.get_running_loop().time()
    try:
        return await _open(only, ctx, origin)
    except (OSError, AddressError) as error:
        attempts.append((only, error))
        raise
    except asyncio.CancelledError:
        attempts.append((only, no_answer(asyncio.get_running_loop().time() - started)))
        raise


async def connect_any(
    endps: Sequence[endp.TCP | endp.Host], ctx: Context, attempts: Attempts
) -> Triple:
    """Connect to that of several endpoints which answers first; it becomes the flow's origin.

    A name among them counts as one, whose addresses are raced by themselves; then all keep their
    order, which may be that of their importance.
    """
    return await _flow_over(await _race(endps, ctx, attempts), ctx)


async def listen(mode: server.TCP, ctx: Context, options: ListenOptions) -> list[Listener]:
    """Listen on the address of the mode, else of the context, else on all."""
    if isinstance(mode.config, server.Socket):
        return inherited.listen_on(mode.config.sock_or_fd, ctx, options)
    port = mode.config.port
    addresses = (mode.ip,) if mode.ip is not None else ctx.src
    if lent.lender is not None:
        return await lent.lender.listen(
            lent.Wanted("tcp", port, tuple(map(str, addresses))), ctx, options
        )
    return [SocketListener(sock, ctx) for sock in bind(addresses, port, options)]


def bind(
    addresses: tuple[IPAddress, ...], port: int, options: ListenOptions
) -> list[socket.socket]:
    """Listening sockets: one for each address, or one for all addresses where none is given.

    options: `backlog` and `reuse_port` count.
    """
    try:
        if not addresses:
            return [_bind_all(port, options)]
        return _bind_each(addresses, port, options)
    except UnsupportedTransport:
        raise
    except OSError as error:
        where = " and ".join(map(str, addresses)) or "all addresses"
        raise OSError(
            error.errno, f"cannot listen on port {port} of {where}: {error.strerror}"
        ) from error


class _Reached(NamedTuple):
    """A connected socket, the address that it is connected to, and the endpoint that led there."""

    sock: socket.socket
    where: endp.TCP
    origin: endp.Endp


async def _race(
    endps: Sequence[endp.TCP | endp.Host], ctx: Context, attempts: Attempts
) -> _Reached:
    order = list(endps)
    if all(isinstance(one, endp.TCP) for one in endps):
        order = interleaved(order, _family)
    return await race(
        order, partial(_reach, ctx), attempts, discard=lambda reached: reached.sock.close()
    )


async def _reach(ctx: Context, where: endp.TCP | endp.Host, attempts: Attempts) -> _Reached:
    if isinstance(where, endp.Host):
        found = await _resolve(where, attempts)
        return (await _race(found, ctx, attempts))._replace(origin=where)
    if events.observers:
        events.emit(events.Attempt(where))
    sock = await dial(where.ip, where.port, ctx.src_for(where.ip), ctx.keepalive)
    return _Reached(sock, where, where)


def _family(where: endp.TCP | endp.Host) -> int:
    return where.ip.version if isinstance(where, endp.TCP) else 0


async def _flow_over(reached: _Reached, ctx: Context) -> Triple:
    loop = asyncio.get_running_loop()
    sock, where, origin = reached
    wire = Wire(loop, ctx.close_timeout)
    fd = sock.fileno()
    try:
        await loop.create_connection(lambda: wire, sock=sock)
    except BaseException:
        sock.close()
        raise
    wire.fd = fd
    wire.flow = tcp_flow(fd, where.ip, where.port, origin)
    return Triple(wire.flow, *pair(wire))


async def _open(where: endp.TCP, ctx: Context, origin: endp.Endp | None) -> Triple:
    """The one address there is. origin: None for the address itself."""
    if events.observers:
        events.emit(events.Attempt(where))
    ip, port = where.ip, where.port
    source = ctx.src_for(ip) if ctx.src else None
    if source is not None or (type(ip) is not IPv4Address and zone_of(ip) is not None):
        sock = await dial(ip, port, source, ctx.keepalive)
        return await _flow_over(_Reached(sock, where, origin or where), ctx)
    loop = asyncio.get_running_loop()
    wire = Wire(loop, ctx.close_timeout)
    # The loop's own way costs least.
    transport, _ = await loop.create_connection(lambda: wire, _written(ip), port)
    sock = transport.get_extra_info("socket")
    if ctx.keepalive is not None:
        keep_alive(sock, ctx.keepalive)
    wire.fd = fd = sock.fileno()
    wire.flow = tcp_flow(fd, ip, port, origin or where)
    return Triple(wire.flow, *pair(wire))


def _written(ip: IPAddress) -> str:
    """As `str`, which costs as much as a tenth of all that a connection does.

    Raises AddressError for a zone that is missing.
    """
    # By identity, for neither `hash` nor `==` of an address is any cheaper; addresses that come
    # from text are the same object each time.
    known = _texts.get(id(ip))
    if known is not None and known[0] is ip:
        return known[1]
    check_zone(ip)
    text = str(ip)
    if len(_texts) >= _MOST_TEXTS:
        _texts.clear()
    _texts[id(ip)] = ip, text
    return text


_MOST_TEXTS = 1024
_texts: dict[int, tuple[IPAddress, str]] = {}


async def _resolve(target: endp.Host, attempts: Attempts) -> list[endp.TCP]:
    """The addresses of a name in the order of the system, without doubles; at least one."""
    name, port = target.name, target.port
    try:
        # Not by getaddrinfo, which forgets the zone.
        return [tcp_endp(ip_address(name), port)]
    except ValueError:
        pass
    started = asyncio.get_running_loop().time()
    # Python's own codec is of the older IDNA, which takes some names for others.
    asked = name if name.isascii() else ascii_host(name, keep_dot=True)
    try:
        infos = await _lookup.getaddrinfo(asked, port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ResolutionError(f"cannot resolve {name!r}: {reason}") from error
    except asyncio.CancelledError:
        seconds = asyncio.get_running_loop().time() - started
        late = TimeoutError(f"the name was not resolved within {round(seconds, 2):g} s")
        attempts.append((target, late))
        raise
    found = dict.fromkeys(ip_and_port(info[4]) for info in infos)
    if not found:
        raise ResolutionError(f"cannot resolve {name!r}: it has no address")
    return [tcp_endp(ip, port) for ip, port in found]


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
