"""Promises of how a flow ends: one way, both ways, and when a side fails."""

from __future__ import annotations

import asyncio
import sys

from ...channels import Input, Output, wire_of
from ...transports import Triple
from .base import (
    cancelled,
    demand,
    failure,
    fill,
    promise,
    receive,
    refusal,
    same,
    sample,
    started,
    together,
    turns,
)

# What `close` waits in a check of just that.
_SHORT = 0.02


# One way.


@promise(half_close=True)
async def one_side_ends_and_the_other_goes_on(a: Triple, b: Triple) -> None:
    """After `write_eof` the peer reads the end, and what it answers arrives."""
    demand(a.oc.can_write_eof(), "can_write_eof() is false")
    a.oc.write(b"question")
    a.oc.write_eof()
    same(await b.ic.read(), b"question")
    demand(not b.oc.is_closing(), "the peer's side is closing as well")
    size = 300_000
    b.oc.write(sample(size))
    await turns()
    async with started(b.oc.write(sample(size, size))) as writing:
        await receive(a.ic, 2 * size)
        await writing
    b.oc.write_eof()
    same(await a.ic.read(), b"")
    demand(a.ic.exception() is None, f"exception() is {a.ic.exception()!r}")


@promise(half_close=True)
async def the_end_comes_after_all_that_was_written(a: Triple, b: Triple) -> None:
    """`write_eof` right after a write of any size: the peer gets all of it, then the end."""
    size = 1024 * 1024
    a.oc.write(sample(size))
    a.oc.write_eof()
    await receive(b.ic, size)
    same(await b.ic.read(), b"")
    b.oc.write(b"thanks")
    same(await a.ic.readexactly(6), b"thanks")


@promise(half_close=True)
async def writing_after_write_eof_is_refused(a: Triple, b: Triple) -> None:
    """`write` after `write_eof` is a RuntimeError; a second `write_eof` does nothing."""
    a.oc.write(b"all")
    a.oc.write_eof()
    refusal(a.oc.write, b"more", kind=RuntimeError)
    refusal(a.oc.writelines, [b"more"], kind=RuntimeError)
    a.oc.write_eof()
    await a.oc.drain()
    same(await b.ic.read(), b"all")
    b.oc.write(b"answer")
    same(await a.ic.readexactly(6), b"answer")


@promise(half_close=True)
async def a_flow_that_ended_both_ways_closes(a: Triple, b: Triple) -> None:
    """When both sides have ended, both read all and close."""
    b.oc.write(b"from b")
    b.oc.write_eof()
    a.oc.write(b"from a")
    a.oc.write_eof()
    same(await a.ic.read(), b"from b")
    same(await b.ic.read(), b"from a")
    await together(_close(a.oc), _close(b.oc))


# Closing.


@promise()
async def close_keeps_the_reply_although_input_is_unread(a: Triple, b: Triple) -> None:
    """A side that closes with input unread still gets its reply through, whole."""
    size = 200_000
    b.oc.write(sample(300_000))
    same(await a.ic.readexactly(1000), sample(1000))
    a.oc.write(sample(size, 5))
    a.oc.close()
    await turns()
    b.oc.write(b"more that nobody reads")
    await receive(b.ic, size, 5)
    same(await b.ic.read(), b"")
    await together(_close(a.oc), _close(b.oc))


@promise()
async def close_works_in_any_order_and_twice(a: Triple, b: Triple) -> None:
    """Both channels close the flow, in any order, and as often as one likes."""
    demand(not a.oc.is_closing(), "is_closing() is true of an open flow")
    for channel in (a.ic, a.oc, a.ic, a.oc, b.oc, b.ic, b.oc):
        channel.close()
        demand(a.oc.is_closing(), "is_closing() is false after close()")
    for channel in (a.oc, b.ic, a.ic, b.oc):
        await channel.close()
    for oc in (a.oc, b.oc, a.oc):
        await oc.wait_closed()
        demand(oc.is_closing(), "is_closing() is false of a closed flow")


@promise()
async def own_close_ends_the_reads(a: Triple, b: Triple) -> None:
    """`close` ends a read that waits, and later ones: they see the end, not an error."""
    async with started(a.ic.read(10)) as reading:
        a.oc.close()
        same(await reading, b"")
    async with started(b.ic.readexactly(10)) as reading:
        b.ic.close()
        await failure(reading, asyncio.IncompleteReadError)
    for side in (a, b):
        same(await side.ic.read(), b"")
        demand(side.ic.at_eof(), "at_eof() is false after close")
        await side.oc.wait_closed()
        same(await side.ic.read(1), b"")


@promise()
async def writing_to_a_closed_flow_fails_when_awaited(a: Triple, b: Triple) -> None:
    """After `close`, `write` raises nothing and sends nothing; awaiting it, or `drain`, does."""
    a.oc.close()
    a.oc.write(b"lost")
    a.oc.writelines([b"lost"])
    a.oc.write_eof()
    same(await b.ic.read(), b"")
    b.oc.close()
    await a.oc.wait_closed()
    await failure(a.oc.write(b"lost"), ConnectionError)
    await failure(a.oc.writelines([b"lost"]), ConnectionError)
    await failure(a.oc.drain(), ConnectionError)
    a.oc.write_eof()


