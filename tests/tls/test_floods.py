"""Peers that flood a flow with what costs it an answer, or memory."""

from __future__ import annotations

import asyncio
import ssl

import pytest

import conduit
from conduit import TLSError
from conduit.channels import wire_of
from conduit.channels.above import below_of
from conduit.testing import memory_pair
from conduit.transports.tls import flow_over
from conduit.transports.tls import secured as secure
from tests.tls.flows import NAME, abort
from tests.tls.forger import ALERT, DATA, HANDSHAKE, Forger
from tests.tls.session import load

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}

# What the two directions of a flow in memory hold, the limits of both wires, and one piece.
BOUND = 512 * 1024


@pytest.fixture
def anyio_backend():
    """Over memory the loop has no part in this."""
    return "asyncio"


@pytest.fixture
def forger(tmp_path, request):
    forger = Forger(VERSIONS[getattr(request, "param", "TLSv1.3")], tmp_path / "keys")
    yield forger
    forger.close()


@pytest.fixture
def loaded(stack, identities):
    return load((stack, stack), None, identities.server("rsa"), identities.trust)


over_tls12 = pytest.mark.parametrize("forger", ["TLSv1.2"], indirect=True)
over_both = pytest.mark.parametrize("forger", VERSIONS, indirect=True)


@pytest.fixture
async def flow(loaded, forger):
    """A server's flow, and the plain one of the forger, after the handshake."""
    near, far = memory_pair()

    async def shake():
        far.oc.write(forger.receive(b""))
        while not forger.done:
            far.oc.write(forger.receive(await far.ic.read(70_000)))

    ctx = conduit.Context(close_timeout=1)
    made, _ = await asyncio.gather(
        secure(
            near,
            loaded.server.engine(),
            ctx,
            lambda _: flow_over(near.flow, NAME),
            what="a test",
        ),
        shake(),
    )
    yield made, far
    await abort(made)
    await abort(far)


def kept(triple) -> int:
    """What a flow of TLS has in memory."""
    upper = wire_of(triple.oc)
    below = below_of(upper.transport)
    assert below is not None
    return len(upper.buffer) + upper.backlog + len(below.buffer) + below.backlog


async def flood(oc, make, most=4 * 1024 * 1024) -> int:
    """Write until the other side takes no more; says how many bytes it was."""
    sent = 0
    while sent < most:
        piece = b"".join(make() for _ in range(100))
        sent += len(piece)
        try:
            async with asyncio.timeout(1):
                await oc.write(piece)
        except (TimeoutError, ConnectionError):
            break
    return sent


async def test_key_updates_without_reading_the_answers(flow, forger):
    made, (_, their_ic, their_oc) = flow
    reading = asyncio.create_task(made.ic.readexactly(5))
    sent = await flood(their_oc, forger.key_update)
    assert sent < BOUND
    assert kept(made) < BOUND
    # When it reads, all goes on.
    their_oc.write(forger.seal(DATA, b"hello"))
    while not reading.done():
        forger.read(await their_ic.read(70_000))
    assert await reading == b"hello"
    made.oc.write(b"and back")
    while not (answer := forger.read(await their_ic.read(70_000))):
        pass
    assert answer == b"and back"


@over_tls12
async def test_renegotiation_is_refused_time_and_again(flow, forger):
    made, (_, _, their_oc) = flow
    reading = asyncio.create_task(made.ic.read(5))
    sent = await flood(their_oc, forger.hello_again)
    assert sent < 4 * 1024 * 1024 or made.oc.is_closing()
    assert kept(made) < BOUND
    their_oc.close()
    try:
        assert await reading == b""
    except TLSError:
        pass


@over_both
@pytest.mark.parametrize("kind", [ALERT, DATA], ids=["warnings", "empty records"])
async def test_records_that_say_nothing(flow, forger, kind):
    """A few are ignored; a flood ends the flow."""
    made, (_, _, their_oc) = flow
    content = bytes([1, 90]) if kind == ALERT else b""  # user_canceled, of no meaning
    their_oc.write(forger.seal(kind, content) + forger.seal(DATA, b"hello"))
    assert await made.ic.readexactly(5) == b"hello"
    reading = asyncio.create_task(made.ic.read(5))
    await flood(their_oc, lambda: forger.seal(kind, content))
    assert kept(made) < BOUND
    with pytest.raises(TLSError):
        await reading


@over_both
async def test_a_slow_reader_holds_the_peer_up(flow, forger):
    made, (_, _, their_oc) = flow
    piece = bytes(16_000)
    sent = await flood(their_oc, lambda: forger.seal(DATA, piece), 64 * 1024 * 1024)
    assert sent < 4 * BOUND
    assert kept(made) < BOUND + 16_000 * 100


@over_both
@pytest.mark.parametrize("size", [1, 3, 5, 1000])
async def test_a_record_without_an_end(flow, forger, size):
    """A part of one, for ever, is kept as a part of one."""
    made, (_, _, their_oc) = flow
    await their_oc.write(forger.seal(DATA, bytes(10_000))[:size])
    reading = asyncio.create_task(made.ic.read(5))
    await asyncio.sleep(0)
    their_oc.write_eof()
    with pytest.raises(conduit.TruncatedError):
        await reading


async def test_a_handshake_message_without_an_end(flow, forger):
    """A certificate of 16 MB, piece by piece, after the handshake."""
    made, (_, _, their_oc) = flow
    reading = asyncio.create_task(made.ic.read(5))
    head = bytes([11]) + (2**24 - 1).to_bytes(3)
    their_oc.write(forger.seal(HANDSHAKE, head + bytes(10_000)))
    sent = await flood(their_oc, lambda: forger.seal(HANDSHAKE, bytes(16_000)))
    assert sent
    assert kept(made) < BOUND
    with pytest.raises(TLSError):
        await reading


@pytest.mark.parametrize(
    "claim", [bytes([1]) + (2**24 - 1).to_bytes(3), bytes([11]) + (2**24 - 1).to_bytes(3)]
)
@pytest.mark.parametrize("role", ["client", "server"])
def test_a_first_message_without_an_end(loaded, claim, role):
    """A hello of 16 MB: it is refused before much of it has come."""
    session = loaded.session()
    session.client.take(b"")
    victim = session.client if role == "client" else session.server
    victim.take(bytes([22, 3, 3]) + (16_004).to_bytes(2) + claim + bytes(16_000))
    given = 0
    while victim.failure is None and given < 1_000_000:
        victim.take(bytes([22, 3, 3]) + (16_000).to_bytes(2) + bytes(16_000))
        given += 16_005
    assert isinstance(victim.failure, TLSError)
    assert given < 200_000
