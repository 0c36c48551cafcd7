"""Promises of `Input`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import cycle, product
from typing import Any

from ...channels import Input, Output
from ...transports import Triple
from .base import (
    cancelled,
    demand,
    end_output,
    failure,
    promise,
    receive,
    same,
    sample,
    started,
    together,
    turns,
)


@promise()
async def bytes_arrive_in_order_both_ways_at_once(a: Triple, b: Triple) -> None:
    """Bytes arrive complete and in order, both ways at once."""
    size = 512 * 1024

    async def send(oc: Output, start: int) -> None:
        sent = 0
        for step in cycle((1, 4096, 100, 70_000)):
            step = min(step, size - sent)
            await oc.write(sample(step, start + sent))
            sent += step
            if sent == size:
                return

    await together(send(a.oc, 0), receive(b.ic, size, 0), send(b.oc, 77), receive(a.ic, size, 77))


@promise()
async def read_gives_what_there_is(a: Triple, b: Triple) -> None:
    """`read(n)` gives from 1 to n bytes as soon as there are any, and `read(0)` none."""
    a.oc.write(sample(100))
    same(await b.ic.read(0), b"")
    got = b""
    while len(got) < 100:
        data = await b.ic.read(7)
        demand(0 < len(data) <= 7, f"read(7) gave {len(data)} bytes")
        got += data
    same(got, sample(100))
    async with started(b.ic.read(1000)) as reading:
        await turns()
        demand(not reading.done(), "read did not wait for input")
        a.oc.write(b"!")
        same(await reading, b"!")


@promise()
async def read_gives_everything_until_the_end(a: Triple, b: Triple) -> None:
    """`read()` gives all there is until the peer's end, however much that is."""
    size = 4 * b.ic.limit
    a.oc.write(sample(size))
    end_output(a.oc)
    same(await b.ic.read(), sample(size))
    same(await b.ic.read(), b"")


@promise()
async def readexactly_gives_so_many_bytes(a: Triple, b: Triple) -> None:
    """`readexactly(n)` waits for n bytes and gives no more, also if n is beyond every buffer."""
    async with started(b.ic.readexactly(10)) as reading:
        a.oc.write(sample(6))
        await turns()
        demand(not reading.done(), "readexactly(10) did not wait for all of them")
        a.oc.write(sample(100, 6))
        same(await reading, sample(10))
    same(await b.ic.readexactly(0), b"")
    same(await b.ic.readexactly(96), sample(96, 10))
    await failure(b.ic.readexactly(-1), ValueError)
    size = 8 * b.ic.limit
    a.oc.write(sample(size))
    same(await b.ic.readexactly(size), sample(size))


@promise()
async def readexactly_tells_of_an_early_end(a: Triple, b: Triple) -> None:
    """An input that ends early is an IncompleteReadError, which has what there was."""
    a.oc.write(b"abc")
    end_output(a.oc)
    error = await failure(b.ic.readexactly(10), asyncio.IncompleteReadError)
    wanted = (error.partial, error.expected)
    demand(wanted == (b"abc", 10), f"its partial and expected are {wanted}")
    demand(b.ic.at_eof(), "what it gave is still there")


@promise()
async def readuntil_finds_its_separator(a: Triple, b: Triple) -> None:
    """`readuntil` reads up to and with its separator, also one that comes in two pieces."""
    async with started(b.ic.readuntil(b"\r\n")) as reading:
        for piece in (b"one", b"\r", b"\n"):
            a.oc.write(piece)
            await turns()
        same(await reading, b"one\r\n")
    a.oc.write(b"two\r\nx\ry\r\n")
    same(await b.ic.readuntil(b"\r\n"), b"two\r\n")
    same(await b.ic.readuntil(b"\r\n"), b"x\ry\r\n")
    await failure(b.ic.readuntil(b""), ValueError)


@promise()
async def readuntil_takes_several_separators(a: Triple, b: Triple) -> None:
    """Of several separators, in a tuple, the one that ends first counts."""
    a.oc.write(b"one;two--three\n")
    await failure(b.ic.readuntil(()), ValueError)
    for expected in (b"one;", b"two--", b"three\n"):
        same(await b.ic.readuntil((b"\n", b"--", b";")), expected)


