"""Standard input and output without blocking the loop, whatever they are.

They may be terminals, pipes, sockets or files, and belong to other processes as well. So they are
not made non-blocking, which all would notice, but read and written in threads. The threads are
daemons: one that waits for a key does not hold up the end of the command.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

_PIECE = 256 * 1024


class StandardInput:
    """Reads from descriptor 0."""

    def __init__(self) -> None:
        self._thread = _Worker()
        self.received = 0
        """How many bytes have been read."""

    @property
    def is_terminal(self) -> bool:
        """Whether somebody sits there."""
        try:
            return os.isatty(0)
        except OSError:
            return False

    async def read(self) -> bytes:
        """The next piece; b"" at the end. Raises OSError."""
        try:
            data: bytes = await self._thread.call(os.read, 0, _PIECE)
        except OSError as error:
            # A terminal that has gone, or a command that was started without an input.
            if error.errno in (errno.EIO, errno.EBADF):
                return b""
            raise
        self.received += len(data)
        return data


class StandardOutput:
    """Writes to descriptor 1."""

    def __init__(self) -> None:
        self._thread = _Worker()

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises BrokenPipeError when nobody reads, OSError."""
        await self._thread.call(_write_all, 1, data)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class _Worker:
    """A thread that calls functions one after the other."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[asyncio.Future[Any], Callable[..., Any], Any]] = (
            SimpleQueue()
        )
        Thread(target=self._work, name="conduit-stdio", daemon=True).start()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function` there, and give what it gives. Cancelling the wait stops nothing."""
        future = asyncio.get_running_loop().create_future()
        self._calls.put((future, function, args))
        return await future

    def _work(self) -> None:
        while True:
            future, function, args = self._calls.get()
            result, failure = None, None
            try:
                result = function(*args)
            except BaseException as error:
                failure = error
            try:
                future.get_loop().call_soon_threadsafe(_settle, future, result, failure)
            except RuntimeError:
                return  # the loop is closed: the command is over


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)