@promise()
async def close_ends_although_the_peer_reads_nothing(a: Triple, b: Triple) -> None:
    """`close` gives what is unsent `close_timeout` seconds, then the flow is aborted."""
    await fill(a.oc)
    wire = wire_of(a.oc)
    wire.close_timeout = min(wire.close_timeout, _SHORT)
    await a.oc.close()
    await failure(a.oc.drain(), ConnectionError)


@promise()
async def close_ends_although_the_peer_stays(a: Triple, b: Triple) -> None:
    """`close` does not wait for ever for a peer that never closes; the peer reads the end."""
    a.oc.write(b"bye")
    await a.oc.close()
    same(await b.ic.read(), b"bye")


@promise()
async def a_cancelled_wait_closed_harms_no_other(a: Triple, b: Triple) -> None:
    """Cancelling one `wait_closed` leaves the others waiting, and the flow as it is."""
    async with started(a.oc.wait_closed()) as one, started(a.oc.wait_closed()) as other:
        await turns()
        demand(await cancelled(one), "wait_closed returned from an open flow")
        await turns()
        demand(not other.done(), "wait_closed returned from an open flow")
        a.oc.write(b"abc")
        same(await b.ic.readexactly(3), b"abc")
        await together(_close(a.oc), _close(b.oc))
        await other


# Failing.


@promise()
async def waiting_for_the_end_never_raises(a: Triple, b: Triple) -> None:
    """`close` and `wait_closed` raise nothing, not of a peer that went, nor of an own abort."""
    a.oc.write(sample(200_000))
    await turns()
    b.oc.transport.abort()
    for oc in (b.oc, a.oc):
        await oc.close()
        await oc.wait_closed()
    a.ic.close()


@promise()
async def writing_to_a_peer_that_went_fails_in_drain_alone(a: Triple, b: Triple) -> None:
    """`write` raises nothing when the peer is gone; `drain` does, sooner or later, and again."""
    b.oc.transport.abort()
    await _write_until_it_fails(a.oc)
    a.oc.write(b"lost")
    a.oc.writelines([b"lost"])
    await failure(a.oc.drain(), ConnectionError)
    await failure(a.oc.write(b"lost"), ConnectionError)


@promise()
async def writing_to_a_peer_that_closed_fails(a: Triple, b: Triple) -> None:
    """Who goes on writing to a peer that closed is told by `drain`."""
    b.oc.close()
    await _write_until_it_fails(a.oc)


@promise()
async def a_waiting_drain_fails_with_the_flow(a: Triple, b: Triple) -> None:
    """A `drain` that waits when the flow dies raises."""
    await fill(a.oc)
    async with started(a.oc.drain()) as one, started(a.oc.drain()) as other:
        b.oc.transport.abort()
        await failure(_failing(one, a.oc), ConnectionError)
        await failure(_failing(other, a.oc), ConnectionError)


@promise()
async def abort_ends_everything_at_once(a: Triple, b: Triple) -> None:
    """`transport.abort()`: what waits fails, unsent bytes are dropped, and the peer sees an end."""
    await fill(a.oc)
    async with started(a.oc.drain()) as draining, started(a.ic.read()) as reading:
        a.oc.transport.abort()
        await failure(_failing(draining, a.oc), ConnectionError)
        await failure(reading, ConnectionAbortedError)
    demand(a.oc.is_closing(), "is_closing() is false after abort()")
    await a.oc.wait_closed()
    await failure(a.ic.read(1), ConnectionAbortedError)
    demand(isinstance(a.ic.exception(), ConnectionAbortedError), "exception() does not tell of it")
    try:
        await b.ic.read()
    except ConnectionError:
        pass  # A reset is as good as an end.


@promise()
async def a_failure_comes_after_the_bytes_before_it(a: Triple, b: Triple) -> None:
    """What came in before a failure can be read before the failure is raised."""
    data = bytes(100)
    b.ic.limit = 16
    a.oc.write(data)
    error = await failure(b.ic.readuntil(), asyncio.LimitOverrunError)
    held = error.consumed
    a.oc.transport.abort()
    got = b""
    try:
        await b.ic.readexactly(sys.maxsize)
    except asyncio.IncompleteReadError as early:
        got = early.partial
    except ConnectionError:
        # It takes nothing then.
        got = await _rest(b.ic)
        await failure(b.ic.read(1), ConnectionError)
    demand(len(got) >= held, f"{held} bytes had come in, and {len(got)} could be read")
    same(got, data[: len(got)])


async def _close(oc: Output) -> None:
    await oc.close()


async def _write_until_it_fails(oc: Output) -> None:
    """Write until drain raises a ConnectionError; as long as the check may last."""
    while True:
        oc.write(bytes(10_000))
        try:
            await oc.drain()
        except ConnectionError:
            return
        # The transport hears of it from outside, not by being asked.
        await asyncio.sleep(0)


async def _failing(draining: asyncio.Task[None], oc: Output) -> None:
    """Wait for a drain; if it went well after all, for one that does not."""
    await draining
    while True:
        oc.write(bytes(10_000))
        await oc.drain()
        await asyncio.sleep(0)


async def _rest(ic: Input) -> bytes:
    got = b""
    while True:
        try:
            data = await ic.read(1000)
        except ConnectionError:
            return got
        if not data:
            return got
        got += data
