"""How a flow ends: flush, our end, the peer's end, and what is told of it."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from conduit.channels import ending, wire_of
from tests.channels.fakes import begin, turn

KIB = 1024
MIB = 1024 * 1024


def facts(event) -> tuple[str, int, int, int]:
    return event.reason, event.received, event.sent, event.unsent


class TestNothingUnsent:
    async def test_the_peer_has_ended_so_it_closes_at_once(self, flow):
        flow.receive_eof()
        flow.oc.close()
        await turn()
        assert flow.transport.gone
        assert not flow.transport.aborted

    async def test_the_peer_has_not_so_our_end_is_sent_and_its_end_awaited(self, flow):
        flow.oc.write(b"reply")
        flow.oc.close()
        await turn()
        assert flow.transport.sent == b"reply"
        assert flow.transport.fin_sent
        assert not flow.transport.is_closing()
        flow.receive_eof()
        await turn()
        assert flow.transport.gone
        assert not flow.transport.aborted

    async def test_our_end_was_sent_before(self, flow):
        flow.oc.write_eof()
        flow.oc.close()
        await turn()
        assert not flow.transport.is_closing()
        flow.receive_eof()
        await turn()
        assert flow.transport.gone

    async def test_input_that_was_held_back_is_let_in(self, flow):
        # Else the peer, busy sending, would never come to its end.
        flow.receive(b"x" * 200_000)
        assert not flow.transport.is_reading()
        flow.oc.close()
        assert flow.transport.is_reading()
        flow.receive(b"x" * 200_000)
        assert flow.transport.is_reading()


class TestUnsent:
    async def test_is_sent_before_our_end(self, flow):
        flow.transport.room = 5
        flow.oc.write(b"first last")
        flow.oc.close()
        await turn()
        assert not flow.transport.fin_sent
        flow.transport.take(4)
        await turn()
        assert not flow.transport.fin_sent
        flow.transport.take(1)
        await turn()
        assert flow.transport.sent == b"first last"
        assert flow.transport.fin_sent
        assert not flow.transport.is_closing()
        flow.receive_eof()
        await turn()
        assert flow.transport.gone

    async def test_of_a_peer_that_has_ended_before(self, flow):
        flow.transport.room = 0
        flow.oc.write(b"reply")
        flow.receive_eof()
        flow.oc.close()
        await turn()
        assert not flow.transport.gone
        flow.transport.take()
        await turn()
        assert flow.transport.sent == b"reply"
        assert flow.transport.gone
        assert not flow.transport.aborted

    async def test_of_a_peer_that_ends_meanwhile(self, flow):
        flow.transport.room = 0
        flow.oc.write(b"reply")
        flow.oc.close()
        flow.receive_eof()
        await turn()
        assert not flow.transport.is_closing()
        flow.transport.take()
        await turn()
        assert flow.transport.sent == b"reply"
        assert flow.transport.gone

    async def test_with_drains_that_wait(self, flow):
        flow.transport.room = 0
        flow.oc.write(b"x" * 200_000)
        draining = await begin(flow.oc.drain())
        flow.oc.close()
        await turn()
        assert not draining.done()
        flow.transport.take()
        await draining
        await turn()
        assert flow.transport.fin_sent

    async def test_input_meanwhile_is_thrown_away_without_bound(self, flow):
        flow.transport.room = 0
        flow.oc.write(b"reply")
        flow.oc.close()
        flow.receive(*[b"x" * MIB] * 3)
        flow.transport.take()
        await turn()
        assert not flow.transport.is_closing()
        flow.receive_eof()
        await turn()
        assert flow.transport.gone

    async def test_once_sent_close_timeout_is_over(self, make_flow):
        flow = make_flow(close_timeout=0.01)
        flow.transport.room = 0
        flow.oc.write(b"reply")
        flow.oc.close()
        flow.transport.take()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flow.oc.wait_closed(), 0.1)
        assert not flow.transport.aborted


class TestLinger:
    async def test_it_ends_after_a_mebibyte(self, flow):
        flow.oc.close()
        await turn()
        flow.receive(*[b"x" * 256 * KIB] * 4)
        assert not flow.transport.is_closing()
        flow.receive(b"x")
        assert flow.transport.is_closing()
        await turn()
        assert flow.transport.gone

    async def test_it_ends_when_its_time_is_over(self, flow, closed, monkeypatch):
        monkeypatch.setattr(ending, "LINGER_SECONDS", 0.01)
        flow.oc.close()
        await flow.oc.wait_closed()
        assert flow.transport.fin_sent
        assert not flow.transport.aborted
        assert closed[0].reason == "closed"

    async def test_its_time_is_a_second(self, flow):
        started = time.monotonic()
        await flow.oc.close()
        assert 0.9 < time.monotonic() - started < 3

    async def test_a_reset_then_is_no_loss(self, flow, warned):
        flow.oc.write(b"reply")
        flow.oc.close()
        await turn()
        flow.transport.fail(ConnectionResetError("gone"))
        await flow.oc.wait_closed()
        assert warned() == []

    async def test_in_a_hurry_a_silent_peer_that_has_all_is_not_awaited(self, socket_flow, closed):
        socket_flow.oc.write(b"reply")
        socket_flow.oc.close()
        assert await socket_flow.peer_reads_all() == b"reply"
        wire_of(socket_flow.oc).hurry()
        await asyncio.wait_for(socket_flow.oc.wait_closed(), 0.9)
        assert facts(closed[0]) == ("closed", 0, 5, 0)

    async def test_in_a_hurry_what_is_on_its_way_arrives_all_the_same(self, make_socket_flow):
        flow = await make_socket_flow("tcp")
        # Fits into our system's buffer, and not into that of a peer that does not read.
        size = 250_000
        flow.oc.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 212_992)
        flow.oc.write(b"x" * size)
        flow.oc.close()
        await turn()
        assert flow.oc.transport.get_write_buffer_size() == 0
        wire_of(flow.oc).hurry()
        await turn()
        await flow.peer_sends(b"unread")
        assert len(await flow.peer_reads_all()) == size

    async def test_in_a_hurry_a_peer_of_whom_nothing_is_known_is_awaited(self, flow):
        flow.oc.close()
        await turn()
        wire_of(flow.oc).hurry()
        assert not flow.transport.is_closing()

    async def test_in_a_hurry_a_peer_that_sends_is_awaited(self, socket_flow):
        socket_flow.oc.close()
        await socket_flow.peer_sends(b"x")
        while not socket_flow.wire.bytes_in:
            await turn(1)
        wire_of(socket_flow.oc).hurry()
        closing = await begin(socket_flow.oc.wait_closed())
        socket_flow.peer.close()
        await closing

    async def test_in_a_hurry_what_is_unsent_is_sent_all_the_same(self, socket_flow):
        socket_flow.oc.write(b"x" * 4 * MIB)
        socket_flow.oc.close()
        wire_of(socket_flow.oc).hurry()
        assert len(await socket_flow.peer_reads_all()) == 4 * MIB

    async def test_in_a_hurry_the_peers_system_gets_time_to_confirm(self, make_socket_flow):
        # It does so of our end after 40 ms only.
        flow = await make_socket_flow("tcp")
        flow.oc.close()
        for _ in range(3):
            wire_of(flow.oc).hurry()
        await asyncio.wait_for(flow.oc.wait_closed(), 0.9)

    async def test_an_open_flow_knows_no_hurry(self, socket_flow):
        wire_of(socket_flow.oc).hurry()
        assert not socket_flow.oc.is_closing()
        await socket_flow.peer_sends(b"x")
        assert await socket_flow.ic.read(100) == b"x"


class TestCloseTimeout:
    async def test_unsent_bytes_are_given_up_with_a_warning_and_an_event(
        self, make_flow, closed, warned
    ):
        flow = make_flow(close_timeout=0.01)
        flow.transport.room = 3
        flow.oc.write(b"0123456789")
        flow.receive(b"question")
        await flow.oc.close()
        assert flow.transport.aborted
        assert [facts(event) for event in closed] == [("close_timeout", 8, 3, 7)]
        assert closed[0].flow is flow.wire.flow
        assert len(warned()) == 1
        assert "7 bytes" in warned()[0]
        assert "/fake" in warned()[0]
        assert "close_timeout" in warned()[0]

    async def test_what_leaves_meanwhile_is_not_counted(self, make_flow, closed, warned):
        flow = make_flow(close_timeout=0.05)
        flow.transport.room = 0
        flow.oc.write(b"x" * 200_000)
        closing = await begin(flow.oc.close())
        flow.transport.take(150_000)
        await closing
        assert facts(closed[0]) == ("close_timeout", 0, 150_000, 50_000)
        assert "50000 bytes" in warned()[0]

    async def test_drains_that_wait_raise(self, make_flow):
        flow = make_flow(close_timeout=0.01)
        flow.transport.room = 0
        flow.oc.write(b"x" * 200_000)
        draining = await begin(flow.oc.drain())
        flow.oc.close()
        with pytest.raises(ConnectionError):
            await draining

    @pytest.mark.parametrize("kind", ["tcp", "unix"])
    async def test_of_zero_is_no_reason_to_lose_what_can_be_sent(
        self, make_socket_flow, closed, kind
    ):
        flow = await make_socket_flow(kind, close_timeout=0)
        flow.oc.write(b"reply")
        flow.oc.close()
        assert await flow.peer_reads_all() == b"reply"
        flow.peer.close()
        await flow.oc.wait_closed()
        assert facts(closed[0]) == ("closed", 0, 5, 0)

    @pytest.mark.parametrize("kind", ["tcp", "unix"])
    async def test_over_a_socket(self, make_socket_flow, closed, warned, kind):
        flow = await make_socket_flow(kind, close_timeout=0.05)
        size = 20_000_000
        flow.oc.write(b"x" * size)
        await asyncio.wait_for(flow.oc.close(), 10)
        (event,) = closed
        assert event.reason == "close_timeout"
        assert event.sent + event.unsent == size
        assert event.unsent > size // 2
        assert f"{event.unsent} bytes" in warned()[0]
        # What is told as sent is what the peer can get.
        try:
            assert len(await flow.peer_reads_all()) == event.sent
        except ConnectionResetError:
            assert kind == "tcp"


class TestAbort:
    async def test_drops_what_is_unsent_and_says_so_to_those_who_ask(self, flow, closed, warned):
        flow.transport.room = 3
        flow.oc.write(b"0123456789")
        flow.oc.transport.abort()
        await flow.oc.wait_closed()
        assert flow.transport.sent == b"012"
        assert [facts(event) for event in closed] == [("aborted", 0, 3, 7)]
        assert warned() == []  # It was the program's own wish.

    async def test_twice_changes_nothing(self, flow, closed):
        flow.transport.room = 3
        flow.oc.write(b"0123456789")
        flow.oc.transport.abort()
        flow.oc.transport.abort()
        await flow.oc.wait_closed()
        flow.oc.transport.abort()
        assert [facts(event) for event in closed] == [("aborted", 0, 3, 7)]

    async def test_while_closing(self, flow, closed):
        flow.transport.room = 3
        flow.oc.write(b"0123456789")
        flow.oc.close()
        flow.oc.transport.abort()
        await flow.oc.wait_closed()
        assert [facts(event) for event in closed] == [("aborted", 0, 3, 7)]

    async def test_after_the_end_is_nothing(self, flow, closed):
        flow.receive_eof()
        await flow.oc.close()
        flow.oc.transport.abort()
        await turn()
        assert [event.reason for event in closed] == ["closed"]

    async def test_close_after_it_is_nothing(self, flow, closed):
        flow.oc.transport.abort()
        await flow.oc.close()
        assert [event.reason for event in closed] == ["aborted"]

    async def test_for_another_reason_is_a_warning(self, flow, closed, warned):
        # As a server does to a client that takes nothing in.
        flow.transport.room = 3
        flow.oc.write(b"0123456789")
        wire_of(flow.oc).abort("idle_timeout")
        await flow.oc.wait_closed()
        assert facts(closed[0]) == ("idle_timeout", 0, 3, 7)
        assert "7 bytes" in warned()[0]
        assert "idle_timeout" in warned()[0]

    async def test_over_a_socket_it_does_not_wait_for_the_peer(self, socket_flow, closed):
        socket_flow.oc.write(b"x" * 20_000_000)
        socket_flow.oc.transport.abort()
        await asyncio.wait_for(socket_flow.oc.wait_closed(), 10)
        assert closed[0].reason == "aborted"
        assert closed[0].unsent > 10_000_000
        assert closed[0].sent + closed[0].unsent == 20_000_000


class TestClosedEvent:
    async def test_of_an_ordinary_end(self, flow, closed, warned):
        flow.receive(b"question")
        flow.oc.write(b"answer!")
        await flow.ic.read(100)
        flow.receive_eof()
        assert closed == []
        await flow.oc.close()
        (event,) = closed
        assert facts(event) == ("closed", 8, 7, 0)
        assert event.flow is flow.wire.flow
        assert 0 <= event.seconds < 10
        assert warned() == []

    async def test_counts_what_was_thrown_away(self, flow, closed):
        flow.receive(b"unread")
        flow.oc.close()
        await turn()
        flow.receive(b"late")
        flow.receive_eof()
        await flow.oc.wait_closed()
        assert closed[0].received == 10

    @pytest.mark.parametrize("error", [ConnectionResetError("gone"), TimeoutError("gone"), None])
    async def test_of_a_failure(self, flow, closed, error):
        flow.oc.write(b"123")
        flow.lose(error)
        assert [facts(event) for event in closed] == [("reset", 0, 3, 0)]
        flow.oc.close()
        await turn()
        assert len(closed) == 1

    async def test_of_a_failure_while_closing(self, flow, closed, warned):
        flow.transport.room = 3
        flow.oc.write(b"0123456789")
        flow.oc.close()
        flow.transport.fail(ConnectionResetError("the peer has gone"))
        await flow.oc.wait_closed()
        assert [facts(event) for event in closed] == [("reset", 0, 3, 7)]
        assert len(warned()) == 1
        assert "7 bytes" in warned()[0]
        assert "the peer has gone" in warned()[0]

    async def test_of_a_failure_while_closing_counts_all_that_was_written(
        self, flow, closed, warned
    ):
        # Drains wait since the first write; what was written after it is unsent all the same.
        flow.transport.room = 0
        flow.oc.write(b"x" * 100_000)
        flow.oc.write(b"x" * 200_000)
        flow.oc.close()
        flow.transport.fail(ConnectionResetError("gone"))
        await flow.oc.wait_closed()
        assert facts(closed[0]) == ("reset", 0, 0, 300_000)
        assert "300000 bytes" in warned()[0]

    async def test_of_a_failure_while_closing_counts_what_was_unsent_then(self, flow, closed):
        flow.transport.room = 0
        flow.oc.write(b"x" * 100_000)
        flow.transport.take(50_000)
        flow.oc.close()
        flow.transport.fail(ConnectionResetError("gone"))
        await flow.oc.wait_closed()
        assert facts(closed[0]) == ("reset", 0, 50_000, 50_000)

    @pytest.mark.parametrize("sizes", [[100_000], [100_000, 200_000]])
    async def test_of_a_failure_counts_what_drains_waited_for(self, flow, closed, sizes):
        flow.transport.room = 0
        for size in sizes:
            flow.oc.write(b"x" * size)
        flow.transport.fail(ConnectionResetError("gone"))
        await flow.oc.wait_closed()
        assert facts(closed[0]) == ("reset", 0, 0, sum(sizes))

    async def test_of_a_failure_that_the_transport_has_not_told_yet(self, flow, closed):
        flow.transport.fail(ConnectionResetError("gone"))
        await flow.oc.close()
        assert [event.reason for event in closed] == ["reset"]

    async def test_bytes_written_to_a_flow_that_is_gone_count_nowhere(self, flow, closed):
        flow.oc.write(b"123")
        flow.oc.close()
        flow.oc.write(b"456")
        flow.receive_eof()
        await flow.oc.wait_closed()
        assert facts(closed[0]) == ("closed", 0, 3, 0)

    async def test_of_a_failure_after_a_stall_counts_what_was_unsent(self, flow, closed):
        flow.transport.room = 0
        for _ in range(100):
            flow.oc.write(b"x" * 100_000)
        # There is room again, and the write that uses it finds the peer gone.
        flow.transport.broken = BrokenPipeError("gone")
        flow.transport.take(100_000)
        await flow.oc.wait_closed()
        assert closed[0].unsent > 9_000_000
        assert closed[0].sent + closed[0].unsent == 10_000_000

    async def test_bytes_written_after_an_unnoticed_failure_were_not_sent(self, flow, closed):
        flow.oc.write(b"123")
        flow.transport.fail(ConnectionResetError("gone"))
        flow.oc.write(b"456")
        await flow.oc.wait_closed()
        assert facts(closed[0]) == ("reset", 0, 3, 0)

    async def test_of_a_flow_that_nobody_ever_had_does_not_come(self, flow, closed, warned):
        flow.wire.flow = None
        flow.transport.room = 0
        flow.oc.write(b"x" * 100_000)
        flow.lose(ConnectionResetError("gone"))
        assert closed == []
        assert warned() == []

    async def test_says_why_it_was_closed(self, flow, closed):
        # A server says so of a handler that had no more time.
        flow.receive_eof()
        wire_of(flow.oc).close("timeout")
        flow.oc.close()
        await flow.oc.wait_closed()
        assert closed[0].reason == "timeout"

    async def test_comes_once_and_so_does_the_call_back(self, flow, closed):
        flow.lose()
        flow.wire.connection_lost(None)
        assert len(closed) == 1
        assert flow.closed_calls == 1


async def test_moved_changes_with_every_byte_that_moves(flow):
    """A limit on idleness watches it."""
    wire = wire_of(flow.oc)
    flow.transport.room = 0
    flow.oc.write(b"12345")
    assert wire.moved == 0
    flow.transport.take(2)
    assert wire.moved == 2
    flow.receive(b"123")
    assert wire.moved == 5


class TestOverASocket:
    async def test_a_reply_is_not_lost_to_a_reset_though_the_request_was_not_read(
        self, socket_flow, closed
    ):
        request, reply = b"q" * 500_000, b"a" * 1_000_000
        sending = asyncio.ensure_future(socket_flow.peer_sends(request))
        assert await socket_flow.ic.readexactly(1) == b"q"
        socket_flow.oc.write(reply)
        socket_flow.oc.close()
        await sending
        assert await socket_flow.peer_reads_all() == reply
        socket_flow.peer.close()
        await socket_flow.oc.wait_closed()
        assert facts(closed[0]) == ("closed", len(request), len(reply), 0)

    async def test_a_peer_that_never_stops_sending_is_not_heard_for_ever(self, socket_flow, closed):
        async def send() -> None:
            while True:
                await socket_flow.peer_sends(b"x" * 65536)

        sending = asyncio.ensure_future(send())
        await socket_flow.ic.readexactly(100_000)
        await asyncio.wait_for(socket_flow.oc.close(), 10)
        with pytest.raises(ConnectionError):
            await sending
        assert MIB < closed[0].received < 20 * MIB

    async def test_of_two_flows_that_close_at_once_neither_waits(
        self, make_socket_flow, monkeypatch
    ):
        monkeypatch.setattr(ending, "LINGER_SECONDS", 30)
        from tests.channels.fakes import flow_over

        one = await make_socket_flow("tcp")
        other = await flow_over(one.peer, one.peer)
        started = time.monotonic()
        await asyncio.gather(one.oc.close(), other.oc.close())
        assert time.monotonic() - started < 10
