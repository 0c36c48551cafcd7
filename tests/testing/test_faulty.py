"""Faulty flows, over memory and over real sockets."""

from __future__ import annotations

import asyncio
import errno
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

import conduit
from conduit import events, transports
from conduit.channels import ending
from conduit.testing import Faults, Faulty, Memory, add_faults, memory_pair
from conduit.transports import Arrival, Listener
from tests.event_log import EventLog

# More than every buffer below takes in that nobody empties.
FLOOD = 16 * 1024 * 1024


def tcp(_):
    return conduit.server.TCP(0, ip="127.0.0.1")


def unix(path):
    return conduit.server.UnixDomainSocket(path)


def memory(_):
    return Memory("faulty")


@pytest.fixture(params=[tcp, unix, memory])
def mode(request, socket_path):
    """A server's address, of each transport."""
    return request.param(socket_path)


@asynccontextmanager
async def connected(mode: Any, *, close_timeout: float = 5.0, **faults: Faults):
    """A client with faults, and the other side without."""
    arrived: asyncio.Queue[Any] = asyncio.Queue()

    async def handler(f, ic, oc):
        arrived.put_nowait((ic, oc))
        await oc.wait_closed()

    ctx = await conduit.init(close_timeout=close_timeout)
    async with conduit.listen(mode, handler, ctx=ctx) as srv:
        _, ic, oc = await conduit.connect(Faulty(srv.endps[0], **faults), ctx=ctx)  # type: ignore[arg-type]
        peer_ic, peer_oc = await arrived.get()
        yield (ic, oc), (peer_ic, peer_oc)
        for end in oc, peer_oc:
            end.transport.abort()
            await end.wait_closed()


async def read_all(ic):
    """What comes until the end or a failure, and which of the two it was."""
    got = b""
    try:
        while data := await ic.read(100):
            got += data
    except ConnectionError as error:
        return got, type(error)
    return got, "end"


async def is_silent(ic):
    """Whether nothing comes, although what could come has had time to."""
    reading = asyncio.ensure_future(ic.read(100))
    await asyncio.wait([reading], timeout=0.05)
    silent = not reading.done()
    reading.cancel()
    await asyncio.wait([reading])
    return silent


# What happens to the bytes -------------------------------------------------------------------


async def test_without_faults_nothing_happens(mode):
    async with connected(mode) as ((ic, oc), (peer_ic, peer_oc)):
        oc.write(b"there")
        peer_oc.write(b"back")
        assert await peer_ic.readexactly(5) == b"there"
        assert await ic.readexactly(4) == b"back"
        oc.write_eof()
        assert await peer_ic.read() == b""


async def test_short_reads(mode):
    async with connected(mode, incoming=Faults(chunk=3)) as ((ic, _), (_, peer_oc)):
        peer_oc.write(b"0123456789")
        assert [await ic.read(100) for _ in range(4)] == [b"012", b"345", b"678", b"9"]


async def test_short_writes():
    async with connected(memory(""), outgoing=Faults(chunk=3)) as ((_, oc), (peer_ic, _)):
        oc.write(b"0123456789")
        assert len(await peer_ic.read(100)) < 10
        await peer_ic.readuntil(b"9")


async def test_delay(mode):
    loop = asyncio.get_running_loop()
    late = Faults(delay=0.03)
    async with connected(mode, incoming=late, outgoing=late) as ((ic, oc), (peer_ic, peer_oc)):
        begun = loop.time()
        oc.write(b"ping")
        peer_oc.write(await peer_ic.readexactly(4))
        there = loop.time() - begun
        assert await ic.readexactly(4) == b"ping"
        assert there >= 0.029
        assert loop.time() - begun - there >= 0.029
        # So are the ends.
        begun = loop.time()
        peer_oc.write_eof()
        assert await ic.read() == b""
        assert loop.time() - begun >= 0.029
        begun = loop.time()
        oc.close()
        assert await peer_ic.read() == b""
        assert loop.time() - begun >= 0.029


