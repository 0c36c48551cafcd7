"""The hook: who is told, of what, and in what order."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

import conduit
from conduit import client, endp, events, server
from tests.bare_client import BareClient, tcp_endps
from tests.event_log import EventLog, until
from tests.odd_transports import GREETED

LOOPBACK = server.TCP(0, ip="127.0.0.1")

MIB = 1024 * 1024


async def echo(f, ic, oc):
    while data := await ic.read(1000):
        await oc.write(data)


async def greet(f, ic, oc):
    """Say hello, and stay until the client leaves."""
    oc.write(b"hi")
    await ic.read()


SOME = events.Attempt(endp.TCP("127.0.0.1", 1))


# Subscribing --------------------------------------------------------------------------------------


def test_every_subscriber_is_told_in_the_order_they_came():
    told: list[Any] = []
    with events.subscribe(lambda event: told.append((1, event))):
        with events.subscribe(lambda event: told.append((2, event))):
            events.emit(SOME)
    assert told == [(1, SOME), (2, SOME)]


def test_after_its_block_or_cancel_nobody_is_told():
    told: list[Any] = []

    def note(event):
        told.append(event)

    with events.subscribe(note):
        pass
    subscription = events.subscribe(note)
    subscription.cancel()
    subscription.cancel()
    events.emit(SOME)
    assert told == []
    assert not events.observers


@pytest.mark.parametrize("kind", ["function", "bound method"])
def test_subscribing_twice_changes_nothing_and_either_subscription_ends_it(kind):
    told: list[Any] = []
    note = (lambda event: told.append(event)) if kind == "function" else None
    first = events.subscribe(note or told.append)
    second = events.subscribe(note or told.append)
    try:
        events.emit(SOME)
        assert told == [SOME]
        second.cancel()
        events.emit(SOME)
        assert told == [SOME]
    finally:
        first.cancel()


def test_what_a_subscriber_raises_is_logged_and_goes_no_further(caplog):
    told: list[Any] = []

    def fail(event):
        raise LookupError("in the subscriber")

    with events.subscribe(fail), events.subscribe(told.append):
        events.emit(SOME)
    assert told == [SOME]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("conduit", logging.ERROR)
    assert record.exc_info[0] is LookupError
    assert "Attempt" in record.message


def test_subscriber_may_end_its_own_subscription():
    told: list[Any] = []

    def once(event):
        told.append(event)
        subscription.cancel()

    subscription = events.subscribe(once)
    events.emit(SOME)
    events.emit(SOME)
    assert told == [SOME]


async def test_subscriber_that_fails_does_not_hurt_the_connection(caplog):
    def fail(event):
        raise LookupError("in the subscriber")

    with events.subscribe(fail):
        async with conduit.listen(LOOPBACK, echo) as srv:
            async with conduit.connect(srv.endps[0]) as (_, ic, oc):
                oc.write(b"hello")
                assert await ic.readexactly(5) == b"hello"
    assert "Accepted" in caplog.text
    assert "Connected" in caplog.text


def test_events_are_values():
    assert events.Throttled(SOME.address, "EMFILE") == events.Throttled(SOME.address, "EMFILE")
    with pytest.raises(AttributeError):
        SOME.address = None  # type: ignore[misc,assignment]


# Connecting ---------------------------------------------------------------------------------------


async def test_connecting_is_an_attempt_and_then_a_connection():
    async with conduit.listen(LOOPBACK, greet) as srv:
        (where,) = tcp_endps(srv)
        with EventLog() as log:
            f, ic, oc = await conduit.connect(client.TCP(where.ip, where.port))
            await ic.readexactly(2)
            await oc.close()
    mine = [event for event in log.all if isinstance(event, events.Attempt | events.Connected)]
    attempt, connected = mine
    assert attempt == events.Attempt(where)
    assert isinstance(connected, events.Connected)
    assert connected.flow is f
    assert 0 < connected.seconds < 10


async def test_each_address_of_a_name_is_an_attempt_and_failures_are_no_connection():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with EventLog() as log, pytest.raises(conduit.ConnectError) as caught:
        await conduit.connect(client.Host("localhost", port))
    assert [event.address for event in log.of(events.Attempt)] == [
        address for address, _ in caught.value.attempts
    ]
    assert endp.TCP("127.0.0.1", port) in [event.address for event in log.of(events.Attempt)]
    assert not log.of(events.Connected)
    assert not log.of(events.Closed)


async def test_unix_sockets_have_events_too(socket_path):
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet) as srv:
        with EventLog() as log:
            async with conduit.connect(client.UnixDomainSocket(socket_path)) as (f, ic, _):
                await ic.readexactly(2)
            await log.wait(events.Closed, 2)
    where = endp.UnixDomainSocket(socket_path)
    assert log.of(events.Attempt) == [events.Attempt(where)]
    assert [event.flow for event in log.of(events.Connected)] == [f]
    assert [event.listener for event in log.of(events.Accepted)] == [where] == list(srv.endps)


# Serving ------------------------------------------------------------------------------------------


async def test_accepting_is_told_before_the_handler_begins():
    order: list[Any] = []

    async def handler(f, ic, oc):
        order.append(("handler", f))

    def note(event):
        if isinstance(event, events.Accepted | events.Closed):
            order.append((type(event).__name__, event.flow))

    with events.subscribe(note):
        async with conduit.listen(LOOPBACK, handler) as srv:
            with BareClient(srv.endps[0]) as one:
                assert await one.hear_all() == b""
            await until(lambda: srv.active == 0)
    (_, f), *_ = order
    assert order == [("Accepted", f), ("handler", f), ("Closed", f)]


async def test_accepted_says_by_which_listener():
    ctx = await conduit.init(src=["127.0.0.1", "::1"])
    with EventLog() as log:
        async with conduit.listen(server.TCP(0), greet, ctx=ctx) as srv:
            for one in srv.endps:
                with BareClient(one) as peer:
                    await peer.hear(2)
    assert [event.listener for event in log.of(events.Accepted)] == list(srv.endps)


async def test_handshake_that_failed_was_never_accepted():
    with EventLog() as log:
        async with conduit.listen(GREETED, greet, on_exn=lambda error: None) as srv:
            with BareClient(srv.endps[0]) as peer:
                await peer.say(b"?")
                assert await peer.hear_all() == b""
    assert not log.of(events.Accepted)


# Closed -------------------------------------------------------------------------------------------


async def closed_event(handler, talk, **options) -> events.Closed:
    """What is told of the server's side of a connection."""
    with EventLog() as log:
        async with conduit.listen(LOOPBACK, handler, **options) as srv:
            with BareClient(srv.endps[0]) as peer:
                port = peer.socket.getsockname()[1]
                await talk(peer)
            (closed,) = await log.wait(events.Closed)
    assert isinstance(closed.flow, conduit.flow.TCP)
    assert closed.flow.port == port
    return closed


