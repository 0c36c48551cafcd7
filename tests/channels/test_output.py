"""Writing: what `asyncio.StreamWriter` does, and what `Output` promises on top."""

from __future__ import annotations

import array
import asyncio
import contextlib
import ctypes
import gc
import mmap
import os
import socket
import sys
import threading
import time
import warnings
import weakref

import pytest

import conduit
from conduit.channels import Input, Output, Wire, pair, wire_of
from tests.channels.fakes import FakeFlow, SocketFlow, begin, flow_over, reset, tcp_pair, turn

MUCH = b"x" * 200_000  # more than the high water mark


class Bytes(bytes):
    """A subclass."""


def mapped(data: bytes) -> mmap.mmap:
    area = mmap.mmap(-1, len(data))
    area[:] = data
    return area


BYTES_LIKE = {
    "bytes": (b"hello", b"hello"),
    "empty": (b"", b""),
    "subclass": (Bytes(b"hello"), b"hello"),
    "bytearray": (bytearray(b"hello"), b"hello"),
    "memoryview": (memoryview(b"hello"), b"hello"),
    "slice": (memoryview(b"hello")[1:3], b"el"),
    "every other": (memoryview(b"hello")[::2], b"hlo"),
    "backwards": (memoryview(b"hello")[::-1], b"olleh"),
    "two dimensions": (memoryview(b"abcdef").cast("B", (2, 3)), b"abcdef"),
    "numbers": (array.array("H", [1, 2]), array.array("H", [1, 2]).tobytes()),
    "view of numbers": (memoryview(array.array("I", [7])), array.array("I", [7]).tobytes()),
    "ctypes": ((ctypes.c_char * 3)(b"a", b"b", b"c"), b"abc"),
    "mmap": (mapped(b"hello"), b"hello"),
}
each_kind = pytest.mark.parametrize(("data", "expected"), BYTES_LIKE.values(), ids=BYTES_LIKE)
not_bytes = pytest.mark.parametrize("data", ["text", 7, None, 1.5, [1, 2], [b"a"], object()])


def stall(flow: FakeFlow) -> None:
    """The peer takes nothing more, and so much is written that drains have to wait."""
    flow.transport.room = 0
    flow.oc.write(MUCH)


async def write_on(flow: FakeFlow | SocketFlow, times: int = 1000) -> None:
    """What a program does that writes in a loop, but not for ever."""
    for _ in range(times):
        flow.oc.write(b"foo\n")
        await flow.oc.drain()
    pytest.fail("the loop would never have ended")


class TestWrite:
    async def test_is_queued_at_once(self, flow):
        flow.oc.write(b"hello")
        assert flow.transport.sent == b"hello"

    @each_kind
    async def test_takes_whatever_is_bytes_like(self, flow, data, expected):
        flow.oc.write(data)
        flow.oc.write(b"!")
        assert flow.transport.sent == expected + b"!"

    @not_bytes
    async def test_refuses_what_is_not(self, flow, data):
        with pytest.raises(TypeError):
            flow.oc.write(data)
        assert flow.transport.sent == b""

    async def test_refuses_it_also_after_the_end(self, flow):
        flow.lose()
        with pytest.raises(TypeError):
            flow.oc.write("text")

    async def test_what_is_changed_later_goes_out_as_it_was(self, flow):
        flow.transport.room = 0
        data = bytearray(b"hello")
        view = memoryview(bytearray(b" world"))
        flow.oc.write(data)
        flow.oc.write(view)
        data[:] = b"HELLO"
        view[:] = b" WORLD"
        flow.transport.take()
        assert flow.transport.sent == b"hello world"

    async def test_nothing_is_held_of_what_was_given(self, flow):
        flow.transport.room = 0
        data, area = bytearray(b"hello"), mapped(b"hello")
        flow.oc.write(data)
        flow.oc.writelines([data, area])
        # Neither would go while a view of it exists.
        data.clear()
        area.close()
        flow.transport.take()
        assert flow.transport.sent == b"hello" * 3

    async def test_after_a_stall_everything_goes_out_in_order(self, flow):
        flow.transport.room = 0
        pieces = [b"%d " % number * 1000 for number in range(100)]
        for piece in pieces:
            flow.oc.write(piece)
        while flow.oc.transport.get_write_buffer_size():
            flow.transport.take(50_000)
            await turn()
        flow.oc.write(b"end")
        assert flow.transport.sent == b"".join(pieces) + b"end"

    async def test_over_a_socket_what_is_changed_later_goes_out_as_it_was(self, socket_flow):
        piece = 1_000_000
        for number in range(4):
            data = bytearray([number]) * piece
            socket_flow.oc.write(data)
            data[:] = b"\xff" * piece
        assert await socket_flow.peer_reads(4 * piece) == b"".join(
            bytes([number]) * piece for number in range(4)
        )

    async def test_over_a_socket_every_kind_arrives(self, socket_flow):
        for data, expected in BYTES_LIKE.values():
            socket_flow.oc.write(data)
            socket_flow.oc.write(b"!")
            assert await socket_flow.peer_reads(len(expected) + 1) == expected + b"!"


