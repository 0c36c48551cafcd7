"""Transports made for tests of serving: one with a handshake, one whose accept fails."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from conduit import transports
from conduit.context import Context
from conduit.transports import Arrival, Listener, ListenOptions, Triple
from conduit.transports.sockets import SocketArrival, SocketListener


class BadGreeting(Exception):
    """What a failed handshake raises here."""


@dataclass(frozen=True)
class Greeted:
    """A server mode: TCP, where a client must first send `!`; anything else is a failure."""


@dataclass(frozen=True)
class Failing:
    """A server mode: TCP, where accept first raises `errors`, one each time it is called.

    calls: one entry for each call of accept.
    """

    errors: list[OSError]
    calls: list[float] = field(default_factory=list)


class GreetedArrival(Arrival):
    """Waits for the client's first byte."""

    __slots__ = ("_arrival", "_socket")

    handshakes = True

    def __init__(self, arrival: SocketArrival) -> None:
        self._arrival = arrival
        # What uvloop is given is no whole socket.
        self._socket = socket.socket(fileno=arrival._fd)
        self._socket.setblocking(False)

    async def open(self, on_closed: Callable[[], None]) -> Triple:
        try:
            first = await asyncio.get_running_loop().sock_recv(self._socket, 1)
            if first != b"!":
                raise BadGreeting(f"the client said {first!r}")
        except BaseException:
            self._socket.detach()
            self._arrival.discard()
            raise
        self._socket.detach()
        return await self._arrival.open(on_closed)

    def discard(self) -> None:
        self._socket.detach()
        self._arrival.discard()


class GreetedListener(SocketListener):
    """Accepts what has to greet."""

    def accept(self) -> Arrival:
        arrival = super().accept()
        assert isinstance(arrival, SocketArrival)
        return GreetedArrival(arrival)


class FailingListener(SocketListener):
    """Raises what it was told to, and then works."""

    def __init__(self, sock: socket.socket, ctx: Context, mode: Failing) -> None:
        super().__init__(sock, ctx)
        self.mode = mode

    def accept(self) -> Arrival:
        self.mode.calls.append(asyncio.get_running_loop().time())
        if self.mode.errors:
            raise self.mode.errors.pop(0)
        return super().accept()


class Odd:
    """The transport of both modes."""

    async def connect(
        self, target: object, ctx: Context, attempts: list[tuple[object, BaseException]]
    ) -> Triple:
        raise NotImplementedError

    async def listen(self, mode: object, ctx: Context, options: ListenOptions) -> list[Listener]:
        sock = socket.create_server(("127.0.0.1", 0), backlog=options.backlog)
        if isinstance(mode, Failing):
            return [FailingListener(sock, ctx, mode)]
        return [GreetedListener(sock, ctx)]


transports.register(Greeted, Odd())
transports.register(Failing, Odd())

GREETED: Any = Greeted()
"""The one value of `Greeted`, as something that `listen` may be given."""


def failing(errors: Iterable[OSError]) -> Any:
    """A `Failing`, as something that `listen` may be given."""
    return Failing(list(errors))
