"""A protocol that writes down what its transport tells it."""

from __future__ import annotations

import asyncio
from typing import cast


class Recorder(asyncio.Protocol):
    """Every callback, in order; input that comes in several pieces is one entry.

    keep_open: what `eof_received` answers.
    """

    transport: asyncio.Transport

    def __init__(self, keep_open: bool = False) -> None:
        self.told: list[object] = []
        self.keep_open = keep_open
        self.lost = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def data(self) -> bytes:
        return b"".join(entry for entry in self.told if isinstance(entry, bytes))

    async def until(self, entry: object) -> None:
        """Wait until it was told of `entry`; of so many bytes, if that is a number."""
        while entry not in self.told and not (isinstance(entry, int) and len(self.data) >= entry):
            self._news.clear()
            await self._news.wait()

    def _note(self, entry: object) -> None:
        self.told.append(entry)
        self._news.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no asyncio.Transport, but do all that one does.
        self.transport = cast("asyncio.Transport", transport)
        self._note("made")

    def data_received(self, data: bytes) -> None:
        if self.told and isinstance(self.told[-1], bytes):
            data = self.told.pop() + data  # type: ignore[operator]
        self._note(data)

    def eof_received(self) -> bool:
        self._note("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self._note("lost" if exc is None else type(exc))
        self.lost.set()