async def test_a_half_close_is_late_as_well(mode):
    loop = asyncio.get_running_loop()
    async with connected(mode, outgoing=Faults(delay=0.03)) as ((_, oc), (peer_ic, _)):
        begun = loop.time()
        oc.write_eof()
        assert await peer_ic.read() == b""
        assert loop.time() - begun >= 0.029


async def test_rate(mode):
    loop = asyncio.get_running_loop()
    async with connected(mode, incoming=Faults(rate=100_000)) as ((ic, _), (_, peer_oc)):
        begun = loop.time()
        peer_oc.write(bytes(5000))
        await ic.readexactly(5000)
        assert loop.time() - begun >= 0.035


async def test_the_peer_of_a_slow_reader_is_held_up(mode):
    """Input that is late is bounded: the writer is told to wait."""
    async with connected(mode, incoming=Faults(rate=1)) as (_, (_, peer_oc)):
        peer_oc.write(bytes(FLOOD))
        draining = asyncio.ensure_future(peer_oc.drain())
        await asyncio.wait([draining], timeout=0.05)
        assert not draining.done()
        draining.cancel()


async def test_a_writer_into_a_slow_line_is_held_up_and_goes_on(mode):
    async with connected(mode, outgoing=Faults(delay=0.1)) as ((_, oc), (peer_ic, _)):
        assert oc.transport.get_write_buffer_size() == 0
        draining = asyncio.ensure_future(write_and_drain(oc, bytes(200_000)))
        await asyncio.sleep(0)
        assert not draining.done()
        assert oc.transport.get_write_buffer_size() == 200_000
        assert await peer_ic.readexactly(200_000) == bytes(200_000)
        await draining


async def write_and_drain(oc, data):
    await oc.write(data)


# Ends -------------------------------------------------------------------------------------------


async def test_close_waits_for_what_is_late(mode):
    """What was written arrives, however late, and after it the end; half-close passes as well."""
    late = Faults(delay=0.02, chunk=10_000)
    async with connected(mode, incoming=late, outgoing=late) as ((ic, oc), (peer_ic, peer_oc)):
        oc.write(bytes(100_000))
        oc.write_eof()
        assert await peer_ic.read() == bytes(100_000)
        peer_oc.write(bytes(50_000))
        peer_oc.close()
        assert await ic.read() == bytes(50_000)
        await oc.close()
        await peer_oc.wait_closed()


async def test_close_with_output_on_its_way(mode):
    async with connected(mode, outgoing=Faults(delay=0.02)) as ((_, oc), (peer_ic, peer_oc)):
        oc.write(b"the last word")
        oc.close()
        assert await peer_ic.read() == b"the last word"
        peer_oc.close()
        await oc.wait_closed()


async def test_abort(mode):
    late = Faults(delay=30)
    async with connected(mode, incoming=late, outgoing=late) as ((ic, oc), (peer_ic, _)):
        oc.write(b"never")
        oc.transport.abort()
        assert (await read_all(peer_ic))[0] == b""
        assert await read_all(ic) == (b"", ConnectionAbortedError)
        await oc.wait_closed()


async def test_the_peers_reset_comes_after_its_bytes():
    late = Faults(delay=0.02)
    async with connected(memory(""), incoming=late) as ((ic, _), (_, peer_oc)):
        peer_oc.write(b"before")
        # So that they have left the memory transport, where a reset would destroy them.
        for _ in range(10):
            await asyncio.sleep(0)
        peer_oc.transport.abort()
        assert await read_all(ic) == (b"before", ConnectionResetError)


async def test_a_waiting_drain_is_told_of_a_reset_although_input_is_held_back():
    """Both sides write and neither reads: the failure must not queue behind unread input."""
    async with connected(memory(""), incoming=Faults(delay=0.001)) as ((_, oc), (_, peer_oc)):
        peer_oc.write(bytes(FLOOD))
        oc.write(bytes(FLOOD))
        draining = asyncio.ensure_future(oc.drain())
        await asyncio.wait([draining], timeout=0.05)
        assert not draining.done()
        peer_oc.transport.abort()
        with pytest.raises(ConnectionError):
            await draining


