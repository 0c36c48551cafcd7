"""Time limits of which nearly all are taken back: one timer of the loop serves them all.

A timer of a loop's own costs a connection a good part of what it costs in all, on uvloop most of
all, and nearly none is ever due. So those of one loop wait in a heap of ours, and the loop is asked
for a timer for the first of them alone, which stays when that is taken back.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Callable
from types import TracebackType

# uvloop counts in milliseconds: a timer may be that much early.
_SLACK = 0.001

# So many that were taken back may wait in the heap before it is looked whether they are the most.
_MANY = 64

_NEVER = float("inf")

_count = itertools.count()


class Deadline:
    """Something that is called at a time, unless it is cancelled before."""

    __slots__ = ("callback", "queue")

    queue: _Queue
    callback: Callable[[], object] | None

    def cancel(self) -> None:
        """Do not call. A second call does nothing, nor does one that comes too late."""
        if self.callback is None:
            return
        self.callback = None
        queue = self.queue
        queue.cancelled += 1
        if queue.cancelled > _MANY:
            queue.tidy_up()

    def run(self) -> None:
        """It is time."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class _Queue:
    """The deadlines of one loop."""

    __slots__ = ("armed", "cancelled", "heap", "timer")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Deadline]] = []
        # How many have been since it was last tidied up.
        self.cancelled = 0
        # When the timer is due.
        self.armed = _NEVER
        self.timer: asyncio.TimerHandle | None = None

    def tidy_up(self) -> None:
        """Throw those out that were cancelled, if they may be the most of all."""
        if 2 * self.cancelled > len(self.heap):
            self.heap = [entry for entry in self.heap if entry[2].callback is not None]
            heapq.heapify(self.heap)
            self.cancelled = 0

    def arm(self, loop: asyncio.AbstractEventLoop, due: float, seconds: float) -> None:
        """Let the loop call when the first is due."""
        if self.timer is not None:
            self.timer.cancel()
        self.armed = due
        # In no context: it may outlive by far the one that it happens to be asked for in.
        self.timer = loop.call_later(
            max(seconds, 0), self._fire, loop, context=contextvars.Context()
        )

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timer = None
        self.armed = _NEVER
        now = loop.time()
        heap = self.heap
        while heap and (heap[0][0] <= now + _SLACK or heap[0][2].callback is None):
            _, _, deadline = heapq.heappop(heap)
            if deadline.callback is not None:
                # By the loop, which knows what to do with what it raises.
                loop.call_soon(deadline.run)
        if heap:
            self.arm(loop, heap[0][0], heap[0][0] - now)


def later(
    loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], object]
) -> Deadline:
    """As `loop.call_later`, for what will most likely be cancelled.

    loop: the running one. seconds: from now. callback: called in the context of nobody.
    """
    deadline = Deadline()
    deadline.callback = callback
    _add(loop, seconds, deadline)
    return deadline


def _add(loop: asyncio.AbstractEventLoop, seconds: float, deadline: Deadline) -> None:
    queue: _Queue | None = getattr(loop, _NAME, None)
    if queue is None:
        queue = _Queue()
        # At the loop, and not in a table beside it: what waits in it refers to the loop.
        setattr(loop, _NAME, queue)
    deadline.queue = queue
    due = loop.time() + seconds
    heapq.heappush(queue.heap, (due, next(_count), deadline))
    if due < queue.armed:
        queue.arm(loop, due, seconds)


_NAME = "_conduit_deadlines"


class TimeLimit(Deadline):
    """As `asyncio.timeout`, for a plain `with` block.

        with TimeLimit(seconds) as limit:
            await ...

    seconds: how long the block may take; None for any time.

    When that is over the task is cancelled; the block raises TimeoutError in place of that
    cancellation, if nobody else has cancelled the task as well. `expired` says that it is over.
    """

    __slots__ = ("_cancelling", "_seconds", "_task", "expired")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self.callback = None
        self.expired = False

    def __enter__(self) -> TimeLimit:
        # Asked once: up to Python 3.11 the answer costs a call of the kernel.
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a time limit needs a task to cancel: there is none")
        self._task = task
        self._cancelling = task.cancelling()
        if self._seconds is not None:
            self.callback = self._expire
            _add(loop, self._seconds, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()
        task = self._task
        # It may wait in the heap for a while, and the task may hold the connection.
        del self._task
        if (
            self.expired
            and task.uncancel() <= self._cancelling
            and isinstance(error, asyncio.CancelledError)
        ):
            raise TimeoutError from error

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()
