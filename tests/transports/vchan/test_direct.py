"""Vchans between domain 0 and itself, on a real Xen."""

import asyncio
import hashlib
import os

import pytest

import conduit
from conduit import client, flow, server

MEGABYTES = 10


async def echo(f, ic, oc):
    while data := await ic.read(65536):
        await oc.write(data)


async def test_bytes_go_both_ways(port):
    async def greet(f, ic, oc):
        served.append(f)
        oc.write(b"hello " + await ic.readline())

    served: list[flow.Flow] = []
    async with conduit.listen(server.VchanDirect(0, port), greet) as srv:
        assert srv.endps == (conduit.endp.VchanDirect(0, port),)
        async with conduit.connect(client.VchanDirect(0, port)) as (f, ic, oc):
            assert f == flow.Vchan(0, port)
            await oc.write(b"xen\n")
            assert await ic.read() == b"hello xen\n"
    assert served == [flow.Vchan(0, port)]
