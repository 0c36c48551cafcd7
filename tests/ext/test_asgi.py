"""An ASGI application in one call, by either library."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import conduit
from conduit import server
from conduit.ext.asgi import serve_asgi
from tests.certificates import Certificates
from tests.ext.asgi_app import App
from tests.ext.uvicorn_server import browser
from tests.peers.tls_server import on_one_loop

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


@on_one_loop
@pytest.mark.parametrize(("by", "version"), [("uvicorn", "1.1"), ("hypercorn", "2")])
async def test_curl(
    by: Any,
    version: str,
    certificates: Certificates,
    socket_path: str,
    program: Any,
    tmp_path: Path,
) -> None:
    curl, authority = program("curl"), tmp_path / "ca.pem"
    await asyncio.to_thread(authority.write_bytes, certificates.trusted)
    key = certificates.key()
    mode = server.TLSOver(server.UnixDomainSocket(socket_path), key.crt_file, key.key_file, None)
    app, stop, told = App(), asyncio.Event(), asyncio.Event()
    task = asyncio.ensure_future(
        serve_asgi(mode, app, by=by, stop=stop, started=lambda _: told.set())
    )
    await told.wait()
    process = await asyncio.create_subprocess_exec(
        *(curl, "--silent", "--show-error", "--http2", "--cacert", authority),
        *("--unix-socket", socket_path, "--data-binary", "@" + key.crt_file),
        *("https://localhost/a", "https://localhost/b"),
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    answers = output.decode().replace("}{", "}\n{").splitlines()
    assert [json.loads(one)["path"] for one in answers] == ["/a", "/b"]
    assert {json.loads(one)["http"] for one in answers} == {version}
    assert {json.loads(one)["scheme"] for one in answers} == {"https"}
    stop.set()
    await task