@promise()
async def readuntil_tells_of_an_early_end(a: Triple, b: Triple) -> None:
    """An input that ends without a separator is an IncompleteReadError with what there was."""
    a.oc.write(b"one\ntwo")
    end_output(a.oc)
    same(await b.ic.readuntil(), b"one\n")
    error = await failure(b.ic.readuntil(), asyncio.IncompleteReadError)
    same(error.partial, b"two")


@promise()
async def readuntil_past_its_limit_loses_nothing(a: Triple, b: Triple) -> None:
    """`readuntil` that finds nothing within the limit is a LimitOverrunError and takes no byte."""
    b.ic.limit = 16
    line = bytes(100) + b"\n"
    a.oc.write(line)
    for _ in range(2):
        await failure(b.ic.readuntil(), asyncio.LimitOverrunError)
    same(await b.ic.readexactly(60), line[:60])
    await failure(b.ic.readuntil(), asyncio.LimitOverrunError)
    same(await b.ic.readexactly(31), line[60:91])
    same(await b.ic.readuntil(), line[91:])


@promise()
async def readline_gives_lines(a: Triple, b: Triple) -> None:
    """`readline` gives a line with its newline; at the end what is left, then nothing."""
    a.oc.write(b"one\n\ntw")
    a.oc.write(b"o\nrest")
    end_output(a.oc)
    for expected in (b"one\n", b"\n", b"two\n", b"rest", b"", b""):
        same(await b.ic.readline(), expected)


@promise()
async def readline_past_its_limit_goes_on(a: Triple, b: Triple) -> None:
    """A line beyond the limit is a ValueError, and who ignores it reads the next one."""
    b.ic.limit = 16
    a.oc.write(bytes(100) + b"\nnext\n")
    await failure(b.ic.readline(), ValueError)
    for _ in range(100):
        try:
            line = await b.ic.readline()
        except ValueError:
            continue  # more of the long one has come in meanwhile
        if line == b"next\n":
            return
        demand(line.strip(b"\0") == b"\n", f"readline gave {line!r}")
    demand(condition=False, otherwise="readline never came to the next line")


@promise()
async def lines_can_be_iterated_over(a: Triple, b: Triple) -> None:
    """`async for` gives the lines until the end."""
    a.oc.write(b"one\ntwo\nthree")
    end_output(a.oc)
    lines = [line async for line in b.ic]
    demand(lines == [b"one\n", b"two\n", b"three"], f"it gave {lines}")


@promise()
async def at_eof_is_told_when_all_was_read(a: Triple, b: Triple) -> None:
    """`at_eof` is true from when the input has ended and all of it was read."""
    demand(not b.ic.at_eof(), "at_eof is true of an open flow")
    a.oc.write(b"abc")
    end_output(a.oc)
    same(await b.ic.readexactly(2), b"ab")
    await turns(20)
    demand(not b.ic.at_eof(), "at_eof is true, and a byte is left")
    same(await b.ic.read(), b"c")
    demand(b.ic.at_eof(), "at_eof is false, and nothing is left")
    for read in (b.ic.read, b.ic.readline):
        same(await read(), b"")
    demand(b.ic.exception() is None, f"after a proper end exception() is {b.ic.exception()!r}")


@promise()
async def a_second_reader_is_refused(a: Triple, b: Triple) -> None:
    """A read while another one waits is a RuntimeError, and does the other one no harm."""
    async with started(b.ic.readexactly(2)) as reading:
        for read in (b.ic.read, b.ic.readuntil, b.ic.readline):
            await failure(read(), RuntimeError)
        for read_some in (b.ic.read, b.ic.readexactly):
            await failure(read_some(1), RuntimeError)
        a.oc.write(b"abc")
        same(await reading, b"ab")
    same(await b.ic.read(1), b"c")


@promise()
async def cancelling_a_read_loses_nothing(a: Triple, b: Triple) -> None:
    """A read that is cancelled, at whatever moment, takes no byte, and the next one goes on."""
    reads: tuple[Callable[[Input], Coroutine[Any, Any, bytes]], ...] = (
        lambda ic: ic.readexactly(3),
        lambda ic: ic.read(3),
        lambda ic: ic.readuntil(b"\0\0\0"),
        lambda ic: ic.read(),
    )
    start = 0
    for read, before, after in product(reads, range(2), range(8)):
        async with started(read(b.ic)) as reading:
            await turns(before)
            a.oc.write(sample(2, start))
            await turns(after)
            got = b"" if await cancelled(reading) else reading.result()
        same(got + await b.ic.readexactly(2 - len(got)), sample(2, start))
        start += 2
