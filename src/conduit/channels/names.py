"""What a transport knows of its two ends: names, and who the peer is."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Any, NamedTuple


class PeerCredentials(NamedTuple):
    """Who connected, as the kernel saw it at that moment; numbers as the operating system's."""

    pid: int
    uid: int
    gid: int


_UCRED = struct.Struct("iII")  # struct ucred, unix(7)


def extra_info(transport: asyncio.BaseTransport, name: str, default: Any) -> Any:
    """`transport.get_extra_info`, with IPv4 peers as IPv4, and "peercred" added."""
    if name == "peercred":
        credentials = peer_credentials(transport.get_extra_info("socket"))
        return default if credentials is None else credentials
    try:
        value = transport.get_extra_info(name, default)
    except (OSError, ValueError, AttributeError):
        # uvloop asks the socket only now, and it may be closed.
        return default
    if value is None:
        # So does uvloop say that it is too late for "socket".
        return default
    return unmapped(value) if name in ("peername", "sockname") else value


def unmapped(address: Any) -> Any:
    """A socket address; if it is an IPv4 address mapped into IPv6, the IPv4 form of it."""
    match address:
        case (str(host), port, _, _) if host.startswith("::ffff:") and "." in host:
            return host.removeprefix("::ffff:"), port
        case _:
            return address


def peer_credentials(sock: Any) -> PeerCredentials | None:
    """Who is at the other end of a Unix socket; None for other sockets and systems."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or sock is None or not _is_unix(sock):
        return None
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, option, _UCRED.size)
    except (OSError, ValueError):
        # Closed; uvloop's descriptor is -1 then.
        return None
    return PeerCredentials(*_UCRED.unpack(raw))


def _is_unix(sock: Any) -> bool:
    """Whether it is a Unix socket: one of vsock is called so, for loops know of no vsock."""
    if sock.family != getattr(socket, "AF_UNIX", None):
        return False
    domain = getattr(socket, "SO_DOMAIN", None)
    if domain is None:
        return True
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, domain) == socket.AF_UNIX)
    except (OSError, ValueError):
        return True  # closed: nothing is asked of it


def unacknowledged(transport: asyncio.BaseTransport) -> int:
    """How many bytes the peer's operating system has not confirmed yet; 1 where nobody knows.

    Bytes written to a Unix socket are at the peer at once.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:
        return 1
    if _is_unix(sock):
        return 0
    try:
        import fcntl
        import termios

        raw = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (ImportError, OSError, ValueError):
        return 1
    return int.from_bytes(raw, sys.byteorder)
