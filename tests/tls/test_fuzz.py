"""Whatever comes instead of TLS: our errors and no others, and nothing left behind."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import conduit
from conduit import TLSError
from conduit.channels import ending, wire_of
from conduit.testing import memory_pair
from conduit.transports.tls import flow_over
from conduit.transports.tls import secured as secure
from tests.tls.flows import NAME, abort
from tests.tls.mangling import Mangler, plans
from tests.tls.session import load

SAID = bytes(range(256)) * 200  # several records

pieces = st.one_of(
    st.just(()), st.just((1,)), st.lists(st.integers(1, 3000), min_size=1, max_size=3).map(tuple)
)

fuzzed = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def loaded(stacks, tls, identities):
    return load(
        stacks,
        tls,
        identities.server(),
        identities.trust,
        client_key=identities.client(),
        client_auth="optional",
        offered=("a",),
        alpn=("a",),
    )


def exchange(session, up, down):
    """Let both speak, what they say mangled; more than once, with a goodbye in the end."""
    client, server = session.client, session.server
    client.take(b"")
    for turn in range(30):
        for speaker, listener, mangle in ((client, server, up), (server, client, down)):
            for piece in mangle(speaker.engine.to_send()):
                listener.take(piece)
            if speaker.failure is None and speaker.done and turn in (6, 8):
                speaker.say(SAID)
            if speaker.failure is None and speaker.done and turn == 10:
                speaker.engine.close_notify()


@given(plans, plans, pieces)
@settings(fuzzed, max_examples=8)
def test_engines(loaded, up, down, sizes):
    session = loaded.session()
    exchange(session, Mangler(up, sizes), Mangler(down, sizes))
    for end in (session.client, session.server):
        # Nothing that was not said, in the order in which it was.
        assert (SAID * 2).startswith(end.got)
        assert end.failure is None or isinstance(end.failure, TLSError)
        assert end.engine.to_send() == b""
        if end.failure is not None:
            assert str(end.failure)
        if not up and not down:
            assert end.failure is None
            assert end.ended
            assert end.got == SAID * 2


@given(st.binary(max_size=3000), st.booleans())
@settings(fuzzed, max_examples=10)
def test_garbage_alone(loaded, garbage, to_client):
    session = loaded.session()
    session.client.take(b"")
    victim = session.client if to_client else session.server
    for byte in garbage:
        victim.take(bytes([byte]))
    assert not victim.done
    assert not victim.got


class TestFlows:
    """The same with the layer, the wire and the channels on top of the engine."""

    @pytest.fixture
    def anyio_backend(self):
        return "asyncio"

    @pytest.mark.parametrize("role", ["client", "server"])
    def test_flows(self, loaded, role, monkeypatch):
        monkeypatch.setattr(ending, "LINGER_SECONDS", 0)

        @given(plans, pieces, st.booleans())
        @settings(fuzzed, max_examples=5)
        def fuzz(plan, sizes, leaves):
            asyncio.run(attack(loaded.session(), role, Mangler(plan, sizes), leaves))

        fuzz()


async def attack(session, role, mangle, leaves):
    """A flow against a peer that mangles what it says. leaves: whether it goes away in the end."""
    asyncio.get_running_loop().set_exception_handler(unexpected)
    victim, attacker = session.client, session.server
    if role == "server":
        victim, attacker = attacker, victim
    near, far = memory_pair(close_timeout=0.2)
    handled = asyncio.create_task(handle(near, victim.engine))
    attacker.take(b"")
    speaking = asyncio.create_task(speak(far, attacker, mangle, leaves))
    try:
        async with asyncio.timeout(20):
            error = await handled
    finally:
        speaking.cancel()
        await asyncio.wait([speaking])
        await abort(far)
    assert error is None or isinstance(error, OSError | EOFError), repr(error)
    assert wire_of(near.oc).lost
    assert asyncio.all_tasks() == {asyncio.current_task()}


def unexpected(loop, context):
    raise AssertionError(context)


async def handle(below, engine):
    """What a program does with such a flow."""
    error = None
    got = b""
    try:
        async with asyncio.timeout(0.2):
            ctx = conduit.Context(close_timeout=0.2)
            _, ic, oc = await secure(
                below, engine, ctx, lambda _: flow_over(below.flow, NAME), what="a test"
            )
    except (OSError, EOFError) as failed:
        error = failed
    else:
        try:
            async with asyncio.timeout(0.2):
                while data := await ic.read(5000):
                    got += data
                    oc.write(data)
        except (OSError, EOFError) as failed:
            error = failed
        finally:
            oc.close()
            await oc.wait_closed()
    await below.oc.wait_closed()
    assert SAID.startswith(got)
    return error


async def speak(far, attacker, mangle, leaves):
    _, ic, oc = far
    said = False
    while True:
        for piece in mangle(attacker.engine.to_send()):
            oc.write(piece)
            await asyncio.sleep(0)
        if attacker.done and attacker.failure is None and not said:
            said = True
            attacker.say(SAID)
            continue
        if said or attacker.failure is not None:
            break
        if not (data := await ic.read(70_000)):
            break
        attacker.take(data)
    if leaves:
        oc.close()
