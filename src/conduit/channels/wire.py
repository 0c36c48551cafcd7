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
import copy
import errno
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from .. import events
from ..errors import TruncatedError
from .names import unacknowledged
from .waiters import wait_in, wake

if TYPE_CHECKING:
    from ..flow import Flow

LIMIT = 64 * 1024
"""How far `readuntil` looks, in bytes; input is paused when more than twice that is unread."""

LINGER_SECONDS = 1.0
LINGER_BYTES = 1024 * 1024

# Input below this size is copied; an idle connection costs half as much for it.
_SMALL = 4096

# How often it is looked whether a peer has all, when its end is not waited for.
_HURRY_SECONDS = 0.01

E = TypeVar("E", bound=BaseException)

# Bytes that are joined for the transport: enough to keep it busy, few enough to be copied once.
_RELEASED_AT_ONCE = 256 * 1024

# Shared by all wires; `hold` replaces it before it is written to.
_NOTHING_HELD: deque[bytes] = deque()

logger = logging.getLogger("conduit")


class Wire(asyncio.Protocol):
    """The shared state of one flow; the protocol of its transport.

    loop: the loop of the transport. close_timeout: seconds that unsent bytes get after `close`.
    on_closed: called once, when the transport is gone (its descriptor too, at the latest when the
    loop turns next).
    """

    __slots__ = (
        "aborted",
        "above",
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
        "flushing",
        "held",
        "held_size",
        "limit",
        "lingering",
        "loop",
        "lost",
        "on_closed",
        "opened",
        "reader",
        "reading_paused",
        "reason",
        "refused",
        "shut",
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
        # A layer that was put over this flow: all that comes in is its own.
        self.above: Above | None = None

        # Received and not read. One chunk stays the bytes object that it came as, so that reading
        # all of it copies nothing; a second chunk makes it a bytearray.
        self.buffer: bytes | bytearray = b""
        self.limit = LIMIT
        self.eof = False
        self.reader: asyncio.Future[None] | None = None
        self.want = 0
        self.reading_paused = False

        self.eof_sent = False
        self.shut = False
        self.refused = False
        self.writing_paused = False
        # What is written meanwhile: each piece that a transport holds can make the next one dearer.
        self.held: deque[bytes] = _NOTHING_HELD
        self.held_size = 0
        self.flushing = False
        # As many as the transport had when it was last looked at; it forgets when it fails.
        self.unsent = 0
        self.drainers: list[asyncio.Future[None]] | None = None

        self.bytes_in = 0
        self.bytes_out = 0

        self.closing = False
        self.aborted = False
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
        return self.bytes_in + self.bytes_out - self.backlog

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
        if self.above is not None:
            self.above.data_received(data)
            return
        buffer = self.buffer
        if not buffer:
            if len(data) < _SMALL:
                # asyncio cuts it out of a large block, of which it keeps a whole page.
                data = bytes(memoryview(data))
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
        if self.above is not None:
            self.above.eof_received()
        # False lets the transport close itself.
        return not self.lingering

    def pause_writing(self) -> None:
        """Let drains wait."""
        self.writing_paused = True
        self.unsent = self.transport.get_write_buffer_size()
        if self.above is not None:
            self.above.pause_writing()

    def resume_writing(self) -> None:
        """Let drains go on, unless there is too much again; tell of a flush that is done."""
        self.writing_paused = False
        self.unsent = 0
        if self.held_size and self._release():
            return
        drainers, self.drainers = self.drainers, None
        wake(drainers)
        if self.above is not None:
            self.above.resume_writing()
        if self.flushing:
            self.flushing = False
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
        if isinstance(exc, OSError) and exc.errno == errno.ENOTCONN:
            # What uvloop says when the peer's reset is found out by ending our side.
            exc = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if exc is not None and not self.closing and self.exception is None:
            # What came first is the cause.
            self.exception = exc.with_traceback(None)
        self.unsent = (self.transport.get_write_buffer_size() or self.unsent) + self.held_size
        self._drop_held()
        self.wake_reader()
        self._fail_drainers()
        closers, self.closers = self.closers, None
        wake(closers)
        self._tell_closed(exc)
        above, self.above = self.above, None
        if above is not None:
            above.connection_lost(exc)
        on_closed, self.on_closed = self.on_closed, None
        if on_closed is not None:
            on_closed()

    # Reading, for Input.

    @property
    def ended(self) -> bool:
        """No more input will come: the peer's end, a failure, or our own close."""
        return self.eof or self.closing or self.lost or self.exception is not None

    def expect(self, want: int) -> asyncio.Future[None]:
        """A future that is done when `want` bytes are buffered, or no more will come.

        Whoever awaits it sets `reader` to None afterwards, also when that is cancelled: nothing is
        lost then.
        """
        self.want = want
        self.reader = reader = self.loop.create_future()
        # Last: a transport may deliver from inside this.
        self.resume_reading()
        return reader

    async def wait(self, want: int) -> None:
        """Wait until `want` bytes are buffered, or no more will come."""
        try:
            await self.expect(want)
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
        if self.exception is not None and (self.aborted or not self.eof):
            raise self._failure(self.exception)

    def _failure(self, exception: BaseException) -> BaseException:
        error = again(exception)
        if isinstance(error, TruncatedError):
            # For a caller to whom half is better than nothing; it can be read, too.
            error.partial = bytes(self.buffer)
        return error

    def carry(self, above: Above) -> bytes:
        """Give all that comes in to a layer from now on; its own channels are of no use any more.

        Returns what came in before.
        """
        early = self.take(sys.maxsize)
        self.above = above
        self.reader = cast("asyncio.Future[None]", _TAKEN)
        self.eof_sent = True
        self.resume_reading()
        return early

    def fail_input(self, error: BaseException) -> None:
        """No more input will come, for want of a proper end; output may go on."""
        if self.exception is None and not self.ended:
            self.exception = error
            self.wake_reader()
            if self.above is not None:
                self.above.fail_input(error)

    def fail(self, error: BaseException) -> None:
        """The flow has failed, though its transport is not gone yet: tell everyone who waits."""
        if self.lost or self.closing:
            return
        if self.exception is None:
            # Its traceback would lead back here.
            self.exception = error.with_traceback(None)
        self.wake_reader()
        self._fail_drainers()
        if self.above is not None:
            self.above.fail(error)

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
        if not (self.writing_paused or self.lost or self.closing or self.transport.is_closing()):
            return
        yield from self.drain().__await__()

    async def drain(self) -> None:
        """As `Output.drain`."""
        if not self.lost and (self.closing or self.transport.is_closing()):
            # The transport may know of a failure but not have told yet; it does when the loop
            # turns. A loop of writes and drains would never let it turn.
            await asyncio.sleep(0)
        if (
            self.lost
            or self.refused
            or (self.exception is not None and self.transport.is_closing())
        ):
            raise self.gone()
        if not self.writing_paused:
            return
        if self.drainers is None:
            self.drainers = []
        await wait_in(self.drainers, self.loop)

    @property
    def backlog(self) -> int:
        """How many bytes are written and not yet given to the operating system."""
        return self.transport.get_write_buffer_size() + self.held_size

    def hold(self, data: bytes) -> None:
        """Keep what is written while the transport has enough."""
        if not self.held_size:
            self.held = deque()
        self.held.append(data)
        self.held_size += len(data)

    def send(self, data: bytes) -> None:
        """Write what a layer above has made; it goes nowhere if the flow is about to end."""
        if self.closing or self.lost:
            return
        self.bytes_out += len(data)
        if self.writing_paused:
            self.hold(data)
        else:
            self.transport.write(data)

    def send_eof(self) -> None:
        """End our side; what was written goes before."""
        if self.eof_sent or self.lost:
            return
        if not self.transport.can_write_eof():
            raise NotImplementedError("this transport cannot be closed one way")
        self.eof_sent = True
        if self.backlog:
            self._flush()
        else:
            self._shut_down()

    def _flush(self) -> None:
        """See to it that `_flushed` is called when all has left."""
        self.flushing = True
        # With limits of nothing, resume_writing comes when there is nothing left.
        self.transport.set_write_buffer_limits(0)
        self.unsent = self.transport.get_write_buffer_size()

    def _release(self) -> bool:
        """Give the transport what was held for it. Whether some had to be kept."""
        while self.held_size and not self.writing_paused and not self.transport.is_closing():
            pieces: list[bytes] = []
            size = 0
            while self.held and size < _RELEASED_AT_ONCE:
                piece = self.held.popleft()
                pieces.append(piece)
                size += len(piece)
            self.held_size -= size
            self.transport.write(b"".join(pieces))
        return self.writing_paused or self.held_size > 0

    def _drop_held(self) -> None:
        self.held = _NOTHING_HELD
        self.held_size = 0

    def _shut_down(self) -> None:
        # Never with anything unsent: asyncio would do it later, and let the error of a peer that
        # has gone meanwhile escape.
        if not self.shut:
            self.shut = True
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
        if self.transport.is_closing():
            return
        if not self.backlog:
            self._flushed()
            return
        self.timer = self.loop.call_later(self.close_timeout, self._give_up)
        self._flush()
        # A peer that is busy sending may not read before it is done: let it go on.
        self.resume_reading()

    def abort(self, reason: str = "aborted") -> None:
        """Close at once: what is unsent is dropped, and readers and drains fail."""
        if self.lost or self.aborted:
            return
        self.aborted = True
        if not self.closing:
            self.closing = True
            self.exception = ConnectionAbortedError("the flow was aborted on this side")
            self.buffer = b""
            # Now, not when the transport is gone: the reader may be the one who aborts.
            self.wake_reader()
        self.reason = reason
        # Counted now: the transport forgets it.
        self.unsent = self.transport.get_write_buffer_size()
        self.transport.abort()

    def hurry(self) -> None:
        """Do not wait for the end of a peer that has all that we wrote and sends nothing."""
        below = below_of(self.transport)
        if below is not None:
            below.hurry()
            return
        if not self.lingering or self.discarded or self.lost:
            return
        if unacknowledged(self.transport):
            # Its operating system may take its time to confirm.
            self.loop.call_later(_HURRY_SECONDS, self.hurry)
        else:
            self.transport.close()

    async def wait_closed(self) -> None:
        """Wait until the transport is gone."""
        if self.lost:
            return
        if self.closers is None:
            self.closers = []
        await wait_in(self.closers, self.loop)

    def _flushed(self) -> None:
        """All has left: end our side, and wait for the peer's end if we close, but not for long."""
        if self.lost or self.lingering:
            return
        if not self.closing:
            self._shut_down()
            return
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.eof or below_of(self.transport) is not None or not self.transport.can_write_eof():
            # A layer says goodbye and closes what is below it, which lingers as long as it must.
            self.transport.close()
            return
        self.lingering = True
        self._shut_down()
        self.resume_reading()
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
            return again(self.exception)
        error = ConnectionResetError("the flow is closed: what is written now goes nowhere")
        error.__cause__ = self.exception
        return error

    def _fail_drainers(self) -> None:
        drainers, self.drainers = self.drainers, None
        for drainer in drainers or ():
            if not drainer.done():
                drainer.set_exception(self.gone())

    def _tell_closed(self, exc: BaseException | None) -> None:
        if self.flow is None:
            # It failed before anybody had it.
            return
        reason = self.reason or "reset"
        if exc is not None and reason == "closed":
            reason = "reset"
        if self.unsent and reason != "aborted":
            logger.warning(
                "%d bytes written to %s were never sent (%s)",
                self.unsent,
                self.flow,
                reason if exc is None else f"{reason}: {exc}",
            )
        if events.observers:
            events.emit(
                events.Closed(
                    flow=self.flow,
                    reason=reason,
                    received=self.bytes_in,
                    sent=self.bytes_out - self.unsent,
                    unsent=self.unsent,
                    seconds=time.monotonic() - self.opened,
                )
            )


class _Taken:
    """Stands where a reader would, and waits for nothing."""

    def done(self) -> bool:
        return True


_TAKEN = _Taken()


class Above(Protocol):
    """A layer over a flow: it is told what the wire below is told, after it."""

    def data_received(self, data: bytes, /) -> None:
        """Input, which is not kept here."""

    def eof_received(self) -> object:
        """The peer's end."""

    def pause_writing(self) -> None:
        """Enough for now."""

    def resume_writing(self) -> None:
        """There is room again."""

    def fail_input(self, error: BaseException, /) -> None:
        """No more input will come, for want of a proper end."""

    def fail(self, error: BaseException, /) -> None:
        """The flow below has failed, and will be gone soon."""

    def connection_lost(self, exc: BaseException | None, /) -> None:
        """The flow below is gone."""


def below_of(transport: asyncio.BaseTransport) -> Wire | None:
    """The wire below a transport that is a layer; None for one that stands by itself."""
    below: Wire | None = getattr(transport, "below", None)
    return below


def again(error: E) -> E:
    """A copy of an exception that was kept.

    The same object raised time and again would collect the traceback of each time, and hold on to
    the flow by it.
    """
    try:
        fresh = copy.copy(error)
    except Exception:
        # An exception of somebody's own, with a constructor of its own.
        return error
    fresh.__cause__ = error
    return fresh
