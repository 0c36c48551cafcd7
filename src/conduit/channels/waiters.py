"""Several tasks that wait for the same thing: a list of futures."""

from __future__ import annotations

import asyncio


async def wait_in(waiters: list[asyncio.Future[None]], loop: asyncio.AbstractEventLoop) -> None:
    """Wait until woken, as one of `waiters`; leave it when cancelled."""
    waiter = loop.create_future()
    waiters.append(waiter)
    try:
        await waiter
    except asyncio.CancelledError:
        if waiter in waiters:
            waiters.remove(waiter)
        raise


def wake(waiters: list[asyncio.Future[None]] | None) -> None:
    """Let all of them go on."""
    for waiter in waiters or ():
        if not waiter.done():
            waiter.set_result(None)