class TestWritelines:
    async def test_pieces_go_out_as_one(self, flow):
        flow.oc.writelines([b"one ", bytearray(b"two "), memoryview(b"three")[::1]])
        assert flow.transport.pieces == [b"one two three"]

    async def test_takes_any_iterable(self, flow):
        flow.oc.writelines(bytes([65 + number]) for number in range(3))
        flow.oc.writelines(())
        flow.oc.writelines({b"D": 1})
        assert flow.transport.sent == b"ABCD"

    async def test_of_every_kind(self, flow):
        flow.oc.writelines([data for data, _ in BYTES_LIKE.values()])
        assert flow.transport.sent == b"".join(expected for _, expected in BYTES_LIKE.values())

    @pytest.mark.parametrize(
        "lines", [[b"a", "b"], [b"a", None], [b"a", 5], b"abc", "abc", None, 7]
    )
    async def test_refuses_what_is_not_bytes_like_and_queues_nothing(self, flow, lines):
        with pytest.raises(TypeError):
            flow.oc.writelines(lines)
        assert flow.transport.sent == b""

    async def test_can_be_awaited(self, flow):
        stall(flow)
        waiting = await begin(flow.oc.writelines([b"a", b"b"]))
        flow.transport.take()
        await waiting


class TestAwaitableOfWrite:
    @pytest.mark.parametrize("state", ["open", "stalled", "closed", "lost"])
    async def test_may_be_dropped(self, flow, state):
        if state == "stalled":
            stall(flow)
        elif state == "closed":
            flow.oc.close()
        elif state == "lost":
            flow.lose(ConnectionResetError("gone"))
        # Every warning is an error here, also one of a destructor.
        flow.oc.write(b"x")
        flow.oc.writelines([b"x"])
        flow.oc.close()
        gc.collect()
        await turn()

    async def test_returns_at_once_while_the_peer_takes_it_in(self, flow):
        task = asyncio.ensure_future(flow.oc.write(b"x"))
        await turn(2)
        assert task.done()
        assert await task is None

    async def test_waits_like_drain(self, flow):
        stall(flow)
        waiting = await begin(flow.oc.write(b"more"))
        flow.transport.take()
        assert await waiting is None
        assert flow.transport.sent == MUCH + b"more"

    async def test_can_be_awaited_twice(self, flow):
        awaitable = flow.oc.write(b"x")
        await awaitable
        await awaitable
        assert flow.transport.sent == b"x"

    async def test_in_wait_for(self, flow):
        await asyncio.wait_for(flow.oc.write(b"x"), 5)
        stall(flow)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flow.oc.write(b"y"), 0.001)
        flow.transport.take()
        assert flow.transport.sent == b"x" + MUCH + b"y"

    async def test_in_gather_and_a_task(self, flow):
        stall(flow)
        waiting = await begin(
            asyncio.gather(flow.oc.write(b"1"), flow.oc.write(b"2"), flow.oc.drain())
        )
        task = await begin(flow.oc.write(b"3"))
        flow.transport.take()
        assert await waiting == [None, None, None]
        await task
        assert flow.transport.sent == MUCH + b"123"

    async def test_cancelling_it_does_not_take_the_bytes_back(self, flow):
        stall(flow)
        waiting = await begin(flow.oc.write(b"kept"))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        flow.oc.write(b" too")
        flow.transport.take()
        assert flow.transport.sent == MUCH + b"kept too"

    async def test_taken_before_the_flow_died_raises_then(self, flow):
        awaitable = flow.oc.write(b"x")
        flow.lose(ConnectionResetError("gone"))
        with pytest.raises(ConnectionResetError):
            await awaitable


