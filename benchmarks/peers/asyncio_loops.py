"""The asyncio runtimes: the standard library's own event loop, and uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from .interface import Runtime


class AsyncioRuntime:
    """Coroutines on one asyncio event loop."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._new_loop = new_loop

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            runner.run(main())

    async def together(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        await asyncio.gather(*(job() for job in jobs))

    def rest(self, seconds: float) -> Awaitable[None]:
        return asyncio.sleep(seconds)


def standard_loop() -> Runtime:
    return AsyncioRuntime(asyncio.SelectorEventLoop)


def uvloop_loop() -> Runtime:
    import uvloop

    return AsyncioRuntime(uvloop.new_event_loop)
