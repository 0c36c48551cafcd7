"""A bare asyncio.Protocol: callbacks only, no task and no channel for a connection.

The least that an asyncio program can do while its event loop still owns the socket. The
client of this file also stands opposite a server that is measured alone, and the server
opposite a client that is measured alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, cast

from .interface import BACKLOG, MESSAGE, Connected, Kind, Place, WrongEcho


class EchoProtocol(asyncio.Protocol):
    """Sends back what comes in; stops reading while the other side does not take it."""

    __slots__ = ("transport",)
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    # At the end of the input, eof_received returns None and the transport closes itself.


def _unheeded() -> None:
    """For a conversation of which all is counted."""


class _Talk(asyncio.Protocol):
    """One side of a conversation; `done` is set when the connection is closed."""

    def __init__(self, connected: Connected = _unheeded) -> None:
        self.connected = connected
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self.left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connected()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        if exc is None and self.left == 0:
            self.done.set_result(None)
        else:
            self.done.set_exception(exc or WrongEcho(f"{self.left} bytes did not come back"))


class _PingPong(_Talk):
    def __init__(self, message: bytes, count: int, connected: Connected = _unheeded) -> None:
        super().__init__(connected)
        self.message = message
        self.count = count

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._send()

    def _send(self) -> None:
        self.left = len(self.message)
        self.transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left == 0:
            self.count -= 1
            if self.count:
                self._send()
            else:
                self.transport.close()


class _Bulk(_Talk):
    def __init__(self, piece: bytes, count: int, connected: Connected) -> None:
        super().__init__(connected)
        self.piece = piece
        self.unsent = count
        self.left = count * len(piece)
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._send()

    def _send(self) -> None:
        while self.unsent and not self.paused:
            self.unsent -= 1
            self.transport.write(self.piece)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._send()

    def data_received(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left == 0:
            self.transport.close()


class _Held(_Talk):
    """Says one message, and more when it is told to; `done` is set when all are back."""

    message, count = MESSAGE, 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._send()

    def talk(self, message: bytes, count: int) -> asyncio.Future[None]:
        self.message, self.count = message, count
        self.done = asyncio.get_running_loop().create_future()
        self._send()
        return self.done

    def _send(self) -> None:
        self.left = len(self.message)
        self.transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left == 0:
            self.count -= 1
            if self.count:
                self._send()
            else:
                self.done.set_result(None)


_P = TypeVar("_P", bound=asyncio.BaseProtocol)


async def _connect(place: Place, protocol: Callable[[], _P]) -> _P:
    loop = asyncio.get_running_loop()
    if place.kind == "tcp":
        return (await loop.create_connection(protocol, "127.0.0.1", place.port))[1]
    return (await loop.create_unix_connection(protocol, place.path))[1]


class BareProtocol:
    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        loop = asyncio.get_running_loop()
        if kind == "tcp":
            server = await loop.create_server(EchoProtocol, "127.0.0.1", 0, backlog=BACKLOG)
            place = Place(kind, port=server.sockets[0].getsockname()[1])
        else:
            server = await loop.create_unix_server(EchoProtocol, path, backlog=BACKLOG)
            place = Place(kind, path=path)
        try:
            yield place
        finally:
            server.close()
            await server.wait_closed()

    async def exchange(self, place: Place, count: int) -> None:
        for _ in range(count):
            await (await _connect(place, lambda: _PingPong(MESSAGE, 1))).done

    async def ping_pong(self, place: Place, count: int, size: int, connected: Connected) -> None:
        await (await _connect(place, lambda: _PingPong(bytes(size), count, connected))).done

    async def bulk(self, place: Place, count: int, size: int, connected: Connected) -> None:
        await (await _connect(place, lambda: _Bulk(bytes(size), count, connected))).done

    async def hold(self, place: Place, count: int) -> list[_Held]:
        held = []
        for _ in range(count):
            talk = await _connect(place, _Held)
            await talk.done
            held.append(talk)
        return held

    async def talk(self, one: _Held, count: int, size: int) -> None:
        await one.talk(bytes(size), count)


PEER = BareProtocol()