class TestDrain:
    async def test_does_not_wait_while_the_peer_takes_in(self, flow):
        flow.oc.write(MUCH)
        await asyncio.wait_for(flow.oc.drain(), 5)

    async def test_waits_above_the_high_water_mark_until_the_low_one(self, flow):
        low, high = flow.oc.transport.get_write_buffer_limits()
        flow.transport.room = 0
        flow.oc.write(b"x" * high)
        await asyncio.wait_for(flow.oc.drain(), 5)
        flow.oc.write(b"x")
        waiting = await begin(flow.oc.drain())
        flow.transport.take(high - low)
        await turn()
        assert not waiting.done()
        flow.transport.take(1)
        await waiting

    async def test_by_ten_at_once(self, flow):
        stall(flow)
        waiting = await begin(asyncio.gather(*[flow.oc.drain() for _ in range(10)]))
        flow.transport.take()
        assert await waiting == [None] * 10

    async def test_one_cancelled_leaves_the_others_waiting(self, flow):
        stall(flow)
        first, second, third = [await begin(flow.oc.drain()) for _ in range(3)]
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert not first.done()
        assert not third.done()
        flow.transport.take()
        await asyncio.gather(first, third)

    async def test_cancelled_at_the_very_moment_the_peer_takes_in(self, flow):
        stall(flow)
        first, second = [await begin(flow.oc.drain()) for _ in range(2)]
        flow.transport.take()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        await flow.oc.drain()

    @pytest.mark.parametrize("event", ["the peer takes in", "the flow dies"])
    async def test_cancelled_just_before(self, flow, event):
        stall(flow)
        first, second = [await begin(flow.oc.drain()) for _ in range(2)]
        first.cancel()
        if event == "the flow dies":
            flow.lose(ConnectionResetError("gone"))
            with pytest.raises(ConnectionResetError):
                await second
        else:
            flow.transport.take()
            await second
        with pytest.raises(asyncio.CancelledError):
            await first

    async def test_cancelled_at_the_very_moment_the_flow_dies(self, flow, caplog):
        stall(flow)
        waiting = await begin(flow.oc.drain())
        flow.lose(ConnectionResetError("gone"))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        del waiting
        gc.collect()
        await turn()
        # No exception that was never retrieved.
        assert [r.getMessage() for r in caplog.records if r.name == "asyncio"] == []

    async def test_waits_again_when_the_peer_stalls_again(self, flow):
        for _ in range(3):
            stall(flow)
            waiting = await begin(flow.oc.drain())
            flow.transport.take()
            await waiting
            assert flow.transport.buffer == b""

    async def test_waits_for_all_that_was_written_in_a_stall(self, flow):
        stall(flow)
        for _ in range(10):
            flow.oc.write(MUCH)
        waiting = await begin(flow.oc.drain())
        for _ in range(10):
            flow.transport.take(len(MUCH))
            await turn()
            assert not waiting.done()
        flow.transport.take(len(MUCH))
        await waiting
        assert flow.transport.sent == 11 * MUCH

    async def test_over_a_socket_it_waits_for_a_peer_that_does_not_read(self, socket_flow):
        chunk = b"x" * 100_000
        written = 0
        while True:
            draining = asyncio.ensure_future(socket_flow.oc.write(chunk))
            written += len(chunk)
            done, _ = await asyncio.wait([draining], timeout=0.05)
            if not done:
                break
            assert written < 50_000_000
        # No more is held in this process than was written at once, and the high water mark.
        assert socket_flow.oc.transport.get_write_buffer_size() <= 65536 + len(chunk)
        assert len(await socket_flow.peer_reads(written)) == written
        await draining

    @pytest.mark.parametrize("wait", [lambda oc: oc.drain(), lambda oc: oc.wait_closed()])
    async def test_often_cancelled_it_keeps_nothing(self, flow, wait):
        stall(flow)
        waiting = {asyncio.ensure_future(wait(flow.oc)) for _ in range(1000)}
        await turn()
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        del waiting, task
        gc.collect()
        futures = sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects())
        assert futures < 500


