"""One question for each name at a time, however many wait for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


@dataclass(slots=True)
class _Question(Generic[T]):
    """task: that asks. waiting: how many do. kept: whether it goes on when nobody does."""

    task: asyncio.Task[T]
    waiting: int = 0
    kept: bool = False


class Questions(Generic[T]):
    """What is being asked now; in each event loop for itself.

    ask: a function of a name, whose answer is for all who wait for it.
    """

    def __init__(self, ask: Callable[[str], Coroutine[Any, Any, T]]) -> None:
        self._ask = ask
        self._asked: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Question[T]]] = (
            WeakKeyDictionary()
        )

    async def answer(self, name: str, patience: float | None = None) -> T:
        """Ask, or wait with those who have asked.

        patience: seconds to wait; the question goes on when they are over (default None: for the
        answer). When all who wait are cancelled, so is the question.

        Raises TimeoutError when patience is over, and what the function raises.
        """
        question = self._question(name)
        question.waiting += 1
        try:
            done, _ = await asyncio.wait([question.task], timeout=patience)
        except asyncio.CancelledError:
            if question.waiting == 1 and not question.kept:
                question.task.cancel()
            raise
        finally:
            question.waiting -= 1
        if not done:
            question.kept = True
            raise TimeoutError(f"no answer within {patience:g} s")
        return question.task.result()

    def _question(self, name: str) -> _Question[T]:
        loop = asyncio.get_running_loop()
        asked = self._asked.setdefault(loop, {})
        question = asked.get(name)
        # One that was cancelled is not for who comes now.
        if question is None or question.task.done() or question.task.cancelling():
            question = asked[name] = _Question(loop.create_task(self._ask(name)))
            question.task.add_done_callback(lambda task: _ended(asked, name, task))
        return question


def _ended(asked: dict[str, _Question[T]], name: str, task: asyncio.Task[T]) -> None:
    question = asked.get(name)
    if question is not None and question.task is task:
        del asked[name]
    if not task.cancelled():
        task.exception()  # whoever waited has it; if nobody did, it is no mistake
