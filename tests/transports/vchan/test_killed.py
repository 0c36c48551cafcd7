"""A peer that is killed: the survivor is told at once, and nothing is left behind."""

import asyncio
import contextlib
import random
import signal

import pytest

import conduit
from conduit import client, server
from tests.children import Child
from tests.transports.vchan.peers import BUSY

# Bytes that have come when it is killed.
POINTS = [0, *(random.Random(5).sample(range(2_000_000), 2))]


async def survive(ic, oc, child, point):
    """Read and write until `point` bytes are here, kill the peer: seconds until it is noticed."""
    loop = asyncio.get_running_loop()

    async def write():
        with contextlib.suppress(ConnectionError):
            while True:
                await oc.write(bytes(30_000))

    writing = asyncio.ensure_future(write())
    got = 0
    while got <= point:
        got += len(await ic.read(65536))
    killed = loop.time()
    ending = asyncio.ensure_future(child.end(signal.SIGKILL))
    while await ic.read(65536):
        pass
    await writing
    seconds = loop.time() - killed
    await ending
    return seconds


@pytest.mark.parametrize("point", POINTS)
async def test_client_killed(port, point):
    told = asyncio.get_running_loop().create_future()

    async def handler(f, ic, oc):
        told.set_result(await survive(ic, oc, child, point))

    async with conduit.listen(server.VchanDirect(0, port), handler):
        with Child(BUSY, "client", port) as child:
            assert await told < 1


@pytest.mark.parametrize("point", POINTS)
async def test_server_killed(port, point):
    with Child(BUSY, "server", port) as child:
        async with conduit.connect(client.VchanDirect(0, port)) as (_, ic, oc):
            assert await survive(ic, oc, child, point) < 1
