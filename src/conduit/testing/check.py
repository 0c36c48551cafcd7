"""The channel checker: whether a transport's channels keep what every flow promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, TypeAlias

from ..channels import Input, Output
from ..transports import Triple
from . import promises

Side: TypeAlias = tuple[Any, Input, Output]
Pair: TypeAlias = tuple[Side, Side]
Make: TypeAlias = Callable[[], Awaitable[Pair] | AbstractAsyncContextManager[Pair]]

CHECKS = MappingProxyType(promises.CHECKS)
"""All checks by name, in the order in which they run.

Each is an async function of two connected triples, of which it says in its docstring what they
promise, and raises AssertionError where they do not keep it.
"""


async def check_channels(
    make: Make,
    *,
    half_close: bool = True,
    only: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    timeout: float = 10.0,
) -> None:
    """See whether a transport's channels keep every promise of a flow.

        async def make():
            near, far = await connect_somehow()
            return near, far              # each is (f, ic, oc)

        await conduit.testing.check_channels(make)

    make: an async function, or one that returns an async context manager, that gives two triples
    which are connected with each other. It is called for each check, twice: every check is done
    with either side in either role. The flows are aborted afterwards.
    half_close: False for a transport whose `can_write_eof` is false: checks of that are left out.
    only: the names of the checks to do, default all of `CHECKS`. skip: those to leave out.
    timeout: seconds that one check may take (default 10); what does not end is a broken promise.

    Two checks last as long as what they check: `close` with a peer that reads nothing (0.02 s, or
    `close_timeout` if that is less), and with one that never closes (1 s).

    Raises AssertionError that says which promises are broken, and how; its cause is an
    ExceptionGroup with the failure of each. ValueError for a name that is none.
    """
    broken: list[str] = []
    failures: list[Exception] = []
    chosen = _chosen(half_close, only, skip)
    for name in chosen:
        for swapped in (False, True):
            try:
                await _run(name, make, swapped, timeout)
            except Exception as error:
                side = "second" if swapped else "first"
                broken.append(
                    f"{name}, with the {side} flow as a: {_promise(name)}\n    {_text(error)}"
                )
                failures.append(error)
                break
    if broken:
        raise AssertionError(
            f"{len(broken)} of {len(chosen)} promises are broken:\n  " + "\n  ".join(broken)
        ) from ExceptionGroup("how they are broken", failures)


def _chosen(half_close: bool, only: Iterable[str] | None, skip: Iterable[str]) -> list[str]:
    names = list(CHECKS) if only is None else list(only)
    left_out = set(skip)
    unknown = [name for name in (*names, *left_out) if name not in CHECKS]
    if unknown:
        raise ValueError(f"no such check: {', '.join(unknown)}; they are {', '.join(CHECKS)}")
    if not half_close:
        left_out |= promises.NEED_HALF_CLOSE
    return [name for name in names if name not in left_out]


async def _run(name: str, make: Make, swapped: bool, timeout: float) -> None:
    with _unseen_failures() as unseen:
        async with _made(make) as pair:
            a, b = reversed(pair) if swapped else pair
            try:
                await _within(timeout, CHECKS[name](a, b))
            finally:
                for side in pair:
                    side.oc.transport.abort()
            for side in pair:
                await _within(timeout, side.oc.wait_closed())
    if unseen:
        raise AssertionError(f"something failed that nobody waited for: {unseen[0]}")


@asynccontextmanager
async def _made(make: Make) -> AsyncGenerator[tuple[Triple, Triple], None]:
    made = make()
    if isinstance(made, AbstractAsyncContextManager):
        async with made as (a, b):
            yield Triple(*a), Triple(*b)
    else:
        a, b = await made
        yield Triple(*a), Triple(*b)


async def _within(seconds: float, work: Awaitable[None]) -> None:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await work
    except TimeoutError as error:
        if limit.expired():
            raise AssertionError(f"it did not end within {seconds:g} s") from error
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise AssertionError("something was cancelled, and nobody had asked for it") from error


@contextmanager
def _unseen_failures() -> Generator[list[str], None, None]:
    """What the loop is told of while the block runs: exceptions that nobody waits for."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    unseen: list[str] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        unseen.append(f"{context['message']}: {context.get('exception')!r}")

    loop.set_exception_handler(note)
    try:
        yield unseen
    finally:
        loop.set_exception_handler(before)


def _promise(name: str) -> str:
    return (CHECKS[name].__doc__ or "").strip()


def _text(error: Exception) -> str:
    if isinstance(error, AssertionError):
        return str(error)
    return f"{type(error).__name__}: {error}"
