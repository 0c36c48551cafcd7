"""Events as they come, for tests that wait for one; and waiting for what has none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from conduit import events

E = TypeVar("E")


class EventLog:
    """Records every event while its `with` block runs."""

    def __init__(self) -> None:
        self.all: list[events.Event] = []
        self._news = asyncio.Event()

    def __enter__(self) -> EventLog:
        self._subscription = events.subscribe(self._record)
        return self

    def __exit__(self, *_: object) -> None:
        self._subscription.cancel()

    def of(self, kind: type[E]) -> list[E]:
        """Those of one kind, in order."""
        return [event for event in self.all if isinstance(event, kind)]

    async def wait(self, kind: type[E], count: int = 1) -> list[E]:
        """Wait until there are `count` of a kind, and return all of it."""
        while len(found := self.of(kind)) < count:
            self._news.clear()
            await self._news.wait()
        return found

    def _record(self, event: events.Event) -> None:
        self.all.append(event)
        self._news.set()


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Let the loop turn until `condition` holds; for what no event tells."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, f"still not so after {seconds} s"
        await asyncio.sleep(0)
