"""anyio on its asyncio backend: listeners, streams and task groups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSListener, TLSStream

from . import tls_contexts
from .interface import BACKLOG, MESSAGE, READ_SIZE, Connected, Kind, Place, check_amount


async def _handle(stream: ByteStream) -> None:
    async with stream:
        try:
            while True:
                await stream.send(await stream.receive(READ_SIZE))
        except anyio.EndOfStream:
            pass


async def _connect(place: Place) -> ByteStream:
    if place.kind == "unix":
        return await anyio.connect_unix(place.path)
    stream: ByteStream = await anyio.connect_tcp("127.0.0.1", place.port)
    for _ in range(place.layers):
        stream = await TLSStream.wrap(
            stream,
            hostname=tls_contexts.NAME,
            ssl_context=tls_contexts.clients(place.kind, place.path).context,
        )
    return stream


def _talked(place: Place, stream: ByteStream) -> None:
    """A connection has said its message: it is known now which handshake it had."""
    if place.layers:
        connection = stream.extra(TLSAttribute.ssl_object)
        tls_contexts.clients(place.kind, place.path).talked(connection)


async def _receive_all(stream: ByteStream, size: int) -> None:
    while size:
        size -= len(await stream.receive(size))


class AnyioStreams:
    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        listener: Listener[Any]
        if kind == "unix":
            listener = await anyio.create_unix_listener(path, backlog=BACKLOG)
            place = Place(kind, path=path)
        else:
            listener = await anyio.create_tcp_listener(
                local_host="127.0.0.1", local_port=0, backlog=BACKLOG
            )
            place = Place(kind, listener.extra(SocketAttribute.local_port), path)
            for _ in range(place.layers):
                listener = TLSListener(listener, tls_contexts.server_context(path))
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, _handle)
            yield place
            tasks.cancel_scope.cancel()

    async def exchange(self, place: Place, count: int) -> None:
        for _ in range(count):
            async with await _connect(place) as stream:
                await stream.send(MESSAGE)
                await _receive_all(stream, len(MESSAGE))
                _talked(place, stream)

    async def ping_pong(self, place: Place, count: int, size: int, connected: Connected) -> None:
        message = bytes(size)
        async with await _connect(place) as stream:
            connected()
            for _ in range(count):
                await stream.send(message)
                await _receive_all(stream, size)

    async def bulk(self, place: Place, count: int, size: int, connected: Connected) -> None:
        piece = bytes(size)
        expected, received = count * size, 0

        async def send() -> None:
            for _ in range(count):
                await stream.send(piece)

        async with await _connect(place) as stream, anyio.create_task_group() as tasks:
            connected()
            tasks.start_soon(send)
            while received < expected:
                received += len(await stream.receive(READ_SIZE))
            check_amount(expected, received)

    async def hold(self, place: Place, count: int) -> object:
        held = []
        for _ in range(count):
            stream = await _connect(place)
            await stream.send(MESSAGE)
            await _receive_all(stream, len(MESSAGE))
            held.append(stream)
        return held


PEER = AnyioStreams()
