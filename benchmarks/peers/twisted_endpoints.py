"""Twisted: endpoints and protocols on its epoll reactor, the fastest it has.

Written in Twisted's own manner: protocols with callbacks, producers for back-pressure, and
coroutines only where a round is put together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    connectProtocol,
)
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from .interface import BACKLOG, MESSAGE, Kind, Place, Runtime, WrongEcho


def _reactor() -> Any:
    """The reactor of this process; a runtime below has installed it before any use."""
    from twisted.internet import reactor

    return reactor


class TwistedRuntime:
    def __init__(self, install: Callable[[], object]) -> None:
        install()

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        reactor = _reactor()
        failures: list[Failure] = []

        def start() -> None:
            whole = Deferred.fromCoroutine(main())
            whole.addErrback(failures.append)
            whole.addCallback(lambda _: reactor.stop())

        reactor.callWhenRunning(start)
        reactor.run()
        for failure in failures:
            failure.raiseException()

    async def together(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        await gatherResults([Deferred.fromCoroutine(job()) for job in jobs])

    def rest(self, seconds: float) -> Awaitable[None]:
        return deferLater(_reactor(), seconds, lambda: None)


def epoll_reactor() -> Runtime:
    from twisted.internet import epollreactor

    return TwistedRuntime(epollreactor.install)


class _Echo(Protocol):
    transport: Any

    def connectionMade(self) -> None:
        # The transport pauses and resumes itself as its own output fills and empties.
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.transport.unregisterProducer()


class _Talk(Protocol):
    """One side of a conversation; `done` fires when the connection is closed."""

    transport: Any

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()
        self.left = 0

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.left:
            self.done.errback(WrongEcho(f"{self.left} bytes did not come back"))
        else:
            self.done.callback(None)


class _PingPong(_Talk):
    def __init__(self, message: bytes, count: int) -> None:
        super().__init__()
        self.message = message
        self.count = count

    def connectionMade(self) -> None:
        self._send()

    def _send(self) -> None:
        self.left = len(self.message)
        self.transport.write(self.message)

    def dataReceived(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left == 0:
            self.count -= 1
            if self.count:
                self._send()
            else:
                self.transport.loseConnection()


@implementer(IPushProducer)
class _Bulk(_Talk):
    def __init__(self, piece: bytes, count: int) -> None:
        super().__init__()
        self.piece = piece
        self.unsent = count
        self.left = count * len(piece)
        self.paused = False

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        while self.unsent and not self.paused:
            self.unsent -= 1
            self.transport.write(self.piece)

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.unsent = 0

    def dataReceived(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left == 0:
            self.transport.unregisterProducer()
            self.transport.loseConnection()


class _Held(_Talk):
    """Says one message and then nothing more; `done` fires when the message is back."""

    def connectionMade(self) -> None:
        self.left = len(MESSAGE)
        self.transport.write(MESSAGE)

    def dataReceived(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left == 0:
            self.done.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        pass


def _endpoint(place: Place) -> Any:
    if place.kind == "tcp":
        return TCP4ClientEndpoint(_reactor(), "127.0.0.1", place.port)
    return UNIXClientEndpoint(_reactor(), place.path)


class TwistedEndpoints:
    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        endpoint: TCP4ServerEndpoint | UNIXServerEndpoint
        if kind == "tcp":
            endpoint = TCP4ServerEndpoint(_reactor(), 0, backlog=BACKLOG, interface="127.0.0.1")
        else:
            endpoint = UNIXServerEndpoint(_reactor(), path, backlog=BACKLOG)
        factory = Factory.forProtocol(_Echo)
        factory.noisy = False
        listening = await endpoint.listen(factory)
        try:
            if kind == "tcp":
                yield Place(kind, port=listening.getHost().port)
            else:
                yield Place(kind, path=path)
        finally:
            await listening.stopListening()

    async def exchange(self, place: Place, count: int) -> None:
        endpoint = _endpoint(place)
        for _ in range(count):
            talk = _PingPong(MESSAGE, 1)
            await connectProtocol(endpoint, talk)
            await talk.done

    async def ping_pong(self, place: Place, count: int, size: int) -> None:
        talk = _PingPong(bytes(size), count)
        await connectProtocol(_endpoint(place), talk)
        await talk.done

    async def bulk(self, place: Place, count: int, size: int) -> None:
        talk = _Bulk(bytes(size), count)
        await connectProtocol(_endpoint(place), talk)
        await talk.done

    async def hold(self, place: Place, count: int) -> object:
        endpoint, held = _endpoint(place), []
        for _ in range(count):
            talk = _Held()
            await connectProtocol(endpoint, talk)
            await talk.done
            held.append(talk)
        return held


PEER = TwistedEndpoints()
