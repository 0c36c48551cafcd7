"""What the two channels of a flow share: the asyncio protocol of its transport.

    a transport  <->  Wire  <->  Input, Output  <->  the program

The transport below may be any `asyncio.Transport`: a socket of the loop's, a TLS layer, a pair in
memory. What a flow remembers is in `state.py`, how it is closed in `ending.py`, and how a layer is
put over it in `above.py`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections import deque
from collections.abc import Generator
from typing import cast

from .. import events
from ..errors import TruncatedError
from .above import TAKEN, Above
from .ending import Ending
from .heap import keep_heap
from .state import again
from .waiters import wait_in, wake

# After so many bytes a drain lets the loop turn even if there is room for more: whoever is to take
# them gets its turn while they are still in the processor's cache, and nobody is kept waiting until
# the buffers of the kernel, which hold megabytes, are full.
TURN = 64 * 1024

# Input from this size on is taken out of a chunk without making the rest of it a bytearray.
_LARGE = 16 * 1024

# Input below this size is copied; an idle connection costs half as much for it.
_SMALL = 4096

# Bytes that are joined for the transport: enough to keep it busy, few enough to be copied once.
_RELEASED_AT_ONCE = 256 * 1024


class Wire(Ending):
    """The protocol of a flow's transport, and what `Input` and `Output` are made of."""

    __slots__ = ()

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport; nothing works before."""
        self.transport = transport  # type: ignore[assignment]
        # Whoever knows the descriptor of the new transport says so after this.
        self.fd = -1
        self.exact = type(transport).__module__ == "uvloop.loop"

    def data_received(self, data: bytes) -> None:
        """Keep input, and wake a reader that has enough of it."""
        size = len(data)
        self.bytes_in += size
        if self.closing:
            self.discard(size)
            return
        if self.above is not None:
            self.above.data_received(data)
            return
        buffer = self.buffer
        if not buffer:
            if size < _SMALL and not self.exact:
                # asyncio cuts it out of a large block, of which it keeps a whole page.
                data = bytes(memoryview(data))
            self.buffer = data
        else:
            if type(buffer) is not bytearray:
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
            keep_heap()

    def eof_received(self) -> bool:
        """Take note of the peer's end; we may go on writing."""
        self.eof = True
        if self.lingering:
            if self.fd < 0:
                # That lets the transport close itself.
                return False
            self.transport.close()
            # A socket is closed when the loop turns next, before those who are woken go on.
            self.wake_closers()
            return True
        if self.reader is not None:
            self.wake_reader()
        if self.above is not None:
            self.above.eof_received()
        return True

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
            self.loop.call_soon(self.flushed)

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
        if self.held_size:
            self.drop_held()
        if self.reader is not None:
            self.wake_reader()
        if self.drainers is not None:
            self.fail_drainers()
        if self.closers is not None:
            self.wake_closers()
        if self.unsent or events.observers:
            self.tell_closed(exc)
        above, self.above = self.above, None
        if above is not None:
            above.connection_lost(exc)
        on_closed, self.on_closed = self.on_closed, None
        if on_closed is not None:
            on_closed()

    # Reading, for Input.

    def expect(self, want: int) -> asyncio.Future[None]:
        """A future that is done when `want` bytes are buffered, or no more will come.

        Whoever awaits it sets `reader` to None afterwards, also when that is cancelled: nothing is
        lost then.
        """
        self.want = want
        self.reader = reader = self.loop.create_future()
        # Last: a transport may deliver from inside this.
        if self.reading_paused:
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
            data = bytes(memoryview(buffer)[:size])
            if type(buffer) is not bytearray and size >= _LARGE:
                # A few more pieces, and it is used up: not to be copied once more for that.
                self.buffer = memoryview(buffer)[size:]
            else:
                if type(buffer) is not bytearray:
                    # From now on the front can be cut off without copying the rest each time.
                    self.buffer = buffer = bytearray(buffer)
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
        self.reader = TAKEN
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
        self.fail_drainers()
        if self.above is not None:
            self.above.fail(error)

    # Writing, for Output.

    def __await__(self) -> Generator[object, None, None]:
        """`Output.write` returns the wire itself: awaiting it is drain(), dropping it is free."""
        if (
            self.writing_paused
            or self.lost
            or self.closing
            or self.bytes_out - self.turned >= TURN
            or self.transport.is_closing()
        ):
            return self.drain().__await__()
        # Nothing to wait for: an iterator that is at its end does, and costs least.
        return cast("Generator[object, None, None]", iter(()))

    async def drain(self) -> None:
        """As `Output.drain`."""
        if self.bytes_out - self.turned >= TURN:
            self.turned = self.bytes_out
            await asyncio.sleep(0)
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
            self.flush()
        else:
            self.shut_down()

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