# Cuts -------------------------------------------------------------------------------------------


@pytest.fixture(params=[tcp, memory])
def resetting_mode(request):
    """The transports that can tell the peer of a reset."""
    return request.param("")


async def test_incoming_is_reset(resetting_mode):
    cut = Faults(cut_after=5, cut="reset")
    async with connected(resetting_mode, incoming=cut) as ((ic, oc), (peer_ic, peer_oc)):
        peer_oc.write(b"0123456789")
        assert await read_all(ic) == (b"01234", ConnectionResetError)
        assert await read_all(peer_ic) == (b"", ConnectionResetError)
        with pytest.raises(ConnectionResetError):
            await oc.drain()
        await oc.close()


async def test_outgoing_is_reset(resetting_mode):
    cut = Faults(cut_after=5, cut="reset")
    async with connected(resetting_mode, outgoing=cut) as ((ic, oc), (peer_ic, _)):
        first = asyncio.ensure_future(peer_ic.read(100))
        oc.write(b"0123456789")
        assert await first == b"01234"
        assert await read_all(peer_ic) == (b"", ConnectionResetError)
        assert await read_all(ic) == (b"", ConnectionResetError)
        assert ic.exception().errno == errno.ECONNRESET


async def test_a_unix_socket_that_is_reset_ends(socket_path):
    """A Unix socket cannot say reset; this side sees one all the same."""
    async with connected(unix(socket_path), incoming=Faults(cut_after=0)) as (near, far):
        assert await read_all(near[0]) == (b"", ConnectionResetError)
        assert (await read_all(far[0]))[0] == b""


async def test_incoming_ends(mode):
    """Only what comes in is cut: what goes out still arrives."""
    cut = Faults(cut_after=5, cut="eof")
    async with connected(mode, incoming=cut) as ((ic, oc), (peer_ic, peer_oc)):
        peer_oc.write(b"0123456789")
        assert await read_all(ic) == (b"01234", "end")
        peer_oc.write(bytes(FLOOD))
        await peer_oc.drain()  # it goes nowhere, but it goes
        oc.write(b"answer")
        assert await peer_ic.readexactly(6) == b"answer"
        peer_oc.close()
        await oc.close()


async def test_incoming_ends_while_the_peer_is_held_up(mode):
    """Afterwards it is so no more: what it sends goes nowhere, but it goes."""
    late = Faults(delay=0.02, cut_after=5, cut="eof")
    async with connected(mode, incoming=late) as ((ic, _), (_, peer_oc)):
        peer_oc.write(bytes(FLOOD))
        assert await read_all(ic) == (bytes(5), "end")
        await peer_oc.drain()


async def test_a_reset_after_the_end_of_incoming_is_told(mode):
    cut = Faults(cut_after=0, cut="eof")
    async with connected(mode, incoming=cut) as ((ic, oc), (_, peer_oc)):
        assert await ic.read() == b""
        oc.write(bytes(FLOOD))
        draining = asyncio.ensure_future(oc.drain())
        peer_oc.transport.abort()
        with pytest.raises(ConnectionError):
            await draining


async def test_a_reset_that_the_end_of_incoming_overtakes_is_told():
    late = Faults(delay=0.02, cut_after=5, cut="eof")
    async with connected(memory(""), incoming=late) as ((ic, oc), (_, peer_oc)):
        peer_oc.write(b"0123456789")
        for _ in range(10):
            await asyncio.sleep(0)
        peer_oc.transport.abort()
        assert await read_all(ic) == (b"01234", "end")
        await oc.wait_closed()


async def test_outgoing_ends(mode):
    """What is on its way then is gone, so that nobody waits for it."""
    cut = Faults(delay=0.02, cut_after=5, cut="eof")
    async with connected(mode, outgoing=cut) as ((ic, oc), (peer_ic, peer_oc)):
        oc.write(bytes(FLOOD))
        draining = asyncio.ensure_future(oc.drain())
        assert await read_all(peer_ic) == (bytes(5), "end")
        await draining
        oc.write(bytes(FLOOD))
        await oc.drain()
        peer_oc.write(b"answer")
        assert await ic.readexactly(6) == b"answer"
        peer_oc.close()
        await oc.close()


