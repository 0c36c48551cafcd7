"""What a flow remembers: all of it is here, and nothing in `Input` and `Output`."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from .._deadlines import Deadline

if TYPE_CHECKING:
    from ..flow import Flow
    from .above import Above

LIMIT = 64 * 1024
"""How far `readuntil` looks, in bytes; input is paused when more than twice that is unread."""

# Shared by all flows; `hold` replaces it before it is written to.
NOTHING_HELD: deque[bytes] = deque()

E = TypeVar("E", bound=BaseException)


class FlowState(asyncio.Protocol):
    """The state of one flow, and what can be told from it.

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
        "exact",
        "exception",
        "fd",
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
        "turned",
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
        # The descriptor below, where the transport is no more than a socket of the kernel's.
        self.fd = -1
        # A layer that was put over this flow: all that comes in is its own.
        self.above: Above | None = None

        # Received and not read. One chunk stays the bytes object that it came as, so that reading
        # all of it copies nothing; a second chunk makes it a bytearray.
        self.buffer: bytes | bytearray | memoryview = b""
        self.limit = LIMIT
        # Whether the transport gives blocks that are as large as what is in them.
        self.exact = False
        self.eof = False
        self.reader: asyncio.Future[None] | None = None
        self.want = 0
        self.reading_paused = False

        self.eof_sent = False
        self.shut = False
        self.refused = False
        self.writing_paused = False
        # What is written meanwhile: each piece that a transport holds can make the next one dearer.
        self.held: deque[bytes] = NOTHING_HELD
        self.held_size = 0
        self.flushing = False
        # As many as the transport had when it was last looked at; it forgets when it fails.
        self.unsent = 0
        self.drainers: list[asyncio.Future[None]] | None = None

        self.bytes_in = 0
        self.bytes_out: int = 0
        # What bytes_out was when a drain last let the loop turn.
        self.turned: int = 0

        self.closing = False
        self.aborted = False
        self.lingering = False
        self.discarded = 0
        self.timer: Deadline | None = None
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

    @property
    def backlog(self) -> int:
        """How many bytes are written and not yet given to the operating system."""
        return self.transport.get_write_buffer_size() + self.held_size

    @property
    def ended(self) -> bool:
        """No more input will come: the peer's end, a failure, or our own close."""
        return self.eof or self.closing or self.lost or self.exception is not None

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

    def gone(self) -> ConnectionError:
        """The error for those who write to a flow that is gone."""
        if isinstance(self.exception, ConnectionError):
            return again(self.exception)
        error = ConnectionResetError("the flow is closed: what is written now goes nowhere")
        error.__cause__ = self.exception
        return error

    def fail_drainers(self) -> None:
        """Tell all who wait for room that the flow is gone."""
        drainers, self.drainers = self.drainers, None
        for drainer in drainers or ():
            if not drainer.done():
                drainer.set_exception(self.gone())

    def drop_held(self) -> None:
        """Forget what was kept for the transport."""
        self.held = NOTHING_HELD
        self.held_size = 0


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