async def test_closed_counts_the_bytes_of_each_way():
    async def talk(peer):
        await peer.say(b"x" * 1000)
        assert await peer.hear(1000) == b"x" * 1000
        peer.end()
        await peer.hear_all()

    async def handler(f, ic, oc):
        oc.write(await ic.readexactly(1000))
        oc.write(b"more")

    closed = await closed_event(handler, talk)
    assert (closed.reason, closed.received, closed.sent, closed.unsent) == ("closed", 1000, 1004, 0)
    assert 0 < closed.seconds < 10


async def test_closed_tells_of_both_ends_of_a_connection():
    with EventLog() as log:
        async with conduit.listen(LOOPBACK, echo) as srv:
            async with conduit.connect(srv.endps[0]) as (f, ic, oc):
                oc.write(b"hello")
                assert await ic.readexactly(5) == b"hello"
            await log.wait(events.Closed, 2)
    one, two = log.of(events.Closed)
    assert (one.received, one.sent) == (two.received, two.sent) == (5, 5)
    assert f in (one.flow, two.flow)
    assert one.flow != two.flow


async def test_closed_by_abort():
    async def handler(f, ic, oc):
        oc.transport.abort()

    closed = await closed_event(handler, lambda peer: peer.gone())
    assert closed.reason == "aborted"


async def test_closed_by_the_peers_reset():
    async def talk(peer):
        await peer.hear(2)
        peer.vanish()

    closed = await closed_event(greet, talk, on_exn=lambda error: None)
    assert (closed.reason, closed.received, closed.sent) == ("reset", 0, 2)


async def test_closed_by_a_stop_that_cancels_the_handler():
    with EventLog() as log:
        async with conduit.listen(LOOPBACK, greet, drain=0) as srv:
            client = BareClient(srv.endps[0])
            await client.hear(2)
    client.close()
    (closed,) = log.of(events.Closed)
    assert closed.reason == "cancelled"


async def test_closed_by_timeout():
    assert (
        await closed_event(greet, lambda peer: peer.hear_all(), timeout=0.05)
    ).reason == "timeout"


async def test_closed_by_idle_timeout():
    async def stay(peer):
        await peer.hear(2)
        await peer.gone()

    closed = await closed_event(greet, stay, idle_timeout=0.05)
    assert closed.reason == "idle_timeout"


async def test_closed_by_a_peer_that_does_not_take_what_is_left(caplog):
    ctx = await conduit.init(close_timeout=0.05)
    closing = asyncio.Event()

    async def handler(f, ic, oc):
        oc.write(bytes(16 * MIB))

    def note(event):
        if isinstance(event, events.Closed):
            closing.set()

    async def talk(peer):
        with events.subscribe(note):
            await closing.wait()

    closed = await closed_event(handler, talk, ctx=ctx)
    assert closed.reason == "close_timeout"
    assert closed.unsent > 0
    assert closed.sent + closed.unsent == 16 * MIB
    assert f"{closed.unsent} bytes" in caplog.text


@pytest.mark.parametrize("when", ["the handler writes", "the flow is closing"])
async def test_unsent_bytes_of_a_reset_are_counted(when, caplog):
    """How much was sent is not known exactly then, but every byte is counted once."""
    size = 32 * MIB
    got = 0

    async def handler(f, ic, oc):
        writing = oc.write(bytes(size))
        if when == "the handler writes":
            await writing

    async def talk(peer):
        nonlocal got
        got = len(await peer.hear(size // 2))
        peer.vanish()

    closed = await closed_event(handler, talk, on_exn=lambda error: None)
    assert got == size // 2
    assert closed.reason == "reset"
    assert closed.sent + closed.unsent == size
    assert 0 < closed.unsent < size
    if when == "the flow is closing":
        assert f"{closed.unsent} bytes" in caplog.text
