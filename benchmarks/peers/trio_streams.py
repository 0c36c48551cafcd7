"""trio: its own event loop, its listeners and its streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from . import tls_contexts
from .interface import (
    BACKLOG,
    MESSAGE,
    READ_SIZE,
    Connected,
    Kind,
    Place,
    Runtime,
    WrongEcho,
    check_amount,
)


class TrioRuntime:
    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        trio.run(main)

    async def together(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        async with trio.open_nursery() as nursery:
            for job in jobs:
                nursery.start_soon(job)

    async def rest(self, seconds: float) -> None:
        await trio.sleep(seconds)


def trio_loop() -> Runtime:
    return TrioRuntime()


Stream = trio.SocketStream | trio.SSLStream[Any]


async def _handle(stream: Stream) -> None:
    while data := await stream.receive_some(READ_SIZE):
        await stream.send_all(data)


async def _connect(place: Place) -> Stream:
    if place.kind == "unix":
        return await trio.open_unix_socket(place.path)
    stream: Stream = await trio.open_tcp_stream("127.0.0.1", place.port)
    for _ in range(place.layers):
        stream = trio.SSLStream(
            stream,
            tls_contexts.clients(place.kind, place.path).context,
            server_hostname=tls_contexts.NAME,
        )
        await stream.do_handshake()
    return stream


def _talked(place: Place, stream: Stream) -> None:
    """A connection has said its message: it is known now which handshake it had."""
    if place.layers:
        tls_contexts.clients(place.kind, place.path).talked(stream)


async def _receive_all(stream: Stream, size: int) -> None:
    while size:
        data = await stream.receive_some(size)
        if not data:
            raise WrongEcho("the connection ended early")
        size -= len(data)


async def _unix_listener(path: str) -> trio.SocketListener:
    listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listening.bind(path)
    listening.listen(BACKLOG)
    return trio.SocketListener(listening)


class TrioStreams:
    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        async with trio.open_nursery() as nursery:
            listeners: list[Any]
            if kind == "unix":
                listeners = [await _unix_listener(path)]
                place = Place(kind, path=path)
            else:
                listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=BACKLOG)
                place = Place(kind, listeners[0].socket.getsockname()[1], path)
                for _ in range(place.layers):
                    context = tls_contexts.server_context(path)
                    listeners = [trio.SSLListener(one, context) for one in listeners]
            await nursery.start(trio.serve_listeners, _handle, listeners)
            yield place
            nursery.cancel_scope.cancel()

    async def exchange(self, place: Place, count: int) -> None:
        for _ in range(count):
            async with await _connect(place) as stream:
                await stream.send_all(MESSAGE)
                await _receive_all(stream, len(MESSAGE))
                _talked(place, stream)

    async def ping_pong(self, place: Place, count: int, size: int, connected: Connected) -> None:
        message = bytes(size)
        async with await _connect(place) as stream:
            connected()
            for _ in range(count):
                await stream.send_all(message)
                await _receive_all(stream, size)

    async def bulk(self, place: Place, count: int, size: int, connected: Connected) -> None:
        piece = bytes(size)
        expected, received = count * size, 0

        async def send() -> None:
            for _ in range(count):
                await stream.send_all(piece)

        async with await _connect(place) as stream, trio.open_nursery() as nursery:
            connected()
            nursery.start_soon(send)
            while received < expected:
                data = await stream.receive_some(READ_SIZE)
                if not data:
                    raise WrongEcho(f"the connection ended after {received} of {expected} bytes")
                received += len(data)
            check_amount(expected, received)

    async def hold(self, place: Place, count: int) -> object:
        held = []
        for _ in range(count):
            stream = await _connect(place)
            await stream.send_all(MESSAGE)
            await _receive_all(stream, len(MESSAGE))
            held.append(stream)
        return held


PEER = TrioStreams()
