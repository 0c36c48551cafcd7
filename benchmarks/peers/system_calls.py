"""The floor: the system calls of the same work, and nothing that waits or schedules.

Non-blocking sockets whose both ends this file holds, so that each call comes exactly when it
can succeed: no event loop, no readiness call, no callbacks. TLS is OpenSSL on these sockets
themselves, without memory between. A job that runs together with
others lets the next one go on after each step, which is how a hundred connections come to be
open at once. Nothing can be faster in Python; how near a peer comes is the share of its time
that is the kernel's.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager, suppress
from types import coroutine
from typing import Any

from . import tls_contexts
from .interface import (
    BACKLOG,
    MESSAGE,
    READ_SIZE,
    Connected,
    Kind,
    Place,
    Runtime,
    WrongEcho,
    check_amount,
)


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


def _try(step: Callable[[], object]) -> None:
    """Do what can be done of a step until the other end has answered."""
    with suppress(ssl.SSLWantReadError):
        step()


class SystemCalls:
    def __init__(self) -> None:
        self._listener: socket.socket

    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as listener:
            listener.bind(path if kind == "unix" else ("127.0.0.1", 0))
            listener.listen(BACKLOG)
            listener.setblocking(False)
            self._listener = listener
            if kind == "unix":
                yield Place(kind, path=path)
            else:
                yield Place(kind, listener.getsockname()[1], path)

    def _connect(self, place: Place) -> socket.socket:
        if place.kind != "unix":
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
        if place.kind != "unix":
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    def _open(self, place: Place) -> tuple[socket.socket, socket.socket]:
        client, server = self._connect(place), self._accept(place)
        return self._secure(place, client, server) if place.layers else (client, server)

    def _secure(
        self, place: Place, below: socket.socket, server_below: socket.socket
    ) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
        clients = tls_contexts.clients(place.kind, place.path)
        client = clients.context.wrap_socket(
            below,
            do_handshake_on_connect=False,
            server_hostname=tls_contexts.NAME,
            session=clients.take(),
        )
        server = tls_contexts.server_context(place.path).wrap_socket(
            server_below, server_side=True, do_handshake_on_connect=False
        )
        _try(client.do_handshake)
        _try(server.do_handshake)
        client.do_handshake()
        server.do_handshake()
        return client, server

    async def exchange(self, place: Place, count: int) -> None:
        if place.layers:
            self._exchange_by_tls(place, count)
            return
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

    def _exchange_by_tls(self, place: Place, count: int) -> None:
        for _ in range(count):
            client, server = self._secure(place, self._connect(place), self._accept(place))
            with client, server:
                client.send(MESSAGE)
                server.send(_receive(server, READ_SIZE))
                _receive(client, READ_SIZE)
                tls_contexts.clients(place.kind, place.path).talked(client)
                _try(client.unwrap)
                server.recv(READ_SIZE)
                server.unwrap()
                client.unwrap()

    async def ping_pong(self, place: Place, count: int, size: int, connected: Connected) -> None:
        message = bytes(size)
        client, server = self._open(place)
        with client, server:
            connected()
            for _ in range(count):
                client.send(message)
                server.send(_receive(server, READ_SIZE))
                _receive(client, size)

    async def bulk(self, place: Place, count: int, size: int, connected: Connected) -> None:
        expected, sent, received = count * size, 0, 0
        piece = memoryview(bytes(size))
        client, server = self._open(place)
        with client, server:
            connected()
            while received < expected:
                if sent == received:
                    # What a short send left of this piece goes out at the next turn.
                    sent += client.send(piece[sent % size :])
                data = memoryview(_receive(server, READ_SIZE))
                while data:
                    data = data[server.send(data) :]
                    received += len(_receive(client, READ_SIZE))
            check_amount(expected, received)

    async def hold(self, place: Place, count: int) -> object:
        return [self._open(place) for _ in range(count)]


PEER = SystemCalls()
