"""Promises of `Output`."""

from __future__ import annotations

import array
import warnings

from ...transports import Triple
from .base import (
    cancelled,
    demand,
    drains,
    end_output,
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


@promise()
async def a_writer_waits_for_its_reader(a: Triple, b: Triple) -> None:
    """While the peer reads nothing `drain` waits, so that memory stays bounded; then all comes."""
    size = await fill(a.oc)
    async with started(a.oc.drain()) as draining:
        await receive(b.ic, size)
        await draining
    demand(await drains(a.oc), "drain still waits when all was read")


@promise()
async def every_drain_is_woken(a: Triple, b: Triple) -> None:
    """Several tasks may wait in `drain`, and all go on."""
    size = await fill(a.oc)
    async with started(a.oc.drain()) as one, started(a.oc.drain()) as other:
        await receive(b.ic, size)
        await together(_result(one), _result(other))


@promise()
async def a_write_can_be_awaited(a: Triple, b: Triple) -> None:
    """What `write` and `writelines` return waits as `drain` does."""
    await a.oc.write(b"abc")
    await a.oc.writelines([b"d", b"ef"])
    size = await fill(a.oc)
    async with started(a.oc.write(sample(5, size))) as writing:
        await turns()
        waited = not writing.done() or await drains(a.oc)
        demand(waited, "drain waits, and awaiting a write does not")
        same(await b.ic.readexactly(6), b"abcdef")
        await receive(b.ic, size + 5)
        await writing


@promise()
async def cancelling_a_wait_takes_no_bytes_back(a: Triple, b: Triple) -> None:
    """A `drain`, or an awaited `write`, that is cancelled takes nothing back and harms no other."""
    size = await fill(a.oc)
    async with (
        started(a.oc.drain()) as one,
        started(a.oc.drain()) as other,
        started(a.oc.write(sample(5, size))) as writing,
    ):
        await cancelled(one)
        await cancelled(writing)
        a.oc.write(sample(5, size + 5))
        await receive(b.ic, size + 10)
        await other
    demand(await drains(a.oc), "drain still waits when all was read")


@promise()
async def the_result_of_a_write_can_be_dropped(a: Triple, b: Triple) -> None:
    """What `write` returns may be dropped without a warning."""
    size = await fill(a.oc)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        a.oc.write(sample(5, size))
        a.oc.writelines([sample(5, size + 5)])
    demand(not seen, f"a warning: {seen[0].message if seen else ''}")
    await receive(b.ic, size + 10)


@promise()
async def anything_bytes_like_can_be_written(a: Triple, b: Triple) -> None:
    """`write` and `writelines` take bytes, bytearrays, memoryviews of any shape, and arrays."""
    numbers = array.array("H", [1, 2, 3])
    pieces = (
        b"bytes",
        bytearray(b"bytearray"),
        memoryview(b"view"),
        memoryview(b"e-v-e-r-y- -o-t-h-e-r")[::2],
        memoryview(numbers),
        numbers,
        b"",
    )
    for piece in pieces:
        a.oc.write(piece)  # type: ignore[arg-type]
    a.oc.writelines(pieces)  # type: ignore[arg-type]
    a.oc.writelines([])
    end_output(a.oc)
    same(await b.ic.read(), 2 * b"".join(bytes(memoryview(piece)) for piece in pieces))


@promise()
async def what_is_not_bytes_is_refused(a: Triple, b: Triple) -> None:
    """Writing what is not bytes-like is a TypeError, and sends nothing."""
    a.oc.write(b"before,")
    for wrong in ("text", 5, None, [1, 2], object()):
        refusal(a.oc.write, wrong, kind=TypeError)
        refusal(a.oc.writelines, [b"lost", wrong], kind=TypeError)
    a.oc.write(b"after")
    end_output(a.oc)
    same(await b.ic.read(), b"before,after")


@promise()
async def bytes_go_out_as_they_were(a: Triple, b: Triple) -> None:
    """Changing a bytearray after it was written changes nothing of what is sent."""
    size = await fill(a.oc)

    def write_as_a_line(data: bytearray | memoryview) -> object:
        return a.oc.writelines([data])

    for write in (a.oc.write, write_as_a_line):
        data = bytearray(sample(1000, size))
        view = memoryview(data)
        write(data)
        write(view)
        view[:] = bytes(len(view))
        view.release()
        try:
            data.clear()
        except BufferError:
            demand(condition=False, otherwise="the bytearray cannot be resized any more")
    await receive(b.ic, size)
    same(await b.ic.readexactly(4000), 4 * sample(1000, size))


@promise()
async def close_sends_what_was_written(a: Triple, b: Triple) -> None:
    """`close` right after a write of any size: the peer gets all of it, then the end."""
    size = 1024 * 1024
    a.oc.write(sample(size))
    a.oc.close()
    await turns()
    await receive(b.ic, size)
    same(await b.ic.read(), b"")
    b.oc.close()
    await together(a.oc.wait_closed(), b.oc.wait_closed())


async def _result(task: object) -> None:
    await task  # type: ignore[misc]
