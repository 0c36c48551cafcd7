"""The bare Protocol behind an accept loop of our own instead of the loop's create_server.

The listening socket is watched with add_reader; at each wake-up up to 64 connections are
accepted, and each is handed to the event loop in a task of its own. The client is the bare
Protocol's.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from .bare_protocol import BareProtocol, EchoProtocol
from .interface import BACKLOG, Kind, Place

ACCEPTS_A_WAKE_UP = 64


class AcceptLoop(BareProtocol):
    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        listener = socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX)
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[Any]] = set()

        def accept() -> None:
            for _ in range(ACCEPTS_A_WAKE_UP):
                try:
                    connection, _peer = listener.accept()
                except BlockingIOError:
                    return
                connection.setblocking(False)
                task = loop.create_task(take(connection))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        async def take(connection: socket.socket) -> None:
            await loop.connect_accepted_socket(EchoProtocol, connection)

        with listener:
            listener.setblocking(False)
            listener.bind(("127.0.0.1", 0) if kind == "tcp" else path)
            listener.listen(BACKLOG)
            loop.add_reader(listener, accept)
            try:
                if kind == "tcp":
                    yield Place(kind, port=listener.getsockname()[1])
                else:
                    yield Place(kind, path=path)
            finally:
                loop.remove_reader(listener)


PEER = AcceptLoop()
