"""What the checks have in common: how they are listed, how one fails, and the bytes they send."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

from ...channels import Input, Output
from ...transports import Triple

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

Check: TypeAlias = Callable[[Triple, Triple], Coroutine[Any, Any, None]]

LISTED: dict[str, Check] = {}
"""The checks by their names. The docstring is the promise."""

NEED_HALF_CLOSE: set[str] = set()
"""The names of those that a transport without half-close cannot pass."""

# More than any transport may take in that nobody reads: the kernel's TCP buffers are below 20 MB.
_FAR_TOO_MUCH = 64 * 1024 * 1024
_CHUNK = 64 * 1024

# Seconds without progress that count as a writer that waits. Where they were too few, it goes on
# later: checks must bear that.
_STALL = 0.005

# A prime, so that bytes that come at the wrong place differ.
_PERIOD = 1_000_003
_SAMPLE = random.Random("conduit").randbytes(_PERIOD)


def promise(*, half_close: bool = False) -> Callable[[Check], Check]:
    """Put a check on the list. half_close: whether it needs an output that ends alone."""

    def listed(check: Check) -> Check:
        LISTED[check.__name__] = check
        if half_close:
            NEED_HALF_CLOSE.add(check.__name__)
        return check

    return listed


# Failing.


def demand(condition: object, otherwise: str) -> None:
    """Fail the check, saying `otherwise`, unless `condition` holds."""
    if not condition:
        raise AssertionError(otherwise)


async def failure(awaitable: Awaitable[object], kind: type[E]) -> E:
    """The exception of `kind` that `awaitable` must raise."""
    try:
        result = await awaitable
    except kind as error:
        return error
    raise AssertionError(f"gave {_short(result)} where a {kind.__name__} is due")


def refusal(call: Callable[..., object], *args: object, kind: type[Exception]) -> None:
    """Fail unless calling `call` raises an exception of `kind`."""
    try:
        call(*args)
    except kind:
        return
    name = getattr(call, "__name__", repr(call))
    shown = ", ".join(map(_short, args))
    raise AssertionError(f"{name}({shown}) was taken where a {kind.__name__} is due")


def same(got: bytes | bytearray, expected: bytes) -> None:
    """Fail unless exactly the expected bytes came."""
    if got == expected:
        return
    pairs = enumerate(zip(got, expected, strict=False))
    first = next((i for i, (x, y) in pairs if x != y), min(len(got), len(expected)))
    raise AssertionError(
        f"{len(got)} bytes came where {len(expected)} were due; the first wrong one is at {first}: "
        f"{_short(bytes(got[first : first + 16]))}, not {_short(expected[first : first + 16])}"
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}... ({len(text)} characters)"


# Acting.


def sample(size: int, start: int = 0) -> bytes:
    """`size` bytes, always the same, that betray a loss or a change of order.

    start: where in their sequence to begin.
    """
    start %= _PERIOD
    times = -(-(start + size) // _PERIOD)
    return (_SAMPLE * times)[start : start + size]


async def turns(count: int = 5) -> None:
    """Let the loop turn, so that what is ready to happen happens."""
    for _ in range(count):
        await asyncio.sleep(0)


async def together(*work: Coroutine[Any, Any, object]) -> None:
    """Do all at once; the first failure ends them all, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


@asynccontextmanager
async def started(work: Awaitable[T]) -> AsyncGenerator[asyncio.Task[T], None]:
    """A task that waits for `work` and has begun; ended, if need be, with the block."""

    async def wait() -> T:
        return await work

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        await cancelled(task)
        if not task.cancelled():
            task.exception()  # seen: nothing is to be said of it


async def cancelled(task: asyncio.Task[Any]) -> bool:
    """Cancel `task` and wait for its end; says whether it was in time."""
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def drains(oc: Output) -> bool:
    """Whether `drain` returns while bytes still leave; if not, it is cancelled."""
    async with started(oc.drain()) as draining:
        unsent = -1
        while not draining.done() and unsent != (left := oc.transport.get_write_buffer_size()):
            unsent = left
            await asyncio.wait([draining], timeout=_STALL)
            # The time may have been lost elsewhere, and be over together with the wait.
            await turns()
        if draining.done():
            draining.result()
        return draining.done()


async def fill(oc: Output) -> int:
    """Write the sample until `drain` waits, the peer reading nothing; returns how many bytes."""
    written = 0
    while written < _FAR_TOO_MUCH:
        oc.write(sample(_CHUNK, written))
        written += _CHUNK
        if not await drains(oc):
            return written
    raise AssertionError(f"{written} bytes were taken that nobody reads, and drain never waited")


async def receive(ic: Input, size: int, start: int = 0) -> None:
    """Read `size` bytes, and fail unless they are those of the sample from `start` on."""
    end = start + size
    while start < end:
        data = await ic.read(min(_CHUNK // 3, end - start))
        demand(data, f"the input ended {end - start} bytes early")
        same(data, sample(len(data), start))
        start += len(data)
        # More comes in while some of it is unread.
        await asyncio.sleep(0)


def end_output(oc: Output) -> None:
    """Let the peer read the end: by `write_eof` where there is one, else by `close`."""
    if oc.can_write_eof():
        oc.write_eof()
    else:
        oc.close()
