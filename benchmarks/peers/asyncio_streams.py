"""asyncio streams: start_server and open_connection of the standard library."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from . import reader_writer
from .interface import BACKLOG, Kind, Place


async def _handle(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        await reader_writer.echo(reader, writer)
    finally:
        await reader_writer.close(writer)


async def _connect(place: Place) -> tuple[StreamReader, StreamWriter]:
    if place.kind == "tcp":
        return await asyncio.open_connection("127.0.0.1", place.port)
    return await asyncio.open_unix_connection(place.path)


class Streams:
    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        if kind == "tcp":
            server = await asyncio.start_server(_handle, "127.0.0.1", 0, backlog=BACKLOG)
            place = Place(kind, port=server.sockets[0].getsockname()[1])
        else:
            server = await asyncio.start_unix_server(_handle, path, backlog=BACKLOG)
            place = Place(kind, path=path)
        try:
            yield place
        finally:
            server.close()
            await server.wait_closed()

    async def exchange(self, place: Place, count: int) -> None:
        for _ in range(count):
            reader, writer = await _connect(place)
            await reader_writer.one_message(reader, writer)
            await reader_writer.close(writer)

    async def ping_pong(self, place: Place, count: int, size: int) -> None:
        reader, writer = await _connect(place)
        await reader_writer.ping_pong(reader, writer, count, size)
        await reader_writer.close(writer)

    async def bulk(self, place: Place, count: int, size: int) -> None:
        reader, writer = await _connect(place)
        await reader_writer.bulk(reader, writer, count, size)
        await reader_writer.close(writer)

    async def hold(self, place: Place, count: int) -> object:
        held = []
        for _ in range(count):
            reader, writer = await _connect(place)
            await reader_writer.one_message(reader, writer)
            held.append((reader, writer))
        return held


PEER = Streams()
