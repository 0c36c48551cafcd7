"""`relay`: what each of two peers says reaches the other, in full or not as a whole."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

import conduit
from conduit import client, events, server
from conduit.channels import wire_of
from conduit.testing import Memory
from tests.endpoints import port_of
from tests.event_log import EventLog, until

KIB, MIB = 1024, 1024 * 1024

KINDS = ["tcp", "unix", "memory"]

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def flow_of(kind, tmp_path, name, certificates=None):
    """A flow as a handler was given it, and that of the peer who connected.

    certificates: for TLS; its flow is that of the handler, and its peer the client.
    """
    path = str(tmp_path / name)
    accepted = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def handler(*triple):
        accepted.set_result(triple)
        await over.wait()

    ways: dict[str, tuple[Any, Any]] = {
        "tcp": (server.TCP(0, ip="127.0.0.1"), None),
        "unix": (server.UnixDomainSocket(path), client.UnixDomainSocket(path)),
        "memory": (Memory(path), Memory(path)),
    }
    ctx = None
    if kind == "tls":
        own = certificates.key()
        ways["tls"] = server.TLS(own.crt_file, own.key_file, None, 0, ip="127.0.0.1"), None
        ctx = await conduit.init(tls_authenticator=conduit.trust.ca(certificates.trusted))
    mode, where = ways[kind]
    async with conduit.listen(mode, handler) as srv:
        if kind == "tls":
            where = client.TLS("localhost", "127.0.0.1", port_of(srv))
        peer = await conduit.connect(where or srv.endps[0], ctx=ctx)
        try:
            yield await accepted, peer
        finally:
            over.set()
            await peer[2].close()


@pytest.fixture
async def joined(tmp_path, certificates):
    """Call it with two kinds: a relay between two flows of them, and the peers at its ends."""
    async with AsyncExitStack() as stack:
        relays = []

        async def join(one="tcp", other="tcp", before=None):
            a, peer_a = await stack.enter_async_context(flow_of(one, tmp_path, "a", certificates))
            b, peer_b = await stack.enter_async_context(flow_of(other, tmp_path, "b", certificates))
            if before is not None:
                await before(a, peer_a, b, peer_b)
            relays.append(asyncio.create_task(conduit.relay(a, b)))
            return relays[0], a, peer_a, b, peer_b

        yield join
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)


async def say(oc, data):
    """Write all of it in pieces, and end."""
    for start in range(0, len(data), 64 * KIB):
        await oc.write(data[start : start + 64 * KIB])
    oc.write_eof()


def reset(peer):
    """End a flow as a machine does that has lost it."""
    sock = peer[2].get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer[2].transport.abort()


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("one", KINDS)
async def test_what_each_says_reaches_the_other(joined, one, other):
    relay, _, (_, ic_a, oc_a), _, (_, ic_b, oc_b) = await joined(one, other)
    there, back = os.urandom(3 * MIB + 17), os.urandom(2 * MIB + 1)
    _, _, at_a, at_b = await asyncio.gather(
        say(oc_a, there), say(oc_b, back), ic_a.read(), ic_b.read()
    )
    assert hashlib.sha256(at_b).digest() == hashlib.sha256(there).digest()
    assert hashlib.sha256(at_a).digest() == hashlib.sha256(back).digest()
    assert await relay == (len(there), len(back))


async def test_a_system_without_splice_relays_all_the_same(joined, monkeypatch):
    monkeypatch.delattr(os, "splice")
    relay, _, (_, ic_a, oc_a), _, (_, ic_b, oc_b) = await joined()
    there = os.urandom(3 * MIB + 17)
    oc_b.write(b"short")
    oc_b.write_eof()
    _, at_b, at_a = await asyncio.gather(say(oc_a, there), ic_b.read(), ic_a.read())
    assert (at_b == there, at_a) == (True, b"short")
    assert await relay == (len(there), 5)


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("one", KINDS)
async def test_small_messages_go_to_and_fro(joined, one, other):
    relay, _, (_, ic_a, oc_a), _, (_, ic_b, oc_b) = await joined(one, other)
    for number in range(50):
        oc_a.write(b"%d\n" % number)
        assert await ic_b.readline() == b"%d\n" % number
        oc_b.write(b"-%d\n" % number)
        assert await ic_a.readline() == b"-%d\n" % number
    assert not relay.done()


@pytest.mark.parametrize("one", KINDS)
async def test_end_of_one_side_goes_on_and_the_other_may_still_speak(joined, one):
    relay, _, (_, ic_a, oc_a), _, (_, ic_b, oc_b) = await joined(one)
    oc_a.write(b"that is all")
    oc_a.write_eof()
    assert await ic_b.read() == b"that is all"
    assert not relay.done()
    oc_b.write(b"thanks")
    oc_b.write_eof()
    assert await ic_a.read() == b"thanks"
    assert await relay == (11, 6)


@pytest.mark.parametrize("one", KINDS)
async def test_flows_stay_open_for_whoever_has_them(joined, one):
    relay, a, (_, _, oc_a), b, (_, _, oc_b) = await joined(one)
    oc_a.write_eof()
    oc_b.write_eof()
    await relay
    assert not a[2].is_closing()
    assert not b[2].is_closing()
    assert a[1].at_eof()
    assert await b[1].read() == b""


@pytest.mark.parametrize("one", KINDS)
async def test_what_was_read_and_written_before_keeps_its_place(joined, one):
    large = os.urandom(4 * MIB)

    async def before(a, peer_a, b, peer_b):
        peer_a[2].write(b"line\nrest")
        assert await a[1].readline() == b"line\n"
        # More than the kernel takes: some is unsent when the relay begins.
        b[2].write(large)

    relay, _, (_, _, oc_a), _, (_, ic_b, oc_b) = await joined(one, before=before)
    await asyncio.sleep(0)
    oc_a.write(b" and more")
    oc_a.write_eof()
    got = await ic_b.read()
    assert hashlib.sha256(got[: len(large)]).digest() == hashlib.sha256(large).digest()
    assert got[len(large) :] == b"rest and more"
    oc_b.write_eof()
    assert (await relay).b_to_a == 0


async def test_side_that_had_ended_before_has_ended(joined):
    async def before(a, peer_a, b, peer_b):
        peer_a[2].write(b"early")
        peer_a[2].write_eof()
        await until(lambda: wire_of(a[1]).eof)

    relay, _, (_, ic_a, _), _, (_, ic_b, oc_b) = await joined(before=before)
    assert await ic_b.read() == b"early"
    oc_b.write(b"late")
    oc_b.write_eof()
    assert await ic_a.read() == b"late"
    assert await relay == (5, 4)


@pytest.mark.parametrize("one", KINDS)
async def test_peer_that_takes_nothing_in_holds_up_the_other(joined, one):
    relay, _, (_, _, oc_a), _, (_, ic_b, oc_b) = await joined(one)
    piece, sent = bytes(256 * KIB), 0

    async def pour():
        nonlocal sent
        while True:
            await oc_a.write(piece)
            sent += len(piece)

    pouring = asyncio.create_task(pour())
    before = -1
    while sent != before:  # until nothing has moved for many turns of the loop
        before = sent
        for _ in range(50):
            await asyncio.sleep(0)
    assert sent < 64 * MIB
    pouring.cancel()
    oc_a.write_eof()
    received = 0
    while data := await ic_b.read(MIB):
        received += len(data)
    assert sent <= received <= sent + len(piece)
    oc_b.write_eof()
    assert (await relay).a_to_b == received


@pytest.mark.parametrize("one", ["tcp", "memory"])
async def test_cancelled_relay_ends_no_side_as_if_it_were_whole(joined, one):
    relay, _, (_, ic_a, oc_a), _, (_, ic_b, _) = await joined(one)
    oc_a.write(b"half")
    assert await ic_b.readexactly(4) == b"half"
    relay.cancel()
    with pytest.raises(asyncio.CancelledError):
        await relay
    for ic in (ic_a, ic_b):
        with pytest.raises(ConnectionError):
            await ic.read()


@pytest.mark.parametrize("one", ["tcp", "memory"])
@pytest.mark.parametrize("dies", ["a", "b"])
async def test_side_that_dies_takes_the_other_along(joined, one, dies):
    relay, _, peer_a, _, peer_b = await joined(one)
    dead, alive = (peer_a, peer_b) if dies == "a" else (peer_b, peer_a)
    dead[2].write(b"half")
    assert await alive[1].readexactly(4) == b"half"
    reset(dead)
    with pytest.raises(ConnectionError):
        await relay
    with pytest.raises(ConnectionError):
        await alive[1].read()


async def test_side_that_dies_while_it_takes_nothing_in_is_noticed(joined):
    relay, _, (_, ic_a, oc_a), _, peer_b = await joined()
    pouring = asyncio.create_task(say(oc_a, bytes(64 * MIB)))
    await until(lambda: oc_a.transport.get_write_buffer_size() > 0)
    reset(peer_b)
    with pytest.raises(ConnectionError):
        await relay
    with pytest.raises(ConnectionError):
        await pouring
    with pytest.raises(ConnectionError):
        await ic_a.read()


@pytest.mark.parametrize("one", ["tcp", "memory"])
async def test_flow_that_is_aborted_from_elsewhere_ends_the_relay(joined, one):
    relay, a, (_, _, oc_a), _, (_, ic_b, _) = await joined(one)
    oc_a.write(b"half")
    assert await ic_b.readexactly(4) == b"half"
    a[2].transport.abort()
    with pytest.raises(ConnectionError):
        await relay
    with pytest.raises(ConnectionError):
        await ic_b.read()


async def test_flow_is_for_one_relay_alone(joined):
    relay, a, (_, _, oc_a), b, (_, ic_b, _) = await joined()
    oc_a.write(b"x")
    assert await ic_b.readexactly(1) == b"x"
    with pytest.raises(RuntimeError):
        await a[1].read(1)
    with pytest.raises(RuntimeError):
        await conduit.relay(a, b)
    assert not relay.done()


async def test_what_cannot_be_joined_is_refused(tmp_path):
    async with flow_of("tcp", tmp_path, "a") as (a, peer), flow_of("tcp", tmp_path, "b") as (b, _):
        with pytest.raises(ValueError, match="same flow"):
            await conduit.relay(a, a)
        with pytest.raises(ValueError, match="one flow"):
            await conduit.relay((a[0], b[1], a[2]), b)
        # Nothing has happened to them.
        peer[2].write(b"x")
        assert await a[1].readexactly(1) == b"x"


@pytest.mark.parametrize("one", KINDS)
async def test_bytes_are_counted_as_if_they_were_read_and_written(joined, one):
    with EventLog() as log:
        relay, a, (_, _, oc_a), _, (_, ic_b, oc_b) = await joined(one)
        await asyncio.gather(say(oc_a, bytes(MIB)), ic_b.read())
        oc_b.write_eof()
        await relay
        await a[2].close()
    [closed] = [event for event in log.of(events.Closed) if event.flow is a[0]]
    assert (closed.received, closed.sent) == (MIB, 0)


# TLS ----------------------------------------------------------------------------------------------

WITH_TLS = pytest.mark.parametrize(
    ("one", "other"), [("tls", "tcp"), ("tcp", "tls"), ("tls", "tls"), ("tls", "memory")]
)


@WITH_TLS
async def test_tls_is_relayed_both_ways_in_full(joined, one, other):
    relay, _, (_, ic_a, oc_a), _, (_, ic_b, oc_b) = await joined(one, other)
    there, back = os.urandom(MIB + 17), os.urandom(MIB // 2 + 1)
    _, _, at_a, at_b = await asyncio.gather(
        say(oc_a, there), say(oc_b, back), ic_a.read(), ic_b.read()
    )
    assert (at_b, at_a) == (there, back)
    assert await relay == (len(there), len(back))


@WITH_TLS
async def test_goodbye_of_tls_is_an_end_and_the_other_may_still_speak(joined, one, other):
    relay, _, (_, ic_a, oc_a), _, (_, ic_b, oc_b) = await joined(one, other)
    oc_a.write(b"that is all")
    oc_a.write_eof()
    assert await ic_b.read() == b"that is all"
    assert not relay.done()
    oc_b.write(b"thanks")
    oc_b.write_eof()
    assert await ic_a.read() == b"thanks"
    assert await relay == (11, 6)


@pytest.mark.parametrize("other", ["tcp", "tls", "memory"])
async def test_end_of_tls_without_a_goodbye_is_no_end(joined, other):
    relay, _, (_, _, oc_a), _, (_, ic_b, _) = await joined("tls", other)
    oc_a.write(b"half")
    assert await ic_b.readexactly(4) == b"half"
    # A FIN by whoever is on the way, and not by the peer.
    with socket.socket(fileno=os.dup(oc_a.get_extra_info("socket").fileno())) as sock:
        sock.shutdown(socket.SHUT_WR)
    with pytest.raises(conduit.TruncatedError):
        await relay
    with pytest.raises(ConnectionError):
        await ic_b.read()


@WITH_TLS
async def test_cancelled_relay_of_tls_ends_no_side_as_if_it_were_whole(joined, one, other):
    relay, _, (_, ic_a, oc_a), _, (_, ic_b, _) = await joined(one, other)
    oc_a.write(b"half")
    assert await ic_b.readexactly(4) == b"half"
    relay.cancel()
    with pytest.raises(asyncio.CancelledError):
        await relay
    for ic in (ic_a, ic_b):
        with pytest.raises(ConnectionError):
            await ic.read()


@WITH_TLS
@pytest.mark.parametrize("dies", ["a", "b"])
async def test_side_that_is_cut_takes_the_other_along_through_tls(joined, one, other, dies):
    relay, _, peer_a, _, peer_b = await joined(one, other)
    dead, alive = (peer_a, peer_b) if dies == "a" else (peer_b, peer_a)
    dead[2].write(b"half")
    assert await alive[1].readexactly(4) == b"half"
    reset(dead)
    with pytest.raises(ConnectionError):
        await relay
    with pytest.raises(ConnectionError):
        await alive[1].read()


@WITH_TLS
async def test_peer_that_takes_nothing_in_holds_up_the_other_through_tls(joined, one, other):
    relay, _, (_, _, oc_a), _, (_, ic_b, oc_b) = await joined(one, other)
    whole = os.urandom(24 * MIB)
    saying = asyncio.create_task(say(oc_a, whole))
    await until(lambda: oc_a.transport.get_write_buffer_size() > 0)
    received = hashlib.sha256()
    while data := await ic_b.read(MIB):
        received.update(data)
    await saying
    assert received.digest() == hashlib.sha256(whole).digest()
    oc_b.write_eof()
    assert (await relay).a_to_b == len(whole)
