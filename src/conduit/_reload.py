"""Reading a server's files again, when told to or when they have changed."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from typing import TypeAlias

from .transports import Listener, Reloadable

_Stamp: TypeAlias = tuple[tuple[int, ...] | None, ...]

logger = logging.getLogger("conduit")


class Reloader:
    """What the listeners of one server have read from files.

    A file that cannot be read, or holds what cannot be used, changes nothing: what was read last
    stays in use, and an error says so; while it stays the same, in the log only once.
    """

    def __init__(self, listeners: Iterable[Listener]) -> None:
        # Several listeners may share one; the order is kept.
        self._all = list(dict.fromkeys(one for each in listeners for one in each.reloads))
        self._watching: asyncio.Task[None] | None = None
        self._told: dict[Reloadable, str] = {}

    async def reload(self) -> None:
        """Read all of it again. Raises the first failure, when all have had their turn."""
        failure: Exception | None = None
        for one in self._all:
            try:
                await one.reload()
            except (OSError, ValueError) as error:
                failure = failure or error
                if self._told.get(one) != str(error):
                    self._told[one] = str(error)
                    logger.error(  # noqa: TRY400 (a traceback says nothing more)
                        "cannot reload %s, what was read before stays in use: %s",
                        ", ".join(one.files),
                        error,
                    )
            else:
                self._told.pop(one, None)
                logger.info("reloaded %s", ", ".join(one.files))
        if failure is not None:
            raise failure

    def watch(self, seconds: float) -> None:
        """Look at the files every so many seconds, and reload when one has changed."""
        if self._all:
            self._watching = asyncio.create_task(self._watch(seconds), name="conduit reload")

    def close(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self, seconds: float) -> None:
        files = [file for one in self._all for file in one.files]
        # The first look always reads: who knows what has changed since the server did.
        seen: _Stamp | None = None
        while True:
            await asyncio.sleep(seconds)
            now = await asyncio.to_thread(_stamp, files)
            if now == seen:
                continue
            try:
                await self.reload()
            except (OSError, ValueError):
                # It is in the log. Next time it may be better also without a change: a file that
                # could not be opened, a password that could not be had.
                continue
            seen = now


def _stamp(files: Iterable[str]) -> _Stamp:
    """What tells that a file was changed or replaced; None for one that is not there."""
    found: list[tuple[int, ...] | None] = []
    for file in files:
        try:
            status = os.stat(file)
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev))
    return tuple(found)
