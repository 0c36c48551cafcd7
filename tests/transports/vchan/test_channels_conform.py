"""The channels of a vchan keep every promise that can be kept without half-close."""

import asyncio
from contextlib import asynccontextmanager

import conduit
from conduit import client, server
from conduit.testing import check_channels


async def test_direct(port):
    @asynccontextmanager
    async def make():
        arrived: asyncio.Queue = asyncio.Queue()
        done = asyncio.Event()

        async def handler(f, ic, oc):
            await arrived.put((f, ic, oc))
            # Not until it is closed: it is as soon as writing fails, and what has come would be
            # dropped when the handler ends.
            await done.wait()

        async with conduit.listen(server.VchanDirect(0, port), handler):
            near = await conduit.connect(client.VchanDirect(0, port))
            yield near, await arrived.get()
            done.set()

    await check_channels(make, half_close=False, timeout=40)
