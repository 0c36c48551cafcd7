"""An ASGI application in one call, by either library."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

import conduit
from conduit.ext.asgi import serve_asgi
from tests.ext.asgi_app import App
from tests.ext.uvicorn_server import browser

LIBRARIES: Any = ("uvicorn", "hypercorn")


@pytest.mark.parametrize("by", LIBRARIES)
async def test_an_application_is_served_until_it_is_stopped(by: Any, socket_path: str) -> None:
    app = App()
    listening: asyncio.Future[conduit.Server] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.ensure_future(
        serve_asgi(
            f"unix:{socket_path}",
            app,
            by=by,
            stop=stop,
            started=listening.set_result,
            unix_mode=0o600,
        )
    )
    async with browser((await listening).endps[0]) as http:
        assert (await http.get("http://app/x")).json()["path"] == "/x"
        stop.set()
        await task
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize("by", LIBRARIES)
async def test_cancelling_ends_requests_and_the_application(by: Any, socket_path: str) -> None:
    app = App()
    task = asyncio.ensure_future(serve_asgi(f"unix:{socket_path}", app, by=by, drain=0.1))
    async with browser(f"unix:{socket_path}?timeout=5") as http:
        while not os.path.exists(socket_path):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        request = asyncio.ensure_future(http.get("http://app/wait"))
        await app.entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait([request])
        request.exception()
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize("by", LIBRARIES)
async def test_an_application_that_does_not_start_is_an_error(by: Any, socket_path: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="did not start"):
        await serve_asgi(f"unix:{socket_path}", app, by=by)
