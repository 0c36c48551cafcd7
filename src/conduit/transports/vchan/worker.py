"""The one thread in which this process talks to xenstored, which may take its time.

Whatever is given to it is done in that order: the keys of a server that ends are gone before the
next one looks for them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("conduit")

_thread: ThreadPoolExecutor | None = None


def _submit(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    global _thread
    if _thread is None:
        _thread = ThreadPoolExecutor(1, thread_name_prefix="conduit-xen")
    return _thread.submit(work, *args, **kwargs)


def _forget() -> None:
    # A forked child has the object, and no thread.
    global _thread
    _thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


async def run(work: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
    """Do `work` in the thread.

    undo: when the wait for it is cancelled, it cannot be stopped: this is called, in the thread,
    with what comes of it.
    """
    future = _submit(work)
    settled = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(settled)
    except asyncio.CancelledError:
        # If it fails, nobody is there to be told.
        settled.add_done_callback(lambda done: done.cancelled() or done.exception())
        if undo is not None:
            later(lambda: _undo(future, undo))
        raise


def _undo(future: Future[T], undo: Callable[[T], object]) -> None:
    if not future.cancelled() and future.exception() is None:
        undo(future.result())


def later(work: Callable[[], object]) -> None:
    """Do `work` in the thread, some time; what it raises is logged."""

    def watched() -> None:
        try:
            work()
        except Exception:
            logger.exception("could not tidy up a vchan")

    try:
        _submit(watched)
    except RuntimeError:
        pass  # The interpreter is shutting down: the operating system tidies up.


async def settled() -> None:
    """Wait until all is done that was given to it so far."""
    await run(lambda: None)


def settle() -> None:
    """As `settled`, but it blocks; for tests."""
    _submit(lambda: None).result()