async def test_incoming_falls_silent(mode):
    """Neither bytes nor the end nor a reset come through; the other direction works."""
    cut = Faults(cut_after=5, cut="silence")
    async with connected(mode, incoming=cut) as ((ic, oc), (peer_ic, peer_oc)):
        peer_oc.write(b"0123456789")
        assert await ic.readexactly(5) == b"01234"
        assert await is_silent(ic)
        oc.write(b"answer")
        assert await peer_ic.readexactly(6) == b"answer"
        peer_oc.transport.abort()
        await peer_oc.wait_closed()
        assert await is_silent(ic)
        assert not oc.is_closing()
        oc.write(bytes(FLOOD))
        await oc.drain()


async def test_a_silent_flow_whose_peer_is_gone_closes(mode, monkeypatch):
    monkeypatch.setattr(ending, "LINGER_SECONDS", 0.01)
    silent = Faults(cut_after=0, cut="silence")
    async with connected(mode, incoming=silent) as ((_, oc), (_, peer_oc)):
        peer_oc.transport.abort()
        await peer_oc.wait_closed()
        await oc.close()


async def test_outgoing_falls_silent(mode):
    """The peer reads nothing more; the writer is held up, and close gives up in time."""
    cut = Faults(cut_after=5, cut="silence")
    faulty = connected(mode, outgoing=cut, close_timeout=0.05)
    with EventLog() as log:
        async with faulty as ((ic, oc), (peer_ic, peer_oc)):
            oc.write(b"0123456789")
            assert await peer_ic.readexactly(5) == b"01234"
            assert await is_silent(peer_ic)
            peer_oc.write(b"answer")
            assert await ic.readexactly(6) == b"answer"
            oc.write(bytes(FLOOD))
            draining = asyncio.ensure_future(oc.drain())
            await oc.close()
            with pytest.raises(ConnectionError):
                await draining
    [closed] = [e for e in log.of(events.Closed) if e.reason == "close_timeout"]
    assert (closed.sent, closed.unsent) == (5, FLOOD + 5)


@pytest.mark.parametrize("cut", ["reset", "eof", "silence"])
@pytest.mark.parametrize("direction", ["incoming", "outgoing"])
async def test_cut_before_anything(resetting_mode, direction, cut):
    faults: dict[str, Any] = {direction: Faults(cut_after=0, cut=cut)}
    async with connected(resetting_mode, **faults) as ((ic, oc), (peer_ic, peer_oc)):
        oc.write(b"abc")
        peer_oc.write(b"abc")
        reader, other = (ic, peer_ic) if direction == "incoming" else (peer_ic, ic)
        if cut == "silence":
            assert await is_silent(reader)
        else:
            expected = "end" if cut == "eof" else ConnectionResetError
            assert await read_all(reader) == (b"", expected)
        if cut != "reset":
            assert await other.readexactly(3) == b"abc"


# Where they are put -----------------------------------------------------------------------------


async def test_a_server_with_faults(mode):
    """Each client gets its own, and the server's endpoint is that of the real address."""
    ends: asyncio.Queue[Any] = asyncio.Queue()

    async def handler(f, ic, oc):
        oc.write(b"0123456789")
        ends.put_nowait(await read_all(ic))

    faulty: Any = Faulty(
        mode,
        incoming=Faults(cut_after=3, cut="eof"),
        outgoing=Faults(cut_after=7, cut="eof"),
    )
    async with conduit.listen(faulty, handler) as srv:
        assert "Faulty" not in repr(srv.endps)
        for _ in range(2):
            async with conduit.connect(srv.endps[0]) as (f, ic, oc):
                assert type(f).__name__ in ("TCP", "DomainSocket", "MemoryFlow")
                oc.write(b"abcdef")
                assert await read_all(ic) == (b"0123456", "end")
                assert await ends.get() == (b"abc", "end")


