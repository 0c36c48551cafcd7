"""The memory transport: as a pair, below a protocol, and as an address."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import errno
import pickle
import socket
import threading
from contextlib import asynccontextmanager
from typing import Any

import pytest

import conduit
from conduit import events, transports
from conduit.testing import Memory, MemoryFlow, memory_pair, memory_transports
from conduit.transports import ListenOptions
from tests.event_log import EventLog
from tests.testing.recorder import Recorder

LARGE = 4 * 1024 * 1024

SHOP: Any = Memory("shop")


# A pair ---------------------------------------------------------------------------------------


async def test_what_one_side_of_a_pair_writes_the_other_reads():
    (_, ic, oc), (_, ic2, oc2) = memory_pair()
    oc.write(b"there")
    oc2.write(b"and back")
    assert await ic2.readexactly(5) == b"there"
    assert await ic.readexactly(8) == b"and back"
    oc.close()
    assert await ic2.read() == b""
    await oc2.close()
    await oc.wait_closed()


async def test_the_flows_of_a_pair():
    (left, _, oc), (right, _, oc2) = memory_pair()
    assert [left, right] == [MemoryFlow("left"), MemoryFlow("right")]
    assert repr(right) == "MemoryFlow('right')"
    for flow in left, right:
        assert isinstance(conduit.endp_of_flow(flow), conduit.endp.Unknown)
    oc.close()
    oc2.close()


async def test_a_pair_has_a_close_timeout():
    (_, _, oc), (_, _, oc2) = memory_pair(close_timeout=0.01)
    oc.write(bytes(LARGE))
    with EventLog() as log:
        await oc.close()
    [closed] = log.of(events.Closed)
    assert closed.reason == "close_timeout"
    oc2.transport.abort()


def test_a_pair_needs_a_loop():
    with pytest.raises(RuntimeError, match="no running event loop"):
        memory_pair()


# Below a protocol: as the loop's own transports do -----------------------------------------------


async def memory(left, right):
    """Connect two protocols in memory."""
    memory_transports(left, right)


async def sockets(left, right):
    """Connect two protocols by the loop's own transports."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    await loop.create_unix_connection(lambda: left, sock=near)
    await loop.create_unix_connection(lambda: right, sock=far)


both = pytest.mark.parametrize("connect", [memory, sockets])


@asynccontextmanager
async def connected(connect, **options):
    left, right = Recorder(**options), Recorder(**options)
    await connect(left, right)
    yield left, right
    for recorder in left, right:
        if not recorder.lost.is_set():
            recorder.transport.abort()
        await recorder.lost.wait()


@both
async def test_writing_and_closing(connect):
    async with connected(connect) as (left, right):
        left.transport.write(b"one ")
        left.transport.write(bytearray(b"two "))
        left.transport.write(memoryview(b"three "))
        left.transport.write(b"")
        left.transport.writelines([b"four ", b"five"])
        assert not left.transport.is_closing()
        left.transport.close()
        assert left.transport.is_closing()
        left.transport.close()
        await right.until("lost")
        await left.until("lost")
        assert right.told == ["made", b"one two three four five", "eof", "lost"]
        assert left.told == ["made", "lost"]


@both
async def test_half_close(connect):
    async with connected(connect, keep_open=True) as (left, right):
        assert left.transport.can_write_eof()
        left.transport.write(b"question")
        left.transport.write_eof()
        left.transport.write_eof()
        with pytest.raises(RuntimeError):
            left.transport.write(b"more")
        await right.until("eof")
        right.transport.write(b"answer")
        await left.until(6)
        right.transport.close()
        await left.until("eof")
        assert left.told == ["made", b"answer", "eof"]
        assert not left.transport.is_closing()
        left.transport.close()
        await left.until("lost")
        assert right.told == ["made", b"question", "eof", "lost"]


@both
async def test_flow_control(connect):
    async with connected(connect) as (left, right):
        right.transport.pause_reading()
        assert not right.transport.is_reading()
        right.transport.pause_reading()
        left.transport.write(bytes(LARGE))
        assert left.told == ["made", "pause"]
        assert left.transport.get_write_buffer_size() > LARGE / 2
        right.transport.resume_reading()
        assert right.transport.is_reading()
        right.transport.resume_reading()
        await right.until(LARGE)
        await left.until("resume")
        assert left.told == ["made", "pause", "resume"]
        assert left.transport.get_write_buffer_size() == 0
        assert right.data == bytes(LARGE)


