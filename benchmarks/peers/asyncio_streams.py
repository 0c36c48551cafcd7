"""asyncio streams: start_server and open_connection of the standard library."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

from . import reader_writer, tls_contexts
from .interface import BACKLOG, Connected, Kind, Place


async def _handle(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        await reader_writer.echo(reader, writer)
    finally:
        await reader_writer.close(writer)


def _handle_tls_in_tls(directory: str) -> Callable[[StreamReader, StreamWriter], Awaitable[None]]:
    context = tls_contexts.server_context(directory)

    def handle(reader: StreamReader, writer: StreamWriter) -> Awaitable[None]:
        # Before anything of the inner handshake can come in, and be taken for data.
        cast(asyncio.Transport, writer.transport).pause_reading()
        return inner(reader, writer)

    async def inner(reader: StreamReader, writer: StreamWriter) -> None:
        await writer.start_tls(context)
        await _handle(reader, writer)

    return handle


async def _connect(place: Place) -> tuple[StreamReader, StreamWriter]:
    match place.kind:
        case "tcp":
            return await asyncio.open_connection("127.0.0.1", place.port)
        case "unix":
            return await asyncio.open_unix_connection(place.path)
        case kind:
            context = tls_contexts.clients(kind, place.path).context
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", place.port, ssl=context, server_hostname=tls_contexts.NAME
            )
            if kind == "tls-in-tls":
                await writer.start_tls(context, server_hostname=tls_contexts.NAME)
            return reader, writer


def _talked(place: Place, writer: StreamWriter) -> None:
    """A connection has said its message: it is known now which handshake it had."""
    if place.layers:
        connection = writer.get_extra_info("ssl_object")
        tls_contexts.clients(place.kind, place.path).talked(connection)


class Streams:
    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        if kind == "unix":
            server = await asyncio.start_unix_server(_handle, path, backlog=BACKLOG)
            place = Place(kind, path=path)
        else:
            context = None if kind == "tcp" else tls_contexts.server_context(path)
            handle = _handle_tls_in_tls(path) if kind == "tls-in-tls" else _handle
            server = await asyncio.start_server(
                handle, "127.0.0.1", 0, backlog=BACKLOG, ssl=context
            )
            place = Place(kind, port=server.sockets[0].getsockname()[1], path=path)
        try:
            yield place
        finally:
            server.close()
            await server.wait_closed()

    async def exchange(self, place: Place, count: int) -> None:
        for _ in range(count):
            reader, writer = await _connect(place)
            await reader_writer.one_message(reader, writer)
            _talked(place, writer)
            await reader_writer.close(writer)

    async def ping_pong(self, place: Place, count: int, size: int, connected: Connected) -> None:
        reader, writer = await _connect(place)
        connected()
        await reader_writer.ping_pong(reader, writer, count, size)
        await reader_writer.close(writer)

    async def bulk(self, place: Place, count: int, size: int, connected: Connected) -> None:
        reader, writer = await _connect(place)
        connected()
        await reader_writer.bulk(reader, writer, count, size)
        await reader_writer.close(writer)

    async def hold(self, place: Place, count: int) -> list[tuple[StreamReader, StreamWriter]]:
        held = []
        for _ in range(count):
            reader, writer = await _connect(place)
            await reader_writer.one_message(reader, writer)
            held.append((reader, writer))
        return held

    async def talk(self, one: tuple[StreamReader, StreamWriter], count: int, size: int) -> None:
        await reader_writer.ping_pong(*one, count, size)


PEER = Streams()
