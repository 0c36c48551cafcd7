"""asyncio protocols over flows: the transport that they see behaves as asyncio's own."""

from __future__ import annotations

import asyncio
from typing import Any

import conduit
from conduit import server
from conduit.ext import protocols


class Recorder(asyncio.Protocol):
    """Remembers all that it is told."""

    def __init__(self, keep_open: bool = False) -> None:
        self.told: list[Any] = []
        self.received = bytearray()
        self.keep_open = keep_open
        self.transport: Any = None
        self.changed = asyncio.Event()

    def _tell(self, what: Any) -> None:
        self.told.append(what)
        self.changed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._tell("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.changed.set()

    def eof_received(self) -> bool:
        self._tell("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(("lost", type(exc)))

    def pause_writing(self) -> None:
        self._tell("pause")

    def resume_writing(self) -> None:
        self._tell("resume")

    async def until(self, what: Any) -> None:
        while what not in self.told:
            self.changed.clear()
            await self.changed.wait()

    async def until_received(self, size: int) -> None:
        while len(self.received) < size:
            self.changed.clear()
            await self.changed.wait()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def test_a_protocol_of_a_server_talks_with_one_of_a_client() -> None:
    async with conduit.listen(server.TCP(0, ip="127.0.0.1"), protocols.Serving(Echo)) as srv:
        transport, protocol = await protocols.create_connection(Recorder, srv.endps[0])
        transport.write(b"hello")
        await protocol.until_received(5)
        transport.close()
        await protocol.until(("lost", type(None)))
    assert protocol.received == b"hello"
    assert protocol.told == ["made", ("lost", type(None))]