@both
async def test_water_marks(connect):
    async with connected(connect) as (left, right):
        low, high = left.transport.get_write_buffer_limits()
        assert 0 < low < high
        left.transport.set_write_buffer_limits(high=1000)
        assert left.transport.get_write_buffer_limits() == (250, 1000)
        left.transport.set_write_buffer_limits(low=100)
        assert left.transport.get_write_buffer_limits() == (100, 400)
        left.transport.set_write_buffer_limits()
        assert left.transport.get_write_buffer_limits() == (16384, 65536)
        for wrong in {"high": 5, "low": 6}, {"high": -1}, {"low": -1}:
            with pytest.raises(ValueError, match="low"):
                left.transport.set_write_buffer_limits(**wrong)
        right.transport.pause_reading()
        # As much as is unsent is no more than is allowed.
        left.transport.set_write_buffer_limits(high=2 * LARGE)
        left.transport.write(bytes(LARGE))
        assert "pause" not in left.told
        left.transport.set_write_buffer_limits(high=0)
        assert left.told[-1] == "pause"
        right.transport.resume_reading()
        await left.until("resume")
        assert left.transport.get_write_buffer_size() == 0


@both
async def test_close_sends_what_is_unsent(connect):
    async with connected(connect) as (left, right):
        right.transport.pause_reading()
        left.transport.write(bytes(LARGE))
        left.transport.close()
        await asyncio.sleep(0)
        assert "lost" not in left.told
        right.transport.resume_reading()
        await right.until("lost")
        await left.until("lost")
        assert right.data == bytes(LARGE)
        assert left.told[:2] == ["made", "pause"]
        assert left.told[-1] == "lost"


@both
async def test_the_end_comes_after_what_is_unsent(connect):
    async with connected(connect, keep_open=True) as (left, right):
        right.transport.pause_reading()
        left.transport.write(bytes(LARGE))
        left.transport.write_eof()
        right.transport.resume_reading()
        await right.until("eof")
        assert right.told == ["made", bytes(LARGE), "eof"]


@both
async def test_no_callback_from_inside_a_call(connect):
    async with connected(connect) as (left, right):
        left.transport.write(b"abc")
        assert right.told == ["made"]
        left.transport.abort()
        left.transport.abort()
        right.transport.close()
        assert (left.told, right.told) == (["made"], ["made"])


@both
async def test_nothing_is_read_while_reading_is_paused(connect):
    async with connected(connect) as (left, right):
        left.transport.write(b"abc")
        right.transport.pause_reading()
        left.transport.write_eof()
        for _ in range(20):
            await asyncio.sleep(0)
        assert right.told == ["made"]
        right.transport.resume_reading()
        await right.until("eof")
        assert right.told[:3] == ["made", b"abc", "eof"]


@both
async def test_another_protocol(connect):
    async with connected(connect) as (left, right):
        other = Recorder()
        assert right.transport.get_protocol() is right
        right.transport.set_protocol(other)
        assert right.transport.get_protocol() is other
        left.transport.write(b"abc")
        await other.until(3)
        assert (right.told, other.told) == (["made"], [b"abc"])
        right.transport.set_protocol(right)


@both
async def test_a_write_that_fails_ends_it(connect):
    async with connected(connect) as (left, right):
        left.transport.pause_reading()
        right.transport.close()
        await right.until("lost")
        left.transport.write(b"abc")
        assert left.told == ["made"]
        await left.until(BrokenPipeError)
        assert left.transport.is_closing()


@both
async def test_a_protocol_that_raises_is_disconnected(connect):
    class Fails(Recorder):
        def data_received(self, data):
            raise ZeroDivisionError

    reported: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    left, right = Recorder(), Fails()
    await connect(left, right)
    left.transport.write(b"abc")
    await right.until(ZeroDivisionError)
    assert right.transport.is_closing()
    assert [type(error) for error in reported] == [ZeroDivisionError]
    await left.lost.wait()


