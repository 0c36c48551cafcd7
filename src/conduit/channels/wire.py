"""What the two channels of a flow share: an asyncio protocol, and how a flow ends.

    a transport  <->  Wire  <->  Input, Output  <->  the program

Everything a flow has to remember is here, and nothing in `Input` and `Output`. The transport below
may be any `asyncio.Transport`: a socket of the loop's, a TLS layer, a pair in memory.

How a flow is closed
--------------------
A socket that is closed while it holds input nobody has read sends a reset, and the reset destroys
what the other side had not received yet: often the very reply. So `close` goes through steps:

1. flush: what was written leaves, for at most `close_timeout` seconds; then the flow is aborted;
2. the end of our side is sent (FIN), and what comes in is thrown away until the peer ends too, for
   at most `LINGER_SECONDS` or `LINGER_BYTES`;
3. the transport is closed.

A peer that has ended already skips step 2, so an ordinary server never waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, cast

from .. import events

if TYPE_CHECKING:
    from ..flow import Flow

LIMIT = 64 * 1024
"""How far `readuntil` looks, in bytes; input is paused when more than twice that is unread."""

LINGER_SECONDS = 1.0
LINGER_BYTES = 1024 * 1024

logger = logging.getLogger("conduit")


class Wire(asyncio.Protocol):
    """The shared state of one flow; the protocol of its transport.

    loop: the loop of the transport. close_timeout: seconds that unsent bytes get after `close`.
    on_closed: called once, when the transport is gone (its descriptor too, at the latest when the
    loop turns next).
    """

    __slots__ = (
        "buffer",
        "bytes_in",
        "bytes_out",
        "close_timeout",
        "closers",
        "closing",
        "discarded",
        "drainers",
        "eof",
        "eof_sent",
        "exception",
        "flow",
        "limit",
        "lingering",
        "loop",
        "lost",
        "on_closed",
        "opened",
        "reader",
        "reading_paused",
        "reason",
        "timer",
        "transport",
        "unsent",
        "want",
        "writing_paused",
    )

    # Set by connection_made; nothing uses it before.
    transport: asyncio.Transport

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        close_timeout: float,
        on_closed: Callable[[], None] | None = None,
    ) -> None:
        self.loop = loop
        self.close_timeout = close_timeout
        self.on_closed = on_closed
        self.opened = time.monotonic()
        self.flow: Flow | None = None

        # Received and not read. One chunk stays the bytes object that it came as, so that reading
        # all of it copies nothing; a second chunk makes it a bytearray.
        self.buffer: bytes | bytearray = b""
        self.limit = LIMIT
        self.eof = False
        self.reader: asyncio.Future[None] | None = None
        self.want = 0
        self.reading_paused = False

        self.eof_sent = False
        self.writing_paused = False
        self.unsent = 0
        self.drainers: list[asyncio.Future[None]] | None = None

        self.bytes_in = 0
        self.bytes_out = 0

        self.closing = False
        self.lingering = False
        self.discarded = 0
        self.timer: asyncio.TimerHandle | None = None
        self.lost = False
        self.exception: BaseException | None = None
        self.reason: str | None = None
        self.closers: list[asyncio.Future[None]] | None = None

    @property
    def moved(self) -> int:
        """How many bytes have come in or left so far; a limit on idleness watches it."""
        return self.bytes_in + self.bytes_out - self.transport.get_write_buffer_size()

    def __repr__(self) -> str:
        state = "closed" if self.lost else "closing" if self.closing else "open"
        return f"<{state} flow: {self.bytes_in} bytes in, {self.bytes_out} bytes out>"

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport; nothing works before."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep input, and wake a reader that has enough of it."""
        self.bytes_in += len(data)
        if self.closing:
            self._discard(len(data))
            return
        buffer = self.buffer
        if not buffer:
            self.buffer = buffer = data
        elif type(buffer) is bytearray:
            buffer += data
        else:
            self.buffer = buffer = bytearray(buffer)
            buffer += data
        size = len(buffer)
        reader = self.reader
        if reader is not None and not reader.done():
            if size < self.want:
                # The reader is in need of more than the usual bound; it said how much.
                return
            reader.set_result(None)
        if size > 2 * self.limit and not self.reading_paused:
            self.reading_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Take note of the peer's end; we may go on writing."""
        self.eof = True
        self.wake_reader()
        # False lets the transport close itself.
        return not self.lingering

    def pause_writing(self) -> None:
        """Let drains wait."""
        self.writing_paused = True
        self.unsent = self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """Let drains go on; while closing: all has left."""
        self.writing_paused = False
        self.unsent = 0
        drainers, self.drainers = self.drainers, None
        _wake(drainers)
        if self.closing and not self.lingering:
            # Not at once: transports may not be closed from inside this callback.
            self.loop.call_soon(self._flushed)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport is gone: tell everyone who waits."""
        if self.lost:
            return
        self.lost = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if exc is not None and self.exception is None:
            self.exception = exc
        self.wake_reader()
        self._fail_drainers()
        closers, self.closers = self.closers, None
        _wake(closers)
        self._tell_closed()
        on_closed, self.on_closed = self.on_closed, None
        if on_closed is not None:
            on_closed()

    # Reading, for Input.

    @property
    def ended(self) -> bool:
        """No more input will come: the peer's end, a failure, or our own close."""
        return self.eof or self.closing or self.lost

    async def wait(self, want: int) -> None:
        """Wait until `want` bytes are buffered, or no more will come. Cancelling loses nothing."""
        self.resume_reading()
        self.want = want
        self.reader = self.loop.create_future()
        try:
            await self.reader
        finally:
            self.reader = None

    def take(self, size: int) -> bytes:
        """Take at most `size` bytes out of the buffer; there may be none."""
        buffer = self.buffer
        if len(buffer) <= size:
            self.buffer = b""
            data = buffer if type(buffer) is bytes else bytes(buffer)
        else:
            if type(buffer) is not bytearray:
                # From now on the front can be cut off without copying the rest each time.
                self.buffer = buffer = bytearray(buffer)
            data = bytes(memoryview(buffer)[:size])
            del buffer[:size]
        if self.reading_paused and len(self.buffer) <= self.limit:
            self.resume_reading()
        return data

    def check_failure(self) -> None:
        """Raise what ended the flow, unless the input came to its proper end before."""
        if self.exception is not None and not self.eof:
            raise self.exception.with_traceback(None)

    def resume_reading(self) -> None:
        """Let input in again, if it is held back."""
        if self.reading_paused:
            self.reading_paused = False
            if not self.eof and not self.lost:
                self.transport.resume_reading()

    def wake_reader(self) -> None:
        """Let a waiting read look again."""
        reader = self.reader
        if reader is not None and not reader.done():
            reader.set_result(None)

    # Writing, for Output.

    def __await__(self) -> Generator[object, None, None]:
        """`Output.write` returns the wire itself: awaiting it is drain(), dropping it is free."""
        if not self.writing_paused and not self.lost and not self.transport.is_closing():
            return
        yield from self.drain().__await__()

    async def drain(self) -> None:
        """As `Output.drain`."""
        if not self.lost and self.transport.is_closing():
            # The transport knows of a failure but has not told yet; it does when the loop turns.
            # A loop of writes and drains would never let it turn.
            await asyncio.sleep(0)
        if self.lost:
            raise self.gone()
        if not self.writing_paused:
            return
        drainer = self.loop.create_future()
        if self.drainers is None:
            self.drainers = [drainer]
        else:
            self.drainers.append(drainer)
        await drainer

    def send_eof(self) -> None:
        """End our side; what was written goes before."""
        if self.eof_sent or self.lost:
            return
        self.eof_sent = True
        try:
            self.transport.write_eof()
        except OSError:
            # The peer is gone already. The transport will find out by reading.
            pass

    # The end.

    def close(self, reason: str = "closed") -> None:
        """Start closing, as the head of this file tells. A second call does nothing."""
        if self.closing:
            return
        self.closing = True
        self.buffer = b""
        self.wake_reader()
        if self.lost:
            return
        self.reason = self.reason or reason
        transport = self.transport
        if transport.is_closing():
            return
        unsent = transport.get_write_buffer_size()
        if unsent:
            self.timer = self.loop.call_later(self.close_timeout, self._give_up)
            # With limits of nothing, resume_writing comes when all has left.
            transport.set_write_buffer_limits(0)
        elif self.eof:
            transport.close()
            return
        self.send_eof()
        # A peer that is busy sending may not read before it is done: let it go on.
        self.resume_reading()
        if not unsent:
            self._flushed()

    def abort(self, reason: str = "aborted") -> None:
        """Close at once: what is unsent is dropped, and readers and drains fail."""
        if self.lost:
            return
        self.closing = True
        self.buffer = b""
        if self.exception is None:
            self.exception = ConnectionAbortedError("the flow was aborted on this side")
        self.reason = reason
        # Counted now: the transport forgets it.
        self.unsent = self.transport.get_write_buffer_size()
        self.transport.abort()

    def hurry(self) -> None:
        """Do not wait for the end of a peer that sends nothing: everything of ours has left."""
        if self.lingering and not self.discarded:
            self.transport.close()

    async def wait_closed(self) -> None:
        """Wait until the transport is gone."""
        if self.lost:
            return
        waiter = self.loop.create_future()
        if self.closers is None:
            self.closers = [waiter]
        else:
            self.closers.append(waiter)
        await waiter

    def _flushed(self) -> None:
        """All has left: wait for the peer's end, but not for long."""
        if self.lost or self.lingering:
            return
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.eof:
            self.transport.close()
        else:
            self.lingering = True
            self.timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _discard(self, size: int) -> None:
        if self.lingering:
            self.discarded += size
            if self.discarded > LINGER_BYTES:
                self.transport.close()

    def _give_up(self) -> None:
        self.timer = None
        self.abort("close_timeout")

    def gone(self) -> ConnectionError:
        """The error for those who write to a flow that is gone."""
        if isinstance(self.exception, ConnectionError):
            return self.exception
        error = ConnectionResetError("the flow is closed: what is written now goes nowhere")
        error.__cause__ = self.exception
        return error

    def _fail_drainers(self) -> None:
        drainers, self.drainers = self.drainers, None
        for drainer in drainers or ():
            if not drainer.done():
                drainer.set_exception(self.gone())

    def _tell_closed(self) -> None:
        reason = self.reason or "reset"
        if self.unsent and self.closing and reason != "aborted":
            logger.warning(
                "%d bytes written to %s were never sent (%s)",
                self.unsent,
                self.flow or "a flow",
                reason if self.exception is None else f"{reason}: {self.exception}",
            )
        if events.observers:
            events.emit(
                events.Closed(
                    flow=self.flow,
                    reason="reset" if reason == "closed" and self.exception else reason,
                    received=self.bytes_in,
                    sent=self.bytes_out - self.unsent,
                    unsent=self.unsent,
                    seconds=time.monotonic() - self.opened,
                )
            )


def _wake(waiters: list[asyncio.Future[None]] | None) -> None:
    for waiter in waiters or ():
        if not waiter.done():
            waiter.set_result(None)
