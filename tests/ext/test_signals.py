"""A signal that `conduit.run` gets ends what runs on top of our servers, in its own order."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

HEAD = """
import conduit
from tests.ext.asgi_app import App

app = App()
PATH = {path!r}

def on(*_):
    print("on", flush=True)

"""

TAIL = """
conduit.run(main())
print("off", app.events)
"""

ASGI = """
from conduit.ext.asgi import serve_asgi

async def main():
    await serve_asgi(PATH, app, by={by!r}, drain=5, started=on)
"""

PROGRAMS = {
    "asgi by uvicorn": ASGI.replace("{by!r}", "'uvicorn'"),
    "asgi by hypercorn": ASGI.replace("{by!r}", "'hypercorn'"),
    "uvicorn": """
import uvicorn
from conduit.ext.uvicorn import ConduitServer

class Server(ConduitServer):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        on()

async def main():
    await Server(uvicorn.Config(app, log_config=None), PATH).serve()
""",
    "websockets": """
from conduit.ext.websockets import serve

async def handler(websocket):
    await websocket.wait_closed()

async def main():
    async with serve(handler, PATH) as server:
        on()
        await server.serve_forever()
    app.events += ["lifespan.startup", "lifespan.shutdown"]
""",
    "aiohttp": """
from aiohttp import web
from conduit.ext.aiohttp import ConduitSite

async def main():
    runner = web.AppRunner(web.Application())
    await runner.setup()
    site = ConduitSite(runner, PATH)
    await site.start()
    on()
    await site.wait_stopping()
    await runner.cleanup()
    await site.wait_closed()
    app.events += ["lifespan.startup", "lifespan.shutdown"]
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_ends_in_order(name: str, socket_path: str) -> None:
    program = HEAD.replace("{path!r}", repr(f"unix:{socket_path}")) + PROGRAMS[name] + TAIL
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n", process.communicate()
        process.send_signal(signal.SIGTERM)
        told, errors = process.communicate(timeout=20)
    assert (told, errors) == ("off ['lifespan.startup', 'lifespan.shutdown']\n", "")
    assert process.returncode == 0