async def test_a_stopped_server_serves_those_who_wait():
    async def handler(f, ic, oc):
        oc.write(await ic.readexactly(1))

    server: Any = Faulty(Memory("faulty"), incoming=Faults(delay=0.001))
    async with conduit.listen(server, handler) as srv:
        flows = [await conduit.connect(srv.endps[0]) for _ in range(10)]
        for _, _, oc in flows:
            oc.write(b"!")
        stopping = asyncio.ensure_future(srv.stop())
        for _, ic, oc in flows:
            assert await ic.read() == b"!"
            oc.close()
        await stopping


async def test_a_faulty_address_that_fails_says_so(socket_path):
    for target in conduit.client.UnixDomainSocket(socket_path), Memory("nobody"):
        faulty: Any = Faulty(target, incoming=Faults(chunk=1))
        with pytest.raises(conduit.ConnectError) as caught:
            await conduit.connect(faulty)
        assert caught.value.errno in (errno.ENOENT, errno.ECONNREFUSED)


@dataclass(frozen=True)
class Elsewhere:
    """An address of a transport that notes what is asked of it."""

    calls: list[str] = field(default_factory=list)

    async def listen(self, mode, ctx, options):
        return [NotingListener(mode.calls)]

    async def connect(self, target, ctx, attempts):
        attempts.append(("here", OSError("in vain")))
        raise OSError("at last")


class NotingListener(Listener):
    def __init__(self, calls):
        self.endp = conduit.endp.Unknown("elsewhere")
        self.calls = calls

    def watch(self, ready):
        self.calls.append("watch")

    def unwatch(self):
        self.calls.append("unwatch")

    def accept(self):
        self.calls.append("accept")
        return NotingArrival(self.calls)

    def unpublish(self):
        self.calls.append("unpublish")

    def close(self):
        self.calls.append("close")


class NotingArrival(Arrival):
    handshakes = True

    def __init__(self, calls):
        self.calls = calls

    async def open(self, on_closed):
        raise AssertionError

    def discard(self):
        self.calls.append("discard")


async def test_what_is_asked_of_a_faulty_listener_is_asked_of_the_real_one():
    elsewhere = Elsewhere()
    transports.register(Elsewhere, elsewhere)
    [listener] = await transports.listen(
        Faulty(elsewhere), conduit.default_ctx(), transports.ListenOptions()
    )
    assert isinstance(listener.endp, conduit.endp.Unknown)
    listener.watch(lambda: None)
    listener.unwatch()
    arrival = listener.accept()
    assert arrival.handshakes
    arrival.discard()
    listener.unpublish()
    listener.close()
    assert elsewhere.calls == ["watch", "unwatch", "accept", "discard", "unpublish", "close"]


async def test_the_attempts_of_the_real_transport_are_told():
    transports.register(Elsewhere, Elsewhere())
    faulty: Any = Faulty(Elsewhere())
    with pytest.raises(conduit.ConnectError) as caught:
        await conduit.connect(faulty)
    assert "here" in [address for address, _ in caught.value.attempts]


async def test_an_address_of_the_wrong_side_is_refused():
    wrong: Any = Faulty(conduit.server.TCP(0))
    with pytest.raises(conduit.AddressError):
        await conduit.connect(wrong)
    wrong = Faulty(conduit.client.TCP("127.0.0.1", 1))
    with pytest.raises(conduit.AddressError):
        await conduit.serve(wrong, lambda f, ic, oc: asyncio.sleep(0))


async def test_faults_on_faults():
    inner = Faulty(Memory("faulty"), incoming=Faults(chunk=4))
    faulty: Any = Faulty(inner, incoming=Faults(chunk=3, delay=0.001))

    async def handler(f, ic, oc):
        oc.write(b"0123456789")

    async with conduit.listen(Memory("faulty"), handler):  # type: ignore[arg-type]
        async with conduit.connect(faulty) as (_, ic, _):
            assert [await ic.read(100) for _ in range(2)] == [b"012", b"3"]
            assert await ic.read() == b"456789"


