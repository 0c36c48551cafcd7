"""A uvicorn of ours that runs, and who visits it and others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import uvicorn

import conduit
from conduit.ext.httpx import ConduitTransport
from conduit.ext.uvicorn import ConduitServer
from tests.ext.asgi_app import App


@contextlib.asynccontextmanager
async def running(
    app: App, mode: Any, *, listening: Any = None, **config: Any
) -> AsyncGenerator[ConduitServer]:
    """A server while the block runs; then it stops in order."""
    settings = uvicorn.Config(app, log_config=None, **config)
    web = ConduitServer(settings, mode, **(listening or {}))
    task = asyncio.ensure_future(web.serve())
    while not web.started:
        assert not task.done(), task.result()
        await asyncio.sleep(0.001)
    try:
        yield web
    finally:
        web.should_exit = True
        await task


def browser(target: Any, ctx: Any = None, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=ConduitTransport(target, ctx=ctx), **options)


async def refused(target: str) -> None:
    """Wait until nobody listens there."""
    with contextlib.suppress(OSError):
        while True:
            _, _, oc = await conduit.connect(target)
            await oc.close()


async def read_nothing(app: App, where: Any) -> None:
    """Ask for what has no end, read none of it, and leave when the application waits."""
    _, ic, oc = await conduit.connect(where)
    oc.write(b"GET /endless HTTP/1.1\r\nHost: app\r\n\r\n")
    await ic.readuntil(b"\r\n\r\n")
    before = -1
    while app.produced != before:
        before = app.produced
        await asyncio.sleep(0.03)
    # What the kernel and both wires hold.
    assert 0 < app.produced < 4_000_000
    oc.transport.abort()
    await app.disconnected.wait()
    await oc.wait_closed()
