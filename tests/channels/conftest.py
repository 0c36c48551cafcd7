"""Flows over a transport made by hand, and over real sockets."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from conduit import events
from conduit.channels import Wire
from tests.channels.fakes import FakeFlow, SocketFlow, flow_over, tcp_pair


@pytest.fixture
async def make_flow() -> AsyncIterator[Callable[..., FakeFlow]]:
    """Make flows over transports made by hand; they are lost at the end of the test."""
    wires: list[Wire] = []

    def make(**options) -> FakeFlow:
        flow = FakeFlow(**options)
        wires.append(flow.wire)
        return flow

    yield make
    for wire in wires:
        wire.connection_lost(None)


@pytest.fixture
async def flow(make_flow: Callable[..., FakeFlow]) -> FakeFlow:
    """A flow over a transport made by hand."""
    return make_flow()


@pytest.fixture
async def make_socket_flow() -> AsyncIterator[Callable[..., Awaitable[SocketFlow]]]:
    """Make flows over real sockets, of kind "tcp" or "unix"; they are aborted at the end."""
    made: list[tuple[Wire, socket.socket]] = []

    async def make(kind: str = "tcp", **options) -> SocketFlow:
        flow = await flow_over(*(tcp_pair() if kind == "tcp" else socket.socketpair()), **options)
        made.append((flow.wire, flow.peer))
        return flow

    yield make
    for wire, peer in made:
        peer.close()
        wire.abort()
        await wire.wait_closed()


@pytest.fixture(params=["tcp", "unix"])
async def socket_flow(
    request: pytest.FixtureRequest, make_socket_flow: Callable[..., Awaitable[SocketFlow]]
) -> SocketFlow:
    """A flow over a real socket."""
    return await make_socket_flow(request.param)


@pytest.fixture
def closed() -> Iterator[list[events.Closed]]:
    """The `Closed` events of this test, as they come."""
    found: list[events.Closed] = []

    def keep(event: events.Event) -> None:
        if isinstance(event, events.Closed):
            found.append(event)

    with events.subscribe(keep):
        yield found


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged as a warning, or worse, so far."""
    return lambda: [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