@both
async def test_callbacks_run_in_the_context_of_the_connection(connect):
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")
    seen = []

    class Looks(Recorder):
        def data_received(self, data):
            seen.append(variable.get())
            super().data_received(data)

    left, right = Recorder(), Looks()
    await connect(left, right)
    # The first look at the input is not the one that finds it.
    await asyncio.sleep(0)
    variable.set("of the writer")
    left.transport.write(b"abc")
    await right.until(3)
    assert seen == ["outside"]
    left.transport.abort()
    right.transport.abort()
    await left.until("lost")
    await right.until("lost")


# Below a protocol: what only memory can promise --------------------------------------------------


async def test_abort_resets_the_peer_and_drops_what_is_under_way():
    async with connected(memory) as (left, right):
        right.transport.pause_reading()
        left.transport.write(b"abc")
        left.transport.abort()
        await left.until("lost")
        right.transport.resume_reading()
        await right.until(ConnectionResetError)
        assert right.told == ["made", ConnectionResetError]


async def test_closing_with_unread_input_resets_the_peer():
    async with connected(memory) as (left, right):
        left.transport.pause_reading()
        right.transport.pause_reading()
        right.transport.write(b"unread")
        left.transport.write(b"a reply that is lost")
        left.transport.close()
        await left.until("lost")
        right.transport.resume_reading()
        await right.until(ConnectionResetError)
        assert right.told == ["made", ConnectionResetError]


async def test_bytes_keep_their_order_when_there_is_room_and_some_wait():
    class Answers(Recorder):
        def data_received(self, data):
            super().data_received(data)
            if len(self.data) == 64 * 1024:
                left.transport.write(b"last")

    left, right = Recorder(), Answers()
    memory_transports(left, right)
    left.transport.write(bytes(100_000))
    left.transport.close()
    await left.lost.wait()
    await right.lost.wait()
    assert right.told == ["made", bytes(100_000) + b"last", "eof", "lost"]


@pytest.mark.parametrize("close", ["close", "abort"])
async def test_closing_from_inside_resume_writing(close):
    class Closes(Recorder):
        def resume_writing(self):
            super().resume_writing()
            getattr(self.transport, close)()

    left, right = Closes(), Recorder()
    memory_transports(left, right)
    left.transport.set_write_buffer_limits(0)
    left.transport.write(bytes(LARGE))
    await left.lost.wait()
    await right.lost.wait()
    assert left.told == ["made", "pause", "resume", "lost"]


async def test_a_closed_transport_takes_no_harm():
    async with connected(memory) as (left, right):
        left.transport.close()
        await left.until("lost")
        left.transport.write(b"lost")
        left.transport.write_eof()
        left.transport.pause_reading()
        left.transport.resume_reading()
        left.transport.abort()
        left.transport.close()
        await right.until("lost")
        assert (left.told, right.told) == (["made", "lost"], ["made", "eof", "lost"])


async def test_a_bounded_number_of_bytes_is_under_way():
    async with connected(memory) as (left, right):
        right.transport.pause_reading()
        left.transport.write(bytes(LARGE))
        assert left.transport.get_write_buffer_size() == LARGE - 64 * 1024


async def test_a_memory_transport_has_no_socket():
    async with connected(memory) as (left, _):
        assert left.transport.get_extra_info("socket") is None
        assert left.transport.get_extra_info("anything", 5) == 5


@pytest.mark.parametrize("wrong", ["text", 5, None])
async def test_what_is_not_bytes_is_refused(wrong):
    async with connected(memory) as (left, _):
        with pytest.raises(TypeError):
            left.transport.write(wrong)


async def test_a_protocol_of_another_kind_is_refused():
    async with connected(memory) as (left, _):
        with pytest.raises(TypeError, match=r"is no asyncio\.Protocol"):
            left.transport.set_protocol(asyncio.DatagramProtocol())


# A listener, as a server uses it ----------------------------------------------------------------


async def listening(backlog=10):
    options = ListenOptions(backlog=backlog)
    [listener] = await transports.listen(SHOP, conduit.default_ctx(), options)
    return listener


