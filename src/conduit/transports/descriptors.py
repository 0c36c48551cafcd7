"""Messages with descriptors between two processes of one user, over a Unix socket: SCM_RIGHTS.

A message is a line of JSON; its descriptors come with its first byte. The two sides speak in turn.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, cast

from ..channels.names import peer_credentials
from ..errors import UnsupportedTransport

Message: TypeAlias = dict[str, Any]

MOST = 253
"""How many descriptors Linux takes in one message."""

_LONGEST = 1 << 20
_PIECE = 65536


class NotUnderstood(OSError):
    """The other side speaks something else, or not at all."""


def check_platform(what: str) -> None:
    """Raise UnsupportedTransport where the kernel does not say who is at the other end."""
    if not hasattr(socket, "SO_PEERCRED") or not hasattr(socket.socket, "recvmsg"):
        raise UnsupportedTransport(
            f"{what}: on {sys.platform} the system does not say who the other process belongs to"
        )


def check_same_user(sock: socket.socket) -> None:
    """Raise PermissionError if the process at the other end is not of our own user."""
    peer = peer_credentials(sock)
    mine = os.geteuid()
    if peer is None or peer.uid != mine:
        other = "nobody knows whom" if peer is None else f"user {peer.uid}"
        raise PermissionError(f"the process at the other end belongs to {other}, not to {mine}")


async def send(sock: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send a message. The descriptors stay ours as well."""
    data = json.dumps(message).encode("ascii") + b"\n"
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    loop = asyncio.get_running_loop()
    sent = 0
    while not sent:
        try:
            sent = sock.sendmsg([data], rights if descriptors else [])
        except BlockingIOError:
            await _ready(loop.add_writer, loop.remove_writer, sock)
    await loop.sock_sendall(sock, data[sent:])


async def receive(sock: socket.socket) -> tuple[Message, list[int]]:
    """Receive a message and its descriptors, which are ours to close.

    Raises EOFError for the end of the other side, NotUnderstood for what is no message.
    """
    descriptors: list[int] = []
    try:
        data = b""
        while not data.endswith(b"\n"):
            piece = await _receive_piece(sock, descriptors)
            if not piece:
                raise EOFError("the process at the other end has gone")
            data += piece
            if len(data) > _LONGEST:
                raise NotUnderstood("the process at the other end sends more than is of use")
        try:
            message: object = json.loads(data)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise NotUnderstood("the process at the other end does not speak of a handover")
        return cast("Message", message), descriptors
    except BaseException:
        close_all(descriptors)
        raise


def close_all(descriptors: Iterable[int]) -> None:
    """Close them."""
    for descriptor in descriptors:
        os.close(descriptor)


async def _receive_piece(sock: socket.socket, descriptors: list[int]) -> bytes:
    room = socket.CMSG_SPACE(MOST * array.array("i").itemsize)
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    while True:
        try:
            data, rights, told, _ = sock.recvmsg(_PIECE, room, flags)
        except BlockingIOError:
            await readable(sock)
            continue
        for level, kind, value in rights:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(value[: len(value) - len(value) % numbers.itemsize])
                descriptors += numbers
        if told & socket.MSG_CTRUNC:
            raise NotUnderstood(
                "not all descriptors came: this process may have no more (ulimit -n)"
            )
        return data


async def readable(sock: socket.socket) -> None:
    """Wait until there is something to read or to accept.

    Whoever closes the socket meanwhile tells the loop first, by `remove_reader`.
    """
    loop = asyncio.get_running_loop()
    await _ready(loop.add_reader, loop.remove_reader, sock)


async def _ready(
    add: Callable[..., object], remove: Callable[[int], object], sock: socket.socket
) -> None:
    fd = sock.fileno()
    ready = asyncio.get_running_loop().create_future()
    add(fd, _set_done, ready)
    try:
        await ready
    finally:
        # Else somebody has closed it, and the number may be another's by now.
        if sock.fileno() == fd:
            remove(fd)


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
