"""Happy Eyeballs (RFC 8305): several addresses of one peer, of which the first to answer is taken.

Attempts are started one after the other: each 250 ms after the one before, or at once when one
fails. None is stopped because the next one starts, so a peer that is slow, but quicker than the
others, is still reached. When one succeeds, the others are.

Nothing here knows of sockets; `tcp` says what an attempt is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from ..errors import AddressError
from .base import Attempts

DELAY = 0.25
"""Seconds between two attempts, while none fails: what RFC 8305 recommends."""

C = TypeVar("C")  # a candidate: an address
S = TypeVar("S")  # what a successful attempt gives: a socket

Attempt: TypeAlias = Callable[[C, Attempts], Coroutine[Any, Any, S]]
"""Tries a candidate. What it tries for that itself, it adds to the list, if it fails.

It raises OSError or AddressError for a failure, and leaves nothing open when it raises.
"""


def interleaved(addresses: Iterable[C], family: Callable[[C], object]) -> list[C]:
    """The addresses with their families in turn, so that one that is dead costs little.

    addresses: the preferred one first; its family begins, and each family keeps its own order.
    """
    families: dict[object, deque[C]] = {}
    for address in addresses:
        families.setdefault(family(address), deque()).append(address)
    mixed: list[C] = []
    while families:
        for name, members in list(families.items()):
            mixed.append(members.popleft())
            if not members:
                del families[name]
    return mixed


def no_answer(seconds: float) -> TimeoutError:
    """The failure of an attempt that was under way when the time was over."""
    return TimeoutError(f"no answer within {round(seconds, 2):g} s")


async def race(
    candidates: Iterable[C],
    attempt: Attempt[C, S],
    attempts: Attempts,
    *,
    discard: Callable[[S], object],
    delay: float = DELAY,
) -> S:
    """Try all candidates until one succeeds.

    candidates: one or more, in the order to start them. attempt: tries one. attempts: gets those
    that failed, in the order that they were started; unless one succeeds, those under way, too.
    discard: closes what an attempt gave that came too late. delay: seconds between two starts.

    Returns what the successful attempt gave; if several succeed in the same turn of the loop, that
    of the one started first. Raises the failure of the last candidate when all fail. All other
    attempts have ended by then, also when it is cancelled; unless it is cancelled once more
    meanwhile: then they end by themselves.
    """
    runs: list[_Run[C, S]] = []
    winner: _Run[C, S] | None = None
    try:
        winner = await _first_to_succeed(deque(candidates), attempt, runs, delay)
    finally:
        losers = [run for run in runs if run is not winner]
        now = asyncio.get_running_loop().time()
        try:
            await _stop([run.task for run in losers], discard)
        except BaseException:
            if winner is not None:
                discard(winner.task.result())
            raise
        finally:
            for run in losers:
                if winner is None or run.failure is not None:
                    attempts += run.told(now)
    if winner is None:
        raise runs[-1].failure or AssertionError("a race ends when nobody runs any more")
    return winner.task.result()


@dataclass(slots=True, eq=False)
class _Run(Generic[C, S]):
    """One attempt. inside: what it tried itself."""

    candidate: C
    started: float
    task: asyncio.Task[S]
    inside: Attempts
    failure: Exception | None = field(default=None)

    def told(self, now: float) -> Attempts:
        """How it failed, or that it was under way."""
        return self.inside or [(self.candidate, self.failure or no_answer(now - self.started))]


async def _first_to_succeed(
    left: deque[C], attempt: Attempt[C, S], runs: list[_Run[C, S]], delay: float
) -> _Run[C, S] | None:
    """Start attempts, adding them to `runs`, until one succeeds or all have failed."""
    loop = asyncio.get_running_loop()
    under_way: list[_Run[C, S]] = []
    while left or under_way:
        # The first; then whenever the delay is over, or one has failed.
        if left:
            inside: Attempts = []
            candidate = left.popleft()
            started = loop.time()
            task = loop.create_task(attempt(candidate, inside))
            run = _Run(candidate, started, task, inside)
            runs.append(run)
            under_way.append(run)
        await asyncio.wait(
            [run.task for run in under_way],
            timeout=delay if left else None,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for run in [run for run in under_way if run.task.done()]:
            under_way.remove(run)
            failure = run.task.exception()
            if failure is None:
                return run
            if not isinstance(failure, OSError | AddressError):
                raise failure
            # It is kept beside others, and its traceback would make circles.
            run.failure = failure.with_traceback(None)
    return None


async def _stop(tasks: Collection[asyncio.Task[S]], discard: Callable[[S], object]) -> None:
    """Cancel tasks, wait for their end, and discard what they gave all the same."""

    def drop(task: asyncio.Task[S]) -> None:
        # Asking for the exception also tells asyncio that it is known.
        if not task.cancelled() and task.exception() is None:
            discard(task.result())

    running: list[asyncio.Task[S]] = []
    for task in tasks:
        if task.cancel():
            task.add_done_callback(drop)
            running.append(task)
        else:
            drop(task)
    if running:
        await asyncio.wait(running)