class TestWriteToAPeerThatHasGone:
    @pytest.mark.parametrize(
        ("error", "raised"),
        [
            (ConnectionResetError("gone"), ConnectionResetError),
            (BrokenPipeError("gone"), BrokenPipeError),
            (None, ConnectionResetError),
            (TimeoutError("gone"), ConnectionResetError),
            (OSError(113, "gone"), ConnectionResetError),
            (ZeroDivisionError("gone"), ConnectionResetError),
        ],
    )
    async def test_a_drain_that_waits_raises(self, flow, error, raised):
        stall(flow)
        waiting = [await begin(flow.oc.drain()), await begin(flow.oc.write(b"x"))]
        flow.lose(error)
        for task in waiting:
            with pytest.raises(raised) as caught:
                await task
            assert raised is not type(error) or caught.value.args == error.args
            assert raised is type(error) or caught.value.__cause__ is error

    async def test_write_never_raises_but_its_awaitable_and_drain_do(self, flow):
        flow.lose(ConnectionResetError("gone"))
        for _ in range(3):
            awaitable = flow.oc.write(b"x")
            with pytest.raises(ConnectionResetError):
                await awaitable
            with pytest.raises(ConnectionResetError):
                await flow.oc.writelines([b"x"])
            with pytest.raises(ConnectionResetError):
                await flow.oc.drain()
        assert flow.transport.sent == b""

    async def test_a_failure_that_the_transport_has_not_told_yet(self, flow):
        flow.transport.fail(ConnectionResetError("gone"))
        flow.oc.write(b"x")
        with pytest.raises(ConnectionResetError):
            await flow.oc.write(b"x")

    async def test_raised_often_it_holds_no_more_memory(self, flow):
        flow.lose(ConnectionResetError("gone"))
        lengths = set()
        for _ in range(5):
            with pytest.raises(ConnectionResetError) as caught:
                await flow.oc.drain()
            lengths.add(len(caught.traceback))
        assert len(lengths) == 1

    async def test_a_drain_after_our_abort_raises_at_once(self, flow):
        stall(flow)
        waiting = await begin(flow.oc.drain())
        flow.oc.transport.abort()
        with pytest.raises(ConnectionAbortedError):
            await waiting
        with pytest.raises(ConnectionAbortedError):
            await flow.oc.write(b"x")

    async def test_a_drain_directly_after_our_abort(self, flow):
        flow.oc.transport.abort()
        with pytest.raises(ConnectionAbortedError):
            await flow.oc.drain()

    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_over_a_socket_a_loop_of_writes_and_drains_ends(self, make_socket_flow, how):
        # The peer is in another thread: the loop may be so busy that it never turns by itself.
        flow = await make_socket_flow("tcp")
        thread = threading.Thread(
            target=flow.peer.close if how == "close" else lambda: reset(flow.peer)
        )
        thread.start()
        with pytest.raises(ConnectionError):
            await write_on(flow, 1_000_000)
        thread.join()

    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_over_a_socket_no_write_raises(self, make_socket_flow, how):
        flow = await make_socket_flow("tcp")
        if how == "close":
            await flow.peer_sends(b"unread")
            flow.peer.close()
        else:
            flow.peer_resets()
        for _ in range(100):
            flow.oc.write(b"foo\n")
            await turn(1)
            if flow.oc.is_closing():
                break
        with pytest.raises(ConnectionError):
            await flow.oc.write(b"foo\n")
        await flow.oc.close()


class TestWriteAfterClose:
    async def test_queues_nothing(self, flow):
        flow.oc.close()
        flow.oc.write(b"late")
        assert flow.transport.sent == b""

    async def test_its_awaitable_says_so_though_the_peer_is_there(self, flow):
        flow.oc.close()
        with pytest.raises(ConnectionError):
            await flow.oc.write(b"late")

    async def test_drain_says_so_when_the_flow_is_closed(self, flow):
        flow.receive_eof()
        flow.oc.close()
        flow.oc.write(b"late")
        with pytest.raises(ConnectionResetError):
            await flow.oc.drain()

    async def test_a_loop_of_writes_and_drains_ends(self, flow):
        # While the flow waits for the peer's end, and nothing is left to drain.
        flow.oc.close()
        with pytest.raises(ConnectionError):
            await write_on(flow)

    async def test_a_loop_that_was_writing_ends(self, flow):
        async def drain_and_write_on():
            stall(flow)
            await flow.oc.drain()
            await write_on(flow)

        writing = await begin(drain_and_write_on())
        flow.oc.close()
        flow.transport.take()
        with pytest.raises(ConnectionError):
            await writing


