"""Sockets that somebody else opened: by descriptor, from a parent process or a supervisor."""

from __future__ import annotations

import socket

from .. import server
from ..context import Context
from ..errors import AddressError, UnsupportedTransport
from .base import Attempts, Listener, ListenOptions, Triple
from .sockets import SocketListener, endp_of_socket


async def connect(target: object, ctx: Context, attempts: Attempts) -> Triple:
    """Refused: an inherited listening socket is a way to serve."""
    raise UnsupportedTransport(f"{target!r} is a way to serve, not a place to connect to")


async def listen(
    mode: server.ListeningSocket, ctx: Context, options: ListenOptions
) -> list[Listener]:
    """Serve the descriptor of the mode. It is closed in the end; nothing is ever unlinked."""
    return listen_on(mode.fd, ctx, options)


def listen_on(
    sock_or_fd: socket.socket | int, ctx: Context, options: ListenOptions
) -> list[Listener]:
    """Listen on a bound stream socket, which is ours to close from now on.

    sock_or_fd: a socket object, or a descriptor. It may be listening already; its backlog becomes
    that of the options.

    Raises AddressError for what is no such socket, and leaves it alone then.
    """
    if isinstance(sock_or_fd, int):
        try:
            sock = socket.socket(fileno=sock_or_fd)
        except OSError as error:
            raise AddressError(
                f"descriptor {sock_or_fd} is no open socket: {error.strerror}"
            ) from error
        try:
            _listen(sock, options)
        except BaseException:
            sock.detach()
            raise
    else:
        sock = sock_or_fd
        _listen(sock, options)
    return [SocketListener(sock, ctx)]


def _listen(sock: socket.socket, options: ListenOptions) -> None:
    _check(sock)
    try:
        sock.listen(options.backlog)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot listen on {endp_of_socket(sock)}: {error.strerror}"
        ) from error


def _check(sock: socket.socket) -> None:
    if sock.fileno() < 0:
        raise AddressError(f"{sock!r} is closed: it cannot be served")
    if sock.type != socket.SOCK_STREAM:
        raise AddressError(f"{sock!r} is no stream socket: it cannot be served")
    try:
        peer = sock.getpeername()
    except OSError:
        pass
    else:
        raise AddressError(
            f"{sock!r} is connected to {peer!r}: only a listening socket can be served"
        )
    name = sock.getsockname()
    if not name or (sock.family in (socket.AF_INET, socket.AF_INET6) and not name[1]):
        raise AddressError(f"{sock!r} is not bound to an address: it cannot be served")