async def turns():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_listener_is_ready_as_long_as_somebody_waits():
    listener = await listening()
    calls = []
    listener.watch(lambda: calls.append("ready"))
    await turns()
    assert calls == []
    with pytest.raises(BlockingIOError):
        listener.accept()
    flow = await conduit.connect(SHOP)
    assert calls == []  # not from inside the client's call
    await turns()
    assert len(calls) > 1
    calls.clear()
    listener.unwatch()
    await turns()
    assert calls == []
    listener.watch(lambda: calls.append("ready"))
    listener.accept().discard()
    await turns()
    assert calls == []
    listener.close()
    listener.close()
    with pytest.raises(ConnectionResetError):
        await flow.ic.read()
    await flow.oc.close()


async def test_a_client_that_gives_up_while_it_is_admitted():
    listener = await listening(backlog=1)
    first = await conduit.connect(SHOP)
    waiting = asyncio.ensure_future(conduit.connect(SHOP))
    await turns()
    listener.accept().discard()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    closed = []
    accepted = await listener.accept().open(lambda: closed.append(True))
    assert await accepted.ic.read() == b""
    assert closed == []
    for triple in accepted, first:
        await triple.oc.close()
    assert closed == [True]
    listener.close()


# An address -----------------------------------------------------------------------------------


async def greet(f, ic, oc):
    oc.write(b"hello")


async def hold(f, ic, oc):
    """Stay until the client goes."""
    await ic.read()


def test_an_address_is_plain_data():
    assert SHOP == Memory("shop") != Memory("stop")
    assert hash(SHOP) == hash(Memory("shop"))
    assert repr(SHOP) == "Memory('shop')"
    assert copy.copy(SHOP) == pickle.loads(pickle.dumps(SHOP)) == SHOP


@pytest.mark.parametrize("name", ["", "a\0b", None, 5])
def test_a_name_that_cannot_be(name):
    with pytest.raises(conduit.AddressError, match="Memory: name"):
        Memory(name)


async def test_connect_and_serve():
    flows: asyncio.Queue[Any] = asyncio.Queue()

    async def handler(f, ic, oc):
        flows.put_nowait(f)
        await oc.write(await ic.readexactly(4))

    async with conduit.listen(SHOP, handler) as srv:
        assert srv.endps == (SHOP,)
        async with conduit.connect(srv.endps[0]) as (f, ic, oc):
            oc.write(b"ping")
            assert await ic.read() == b"ping"
            assert [f, await flows.get()] == 2 * [MemoryFlow("shop")]
            assert conduit.endp_of_flow(f) == SHOP
            assert oc.get_extra_info("peername") == "shop"
            assert oc.get_extra_info("socket") is None


async def test_nobody_serves_it():
    with pytest.raises(conduit.ConnectError) as caught:
        await conduit.connect(SHOP)
    assert caught.value.errno == errno.ECONNREFUSED
    [(address, error)] = caught.value.attempts
    assert address == SHOP
    assert isinstance(error, ConnectionRefusedError)
    assert "nobody serves Memory('shop')" in str(error)


async def test_a_name_is_served_once_and_free_again():
    async with conduit.listen(SHOP, greet):
        with pytest.raises(OSError, match=r"Memory\('shop'\)") as caught:
            await conduit.serve(SHOP, greet)
        assert caught.value.errno == errno.EADDRINUSE
        async with conduit.listen(Memory("another"), greet):  # type: ignore[arg-type]
            pass
        async with conduit.connect(SHOP) as (_, ic, _):
            assert await ic.read() == b"hello"
    async with conduit.listen(SHOP, greet):
        pass


async def test_names_belong_to_a_loop():
    answers = []

    async def elsewhere():
        try:
            await conduit.connect(SHOP)
        except conduit.ConnectError:
            answers.append("refused")
        async with conduit.listen(SHOP, greet):
            answers.append("served")

    async with conduit.listen(SHOP, hold):
        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert answers == ["refused", "served"]


async def test_a_stopped_server_serves_those_who_wait():
    """Those in the queue are served, those who come later are refused."""
    served = []

    async def handler(f, ic, oc):
        served.append(await ic.readexactly(1))
        oc.write(b"!")

    async with conduit.listen(SHOP, handler) as srv:
        flows = [await conduit.connect(SHOP) for _ in range(200)]
        stopping = asyncio.ensure_future(srv.stop())
        await asyncio.sleep(0)
        with pytest.raises(conduit.ConnectError):
            await conduit.connect(SHOP)
        for number, (_, ic, oc) in enumerate(flows):
            oc.write(bytes([number]))
            assert await ic.read() == b"!"
            oc.close()
        await stopping
    assert sorted(served) == [bytes([number]) for number in range(200)]


