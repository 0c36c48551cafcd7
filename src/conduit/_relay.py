"""`relay`: two flows joined, so that each peer talks to the other."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import NamedTuple

from ._splice import can_splice, splice
from .channels import Input, Output, Wire, wire_of
from .flow import Flow
from .transports import Triple

# As much as is read at once; an Input holds hardly more.
_PIECE = 256 * 1024

_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Relayed(NamedTuple):
    """How many bytes went each way."""

    a_to_b: int
    b_to_a: int


async def relay(
    a: Triple | tuple[Flow, Input, Output], b: Triple | tuple[Flow, Input, Output]
) -> Relayed:
    """Send what each of two peers says to the other, until both have ended.

        async def handler(f, ic, oc):
            async with conduit.connect(upstream) as there:
                await conduit.relay((f, ic, oc), there)

    a: what `connect` returned, or a handler was given: a flow of any kind. b: another. Nobody else
    reads or writes them meanwhile. They stay open, and whoever has them closes them.

    The end of one peer's output becomes the end of what the other gets, and the other direction
    goes on (half-close). A peer that takes in nothing holds up the other. Between two sockets of
    the kernel's, on Linux, the bytes do not pass through the process (splice(2)).

    Returns how many bytes went from `a` to `b`, and from `b` to `a`. Raises what a flow failed
    with, as reading and writing do; then, and when it is cancelled, both flows are aborted: by TCP
    with a reset and by TLS without a goodbye, so that no peer takes a part for the whole (a Unix
    socket has no such sign). RuntimeError when somebody is reading from one of them.
    """
    wires = wire_a, wire_b = wire_of(a[2]), wire_of(b[2])
    _check(a, b, wires)
    before = wire_a.bytes_out, wire_b.bytes_out
    try:
        if can_splice(wire_a) and can_splice(wire_b):
            await _prepare(wire_a, wire_b)
            await splice(wire_a, wire_b)
        else:
            await _copy_both(a, b)
    except BaseException:
        for wire in wires:
            cut(wire)
        raise
    return Relayed(wire_b.bytes_out - before[1], wire_a.bytes_out - before[0])


def cut(wire: Wire) -> None:
    """Abort a flow so that its peer can tell, where its transport has a sign for that."""
    if wire.fd >= 0 and not (wire.lost or wire.transport.is_closing()):
        sock = wire.transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            # Not to linger for no time at all makes the kernel send a reset, socket(7).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    wire.abort()


def _check(
    a: tuple[Flow, Input, Output], b: tuple[Flow, Input, Output], wires: tuple[Wire, Wire]
) -> None:
    if wires[0] is wires[1]:
        raise ValueError("relay: a and b are the same flow")
    for (_, ic, _), wire in zip((a, b), wires, strict=True):
        if wire_of(ic) is not wire:
            raise ValueError("relay: the two channels of a triple must be of one flow")
        if wire.reader is not None:
            raise RuntimeError("relay: another task is reading from one of these flows")


async def _prepare(a: Wire, b: Wire) -> None:
    """Let all leave that was read or written before, and the ends that came after it."""
    for wire in (a, b):
        if not wire.eof and not wire.lost:
            wire.transport.pause_reading()
            wire.reading_paused = True
    for source, sink in ((a, b), (b, a)):
        early, source.buffer = bytes(source.buffer), b""
        if early:
            sink.send(early)
        source.check_failure()
    for wire in (a, b):
        await _emptied(wire)
    for source, sink in ((a, b), (b, a)):
        if source.eof:
            sink.send_eof()


async def _emptied(wire: Wire) -> None:
    """Wait until nothing is unsent."""
    if not wire.backlog:
        await wire.drain()
        return
    transport = wire.transport
    low, high = transport.get_write_buffer_limits()
    # With limits of nothing there is room again when nothing is left.
    transport.set_write_buffer_limits(0)
    try:
        while wire.backlog and not wire.lost:
            await wire.drain()
            if not wire.writing_paused:
                await asyncio.sleep(0)
    finally:
        if not wire.lost and not transport.is_closing():
            transport.set_write_buffer_limits(high, low)
    await wire.drain()


async def _copy_both(a: tuple[Flow, Input, Output], b: tuple[Flow, Input, Output]) -> None:
    ways = [asyncio.ensure_future(_copy(source[1], sink[2])) for source, sink in ((a, b), (b, a))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for way in ways:
            way.cancel()
        # What ended them first is raised below; what they say to being cancelled is of no use.
        await asyncio.gather(*ways, return_exceptions=True)
    for way in ways:
        if not way.cancelled():
            way.result()


async def _copy(ic: Input, oc: Output) -> None:
    while data := await ic.read(_PIECE):
        await oc.write(data)
    if oc.can_write_eof():
        oc.write_eof()