class TestWriteEof:
    async def test_ends_the_output_after_what_was_written(self, flow):
        flow.transport.room = 0
        flow.oc.write(b"last words")
        flow.oc.write_eof()
        assert not flow.transport.fin_sent
        flow.transport.take()
        await turn()
        assert flow.transport.sent == b"last words"
        assert flow.transport.fin_sent

    async def test_reading_goes_on(self, flow):
        flow.oc.write_eof()
        assert not flow.oc.is_closing()
        flow.receive(b"answer")
        flow.receive_eof()
        assert await flow.ic.read() == b"answer"

    async def test_twice_is_nothing_more(self, flow):
        flow.oc.write_eof()
        flow.oc.write_eof()

    async def test_after_a_stall_ends_after_everything(self, flow):
        stall(flow)
        flow.oc.write(b"last ")
        flow.oc.write(b"words")
        flow.oc.write_eof()
        while not flow.transport.fin_sent:
            flow.transport.take(50_000)
            await turn()
        assert flow.transport.sent == MUCH + b"last words"
        assert not flow.oc.is_closing()

    @pytest.mark.parametrize("first", ["write_eof", "close"])
    async def test_and_close_in_one_go_send_everything(self, flow, first):
        stall(flow)
        flow.oc.write(b"last words")
        flow.oc.write_eof()
        if first == "write_eof":
            flow.transport.take()
        flow.oc.close()
        flow.transport.take()
        await turn()
        assert flow.transport.sent == MUCH + b"last words"
        assert flow.transport.fin_sent
        flow.receive_eof()
        await flow.oc.wait_closed()

    async def test_after_it_writing_is_a_runtime_error(self, flow):
        flow.oc.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            flow.oc.write(b"x")
        with pytest.raises(RuntimeError, match="write_eof"):
            flow.oc.writelines([b"x"])
        assert flow.transport.sent == b""

    async def test_draining_is_not(self, flow):
        stall(flow)
        flow.oc.write_eof()
        waiting = await begin(flow.oc.drain())
        flow.transport.take()
        await waiting
        await flow.oc.drain()

    @pytest.mark.parametrize("end", ["close", "abort", "reset"])
    async def test_after_the_end_of_the_flow_is_nothing(self, flow, end):
        if end == "close":
            flow.oc.close()
        elif end == "abort":
            flow.oc.transport.abort()
        else:
            flow.lose(ConnectionResetError("gone"))
        flow.oc.write_eof()
        await turn()
        flow.oc.write_eof()

    async def test_over_a_socket_both_ways(self, socket_flow):
        socket_flow.oc.write(MUCH)
        socket_flow.oc.write_eof()
        assert await socket_flow.peer_reads_all() == MUCH
        await socket_flow.peer_sends(b"answer")
        socket_flow.peer.shutdown(socket.SHUT_WR)
        assert await socket_flow.ic.read() == b"answer"
        await socket_flow.oc.close()

    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_over_a_socket_whose_peer_has_gone(self, make_socket_flow, how):
        flow = await make_socket_flow("tcp")
        if how == "close":
            flow.peer.close()
        else:
            flow.peer_resets()
        # Whether the loop knows it yet or not.
        flow.oc.write_eof()
        await turn()
        flow.oc.write_eof()
        await flow.oc.close()

    async def test_can_be_asked_for(self, flow):
        assert flow.oc.can_write_eof()

    async def test_over_a_transport_that_has_no_half_close(self, make_flow):
        flow = make_flow(can_write_eof=False)
        assert not flow.oc.can_write_eof()
        with pytest.raises(NotImplementedError):
            flow.oc.write_eof()
        flow.oc.write(b"still open")
        assert flow.transport.sent == b"still open"

    @pytest.mark.parametrize("unsent", [False, True])
    async def test_a_transport_that_has_no_half_close_can_be_closed(self, make_flow, unsent):
        flow = make_flow(can_write_eof=False)
        if unsent:
            flow.transport.room = 0
        flow.oc.write(b"last words")
        flow.oc.close()
        flow.transport.take()
        await turn()
        flow.receive_eof()
        await asyncio.wait_for(flow.oc.wait_closed(), 5)
        assert flow.transport.sent == b"last words"


