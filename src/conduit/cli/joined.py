"""Two flows joined, so that each peer talks to the other."""

from __future__ import annotations

import asyncio
from typing import Any

import conduit

_PIECE = 256 * 1024


async def join(a: Any, b: Any) -> None:
    """Send what each peer says to the other, until both have ended; a failure is raised.

    a, b: triples. By `conduit.relay` where this version has it.
    """
    relay = getattr(conduit, "relay", None)
    if relay is not None:
        await relay(a, b)
        return
    ways = [asyncio.ensure_future(_copy(source[1], sink[2])) for source, sink in ((a, b), (b, a))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    for way in ways:
        if not way.cancelled():
            way.result()


async def _copy(ic: conduit.Input, oc: conduit.Output) -> None:
    while data := await ic.read(_PIECE):
        await oc.write(data)
    if oc.can_write_eof():
        oc.write_eof()
        await oc.drain()
