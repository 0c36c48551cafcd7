"""An ASGI application that shows what its server tells it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any


class App:
    """The application, and what happened to it.

    events: what of its life it was told. entered: set when a request for /wait is there; it answers
    when `release` is set. produced: bytes of /endless so far. disconnects: requests whose client
    left.
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.produced = 0
        self.disconnects = 0
        self.disconnected = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._talk(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _live(self, scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            self.events.append(message["type"])
            if message["type"] == "lifespan.startup":
                scope["state"]["greeting"] = "hello"
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _talk(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["scheme"]})
        while (message := await receive())["type"] == "websocket.receive":
            echo = {name: message[name] for name in ("text", "bytes") if message.get(name)}
            await send({"type": "websocket.send", **echo})
        self.events.append(message["type"])

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/endless":
            await self._go_on(receive, send)
            return
        digest = hashlib.sha256()
        while True:
            message = await receive()
            digest.update(message.get("body", b""))
            if not message.get("more_body"):
                break
        if scope["path"] == "/wait":
            self.entered.set()
            await self.release.wait()
        told = {
            "scheme": scope["scheme"],
            "client": scope["client"],
            "server": scope["server"],
            "path": scope["path"],
            "http": scope["http_version"],
            "state": dict(scope.get("state", {})),
            "sha256": digest.hexdigest(),
        }
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})

    async def _go_on(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        left = asyncio.ensure_future(self._until_disconnected(receive))
        try:
            while not left.done():
                block = {"type": "http.response.body", "body": bytes(100_000), "more_body": True}
                try:
                    await send(block)
                except OSError:
                    break
                self.produced += 100_000
                await asyncio.sleep(0)
        finally:
            left.cancel()
            self.disconnects += 1
            self.disconnected.set()

    @staticmethod
    async def _until_disconnected(receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
