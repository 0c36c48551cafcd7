"""The floor: the system calls of the same work, and nothing that waits or schedules.

Non-blocking sockets whose both ends this file holds, so that each call comes exactly when it
can succeed: no event loop, no readiness call, no callbacks. A job that runs together with
others lets the next one go on after each step, which is how a hundred connections come to be
open at once. Nothing can be faster in Python; how near a peer comes is the share of its time
that is the kernel's.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager
from types import coroutine
from typing import Any

from .interface import BACKLOG, MESSAGE, READ_SIZE, Connected, Kind, Place, Runtime, WrongEcho, check_amount


@coroutine
def _step() -> Generator[None, None, None]:
    """Let the other jobs do their part."""
    yield


def _drive(job: Coroutine[Any, Any, None]) -> None:
    try:
        while True:
            job.send(None)
    except StopIteration:
        pass


class NoRuntime:
    """Jobs in turn, each up to its next step."""

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        _drive(main())

    async def together(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        waiting = deque(job() for job in jobs)
        while waiting:
            job = waiting.popleft()
            try:
                job.send(None)
            except StopIteration:
                continue
            waiting.append(job)

    async def rest(self, seconds: float) -> None:
        time.sleep(seconds)


def no_loop() -> Runtime:
    return NoRuntime()


def _receive(end: socket.socket, size: int) -> bytes:
    data = end.recv(size)
    if not data:
        raise WrongEcho("the connection ended early")
    return data


class SystemCalls:
    def __init__(self) -> None:
        self._listener: socket.socket

    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        with socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX) as listener:
            listener.bind(("127.0.0.1", 0) if kind == "tcp" else path)
            listener.listen(BACKLOG)
            listener.setblocking(False)
            self._listener = listener
            if kind == "tcp":
                yield Place(kind, port=listener.getsockname()[1])
            else:
                yield Place(kind, path=path)

    def _connect(self, place: Place) -> socket.socket:
        if place.kind == "tcp":
            # On loopback the kernel finishes the handshake before connect returns.
            client = socket.socket(socket.AF_INET)
            client.connect(("127.0.0.1", place.port))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            client = socket.socket(socket.AF_UNIX)
            client.connect(place.path)
        client.setblocking(False)
        return client

    def _accept(self, place: Place) -> socket.socket:
        server = self._listener.accept()[0]
        server.setblocking(False)
        if place.kind == "tcp":
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    async def exchange(self, place: Place, count: int) -> None:
        for _ in range(count):
            client = self._connect(place)
            client.send(MESSAGE)
            await _step()
            server = self._accept(place)
            server.send(_receive(server, READ_SIZE))
            await _step()
            _receive(client, READ_SIZE)
            client.close()
            await _step()
            server.recv(READ_SIZE)
            server.close()

    async def ping_pong(self, place: Place, count: int, size: int, connected: Connected) -> None:
        message = bytes(size)
        with self._connect(place) as client, self._accept(place) as server:
            connected()
            for _ in range(count):
                client.send(message)
                server.send(_receive(server, READ_SIZE))
                _receive(client, size)

    async def bulk(self, place: Place, count: int, size: int, connected: Connected) -> None:
        expected, sent, received = count * size, 0, 0
        piece = memoryview(bytes(size))
        with self._connect(place) as client, self._accept(place) as server:
            connected()
            while received < expected:
                if sent < expected:
                    # What a short send left of this piece goes out at the next turn.
                    sent += client.send(piece[sent % size :])
                data = memoryview(_receive(server, READ_SIZE))
                while data:
                    data = data[server.send(data) :]
                    received += len(_receive(client, READ_SIZE))
            check_amount(expected, received)

    async def hold(self, place: Place, count: int) -> object:
        return [(self._connect(place), self._accept(place)) for _ in range(count)]


PEER = SystemCalls()
