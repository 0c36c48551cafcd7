"""Conduit: listen and connect, with handlers that are closed by the server itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, repeat
from typing import TypeAlias

import conduit

from . import reader_writer, tls_contexts
from .interface import BACKLOG, Connected, Kind, Place
from .tls_contexts import AUTHORITY, NAME, NAMES, OWN

_Flow: TypeAlias = tuple[conduit.flow.Flow, conduit.Input, conduit.Output]

MORE_THAN_ARE_REMEMBERED = 1000
"""Conduit resumes by itself. A client that goes round so many servers meets each of them again
after it has forgotten the session it got there."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The addresses by which a TLS stack is asked for."""

    client: type[conduit.client.TLS] | type[conduit.client.TLSNative]
    server: type[conduit.server.TLS] | type[conduit.server.TLSNative]


async def _handle(f: conduit.flow.Flow, ic: conduit.Input, oc: conduit.Output) -> None:
    await reader_writer.echo(ic, oc)


def _mode(kind: Kind, path: str, stack: Stack) -> conduit.server.Mode:
    match kind:
        case "tcp":
            return conduit.server.TCP(0, ip="127.0.0.1")
        case "unix":
            return conduit.server.UnixDomainSocket(path)
    own = [tls_contexts.file(path, f"{OWN}{suffix}") for suffix in (".crt", ".key")]
    mode: conduit.server.Mode = stack.server(own[0], own[1], None, 0, ip="127.0.0.1")
    return conduit.server.TLSOver(mode, own[0], own[1]) if kind == "tls-in-tls" else mode


def _port(endp: conduit.endp.Endp) -> int:
    match endp:
        case conduit.endp.TCP(port=port) | conduit.endp.TLS(port=port):
            return port
        case _:
            return 0


class _Clients:
    """Whom to connect to, and how, for all connections to one place."""

    def __init__(self, place: Place, ctx: conduit.Context | None, stack: Stack) -> None:
        self.ctx = ctx
        self._stack = stack
        self.has_session = False
        self.targets: Iterator[conduit.client.Client]
        match place.kind:
            case "tcp":
                self.targets = repeat(conduit.client.TCP("127.0.0.1", place.port))
            case "unix":
                self.targets = repeat(conduit.client.UnixDomainSocket(place.path))
            case "tls-resumed":
                self.targets = repeat(stack.client(NAME, "127.0.0.1", place.port))
            case kind:
                self.targets = cycle(
                    [self._new_peer(kind, place, n) for n in range(MORE_THAN_ARE_REMEMBERED)]
                )

    def _new_peer(self, kind: Kind, place: Place, number: int) -> conduit.client.Client:
        name = NAMES.replace("*", str(number))
        target = self._stack.client(name, "127.0.0.1", place.port)
        return conduit.client.TLSOver(name, target) if kind == "tls-in-tls" else target

    async def connect(self) -> tuple[conduit.flow.Flow, conduit.Input, conduit.Output]:
        return await conduit.connect(next(self.targets), ctx=self.ctx)


class Conduit:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._clients: dict[Place, _Clients] = {}

    async def _to(self, place: Place) -> _Clients:
        """The clients of a place, which are made with its first connection."""
        clients = self._clients.get(place)
        if clients is None:
            ctx = None
            if place.layers:
                authority = tls_contexts.file(place.path, f"{AUTHORITY}.crt")
                ctx = await conduit.init(tls_authenticator=conduit.trust.ca(authority))
            clients = self._clients[place] = _Clients(place, ctx, self._stack)
        return clients

    @asynccontextmanager
    async def serving(self, kind: Kind, path: str) -> AsyncIterator[Place]:
        async with conduit.listen(_mode(kind, path, self._stack), _handle, backlog=BACKLOG) as srv:
            yield Place(kind, port=_port(srv.endps[0]), path="" if kind == "tcp" else path)

    async def exchange(self, place: Place, count: int) -> None:
        clients = await self._to(place)
        for _ in range(count):
            _f, ic, oc = await clients.connect()
            await reader_writer.one_message(ic, oc)
            if place.layers:
                made = oc.get_extra_info("tls")
                tls_contexts.check(made.version, made.resumed, clients.has_session)
                clients.has_session = place.kind == "tls-resumed"
            await reader_writer.close(oc)

    async def ping_pong(self, place: Place, count: int, size: int, connected: Connected) -> None:
        _f, ic, oc = await (await self._to(place)).connect()
        connected()
        await reader_writer.ping_pong(ic, oc, count, size)
        await reader_writer.close(oc)

    async def bulk(self, place: Place, count: int, size: int, connected: Connected) -> None:
        _f, ic, oc = await (await self._to(place)).connect()
        connected()
        await reader_writer.bulk(ic, oc, count, size)
        await reader_writer.close(oc)

    async def hold(self, place: Place, count: int) -> list[_Flow]:
        clients, held = await self._to(place), []
        for _ in range(count):
            flow = await clients.connect()
            await reader_writer.one_message(flow[1], flow[2])
            held.append(flow)
        return held

    async def talk(self, one: _Flow, count: int, size: int) -> None:
        await reader_writer.ping_pong(one[1], one[2], count, size)


PEER = Conduit(Stack(conduit.client.TLS, conduit.server.TLS))