class TestClose:
    async def test_twice_and_more_is_nothing_more(self, flow):
        flow.oc.close()
        flow.oc.close()
        flow.ic.close()
        flow.receive_eof()
        await flow.oc.close()
        await flow.oc.close()
        await flow.ic.close()
        await flow.oc.wait_closed()
        assert flow.closed_calls == 1

    async def test_what_it_returns_can_be_awaited_by_many_more_than_once(self, flow):
        closing = flow.oc.close()
        waiting = await begin(asyncio.gather(closing, flow.oc.close(), flow.oc.wait_closed()))
        flow.receive_eof()
        assert await waiting == [None, None, None]
        assert await closing is None

    async def test_one_that_is_cancelled_leaves_the_others_waiting(self, flow):
        first = await begin(flow.oc.wait_closed())
        second = await begin(flow.oc.close())
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not second.done()
        flow.receive_eof()
        await second

    async def test_wait_closed_waits_until_somebody_closes(self, flow):
        waiting = await begin(flow.oc.wait_closed())
        flow.oc.close()
        flow.receive_eof()
        await waiting

    @pytest.mark.parametrize(
        "error", [None, ConnectionResetError("gone"), TimeoutError(), ZeroDivisionError()]
    )
    async def test_never_raises_for_a_flow_that_failed(self, flow, error):
        waiting = await begin(flow.oc.wait_closed())
        flow.lose(error)
        await waiting
        await flow.oc.wait_closed()
        await flow.oc.close()

    async def test_a_failure_while_it_closes_is_not_raised_either(self, flow):
        stall(flow)
        closing = await begin(flow.oc.close())
        flow.transport.fail(ConnectionResetError("gone"))
        await closing
        await flow.oc.wait_closed()

    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_over_a_socket_whose_peer_has_gone(self, make_socket_flow, how):
        flow = await make_socket_flow("tcp")
        flow.oc.write(MUCH)
        if how == "close":
            flow.peer.close()
        else:
            flow.peer_resets()
        await flow.oc.close()
        await flow.oc.wait_closed()

    async def test_with_input_that_nobody_has_read(self, socket_flow):
        await socket_flow.peer_sends(b"x" * 1000)
        closing = asyncio.ensure_future(socket_flow.oc.close())
        assert await socket_flow.peer_reads_all() == b""
        socket_flow.peer.close()
        await closing

    async def test_what_was_written_arrives(self, socket_flow):
        socket_flow.oc.write(20 * MUCH)
        closing = socket_flow.oc.close()
        assert len(await socket_flow.peer_reads_all()) == 20 * len(MUCH)
        socket_flow.peer.close()
        await closing

    async def test_what_was_written_arrives_at_a_peer_that_has_ended(self, socket_flow, caplog):
        socket_flow.peer.shutdown(socket.SHUT_WR)
        assert await socket_flow.ic.read() == b""
        socket_flow.oc.write(20 * MUCH)
        closing = asyncio.ensure_future(socket_flow.oc.close())
        assert len(await socket_flow.peer_reads_all()) == 20 * len(MUCH)
        await closing
        await turn()
        assert caplog.messages == []

    async def test_when_it_is_over_the_descriptor_is_free(self, socket_flow):
        socket_flow.peer.close()
        assert os.fstat(socket_flow.fd)
        await socket_flow.oc.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(socket_flow.fd)

    async def test_reading_after_it_as_in_asyncio(self, socket_flow):
        socket_flow.peer.close()
        socket_flow.oc.close()
        await socket_flow.oc.wait_closed()
        assert socket_flow.ic.at_eof()
        assert await socket_flow.ic.read() == b""


