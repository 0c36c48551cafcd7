"""The transport over rings in memory: what it does needs no hypervisor to be seen."""

import asyncio
from typing import Any, cast

import pytest

from conduit import endp
from conduit.channels import Wire
from conduit.testing import check_channels
from conduit.transports.vchan.slot import triple
from tests.transports.vchan.rings import ring_pair


async def pair():
    loop = asyncio.get_running_loop()
    peer = endp.VchanDirect(0, "rings")
    left, right = (triple(cast("Any", end), peer, Wire(loop, 5), peer) for end in ring_pair())
    return left, right


async def test_channels_keep_their_promises():
    await check_channels(pair, half_close=False)


async def test_what_the_peer_sent_is_read_although_writing_fails():
    (_, _, oc), (_, ic2, oc2) = await pair()
    await oc.write(b"the last")
    await oc.close()
    oc2.write(b"too late")
    await oc2.wait_closed()
    with pytest.raises(ConnectionResetError):
        await oc2.drain()
    assert await ic2.read() == b"the last"
    await oc2.close()


async def test_what_the_peer_sent_before_it_went_is_read_although_more_is_kept_than_usual():
    """Writing fails while input is held back, since there is too much of it already."""
    data = bytes(300_000)
    (_, _, oc), (_, ic2, oc2) = await pair()
    oc2.write(bytes(300_000))
    oc.write(data)
    closing = asyncio.ensure_future(oc.close())
    assert len(await ic2.readexactly(100_000)) == 100_000
    oc2.write(b"more")
    assert len(await ic2.read()) == 200_000
    await closing
    await oc2.close()
