"""A TCP socket, connected to an IP address from a source address: by us, and not by the loop.

uvloop knows nothing of IPv6 zones, neither loop says which of the two addresses is wrong, and
uvloop refuses to race addresses.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from ipaddress import IPv6Address

from .._fields import IPAddress
from ..errors import AddressError
from .keepalive import keep_alive


def zone_of(ip: IPAddress) -> str | None:
    """The interface or its number, behind the "%" of an IPv6 address."""
    return ip.scope_id if isinstance(ip, IPv6Address) else None


def check_zone(ip: IPAddress) -> None:
    """Raise AddressError for an address that needs a zone and has none."""
    if isinstance(ip, IPv6Address) and ip.is_link_local and ip.scope_id is None:
        raise AddressError(f"{ip} is on every link: say on which one, as in {ip}%eth0")


async def dial(
    ip: IPAddress, port: int, source: IPAddress | None, keepalive: float | None
) -> socket.socket:
    """A non-blocking socket that is connected.

    ip, port: where to. source: the local address, None for any. keepalive: as of a `Context`.

    Raises OSError, with the source in its text if that is what is wrong; AddressError for a zone
    that is no interface here. Leaves nothing open when it raises, or is cancelled.
    """
    check_zone(ip)
    family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        if keepalive is not None:
            keep_alive(sock, keepalive)
        if source is not None:
            try:
                sock.bind(_sockaddr(source, 0))
            except OSError as error:
                raise OSError(
                    error.errno, f"cannot connect from src={source}: {error.strerror}"
                ) from error
        await connect_socket(sock, _sockaddr(ip, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_socket(
    sock: socket.socket,
    address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, int],
) -> None:
    """Connect a non-blocking socket. Raises OSError as connect(2)."""
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        await loop.sock_connect(sock, address)  # its usual loop has no add_writer
        return
    try:
        sock.connect(address)
    except (BlockingIOError, InterruptedError):
        pass
    else:
        return
    writable = loop.create_future()
    loop.add_writer(sock.fileno(), _set_done, writable)
    try:
        await writable
    finally:
        loop.remove_writer(sock.fileno())
    failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failure:
        raise OSError(failure, os.strerror(failure))


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _sockaddr(ip: IPAddress, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """A socket address. Raises AddressError for a zone that is no interface here."""
    zone = zone_of(ip)
    if zone is None:
        return str(ip), port
    host = str(ip).partition("%")[0]
    if zone.isdecimal():
        return host, port, 0, int(zone)
    try:
        return host, port, 0, socket.if_nametoindex(zone)
    except OSError:
        raise AddressError(f"{ip}: there is no interface {zone!r} here") from None
