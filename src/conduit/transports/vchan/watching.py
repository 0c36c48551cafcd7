"""Waiting, on the loop, for changes in xenstore."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from . import worker
from .libxenstore import Store

T = TypeVar("T")


class Watching:
    """A connection to xenstored whose watches the loop waits for; an async context manager.

    opened: called in the worker's thread, with the connection; it sets the watches. What it raises
    is raised on entering.
    """

    def __init__(self, opened: Callable[[Store], object]) -> None:
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    async def __aenter__(self) -> Watching:
        self._store = await worker.run(self._open, Store.close)
        self._fd = self._store.fd
        self._loop.add_reader(self._fd, self._changed)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Watch no more; for what is entered by hand."""
        self._loop.remove_reader(self._fd)
        worker.later(self._store.close)

    def _open(self) -> Store:
        store = Store()
        try:
            self._opened(store)
        except BaseException:
            store.close()
            raise
        return store

    async def run(self, work: Callable[[Store], T], undo: Callable[[T], object] | None = None) -> T:
        """Do `work` in the worker's thread. Changes from its beginning on count for `change`."""
        self._event.clear()
        return await worker.run(lambda: work(self._store), undo)

    async def change(self, seconds: float | None) -> None:
        """Wait for a change since `run` began, at most so long; None for any time."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass  # Look again, in case that nobody told.

    def _changed(self) -> None:
        if self._store.changes():
            self._event.set()