async def test_more_clients_than_are_accepted_at_once():
    async with conduit.listen(SHOP, greet):
        flows = await asyncio.gather(*(conduit.connect(SHOP) for _ in range(500)))
        for _, ic, oc in flows:
            assert await ic.read() == b"hello"
            oc.close()


async def test_backlog():
    """With its queue full further clients wait in their order, and one that gives up is no bar."""
    with EventLog() as log:
        async with conduit.listen(SHOP, hold, backlog=2, max_active=1) as srv:
            first = await conduit.connect(SHOP)
            await log.wait(events.Accepted)
            queued = [await conduit.connect(SHOP) for _ in range(2)]
            waiting = [asyncio.ensure_future(conduit.connect(SHOP)) for _ in range(3)]
            for _ in range(20):
                await asyncio.sleep(0)
            assert not any(task.done() for task in waiting)
            waiting[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting[0]
            await first.oc.close()
            _, _, oc = await waiting[1]
            assert not waiting[2].done()
            for triple in queued:
                await triple.oc.close()
            await oc.close()
            await (await waiting[2]).oc.close()
            await srv.stop()
    assert len(log.of(events.Accepted)) == 5


async def test_a_client_without_a_place_in_the_queue_is_refused_when_the_server_stops():
    with EventLog() as log:
        async with conduit.listen(SHOP, hold, backlog=1, max_active=1) as srv:
            accepted = await conduit.connect(SHOP)
            await log.wait(events.Accepted)
            queued = await conduit.connect(SHOP)
            waiting = asyncio.ensure_future(conduit.connect(SHOP))
            for _ in range(20):
                await asyncio.sleep(0)
            stopping = asyncio.ensure_future(srv.stop())
            with pytest.raises(conduit.ConnectError, match="nobody serves"):
                await waiting
            for triple in accepted, queued:
                await triple.oc.close()
            await stopping
    assert len(log.of(events.Accepted)) == 2


async def test_clients_in_the_queue_of_a_server_that_is_killed_are_reset():
    flows = []

    async def killed():
        with EventLog() as log:
            async with conduit.listen(SHOP, hold, max_active=1):
                flows.append(await conduit.connect(SHOP))
                await log.wait(events.Accepted)
                flows.append(await conduit.connect(SHOP))
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await killed()
    for _, ic, oc in flows:
        with pytest.raises(ConnectionResetError):
            await ic.read()
        await oc.close()


async def test_a_client_that_gave_up_in_the_queue_is_accepted_and_gone():
    served: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(f, ic, oc):
        served.put_nowait(await ic.read())

    with EventLog() as log:
        async with conduit.listen(SHOP, handler, max_active=1):
            first = await conduit.connect(SHOP)
            await log.wait(events.Accepted)
            second = await conduit.connect(SHOP)
            second.oc.write(b"too late?")
            second.oc.close()
            await first.oc.close()
            assert [await served.get(), await served.get()] == [b"", b"too late?"]


async def test_handlers_run_in_the_context_of_the_server():
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="server's")
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def handler(f, ic, oc):
        seen.put_nowait(variable.get())

    async with conduit.listen(SHOP, handler):
        variable.set("client's")
        _, _, oc = await conduit.connect(SHOP)
        assert await seen.get() == "server's"
        oc.close()


async def test_events():
    with EventLog() as log:
        async with conduit.listen(SHOP, greet):
            async with conduit.connect(SHOP) as (_, ic, _):
                await ic.read()
            await log.wait(events.Closed, 2)
    assert [event.address for event in log.of(events.Attempt)] == [SHOP]
    assert [event.listener for event in log.of(events.Accepted)] == [SHOP]
    assert [event.flow for event in log.of(events.Connected)] == [MemoryFlow("shop")]
    assert {(event.reason, event.sent, event.received) for event in log.of(events.Closed)} == {
        ("closed", 5, 0),
        ("closed", 0, 5),
    }


async def test_tls_can_be_said_over_memory():
    """A transport of another package fits into the addresses that hold one."""
    assert conduit.client.TLSOver("shop.example", SHOP).client == SHOP
    assert conduit.endp.TLS("shop.example", SHOP).endp == SHOP
