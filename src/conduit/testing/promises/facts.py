"""Promises of what can be asked of a flow."""

from __future__ import annotations

import asyncio

from ...transports import Triple
from .base import demand, promise, refusal, same, together


@promise()
async def unknown_facts_have_a_default(a: Triple, b: Triple) -> None:
    """`get_extra_info` gives the default for what is not known, before the end and after it."""
    nothing = object()
    for side in (a, b):
        demand(side.oc.get_extra_info("no such fact") is None, "its default is not None")
        demand(side.oc.get_extra_info("no such fact", nothing) is nothing, "it gives something")
    a.oc.close()
    b.oc.close()
    await together(a.oc.wait_closed(), b.oc.wait_closed())
    for side in (a, b):
        demand(side.oc.get_extra_info("no such fact", nothing) is nothing, "it gives something")
        for name in ("socket", "peername", "sockname", "peercred"):
            side.oc.get_extra_info(name)


@promise()
async def the_flow_knows_its_origin(a: Triple, b: Triple) -> None:
    """Both flows have an `origin`, the endpoint that they came from."""
    for side in (a, b):
        origin = getattr(side.flow, "origin", None)
        demand(origin is not None, f"{side.flow!r} has no origin")


@promise()
async def the_transport_below_can_be_used(a: Triple, b: Triple) -> None:
    """`Output.transport` is an asyncio transport that keeps the promises of its output."""
    transport = a.oc.transport
    transport.write(b"abc")
    transport.writelines([b"d", b"ef"])
    same(await b.ic.readexactly(6), b"abcdef")
    demand(transport.get_write_buffer_size() == 0, "bytes are unsent that were received")
    low, high = transport.get_write_buffer_limits()
    demand(0 <= low <= high, f"its limits are {low}, {high}")
    transport.set_write_buffer_limits(high=1000)
    demand(transport.get_write_buffer_limits()[1] == 1000, "its limits cannot be set")
    refusal(transport.set_protocol, asyncio.Protocol(), kind=RuntimeError)
    demand(transport.can_write_eof() == a.oc.can_write_eof(), "can_write_eof() differs")
    demand(not transport.is_closing(), "is_closing() is true of an open flow")
    transport.close()
    demand(transport.is_closing() and a.oc.is_closing(), "close() does not close")
    same(await b.ic.read(), b"")
