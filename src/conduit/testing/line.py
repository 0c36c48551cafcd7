"""One direction of a faulty flow: what may happen to its bytes, and how that is done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .._fields import Record

Cut: TypeAlias = Literal["reset", "eof", "silence"]

# How many pieces a second a rate makes, where `chunk` does not say how large they are.
_PIECES_PER_SECOND = 100


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Faults(Record):
    """What happens to the bytes of a flow on their way in one direction; by default nothing.

    delay: seconds that each byte is late. chunk: at most so many bytes at once, each with a turn of
    the loop of its own (a short read). rate: bytes a second, no more. cut_after: after so many
    bytes the direction is cut; 0 cuts it at once. cut: how:

    - "reset": the connection dies, and both sides see a ConnectionResetError; the peer only where
      the transport below can tell it so (TCP and memory can, a Unix socket ends instead).
    - "eof": this direction ends as if the sender had ended it; what is sent later goes nowhere.
    - "silence": nothing passes any more, not even an end or a reset, and nobody is told. The sender
      is held up when the buffers are full.

    Raises ValueError for a limit that cannot be.
    """

    delay: float = 0.0
    chunk: int | None = None
    rate: float | None = None
    cut_after: int | None = None
    cut: Cut = "reset"

    def __post_init__(self) -> None:
        if self.delay < 0:
            raise ValueError(f"delay is {self.delay}: it cannot be negative")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk is {self.chunk}: it must be at least 1, or None for any size")
        if self.rate is not None and self.rate <= 0:
            raise ValueError(f"rate is {self.rate}: it must be more than 0, or None for no limit")
        if self.cut_after is not None and self.cut_after < 0:
            raise ValueError(f"cut_after is {self.cut_after}: it cannot be negative")
        if self.cut not in ("reset", "eof", "silence"):
            raise ValueError(f"cut is {self.cut!r}: it is 'reset', 'eof' or 'silence'")


class Line:
    """The way of the bytes in one direction: passes on what is put in, late and in pieces.

    forward: called with each piece. cut: called once, when as many bytes have passed as may. Both
    are called when the loop turns, never from inside a method.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        faults: Faults,
        forward: Callable[[bytes], None],
        cut: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._faults = faults
        self._forward = forward
        self._cut = cut
        # Bytes, and what to do when all before has passed; each with the time when it is due.
        self._under_way: deque[tuple[float, memoryview | Callable[[], None]]] = deque()
        self._passed = 0
        self._free = 0.0  # when the rate allows the next piece
        self._next: asyncio.Handle | None = None
        self.is_cut = False
        """Whether all that may pass has passed."""
        self.held = False
        """Whether it is told to pass nothing on for now."""
        self.size = 0
        """How many bytes are under way."""

    @property
    def silent(self) -> bool:
        """Whether nothing passes any more, and nobody is told."""
        return self.is_cut and self._faults.cut == "silence"

    def start(self) -> None:
        """Cut it now, if not a single byte may pass."""
        if self._faults.cut_after == 0:
            self._cut_off()

    def put(self, data: bytes) -> None:
        """Send bytes on their way. Those beyond an end or a reset are gone."""
        if data and (self.silent or not self.is_cut):
            self.size += len(data)
            self._append(memoryview(data))

    def then(self, action: Callable[[], None]) -> None:
        """Do `action` when all that was put in has passed; never, if it is cut before."""
        self._append(action)

    def hold(self) -> None:
        """Pass nothing on for now."""
        self.held = True
        self._unschedule()

    def release(self) -> None:
        """Go on."""
        self.held = False
        self._schedule()

    def clear(self) -> None:
        """Lose what is under way."""
        self._under_way.clear()
        self.size = 0
        self._unschedule()

    def _append(self, what: memoryview | Callable[[], None]) -> None:
        self._under_way.append((self._loop.time() + self._faults.delay, what))
        self._schedule()

    def _schedule(self) -> None:
        if self._next is not None or self.held or self.is_cut or not self._under_way:
            return
        due, what = self._under_way[0]
        if isinstance(what, memoryview):
            due = max(due, self._free)
        if due <= self._loop.time():
            self._next = self._loop.call_soon(self._pass)
        else:
            self._next = self._loop.call_at(due, self._pass)

    def _unschedule(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _pass(self) -> None:
        self._next = None
        due, what = self._under_way.popleft()
        if isinstance(what, memoryview):
            most = self._most()
            if len(what) > most:
                self._under_way.appendleft((due, what[most:]))
            self._pass_bytes(bytes(what[:most]))
        else:
            what()
        self._schedule()

    def _pass_bytes(self, data: bytes) -> None:
        self.size -= len(data)
        self._passed += len(data)
        if self._faults.rate is not None:
            now = self._loop.time()
            self._free = max(self._free, now) + len(data) / self._faults.rate
        if self._passed == self._faults.cut_after:
            self._cut_off()
        self._forward(data)

    def _most(self) -> int:
        """How many bytes may pass at once now."""
        faults = self._faults
        most = self.size
        if faults.chunk is not None:
            most = min(most, faults.chunk)
        elif faults.rate is not None:
            most = min(most, max(1, int(faults.rate / _PIECES_PER_SECOND)))
        if faults.cut_after is not None:
            most = min(most, faults.cut_after - self._passed)
        return most

    def _cut_off(self) -> None:
        self.is_cut = True
        if not self.silent:
            self.clear()
        self._loop.call_soon(self._cut)
