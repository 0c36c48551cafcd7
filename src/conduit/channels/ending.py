"""How a flow ends.

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

from .. import events
from .._deadlines import later
from .above import below_of
from .names import unacknowledged
from .state import FlowState

LINGER_SECONDS = 1.0
LINGER_BYTES = 1024 * 1024

# How often it is looked whether a peer has all, when its end is not waited for.
_HURRY_SECONDS = 0.01

logger = logging.getLogger("conduit")


class Ending(FlowState):
    """A flow that can be closed. What has no `_` is called by the protocol of its transport too."""

    __slots__ = ()

    def close(self, reason: str = "closed") -> None:
        """Start closing, as the head of this file tells. A second call does nothing."""
        if self.closing:
            return
        self.closing = True
        self.buffer = b""
        if self.reader is not None:
            self.wake_reader()
        if self.lost:
            return
        self.reason = self.reason or reason
        if self.transport.is_closing():
            return
        if not self.held_size and not self.transport.get_write_buffer_size():
            self.flushed()
            return
        self.timer = later(self.loop, self.close_timeout, self._give_up)
        self.flush()
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
        closers = self.closers
        if closers is None:
            self.closers = closers = []
        waiter = self.loop.create_future()
        closers.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in closers:
                closers.remove(waiter)
            raise

    def flush(self) -> None:
        """See to it that `flushed` is called when all has left."""
        self.flushing = True
        # With limits of nothing, resume_writing comes when there is nothing left.
        self.transport.set_write_buffer_limits(0)
        self.unsent = self.transport.get_write_buffer_size()

    def flushed(self) -> None:
        """All has left: end our side, and wait for the peer's end if we close, but not for long."""
        if self.lost or self.lingering or self.transport.is_closing():
            return
        if not self.closing:
            self.shut_down()
            return
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.eof or (self.fd < 0 and not self._ends_by_itself()):
            # A layer says goodbye and closes what is below it, which lingers as long as it must.
            self.transport.close()
            return
        self.lingering = True
        self.shut_down()
        if self.reading_paused:
            self.resume_reading()
        self.timer = later(self.loop, LINGER_SECONDS, self.transport.close)

    def shut_down(self) -> None:
        """Send our end, once."""
        # Never with anything unsent: asyncio would do it later, and let the error of a peer that
        # has gone meanwhile escape.
        if not self.shut:
            self.shut = True
            try:
                self.transport.write_eof()
            except OSError:
                # The peer is gone already. The transport will find out by reading.
                pass

    def _ends_by_itself(self) -> bool:
        """Whether the transport has an end of its own to send, and the peer one to answer with."""
        return below_of(self.transport) is None and self.transport.can_write_eof()

    def discard(self, size: int) -> None:
        """Throw away what comes in after a close; too much of it ends the linger."""
        if self.lingering:
            self.discarded += size
            if self.discarded > LINGER_BYTES:
                self.transport.close()

    def _give_up(self) -> None:
        self.timer = None
        self.abort("close_timeout")

    def wake_closers(self) -> None:
        """Let all go on who wait for the end."""
        closers, self.closers = self.closers, None
        for closer in closers or ():
            if not closer.done():
                closer.set_result(None)

    def tell_closed(self, exc: BaseException | None) -> None:
        """Warn of what was not sent, and emit the event."""
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
