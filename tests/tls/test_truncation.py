"""A TLS stream that is cut is never taken for one that ended, wherever it is cut."""

from __future__ import annotations

import asyncio

import pytest

import conduit
from conduit import TLSError, TruncatedError
from conduit.channels import ending, wire_of
from conduit.testing import Faults, add_faults, memory_pair
from conduit.transports.tls import flow_over
from conduit.transports.tls import secured as secure
from tests.tls.flows import NAME, abort
from tests.tls.session import load

SAID = b"what was said"


@pytest.fixture
def anyio_backend():
    """Over memory the loop has no part in this."""
    return "asyncio"


@pytest.fixture
def loaded(stacks, tls, identities):
    # Its signatures have one length, so that each run has as many bytes.
    return load(stacks, tls, identities.server("ed25519"), identities.trust)


@pytest.mark.parametrize("role", ["client", "server"])
def test_no_prefix_of_a_session_is_an_end(loaded, role):
    """Byte at a time, by the engine."""
    session = loaded.session()
    listener, speaker = session.client, session.server
    if role == "server":
        listener, speaker = speaker, listener
    session.client.take(b"")
    finished = False
    for _ in range(20):
        speaker.take(listener.engine.to_send())
        if listener.done and speaker.done and not finished:
            finished = True
            speaker.say(SAID)
            speaker.engine.close_notify()
        for byte in speaker.engine.to_send():
            assert not listener.ended
            assert SAID.startswith(listener.got)
            listener.take(bytes([byte]))
    assert finished
    assert listener.failure is None
    assert listener.ended
    assert listener.read() == SAID


class Cut:
    """A session over memory of which one side hears only so many bytes."""

    def __init__(self, loaded, role, **settings):
        self.loaded = loaded
        self.role = role
        self.ctx = conduit.Context(**settings)

    async def run(self, after=None, how="eof"):
        """What the side has read, and of how many bytes; raises what it failed with."""
        session = self.loaded.session()
        cut = Faults() if after is None else Faults(cut_after=after, cut=how)
        pair = memory_pair()
        heard = {"client": 0, "server": 1}[self.role]
        add_faults(pair[heard], incoming=cut)
        sides = zip(pair, (session.client.engine, session.server.engine), strict=True)
        try:
            got, told = await asyncio.gather(
                *(
                    self._side(below, engine, listens=each == heard)
                    for each, (below, engine) in enumerate(sides)
                ),
                return_exceptions=True,
            )
        finally:
            for below in pair:
                await abort(below)
        result = (got, told)[heard]
        if isinstance(result, BaseException):
            raise result
        return result, wire_of(pair[heard].oc).bytes_in

    async def _side(self, below, engine, listens):
        _, ic, oc = await secure(
            below, engine, self.ctx, lambda _: flow_over(below.flow, NAME), what="a test"
        )
        if not listens:
            oc.write(SAID)
            await oc.close()
            return None
        try:
            return await ic.read()
        finally:
            oc.close()


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(ending, "LINGER_SECONDS", 0)


@pytest.mark.parametrize("role", ["client", "server"])
async def test_a_flow_that_is_cut_fails(loaded, role, hasty):
    session = Cut(loaded, role)
    got, total = await session.run()
    assert got == SAID
    assert await session.run(total) == (SAID, total)
    handshakes = 0
    # Samples of the handshake and of all that was said; each byte of the goodbye.
    for after in (
        *range(0, total, 61),
        *range(total - 70, total - 30, 5),
        *range(total - 30, total),
    ):
        with pytest.raises(TLSError) as caught:
            await session.run(after)
        if isinstance(caught.value, TruncatedError):
            assert caught.value.partial in (b"", SAID)
        else:
            handshakes += 1
            assert "during the TLS handshake" in str(caught.value)
    assert handshakes > 3


@pytest.mark.parametrize("role", ["client", "server"])
async def test_with_allow_truncation_it_is_what_came(loaded, role, hasty):
    session = Cut(loaded, role, allow_truncation=True)
    _, total = await session.run()
    seen = set()
    for after in (*range(total - 50, total - 30, 5), *range(total - 30, total)):
        got, heard = await session.run(after)
        assert heard == after
        assert got in (b"", SAID)
        seen.add(got)
    assert seen == {b"", SAID}
    with pytest.raises(TLSError, match="during the TLS handshake"):
        await session.run(100)


async def test_a_reset_is_a_reset(loaded, hasty):
    session = Cut(loaded, "client", allow_truncation=True)
    _, total = await session.run()
    for after in (*range(0, total - 70, 150), *range(total - 70, total, 5)):
        with pytest.raises(ConnectionResetError):
            await session.run(after, "reset")
