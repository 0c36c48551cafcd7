"""Handshakes that do not end well: clients that vanish or say nothing, stops, cancellations."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import conduit
from conduit import ConnectTimeout, client, server
from conduit.channels import ending, wire_of
from conduit.testing import Memory, memory_pair
from conduit.transports.tls import secured as secure
from tests.bare_client import BareClient
from tests.event_log import until
from tests.tls.flows import NAME, carrier, tls_to
from tests.tls.session import End, load


@pytest.fixture
def ctx(identities):
    return conduit.Context(tls_authenticator=identities.trust)


@pytest.fixture
def mode(identities):
    key = identities.server()
    return server.TLS(key.crt_file, key.key_file, None, 0, ip="127.0.0.1")


@pytest.fixture
def peers(stack, identities):
    """What makes engines for bare clients."""
    return load((stack, stack), None, identities.server(), identities.trust)


async def greet(f, ic, oc):
    oc.write(b"hello")


def address(srv):
    return tls_to(srv)


async def active(srv):
    """Wait for its first client."""
    await until(lambda: srv.active == 1)


async def greeted(srv, ctx):
    async with conduit.connect(address(srv), ctx=ctx) as (_, ic, _):
        return await ic.read() == b"hello"


async def vanishing(where, engine, chance):
    """Say a part of what a client says in its handshake, and go."""
    end = End(engine)
    end.take(b"")
    with BareClient(where) as bare:
        first = engine.to_send()
        if chance.random() < 0.5:
            await bare.say(first[: chance.randrange(len(first))])
        else:
            await bare.say(first)
            loop = asyncio.get_running_loop()
            while not end.done:
                end.take(await loop.sock_recv(bare.socket, 65536))
            second = engine.to_send()
            await bare.say(second[: chance.randrange(len(second))])
        if chance.random() < 0.5:
            bare.vanish()


async def test_clients_that_vanish_leave_nothing(peers, mode, ctx):
    chance = random.Random(4)
    batches, batch = 6, 64
    failures: list[BaseException] = []
    tasks = len(asyncio.all_tasks())
    async with conduit.listen(
        mode, greet, ctx=ctx, max_active=50, on_exn=failures.append, handshake_timeout=10
    ) as srv:
        where = carrier(srv)
        for _ in range(batches):
            engines = [peers.client.engine(NAME, None) for _ in range(batch)]
            await asyncio.gather(*(vanishing(where, engine, chance) for engine in engines))
        await until(lambda: len(failures) == batches * batch, 20)
        await until(lambda: srv.active == 0)
        assert all(isinstance(failure, OSError) for failure in failures)
        assert len(asyncio.all_tasks()) == tasks
        # All places are free: as many as there are can be served at once.
        assert all(await asyncio.gather(*(greeted(srv, ctx) for _ in range(50))))


async def test_a_silent_client_is_dropped_and_holds_up_nobody(mode, ctx):
    failures: list[BaseException] = []
    async with conduit.listen(
        mode, greet, ctx=ctx, handshake_timeout=1, on_exn=failures.append
    ) as srv:
        bare = [BareClient(carrier(srv)) for _ in range(20)]
        try:
            assert await greeted(srv, ctx)
            assert srv.active >= 20
            assert not failures
            for each in bare:
                assert await each.gone()
        finally:
            for each in bare:
                each.close()
        await until(lambda: srv.active == 0)
        assert len(failures) == 20
        for failure in failures:
            assert isinstance(failure, TimeoutError)
            assert "handshake_timeout=1" in str(failure)


async def dribble(bare, data):
    for byte in data:
        await bare.say(bytes([byte]))
        await asyncio.sleep(0.02)


async def test_a_handshake_byte_by_byte_has_no_more_time(mode, ctx, peers):
    failures: list[BaseException] = []
    engine = peers.client.engine(NAME, None)
    End(engine).take(b"")
    hello = engine.to_send()
    async with conduit.listen(
        mode, greet, ctx=ctx, handshake_timeout=0.3, on_exn=failures.append
    ) as srv:
        with BareClient(carrier(srv)) as bare:
            loop = asyncio.get_running_loop()
            started = loop.time()
            with pytest.raises(ConnectionError):
                await dribble(bare, hello)
            assert loop.time() - started < 5
        await until(lambda: bool(failures))
        assert isinstance(failures[0], TimeoutError)


async def test_a_stop_cancels_handshakes(mode, ctx):
    for drain in (0, 0.05):
        async with conduit.listen(mode, greet, ctx=ctx) as srv:
            with BareClient(carrier(srv)) as bare:
                await active(srv)
                await srv.stop(drain=drain)
                assert srv.active == 0
                assert await bare.gone()


async def test_a_handshake_that_has_begun_is_finished_by_a_stop(mode, ctx):
    async with conduit.listen(mode, greet, ctx=ctx) as srv:
        connecting = asyncio.create_task(greeted(srv, ctx))
        await until(lambda: srv.active == 1)
        await srv.stop()
        assert await connecting


async def test_a_silent_server_is_given_up(ctx):
    async def silent(f, ic, oc):
        await ic.read()

    async with conduit.listen(server.TCP(0, ip="127.0.0.1"), silent) as srv:
        target = client.TLSOver(NAME, conduit.endp_to_client(srv.endps[0]))
        with pytest.raises(ConnectTimeout):
            await conduit.connect(target, ctx=ctx, timeout=0.1)
        await until(lambda: srv.active == 0)


async def steps(make):
    """Run what `make` gives, cancelled after more and more turns of the loop, until it is done."""
    for turns in range(1000):
        task = asyncio.ensure_future(make())
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            yield task
            return
        task.cancel()
        await asyncio.wait([task])
        yield task
    pytest.fail("it is never done")


@pytest.mark.parametrize("layers", [1, 2])
async def test_connecting_can_be_cancelled_at_every_step(identities, ctx, layers, monkeypatch):
    monkeypatch.setattr(ending, "LINGER_SECONDS", 0)
    key = identities.server()
    mode: Any = Memory("a name")
    target: Any = mode
    for _ in range(layers):
        mode = server.TLSOver(mode, key.crt_file, key.key_file, None)
        target = client.TLSOver(NAME, target)
    before = None
    cancelled = 0
    async with conduit.listen(mode, greet, ctx=ctx, on_exn=lambda error: None) as srv:
        async with conduit.connect(target, ctx=ctx):
            pass  # All is loaded now.
        before = len(asyncio.all_tasks())
        async for task in steps(lambda: conduit.connect(target, ctx=ctx)):
            if task.cancelled():
                cancelled += 1
            else:
                _, ic, oc = task.result()
                assert await ic.read() == b"hello"
                oc.close()
                await oc.wait_closed()
            await until(lambda: srv.active == 0)
            assert len(asyncio.all_tasks()) == before
    assert cancelled > 3


@pytest.mark.parametrize("role", [0, 1], ids=["client", "server"])
async def test_a_handshake_over_a_flow_can_be_cancelled_at_every_step(peers, role, monkeypatch):
    monkeypatch.setattr(ending, "LINGER_SECONDS", 0)
    cancelled = 0
    flows: list[Any] = []
    others: list[asyncio.Task[Any]] = []

    def secured(below, engine):
        settings = conduit.Context(close_timeout=1)
        return secure(below, engine, settings, lambda _: below.flow, what="a test")

    def upgrade():
        flows[:] = memory_pair()
        session = peers.session()
        engines = session.client.engine, session.server.engine
        others[:] = [asyncio.create_task(secured(flows[1 - role], engines[1 - role]))]
        return secured(flows[role], engines[role])

    before = len(asyncio.all_tasks())
    async for task in steps(upgrade):
        if task.cancelled():
            cancelled += 1
            if wire_of(flows[role].oc).above is None and not flows[role].oc.is_closing():
                # It had not begun.
                flows[role].oc.close()
        else:
            task.result().oc.close()
        await asyncio.wait(others)
        if others[0].exception() is None:
            others[0].result().oc.close()
        else:
            assert isinstance(others[0].exception(), ConnectionError)
        for _, _, oc in flows:
            await oc.wait_closed()
        assert len(asyncio.all_tasks()) == before
    assert cancelled > 3


async def test_start_tls_that_is_cancelled_too_early_changes_nothing(identities, ctx):
    """While the certificate is loaded."""
    near, far = memory_pair()
    task = asyncio.create_task(
        conduit.start_tls(*near, server_side=True, own_key=identities.server(), ctx=ctx)
    )
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    near.oc.write(b"in the clear")
    near.oc.close()
    assert await far.ic.read() == b"in the clear"
    far.oc.close()
    await near.oc.wait_closed()