async def test_faults_for_an_open_flow():
    """What had come in and was not read goes through them as well, and counts once."""
    left, right = memory_pair()
    right.oc.write(b"0123")
    assert await left.ic.readexactly(1) == b"0"
    assert add_faults(left, incoming=Faults(chunk=2)) is left
    right.oc.write(b"456")
    assert await left.ic.read(100) == b"12"
    assert await left.ic.read(100) == b"3"
    left.oc.write(b"answer")
    assert await right.ic.readexactly(6) == b"answer"
    right.oc.close()
    assert await left.ic.read() == b"456"
    with EventLog() as log:
        await left.oc.close()
    [closed] = [event for event in log.of(events.Closed) if event.flow is left.flow]
    assert (closed.received, closed.sent) == (7, 6)


async def test_faults_for_a_flow_that_has_ended():
    left, right = memory_pair()
    right.oc.write(b"0123")
    right.oc.write_eof()
    for _ in range(10):
        await asyncio.sleep(0)
    add_faults(left, incoming=Faults(chunk=2), outgoing=Faults(chunk=1))
    assert not left.ic.at_eof()
    assert await left.ic.read(100) == b"01"
    assert await left.ic.read() == b"23"
    left.oc.write(b"answer")
    left.oc.close()
    assert await right.ic.read() == b"answer"
    await right.oc.close()


async def test_faults_for_a_flow_with_full_buffers():
    """Both sides wait for each other when they come; afterwards both get everything."""
    left, right = memory_pair()
    size = 1024 * 1024
    left.oc.write(bytes(size))
    right.oc.write(bytes(size))
    for _ in range(20):
        await asyncio.sleep(0)
    assert left.oc.transport.get_write_buffer_size() > 0
    add_faults(left, incoming=Faults(chunk=50_000), outgoing=Faults(chunk=50_000))
    for _ in range(100):
        await asyncio.sleep(0)
    assert right.oc.transport.get_write_buffer_size() > size / 2  # still nobody reads
    draining = asyncio.ensure_future(left.oc.drain())
    assert await asyncio.gather(left.ic.readexactly(size), right.ic.readexactly(size))
    await draining
    assert left.oc.transport.get_write_buffer_size() == 0
    for oc in left.oc, right.oc:
        oc.close()
    await left.oc.wait_closed()


async def test_faults_for_a_flow_whose_end_is_on_its_way():
    left, right = memory_pair()
    size = 1024 * 1024
    left.oc.write(bytes(size))
    left.oc.write_eof()
    add_faults(left, outgoing=Faults(chunk=50_000))
    assert await right.ic.read() == bytes(size)
    right.oc.write(b"answer")
    assert await left.ic.readexactly(6) == b"answer"
    for oc in left.oc, right.oc:
        oc.close()
    await left.oc.wait_closed()


async def test_faults_keep_the_limits_of_the_flow():
    left, right = memory_pair()
    left.oc.transport.set_write_buffer_limits(high=1000, low=100)
    add_faults(left, outgoing=Faults(delay=30))
    assert left.oc.transport.get_write_buffer_limits() == (100, 1000)
    left.oc.write(bytes(1000))
    await left.oc.drain()
    left.oc.write(b"!")
    draining = asyncio.ensure_future(left.oc.drain())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not draining.done()
    draining.cancel()
    for _, _, oc in left, right:
        oc.transport.abort()


async def test_faults_for_a_closed_flow_change_nothing():
    left, right = memory_pair()
    left.oc.close()
    right.oc.close()
    await left.oc.wait_closed()
    add_faults(left, incoming=Faults(cut_after=0))
    assert left.ic.at_eof()
    assert left.ic.exception() is None


def test_an_address_is_plain_data():
    address = Faulty(Memory("x"), incoming=Faults(chunk=1))
    assert address == Faulty(Memory("x"), incoming=Faults(chunk=1)) != Faulty(Memory("x"))
    assert hash(address) == hash(Faulty(Memory("x"), incoming=Faults(chunk=1)))
    assert repr(address) == "Faulty(Memory('x'), incoming=Faults(chunk=1))"
    assert repr(Faulty(conduit.client.TCP("::1", 5))) == "Faulty(client.TCP('::1', 5))"
