"""TLS flows of every kind: over any transport, over each other, and begun in the middle."""

from __future__ import annotations

import asyncio
import random

import pytest

import conduit
from conduit import TruncatedError, endp, flow
from conduit.channels import ending, wire_of
from conduit.channels.above import below_of
from conduit.testing import check_channels
from tests.conftest import LOOPS
from tests.tls.flows import NAME, NAMES, Kinds

DATA = random.Random(2).randbytes(2_000_000)

# Each way to begin TLS, over each transport that differs. The checker takes its time, so uvloop
# has the two of them alone that differ for a loop.
CHECKED = [
    *(("asyncio", kind) for kind in ("unix", "start_tls", "tls_in_tls_in_tls")),
    *((loop, kind) for loop in LOOPS for kind in ("tcp", "tunnel_over_tls")),
]

SLOW = "close_ends_although_the_peer_stays"


@pytest.fixture(params=NAMES)
def kind(request):
    return request.param


@pytest.fixture
def ctx(identities):
    return conduit.Context(tls_authenticator=identities.trust, alpn=("test",))


@pytest.fixture
def kinds(identities, ctx, socket_path):
    return Kinds(identities, ctx, socket_path)


@pytest.mark.parametrize(("anyio_backend", "kind"), CHECKED, indirect=["anyio_backend"])
async def test_the_channels_keep_their_promises(kinds, kind, monkeypatch):
    def make():
        return kinds.by(kind)

    await check_channels(make, skip=[SLOW])
    # Not for the others: there a peer that is only slow must not be given up.
    monkeypatch.setattr(ending, "LINGER_SECONDS", 0.02)
    await check_channels(make, only=[SLOW])


async def test_much_goes_both_ways_at_once(kinds, kind):
    async with kinds.by(kind) as ends:

        async def send(oc):
            for start in range(0, len(DATA), 70_000):
                await oc.write(DATA[start : start + 70_000])
            oc.write_eof()

        near, far, *_ = await asyncio.gather(
            ends.client.ic.read(), ends.server.ic.read(), send(ends.client.oc), send(ends.server.oc)
        )
        assert near == far == DATA


async def test_either_side_ends_alone(kinds, kind):
    for role in (0, 1):
        async with kinds.by(kind) as ends:
            (_, ic, oc), (_, their_ic, their_oc) = ends[role], ends[1 - role]
            oc.write(b"request")
            oc.write_eof()
            assert await their_ic.read() == b"request"
            their_oc.write(DATA[:300_000])
            their_oc.close()
            assert await ic.read() == DATA[:300_000]
            oc.close()
            await oc.wait_closed()


async def test_facts(kinds, kind, identities):
    async with kinds.by(kind) as ends:
        for f, _, oc in ends:
            assert oc.get_extra_info("tls_version") == "TLSv1.3"
            assert oc.get_extra_info("alpn") == "test"
            assert oc.get_extra_info("sni") == NAME
            assert oc.get_extra_info("tls").cipher == oc.get_extra_info("cipher")[0]
            assert oc.get_extra_info("ssl_object").version() == "TLSv1.3"
            origin = conduit.endp_of_flow(f)
            assert isinstance(origin, endp.TLS | endp.TLSTunnel)
        assert ends.client.oc.get_extra_info("peer_certificate")
        assert ends.server.oc.get_extra_info("peer_certificate") is None
        if kind.startswith("tunnel"):
            assert isinstance(ends.client.flow, flow.Tunnel)


def bottom(oc):
    """The wire that stands on the transport which is no layer."""
    found = wire_of(oc)
    while (below := below_of(found.transport)) is not None:
        found = below
    return found


async def test_an_end_without_a_goodbye_is_told_to_the_uppermost_reader(kinds, kind):
    """The end of the lowest flow, while that stays open the other way."""
    for role in (0, 1):
        async with kinds.by(kind) as ends:
            (_, ic, oc), (_, their_ic, their_oc) = ends[role], ends[1 - role]
            their_oc.write(b"half of")
            assert await ic.readexactly(4) == b"half"
            reading = asyncio.create_task(ic.read())
            await asyncio.sleep(0)
            bottom(their_oc).transport.write_eof()
            with pytest.raises(TruncatedError) as caught:
                await reading
            assert caught.value.partial == b" of"
            # The other way goes on.
            oc.write(b"still here")
            assert await their_ic.readexactly(10) == b"still here"


async def test_a_forged_record_below_is_told_to_the_uppermost_reader(kinds, kind):
    for role in (0, 1):
        async with kinds.by(kind) as ends:
            (_, ic, oc), (_, their_ic, their_oc) = ends[role], ends[1 - role]
            their_oc.write(b"good")
            await asyncio.sleep(0)
            bottom(their_oc).transport.write(b"\x17\x03\x03\x00\x20" + bytes(32))
            with pytest.raises(conduit.TLSError, match="damaged or forged"):
                await ic.read()
            assert await ic.readexactly(4) == b"good"
            with pytest.raises(ConnectionError):
                await oc.drain()
            # The other side is told why.
            with pytest.raises(conduit.TLSError) as caught:
                await their_ic.read()
            assert caught.value.alert == "bad_record_mac"