class TestIsClosing:
    async def test_from_the_moment_of_close(self, flow):
        assert not flow.oc.is_closing()
        flow.receive_eof()
        assert not flow.oc.is_closing()
        flow.oc.close()
        assert flow.oc.is_closing()
        await flow.oc.wait_closed()
        assert flow.oc.is_closing()

    async def test_from_the_moment_of_a_failure(self, flow):
        flow.transport.fail(ConnectionResetError("gone"))
        assert flow.oc.is_closing()
        await turn()
        assert flow.oc.is_closing()

    async def test_from_the_moment_of_abort(self, flow):
        flow.oc.transport.abort()
        assert flow.oc.is_closing()


async def test_repr_says_what_it_is_and_how_it_is(flow):
    flow.oc.write(b"123")
    assert repr(flow.oc) == "<conduit.Output of <open flow: 0 bytes in, 3 bytes out>>"
    assert wire_of(flow.oc) is wire_of(flow.ic)


class TestDropped:
    """A flow that nobody holds and nobody closed."""

    @staticmethod
    async def make() -> tuple[tuple[Input, Output], weakref.ref[Output], int, socket.socket]:
        """The channels, something that tells when they are gone, the descriptor, the peer."""
        flow = await flow_over(*tcp_pair())
        return (flow.ic, flow.oc), weakref.ref(flow.oc), flow.fd, flow.peer

    @staticmethod
    async def free(fd: int) -> bool:
        """Whether the descriptor is closed soon."""
        for _ in range(100):
            try:
                os.fstat(fd)
            except OSError:
                return True
            await turn(1)
        return False

    async def test_is_a_resource_warning_and_its_descriptor_goes(self):
        channels, _, fd, peer = await self.make()
        with pytest.warns(ResourceWarning, match=r"without being closed: .*127\.0\.0\.1.*4711"):
            del channels
        assert await self.free(fd)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""
        peer.close()

    async def test_in_another_thread(self):
        # As the garbage collector may do.
        channels, _, fd, peer = await self.make()
        holder = [channels]
        del channels
        with pytest.warns(ResourceWarning, match="without being closed"):
            await asyncio.to_thread(holder.clear)
        assert await self.free(fd)
        peer.close()

    @pytest.mark.parametrize("kept", [0, 1], ids=["input", "output"])
    async def test_one_channel_keeps_the_flow(self, kept):
        channels, _, fd, peer = await self.make()
        one = channels[kept]
        del channels
        gc.collect()
        assert not await self.free(fd)
        await asyncio.get_running_loop().sock_sendall(peer, b"x")
        with pytest.warns(ResourceWarning, match="without being closed"):
            del one
        assert await self.free(fd)
        peer.close()

    async def test_the_transport_keeps_the_flow(self):
        channels, _, fd, peer = await self.make()
        transport = channels[1].transport
        del channels
        gc.collect()
        assert not await self.free(fd)
        transport.close()
        peer.close()
        del transport
        assert await self.free(fd)

    async def test_a_read_that_waits_keeps_the_flow(self):
        channels, gone, fd, peer = await self.make()
        reading = await begin(channels[0].read(100))
        del channels
        gc.collect()
        assert gone() is not None
        peer.close()
        with pytest.warns(ResourceWarning, match="without being closed"):
            await reading
        assert await self.free(fd)

    async def test_where_warnings_are_errors_its_descriptor_goes_all_the_same(self, monkeypatch):
        raised = []
        monkeypatch.setattr(sys, "unraisablehook", lambda it: raised.append(it.exc_type))
        channels, _, fd, peer = await self.make()
        wire = wire_of(channels[1])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del channels
        assert raised == [ResourceWarning]
        try:
            assert await self.free(fd)
        finally:
            wire.abort()
            peer.close()

    @pytest.mark.parametrize("end", ["close", "abort", "reset"])
    async def test_is_no_warning_after_its_end(self, end):
        made = FakeFlow()
        if end == "close":
            made.oc.close()
        elif end == "abort":
            made.oc.transport.abort()
        else:
            made.lose(ConnectionResetError("gone"))
        wire = made.wire
        del made
        gc.collect()
        wire.connection_lost(None)

    async def test_while_it_closes_it_closes_to_the_end(self, make_socket_flow):
        ours, theirs = tcp_pair()
        flow = await flow_over(ours, theirs)
        fd, peer = flow.fd, flow.peer
        flow.oc.write(20 * MUCH)
        flow.oc.close()
        del flow
        gc.collect()
        loop = asyncio.get_running_loop()
        size = 0
        while data := await loop.sock_recv(peer, 1_000_000):
            size += len(data)
        assert size == 20 * len(MUCH)
        peer.close()
        assert await self.free(fd)

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    @pytest.mark.parametrize("end", ["close", "abort", "peer", "read"])
    async def test_when_closed_it_is_freed_without_the_garbage_collector(self, end):
        channels, gone, fd, peer = await self.make()
        ic, oc = channels
        gc.collect()
        gc.disable()
        try:
            if end == "peer":
                peer.close()
                assert await ic.read() == b""
                await oc.close()
            elif end == "close":
                oc.write(b"x")
                closing = oc.close()
                peer.close()
                await closing
                del closing
            elif end == "read":
                peer.close()
                async for _ in ic:
                    pass
                with pytest.raises(asyncio.IncompleteReadError) as caught:
                    await ic.readexactly(1)
                del caught
                await oc.close()
            else:
                oc.transport.abort()
                await oc.wait_closed()
            del channels, ic, oc
            assert gone() is None
        finally:
            gc.enable()
            peer.close()
        assert await self.free(fd)

    @pytest.mark.parametrize("use", ["read", "drain"])
    async def test_when_it_has_failed_it_is_freed_without_the_garbage_collector(self, use):
        channels, gone, fd, peer = await self.make()
        ic, oc = channels
        gc.collect()
        gc.disable()
        try:
            reset(peer)
            try:
                while use == "read":
                    await ic.read(100)
                while use == "drain":
                    await oc.write(b"x" * 1000)
            except ConnectionError:
                pass
            oc.close()
            del channels, ic, oc
            await turn()
            assert gone() is None
        finally:
            gc.enable()
        assert await self.free(fd)


