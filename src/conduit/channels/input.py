"""`Input`: what a program reads from. It can stand where an `asyncio.StreamReader` stands."""

from __future__ import annotations

import sys
from asyncio import IncompleteReadError, LimitOverrunError
from collections.abc import Awaitable, Sequence

from .output import Output
from .wire import Wire


class Input:
    """The bytes that come in on a flow.

    Made by `connect` and `serve`, not by hand. The methods are those of `asyncio.StreamReader`,
    with the same results, and these promises on top:

    - What came in before a failure can be read before the failure is raised.
    - Cancelling a read loses no byte: the next read starts where it would have.
    - One reader at a time: a second read that would have to wait is a RuntimeError.
    - A flow that its own side aborts ends in ConnectionAbortedError, never in a clean end.

    The peer's reset and other failures of the operating system are raised as they are
    (ConnectionResetError and other OSErrors). After our own `close` reads see the end (`b""`).
    """

    __slots__ = ("_oc", "_wire")

    def __init__(self, wire: Wire, oc: Output) -> None:
        self._wire = wire
        # A flow is forgotten (see Output.__del__) when both channels are; so the one that is kept
        # keeps the other.
        self._oc = oc

    def __repr__(self) -> str:
        return f"<conduit.Input of {self._wire!r}>"

    @property
    def limit(self) -> int:
        """How far `readuntil` and `readline` look, in bytes (default 65536).

        Input beyond twice this is left to the peer's operating system until some is read. It can be
        set at any time; it does not bound `readexactly` and `read()`, which say themselves how much
        they want.
        """
        return self._wire.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        if limit <= 0:
            raise ValueError(f"a limit is at least 1 byte, not {limit}")
        self._wire.limit = limit

    async def read(self, n: int = -1) -> bytes:
        """Read up to `n` bytes as soon as there are any; with no `n`, all until the end.

        n: at most so many bytes; -1: everything until the peer's end, however much that is.

        Returns `b""` at the end. Raises OSError when the flow failed before its end.
        """
        wire = self._wire
        if wire.reader is not None:
            raise _second_reader("read")
        if n < 0:
            while not wire.ended:
                await wire.wait(sys.maxsize)
            wire.check_failure()
            return wire.take(sys.maxsize)
        if n == 0:
            return b""
        buffer = wire.buffer
        if not buffer:
            # As `ended`, without the cost of a call.
            if not (wire.eof or wire.closing or wire.lost or wire.exception is not None):
                # As Wire.wait, without the cost of another coroutine and a call.
                wire.want = 1
                wire.reader = reader = wire.loop.create_future()
                if wire.reading_paused:
                    wire.resume_reading()
                try:
                    await reader
                finally:
                    wire.reader = None
            buffer = wire.buffer
            if not buffer:
                wire.check_failure()
                return b""
        if type(buffer) is bytes and len(buffer) <= n and not wire.reading_paused:
            # As `take`, without the cost of a call.
            wire.buffer = b""
            return buffer
        return wire.take(n)

    async def readexactly(self, n: int) -> bytes:
        """Read `n` bytes, no fewer.

        n: how many bytes; not negative.

        Raises `asyncio.IncompleteReadError` (with what there was as `partial`) when the input ends
        before, ValueError for a negative `n`, OSError when the flow failed (then what came in stays
        and `read(n)` still gets it).
        """
        if n < 0:
            raise ValueError("readexactly size can not be less than zero")
        wire = self._wire
        if wire.reader is not None:
            raise _second_reader("readexactly")
        while len(wire.buffer) < n:
            if wire.ended:
                wire.check_failure()
                raise IncompleteReadError(wire.take(sys.maxsize), n)
            wire.want = n
            wire.reader = reader = wire.loop.create_future()
            if wire.reading_paused:
                wire.resume_reading()
            try:
                await reader
            finally:
                wire.reader = None
        if not n:
            return b""
        buffer = wire.buffer
        if type(buffer) is bytes and len(buffer) == n and not wire.reading_paused:
            # As `take`, without the cost of a call.
            wire.buffer = b""
            return buffer
        return wire.take(n)

    async def readuntil(self, separator: bytes | tuple[bytes, ...] = b"\n") -> bytes:
        """Read up to and with `separator`.

        separator: one bytes object, or several in a tuple: the one that ends first counts.

        Raises `asyncio.LimitOverrunError` when there is none within `limit` bytes; nothing is lost,
        the same bytes can be read again in another way. `asyncio.IncompleteReadError` when the
        input ends before, ValueError for an empty separator, OSError when the flow failed.
        """
        # Of those that end at the same place the shortest counts.
        separators = sorted(separator if isinstance(separator, tuple) else (separator,), key=len)
        if not separators or not separators[0]:
            raise ValueError("a separator has at least one byte")
        shortest, longest = len(separators[0]), len(separators[-1])
        wire = self._wire
        if wire.reader is not None:
            raise _second_reader("readuntil")
        searched = start = end = 0
        while True:
            buffer = wire.buffer
            if type(buffer) is memoryview:
                wire.buffer = buffer = bytes(buffer)
            size = len(buffer)
            if size - searched >= shortest:
                start, end = _first_match(buffer, separators, searched)
                if end:
                    break
                # A separator may have begun within the last bytes.
                searched = max(0, size + 1 - longest)
                if searched > wire.limit:
                    raise LimitOverrunError(
                        f"no separator within {wire.limit} bytes (Input.limit)", searched
                    )
            if wire.ended:
                wire.check_failure()
                raise IncompleteReadError(wire.take(sys.maxsize), None)
            await wire.wait(size + 1)
        if start > wire.limit:
            raise LimitOverrunError(
                f"the separator is further than {wire.limit} bytes (Input.limit)", start
            )
        return wire.take(end)

    async def readline(self) -> bytes:
        """Read up to and with the next newline; what there is when the input ends before.

        Raises ValueError for a line longer than `limit`, and drops what it had of it, as
        `asyncio.StreamReader` does, so that a loop that ignores the error goes on; `readuntil`
        keeps it. OSError when the flow failed.
        """
        try:
            return await self.readuntil(b"\n")
        except IncompleteReadError as error:
            return error.partial
        except LimitOverrunError as error:
            wire = self._wire
            # consumed is where the newline is, or how far there is none.
            found = bytes(wire.buffer[error.consumed : error.consumed + 1]) == b"\n"
            wire.take(error.consumed + 1 if found else sys.maxsize)
            raise ValueError(error.args[0]) from error

    def at_eof(self) -> bool:
        """Whether the input has ended and all of it was read."""
        wire = self._wire
        # A flow that failed has no end: the next read says so.
        failed = wire.exception is not None and (wire.aborted or not wire.eof)
        return wire.ended and not wire.buffer and not failed

    def exception(self) -> BaseException | None:
        """What ended the flow, if it failed; None while it is well, and after a proper end."""
        return self._wire.exception

    def close(self) -> Awaitable[None]:
        """Close the flow, both ways: the same as `Output.close`."""
        return self._oc.close()

    def __aiter__(self) -> Input:
        return self

    async def __anext__(self) -> bytes:
        """The next line, as `readline` gives it."""
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line


def _first_match(
    buffer: bytes | bytearray, separators: Sequence[bytes], searched: int
) -> tuple[int, int]:
    """Where the separator that ends first starts and ends; an end of 0 if there is none."""
    first = (0, 0)
    for separator in separators:
        start = buffer.find(separator, searched)
        end = start + len(separator)
        if start >= 0 and (end < first[1] or not first[1]):
            first = start, end
    return first


def _second_reader(name: str) -> RuntimeError:
    return RuntimeError(
        f"{name}() was called while another task is waiting for input on the same flow: "
        "one reader at a time"
    )
