"""Sockets that somebody else opened: by descriptor, from a parent process or a supervisor."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

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
            start_listening(sock, options)
        except BaseException:
            sock.detach()
            raise
    else:
        sock = sock_or_fd
        start_listening(sock, options)
    return [SocketListener(sock, ctx)]


def listen_on_all(
    descriptors: Iterable[int],
    ctx: Context,
    options: ListenOptions,
    *,
    what: Callable[[int], str],
) -> list[Listener]:
    """Listen on each of several sockets; all of them are ours then, or none.

    descriptors: of sockets that a supervisor opened. what: names one of them in an error.

    Raises AddressError for what nobody can accept clients from.
    """
    sockets: list[socket.socket] = []
    try:
        for descriptor in descriptors:
            name = what(descriptor)
            try:
                sock = socket.socket(fileno=descriptor)
            except OSError as error:
                raise AddressError(f"{name} is no open socket: {error.strerror}") from error
            sockets.append(sock)
            why_not = _supervisors_mistake(sock)
            if why_not:
                raise AddressError(f"{name} {why_not}")
            start_listening(sock, options)
        return [SocketListener(sock, ctx) for sock in sockets]
    except BaseException:
        for sock in sockets:
            sock.detach()
        raise


def _supervisors_mistake(sock: socket.socket) -> str:
    """What a supervisor was told wrongly; empty if it was not."""
    if sock.type in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        return (
            "is a socket for datagrams, and a flow is a stream: in the unit write ListenStream= "
            "in place of ListenDatagram= or ListenSequentialPacket="
        )
    if sock.type != socket.SOCK_STREAM:
        return "is no stream socket: it cannot be served"
    if _peer_of(sock) is not None:
        return (
            "is a connection that was accepted already, and is to be accepted here: in the unit "
            "write Accept=no, or leave out inetd's way of starting"
        )
    return ""


def start_listening(sock: socket.socket, options: ListenOptions) -> None:
    """Let a bound stream socket listen, with the backlog of the options.

    Raises AddressError for what is no such socket.
    """
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
    peer = _peer_of(sock)
    if peer is not None:
        raise AddressError(
            f"{sock!r} is connected to {peer!r}: only a listening socket can be served"
        )
    name = sock.getsockname()
    if not name or (sock.family in (socket.AF_INET, socket.AF_INET6) and not name[1]):
        raise AddressError(f"{sock!r} is not bound to an address: it cannot be served")


def _peer_of(sock: socket.socket) -> object | None:
    """The address of the peer, which may be empty; None for a socket that has none."""
    try:
        peer: object = sock.getpeername()
    except OSError:
        return None
    return peer