@pytest.mark.alone
async def test_many_small_writes_to_a_peer_that_stalls_cost_what_they_write(make_socket_flow):
    """Ten times as many take about ten times as long, not a hundred times."""

    async def seconds(writes: int) -> float:
        flow = await make_socket_flow("tcp")
        started = time.process_time()
        for _ in range(writes):
            flow.oc.write(b"x" * 1000)
        spent = time.process_time() - started
        receiving = asyncio.ensure_future(flow.peer_reads_all())
        started = time.process_time()
        await asyncio.wait_for(flow.oc.drain(), 20)
        flow.oc.close()
        assert len(await receiving) == writes * 1000
        return spent + time.process_time() - started

    await seconds(1000)
    few = min([await seconds(6_000) for _ in range(3)])
    many = await seconds(60_000)
    assert many < 40 * few


async def test_both_ends_of_a_served_flow_are_freed_without_the_garbage_collector():
    ends = []

    async def handler(f, ic, oc):
        ends.append(weakref.ref(oc))
        oc.write(await ic.readline())

    async def client(target):
        async with conduit.connect(target) as (_, ic, oc):
            ends.append(weakref.ref(oc))
            oc.write(b"line\n")
            assert await ic.read() == b"line\n"

    gc.collect()
    gc.disable()
    try:
        async with conduit.listen(conduit.server.TCP(0, ip="127.0.0.1"), handler) as srv:
            for _ in range(5):
                await client(srv.endps[0])
        await turn()
        assert [end() for end in ends] == [None] * 10
    finally:
        gc.enable()


def test_dropped_after_its_loop_was_closed():
    """Then nothing can be done any more; the descriptor goes with the transport."""

    async def make() -> tuple[tuple[Input, Output], socket.socket, int]:
        ours, theirs = tcp_pair()
        loop = asyncio.get_running_loop()
        wire = Wire(loop, 5.0)
        ours.setblocking(False)
        fd = ours.fileno()
        await loop.connect_accepted_socket(lambda: wire, ours)
        return pair(wire), theirs, fd

    loop = asyncio.SelectorEventLoop()
    channels, peer, fd = loop.run_until_complete(make())
    loop.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del channels
        messages = [str(warning.message) for warning in caught]
        caught.clear()  # A warning holds what it is about.
        gc.collect()
    assert len(messages) == 1
    assert "without being closed" in messages[0]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    peer.close()
