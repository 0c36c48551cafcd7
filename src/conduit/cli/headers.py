"""Listeners whose clients send a header of the PROXY protocol, before anything else."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, TypeAlias, cast

import conduit
from conduit import flow, server

from .. import transports
from ..channels import wire_of
from ..context import Context
from ..convert import endp_of_flow
from ..proxy_protocol import Header, ProxyProtocolError, parse, wanted
from ..transports.base import Arrival, Attempts, Listener, ListenOptions, Triple
from ..transports.over import ListenerOver

Network: TypeAlias = IPv4Network | IPv6Network | Literal["unix"]

received: ContextVar[Header | None] = ContextVar("received", default=None)
"""What the client of this handler was announced by."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """Whose header is read and believed.

    networks: of peers, "unix" for all on Unix sockets. They must send one; all others are taken for
    who they are. seconds: that they have for it.
    """

    networks: Sequence[Network] = ()
    seconds: float = 10.0

    def __contains__(self, peer: object) -> bool:
        """Whether a flow is of such a peer."""
        if isinstance(peer, flow.TCP):
            return any(network != "unix" and peer.ip in network for network in self.networks)
        return isinstance(peer, flow.DomainSocket) and "unix" in self.networks


@dataclass(frozen=True, slots=True)
class Headed:
    """A server below all TLS of which a header comes."""

    mode: server.Mode
    trusted: Trusted

    def __str__(self) -> str:
        """As an error names it."""
        return str(self.mode)


def headed(mode: server.Mode, trusted: Trusted) -> server.Mode:
    """The same server, whose trusted peers send a header before they begin TLS.

    Raises AddressError for one whose stack is named: TLS over anything else is by the default one.
    """
    if isinstance(mode, server.OpenSSL | server.TLSNative):
        raise conduit.AddressError(
            f"{mode}: a PROXY header comes before tls:// alone; the environment variable "
            "CONDUIT_TLS says by which stack"
        )
    if isinstance(mode, server.TLSOver):
        return dataclasses.replace(mode, mode=headed(mode.mode, trusted))
    if isinstance(mode, server.TLS):
        below = headed(server.TCP(mode.port, ip=mode.ip), trusted)
        return server.TLSOver(below, mode.crt_file, mode.key_file, mode.password)
    # An address as another package might have it.
    return cast("server.Mode", Headed(mode, trusted))


async def listen(mode: Headed, ctx: Context, options: ListenOptions) -> list[Listener]:
    """Listen below."""
    below = await transports.listen(mode.mode, ctx, options)
    return [_HeadedListener(listener, mode.trusted) for listener in below]


async def connect(target: object, ctx: Context, attempts: Attempts) -> Triple:
    """Nobody connects to it."""
    raise conduit.UnsupportedTransport(f"{target} is a way to serve")


class _HeadedListener(ListenerOver):
    """A listener whose trusted peers announce somebody else."""

    __slots__ = ("_trusted",)

    def __init__(self, below: Listener, trusted: Trusted) -> None:
        super().__init__(below)
        self._trusted = trusted

    def accept(self) -> Arrival:
        """As of every listener."""
        return _HeadedArrival(super().accept(), self._trusted)


class _HeadedArrival(Arrival):
    """A client that has perhaps a header to send."""

    __slots__ = ("_below", "_trusted")

    handshakes = True

    def __init__(self, below: Arrival, trusted: Trusted) -> None:
        self._below = below
        self._trusted = trusted

    async def open(self, on_closed: Callable[[], None]) -> Triple:
        """As of every arrival; the header is `received` from then on."""
        triple = await self._below.open(on_closed)
        if triple.flow not in self._trusted:
            return triple
        try:
            received.set(await _read(triple.ic, self._trusted.seconds))
        except BaseException as error:
            wire = wire_of(triple.oc)
            wire.on_closed = None
            wire.abort()
            if isinstance(error, ProxyProtocolError):
                raise ProxyProtocolError(
                    f"a client at {endp_of_flow(triple.flow)}: {error}"
                ) from error
            raise
        return triple

    async def finish(self) -> None:
        """As of every arrival."""
        await self._below.finish()

    def discard(self) -> None:
        """As of every arrival."""
        self._below.discard()


transports.register(Headed, cast("transports.Transport", sys.modules[__name__]))


async def _read(ic: conduit.Input, seconds: float) -> Header:
    data = b""
    try:
        async with asyncio.timeout(seconds):
            while more := wanted(data):
                data += await ic.readexactly(more)
    except asyncio.IncompleteReadError:
        raise ProxyProtocolError("the peer ended before its PROXY header did") from None
    except TimeoutError:
        raise ProxyProtocolError(f"no PROXY header within {seconds:g} s") from None
    return parse(data)
