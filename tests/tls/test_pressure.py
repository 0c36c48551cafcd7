"""TLS flows under pressure: slow readers, large and small writes, closes in the middle."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from typing import Any

import pytest

import conduit
from conduit import events, server
from conduit.channels import wire_of
from conduit.channels.above import below_of
from tests.event_log import EventLog, until
from tests.tls.flows import Kinds, tls_to

DATA = random.Random(3).randbytes(1024 * 1024)

# The limits of a wire's input and of its output, what one read of the loop may bring (uvloop: 256
# KiB), and one piece that is encrypted at a time.
BOUND = (2 * 64 + 64 + 256 + 64) * 1024

KINDS = ["tcp", "unix", "tls_in_tls"]


@pytest.fixture
def ctx(identities):
    return conduit.Context(tls_authenticator=identities.trust, close_timeout=0.1)


@pytest.fixture
def kinds(identities, ctx, socket_path):
    return Kinds(identities, ctx, socket_path)


def kept(triple) -> int:
    """What a flow and all that are below it have in memory."""
    size, found = 0, wire_of(triple.oc)
    layer: Any
    while True:
        layer = found.transport
        below = below_of(layer)
        size += len(found.buffer) + found.held_size
        if below is None:
            return size + int(layer.get_write_buffer_size())
        size += len(layer._unencrypted)
        found = below


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", [0, 1], ids=["client", "server"])
async def test_a_slow_reader_costs_little_memory(kinds, kind, role):
    async with kinds.by(kind) as ends:
        writer, reader = ends[role], ends[1 - role]
        most = written = 0

        async def write():
            nonlocal written
            for _ in range(256):  # 64 MiB, if it could
                await writer.oc.write(DATA[: 256 * 1024])
                written += 256 * 1024

        writing = asyncio.create_task(write())
        # It is held up when nothing moves any more, for a while.
        loop = asyncio.get_running_loop()
        since, last = loop.time(), 0
        while loop.time() - since < 0.1:
            most = max(most, kept(writer), kept(reader))
            if written != last:
                since, last = loop.time(), written
            await asyncio.sleep(0)
        assert not writing.done()
        assert written < 32 * 1024 * 1024
        assert most < BOUND + 256 * 1024  # the piece that was written
        # Then all goes on.
        for _ in range(40):
            data = await reader.ic.readexactly(256 * 1024)
            assert data == DATA[: 256 * 1024]
            assert kept(writer) < BOUND + 256 * 1024
        writing.cancel()


@pytest.mark.parametrize("kind", [*KINDS, "memory"])
@pytest.mark.parametrize("role", [0, 1], ids=["client", "server"])
async def test_a_large_write_arrives_whole_though_closed_at_once(kinds, kind, role):
    async with kinds.by(kind) as ends:
        writer, reader = ends[role], ends[1 - role]
        wire_of(writer.oc).close_timeout = 30
        writer.oc.write(DATA * 10)
        writer.oc.close()
        got = hashlib.sha256()
        while data := await reader.ic.read(100_000):
            got.update(data)
        assert got.digest() == hashlib.sha256(DATA * 10).digest()
        reader.oc.close()
        await writer.oc.wait_closed()


@pytest.mark.parametrize("kind", KINDS)
async def test_many_small_writes_arrive_in_order(kinds, kind):
    async with kinds.by(kind) as ends:
        lines = [b"%d\n" % number for number in range(20_000)]
        for line in lines[:10_000]:
            ends.client.oc.write(line)
        ends.client.oc.writelines(lines[10_000:15_000])
        ends.client.oc.writelines(bytearray(line) for line in lines[15_000:])
        ends.client.oc.write(b"")
        ends.client.oc.write_eof()
        assert await ends.server.ic.read() == b"".join(lines)


async def write_on(oc):
    while True:
        oc.write(b"x")
        await oc.drain()


@pytest.mark.parametrize("kind", KINDS)
async def test_writing_to_a_peer_that_is_gone_fails(kinds, kind):
    """Also where a drain would never have to wait."""
    for role in (0, 1):
        async with kinds.by(kind) as ends:
            writer, goner = ends[role], ends[1 - role]
            goner.oc.transport.abort()
            await goner.oc.wait_closed()
            with pytest.raises(ConnectionError):
                await write_on(writer.oc)
            with pytest.raises(ConnectionError):
                await writer.oc.write(b"x")
            assert writer.oc.is_closing()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_peer_never_read_is_told_of(kinds, kind, caplog):
    size = 32 * len(DATA)
    async with kinds.by(kind) as ends:
        with EventLog() as log, caplog.at_level(logging.WARNING, "conduit"):
            ends.client.oc.write(bytes(size))
            ends.client.oc.close()
            await ends.client.oc.wait_closed()
            [closed] = [each for each in log.of(events.Closed) if each.flow == ends.client.flow]
        assert closed.reason == "close_timeout"
        assert closed.sent + closed.unsent == size
        # The operating system took some.
        assert size / 2 < closed.unsent < size
        assert f"{closed.unsent} bytes written to" in caplog.text


async def test_an_abort_tells_what_was_unsent(kinds):
    size = 32 * len(DATA)
    async with kinds.by("unix") as ends:
        with EventLog() as log:
            ends.client.oc.write(bytes(size))
            ends.client.oc.transport.abort()
            await ends.client.oc.wait_closed()
            [closed] = [each for each in log.of(events.Closed) if each.flow == ends.client.flow]
        assert closed.sent + closed.unsent == size
        assert closed.unsent > size - len(DATA)


async def test_the_counts_of_a_flow_are_of_what_was_said(kinds):
    with EventLog() as log:
        async with kinds.by("tcp") as ends:
            ends.client.oc.write(bytes(1000))
            await ends.server.ic.readexactly(1000)
            ends.server.oc.write(bytes(2000))
            ends.server.oc.close()
            assert len(await ends.client.ic.read()) == 2000
            ends.client.oc.close()
            await log.wait(events.Closed, 2)
    assert sorted((each.sent, each.received) for each in log.of(events.Closed)) == [
        (1000, 2000),
        (2000, 1000),
    ]
    assert {(each.unsent, each.reason) for each in log.of(events.Closed)} == {(0, "closed")}


async def test_a_reply_arrives_whole_though_the_request_was_half_read(identities):
    key = identities.server()

    async def handler(f, ic, oc):
        await ic.readexactly(100_000)
        oc.write(DATA[:200_000])

    patient = conduit.Context(tls_authenticator=identities.trust)
    mode = server.TLS(key.crt_file, key.key_file, None, 0, ip="127.0.0.1")
    async with conduit.listen(mode, handler, ctx=patient) as srv:
        target = tls_to(srv)
        for _ in range(20):
            async with conduit.connect(target, ctx=patient) as (_, ic, oc):
                oc.write(DATA[:200_000])
                assert await ic.read() == DATA[:200_000]


async def test_a_flow_on_which_nothing_moves_is_closed(identities, ctx):
    key = identities.server()
    ended = asyncio.Event()

    async def handler(f, ic, oc):
        try:
            while True:
                oc.write(await ic.readexactly(1))
        finally:
            ended.set()

    mode = server.TLS(key.crt_file, key.key_file, None, 0, ip="127.0.0.1")
    async with conduit.listen(mode, handler, ctx=ctx, idle_timeout=0.3) as srv:
        target = tls_to(srv)
        async with conduit.connect(target, ctx=ctx) as (_, ic, oc):
            for _ in range(10):
                oc.write(b"x")
                assert await ic.readexactly(1) == b"x"
                assert not ended.is_set()
                await asyncio.sleep(0.05)
            with pytest.raises(ConnectionError):
                await ic.read()
            assert ended.is_set()
        await until(lambda: srv.active == 0)
