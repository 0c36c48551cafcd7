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
    wrapClientTLS,
    wrapServerTLS,
)
from twisted.internet.interfaces import (
    IHandshakeListener,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from . import twisted_tls
from .interface import BACKLOG, MESSAGE, Connected, Kind, Place, Runtime, WrongEcho


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


def _send_at_once(transport: Any) -> None:
    """What all others do by default: else each end waits for the other, 40 ms at a time."""
    if ITCPTransport.providedBy(transport):
        transport.setTcpNoDelay(True)


class _Echo(Protocol):
    transport: Any

    def connectionMade(self) -> None:
        _send_at_once(self.transport)
        # The transport pauses and resumes itself as its own output fills and empties.
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.transport.unregisterProducer()


@implementer(IHandshakeListener)
class _Talk(Protocol):
    """One side of a conversation; `done` fires when the connection is closed."""

    transport: Any

    def __init__(self, connected: Connected = lambda: None) -> None:
        self.connected_for_good = connected
        self.done: Deferred[None] = Deferred()
        self.left = 0

    def connectionMade(self) -> None:
        _send_at_once(self.transport)
        # Over TLS this is only the beginning of the handshake.
        if not ISSLTransport.providedBy(self.transport):
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        self.connected_for_good()
        self.begin()

    def begin(self) -> None:
        raise NotImplementedError

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.left:
            self.done.errback(WrongEcho(f"{self.left} bytes did not come back"))
        else:
            self.done.callback(None)


class _PingPong(_Talk):
    def __init__(self, message: bytes, count: int, *connected: Connected) -> None:
        super().__init__(*connected)
        self.message = message
        self.count = count

    def begin(self) -> None:
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
    def __init__(self, piece: bytes, count: int, connected: Connected) -> None:
        super().__init__(connected)
        self.piece = piece
        self.unsent = count
        self.left = count * len(piece)
        self.paused = False

    def begin(self) -> None:
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


class _Secured(_PingPong):
    """A conversation over TLS; when it is over, it is known which handshake it had."""

    def __init__(self, clients: twisted_tls.Clients) -> None:
        super().__init__(MESSAGE, 1)
        self.clients = clients

    def dataReceived(self, data: bytes) -> None:
        if self.left == len(data):
            self.clients.talked(self.transport.getHandle())
        super().dataReceived(data)


class _Held(_Talk):
    """Says one message and then nothing more; `done` fires when the message is back."""

    def begin(self) -> None:
        self.left = len(MESSAGE)
        self.transport.write(MESSAGE)

    def dataReceived(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left == 0:
            self.done.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        pass


def _endpoint(place: Place) -> Any:
    if place.kind == "unix":
        return UNIXClientEndpoint(_reactor(), place.path)
    endpoint: Any = TCP4ClientEndpoint(_reactor(), "127.0.0.1", place.port)
    for _ in range(place.layers):
        endpoint = wrapClientTLS(twisted_tls.clients(place.kind, place.path), endpoint)
    return endpoint


class TwistedEndpoints:
    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        endpoint: Any
        if kind == "unix":
            endpoint = UNIXServerEndpoint(_reactor(), path, backlog=BACKLOG)
        else:
            endpoint = TCP4ServerEndpoint(_reactor(), 0, backlog=BACKLOG, interface="127.0.0.1")
            for _ in range(Place(kind).layers):
                endpoint = wrapServerTLS(twisted_tls.server_options(kind, path), endpoint)
        factory = Factory.forProtocol(_Echo)
        factory.noisy = False
        listening = await endpoint.listen(factory)
        try:
            if kind == "unix":
                yield Place(kind, path=path)
            else:
                yield Place(kind, listening.getHost().port, path)
        finally:
            await listening.stopListening()

    async def exchange(self, place: Place, count: int) -> None:
        endpoint = _endpoint(place)
        for _ in range(count):
            if place.layers:
                talk = _Secured(twisted_tls.clients(place.kind, place.path))
            else:
                talk = _PingPong(MESSAGE, 1)
            await connectProtocol(endpoint, talk)
            await talk.done

    async def ping_pong(self, place: Place, count: int, size: int, connected: Connected) -> None:
        talk = _PingPong(bytes(size), count, connected)
        await connectProtocol(_endpoint(place), talk)
        await talk.done

    async def bulk(self, place: Place, count: int, size: int, connected: Connected) -> None:
        talk = _Bulk(bytes(size), count, connected)
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
