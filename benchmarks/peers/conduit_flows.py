"""Conduit: listen and connect, with handlers that are closed by the server itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import conduit

from . import reader_writer
from .interface import BACKLOG, Kind, Place


async def _handle(f: conduit.flow.Flow, ic: conduit.Input, oc: conduit.Output) -> None:
    await reader_writer.echo(ic, oc)


def _target(place: Place) -> conduit.client.Client:
    if place.kind == "tcp":
        return conduit.client.TCP("127.0.0.1", place.port)
    return conduit.client.UnixDomainSocket(place.path)


class Conduit:
    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        mode: conduit.server.Mode
        if kind == "tcp":
            mode = conduit.server.TCP(0, ip="127.0.0.1")
        else:
            mode = conduit.server.UnixDomainSocket(path)
        async with conduit.listen(mode, _handle, backlog=BACKLOG) as srv:
            match srv.endps[0]:
                case conduit.endp.TCP(port=port):
                    yield Place(kind, port=port)
                case _:
                    yield Place(kind, path=path)

    async def exchange(self, place: Place, count: int) -> None:
        target = _target(place)
        for _ in range(count):
            _f, ic, oc = await conduit.connect(target)
            await reader_writer.one_message(ic, oc)
            await reader_writer.close(oc)

    async def ping_pong(self, place: Place, count: int, size: int) -> None:
        _f, ic, oc = await conduit.connect(_target(place))
        await reader_writer.ping_pong(ic, oc, count, size)
        await reader_writer.close(oc)

    async def bulk(self, place: Place, count: int, size: int) -> None:
        _f, ic, oc = await conduit.connect(_target(place))
        await reader_writer.bulk(ic, oc, count, size)
        await reader_writer.close(oc)

    async def hold(self, place: Place, count: int) -> object:
        target, held = _target(place), []
        for _ in range(count):
            flow = await conduit.connect(target)
            await reader_writer.one_message(flow[1], flow[2])
            held.append(flow)
        return held


PEER = Conduit()
