"""Reading: what `asyncio.StreamReader` does, and what `Input` promises on top."""

from __future__ import annotations

import asyncio
import errno
import time

import pytest

from tests.channels.fakes import begin, turn

LINES = b"one\ntwo\nthree\n"


class Odd(Exception):
    """Cannot be copied: it is not made of its `args`."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


READS = {
    "read": lambda ic: ic.read(100),
    "read to the end": lambda ic: ic.read(),
    "readexactly": lambda ic: ic.readexactly(10),
    "readuntil": lambda ic: ic.readuntil(b"\r\n"),
    "readline": lambda ic: ic.readline(),
    "async for": lambda ic: anext(ic),
}
each_read = pytest.mark.parametrize("read", READS.values(), ids=READS)
# The ones that wait although there is some input.
each_greedy_read = pytest.mark.parametrize(
    "read", [READS[name] for name in READS if name != "read"], ids=[n for n in READS if n != "read"]
)

ENOUGH = b"0123456789\r\n"  # for every one of them, with the end after it


async def rest(flow):
    """What can still be read."""
    flow.receive_eof()
    return await flow.ic.read()


class TestRead:
    async def test_takes_what_there_is_without_waiting_for_more(self, flow):
        flow.receive(b"some", b"thing")
        assert await flow.ic.read(100) == b"something"

    async def test_takes_no_more_than_asked_and_leaves_the_rest(self, flow):
        flow.receive(b"line1", b"line2")
        assert await flow.ic.read(5) == b"line1"
        assert await flow.ic.read(3) == b"lin"
        assert await flow.ic.read(100) == b"e2"

    async def test_waits_for_the_first_bytes(self, flow):
        reading = await begin(flow.ic.read(30))
        flow.receive(b"late")
        assert await reading == b"late"

    async def test_zero_takes_nothing_and_does_not_wait(self, flow):
        assert await asyncio.wait_for(flow.ic.read(0), 5) == b""
        flow.receive(b"x")
        assert await flow.ic.read(0) == b""
        assert await flow.ic.read(9) == b"x"

    async def test_an_empty_chunk_wakes_nobody(self, flow):
        reading = await begin(flow.ic.read(30))
        flow.receive(b"")
        await turn()
        assert not reading.done()
        flow.receive(b"x")
        assert await reading == b"x"

    async def test_gives_the_end_again_and_again(self, flow):
        reading = await begin(flow.ic.read(1024))
        flow.receive_eof()
        assert await reading == b""
        assert await flow.ic.read(1024) == b""
        assert await flow.ic.read() == b""

    async def test_gives_what_came_before_the_end_first(self, flow):
        flow.receive(b"last")
        flow.receive_eof()
        assert await flow.ic.read(2) == b"la"
        assert await flow.ic.read(100) == b"st"
        assert await flow.ic.read(100) == b""

    @pytest.mark.parametrize("arguments", [(), (-1,), (-7,)])
    async def test_without_a_size_it_reads_to_the_end(self, flow, arguments):
        flow.receive(b"chunk0 ")
        reading = await begin(flow.ic.read(*arguments))
        flow.receive(b"chunk1 ", b"chunk2")
        await turn()
        assert not reading.done()
        flow.receive_eof()
        assert await reading == b"chunk0 chunk1 chunk2"
        assert await flow.ic.read() == b""

    async def test_the_limit_does_not_bound_it(self, flow):
        flow.ic.limit = 3
        flow.receive(b"chunk")
        assert await flow.ic.read(5) == b"chunk"
        reading = await begin(flow.ic.read())
        flow.receive(b"a lot", b" more than that", b" and more")
        flow.receive_eof()
        assert await reading == b"a lot more than that and more"

    async def test_to_the_end_of_much(self, socket_flow):
        socket_flow.ic.limit = 1
        sent = bytes(range(256)) * 40_000
        reading = asyncio.ensure_future(socket_flow.ic.read())
        await socket_flow.peer_sends(sent)
        socket_flow.peer.close()
        assert await reading == sent


class TestReadexactly:
    async def test_waits_for_all_and_leaves_the_rest(self, flow):
        flow.receive(LINES[:4])
        reading = await begin(flow.ic.readexactly(2 * len(LINES)))
        flow.receive(LINES[4:], LINES[:-1])
        await turn()
        assert not reading.done()
        flow.receive(LINES[-1:] + b"more")
        assert await reading == LINES + LINES
        assert await flow.ic.read(100) == b"more"

    async def test_zero_takes_nothing_and_does_not_wait(self, flow):
        assert await asyncio.wait_for(flow.ic.readexactly(0), 5) == b""
        flow.receive(LINES)
        assert await flow.ic.readexactly(0) == b""
        assert await flow.ic.read(100) == LINES

    async def test_a_negative_size_is_a_value_error(self, flow):
        flow.receive(LINES)
        with pytest.raises(ValueError, match="less than zero"):
            await flow.ic.readexactly(-1)
        assert await flow.ic.read(100) == LINES

    async def test_the_end_before_all_is_there(self, flow):
        reading = await begin(flow.ic.readexactly(36))
        flow.receive(LINES)
        flow.receive_eof()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reading
        assert (caught.value.partial, caught.value.expected) == (LINES, 36)
        assert str(caught.value) == "14 bytes read on a total of 36 expected bytes"
        assert await flow.ic.read(100) == b""

    async def test_exactly_what_is_left_before_the_end(self, flow):
        flow.receive(LINES)
        flow.receive_eof()
        assert await flow.ic.readexactly(len(LINES)) == LINES
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await flow.ic.readexactly(1)
        assert caught.value.partial == b""

    async def test_the_limit_does_not_bound_it(self, flow):
        flow.ic.limit = 3
        flow.receive(b"chunk")
        assert await flow.ic.readexactly(5) == b"chunk"

    async def test_more_than_the_buffer_holds_is_no_deadlock(self, socket_flow):
        socket_flow.ic.limit = 1000
        sent = bytes(range(256)) * 20_000
        await socket_flow.peer_sends(b"x" * 5000)
        assert await socket_flow.ic.readexactly(1) == b"x"
        reading = asyncio.ensure_future(socket_flow.ic.readexactly(4999 + len(sent)))
        await socket_flow.peer_sends(sent)
        assert (await reading)[4999:] == sent


class TestReadline:
    async def test_of_several_chunks(self, flow):
        flow.receive(b"chunk1 ")
        reading = await begin(flow.ic.readline())
        flow.receive(b"chunk2 ", b"chunk3 ", b"\n chunk4")
        assert await reading == b"chunk1 chunk2 chunk3 \n"
        assert await flow.ic.read(100) == b" chunk4"

    async def test_lines_that_are_there_already(self, flow):
        flow.receive(LINES[:6], LINES[6:])
        assert await flow.ic.readline() == b"one\n"
        assert await flow.ic.read(5) == b"two\nt"
        assert await flow.ic.readline() == b"hree\n"

    async def test_a_line_the_end_cuts_off_is_given_as_it_is(self, flow):
        flow.receive(b"some data")
        flow.receive_eof()
        assert await flow.ic.readline() == b"some data"
        assert await flow.ic.readline() == b""

    async def test_the_end_at_once(self, flow):
        reading = await begin(flow.ic.readline())
        flow.receive_eof()
        assert await reading == b""

    async def test_the_limit_counts_the_line_without_its_newline(self, flow):
        flow.ic.limit = 7
        flow.receive(b"1234567\n12345678\n")
        assert await flow.ic.readline() == b"1234567\n"
        with pytest.raises(ValueError, match="7 bytes"):
            await flow.ic.readline()

    async def test_a_line_over_the_limit_is_dropped_up_to_its_newline(self, flow):
        flow.ic.limit = 3
        flow.receive(b"li", b"ne1\nab\n")
        with pytest.raises(ValueError, match="limit"):
            await flow.ic.readline()
        assert await flow.ic.readline() == b"ab\n"

    async def test_of_a_line_over_the_limit_without_newline_all_is_dropped(self, flow):
        flow.ic.limit = 3
        flow.receive(b"li", b"ne1")
        with pytest.raises(ValueError, match="limit"):
            await flow.ic.readline()
        flow.receive(b"of\nab\n")
        assert await flow.ic.readline() == b"of\n"
        assert await flow.ic.readline() == b"ab\n"

    @pytest.mark.parametrize(
        ("chunks", "left"),
        [
            ((b"chunk1", b"chunk2", b"chunk3\n"), b""),
            ((b"chunk1", b"chunk2\n", b"chunk3\n"), b"chunk3\n"),
        ],
    )
    async def test_a_waiting_read_sees_the_limit_too(self, flow, chunks, left):
        flow.ic.limit = 7
        reading = await begin(flow.ic.readline())
        flow.receive(*chunks)
        flow.receive_eof()
        with pytest.raises(ValueError, match="limit"):
            await reading
        assert await flow.ic.read() == left

    async def test_a_loop_that_ignores_long_lines_goes_on(self, socket_flow):
        lines = [b"short", b"x" * 100_000, b"next", b"y" * 300_000, b"last"]
        await socket_flow.peer_sends(b"".join(line + b"\n" for line in lines[:1]))
        found, errors = [], 0
        sending = asyncio.ensure_future(
            socket_flow.peer_sends(b"".join(line + b"\n" for line in lines[1:]))
        )
        sending.add_done_callback(lambda _: socket_flow.peer.close())
        while not socket_flow.ic.at_eof():
            try:
                found.append(await socket_flow.ic.readline())
            except ValueError:
                errors += 1
        assert errors >= 2
        # Of a long line only the tail can be left, after what was thrown away.
        assert [line for line in found if line.strip(b"xy") != b"\n" and line] == [
            b"short\n",
            b"next\n",
            b"last\n",
        ]


class TestReaduntil:
    @pytest.mark.parametrize(
        "chunks",
        [
            (b"lineAAA",),
            (b"lineAA", b"A"),
            (b"lineA", b"A", b"A"),
            (b"line", b"AAA"),
            (b"l", b"i", b"n", b"e", b"A", b"A", b"A"),
        ],
    )
    @pytest.mark.parametrize("waiting", [False, True])
    async def test_a_separator_split_over_chunks(self, flow, chunks, waiting):
        if waiting:
            reading = await begin(flow.ic.readuntil(b"AAA"))
            for chunk in chunks:
                flow.receive(chunk)
                await turn()
        else:
            flow.receive(*chunks)
            reading = flow.ic.readuntil(b"AAA")
        assert await reading == b"lineAAA"
        assert await rest(flow) == b""

    @pytest.mark.parametrize(
        "chunks", [(b"QWEaa", b"XYaa", b"a"), (b"QWEaa", b"XYa", b"aa"), (b"QWEaaXYaaa",)]
    )
    async def test_what_begins_like_the_separator_is_not_it(self, flow, chunks):
        flow.receive(*chunks)
        assert await flow.ic.readuntil(b"aaa") == b"QWEaaXYaaa"

    async def test_a_separator_that_overlaps_itself(self, flow):
        flow.receive(b"xababab", b"ac")
        assert await flow.ic.readuntil(b"abac") == b"xabababac"
        flow.receive(b"aaaaaa")
        assert await flow.ic.readuntil(b"aa") == b"aa"
        assert await flow.ic.readuntil(b"aaa") == b"aaa"
        assert await rest(flow) == b"a"

    async def test_leaves_what_follows(self, flow):
        flow.receive(b"aaa", b"Xaaaxxx")
        assert await flow.ic.readuntil(b"aaa") == b"aaa"
        assert await flow.ic.readuntil(b"aaa") == b"Xaaa"
        assert await flow.ic.read(100) == b"xxx"

    async def test_the_newline_is_the_default(self, flow):
        flow.receive(LINES)
        assert await flow.ic.readuntil() == b"one\n"

    async def test_a_bytearray_is_a_separator_too(self, flow):
        flow.receive(b"some data\r\n")
        assert await flow.ic.readuntil(bytearray(b"\r\n")) == b"some data\r\n"

    @pytest.mark.parametrize("separator", [b"", (b"",), (b"a", b""), ()])
    async def test_an_empty_separator_is_a_value_error(self, flow, separator):
        flow.receive(LINES)
        with pytest.raises(ValueError, match="separator"):
            await flow.ic.readuntil(separator)
        assert await flow.ic.read(100) == LINES

    async def test_the_end_before_a_separator(self, flow):
        flow.receive(b"some dataAA")
        flow.receive_eof()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await flow.ic.readuntil(b"AAA")
        assert (caught.value.partial, caught.value.expected) == (b"some dataAA", None)
        assert await flow.ic.read(100) == b""

    async def test_separators_before_the_end_are_found_after_it(self, flow):
        flow.receive(b"a;b;c")
        flow.receive_eof()
        assert await flow.ic.readuntil(b";") == b"a;"
        assert await flow.ic.readuntil(b";") == b"b;"
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await flow.ic.readuntil(b";")
        assert caught.value.partial == b"c"

    async def test_of_several_separators_any_will_do(self, flow):
        flow.receive(b"line 1\nline 2\r")
        assert await flow.ic.readuntil((b"\r", b"\n")) == b"line 1\n"
        assert await flow.ic.readuntil((b"\r", b"\n")) == b"line 2\r"

    @pytest.mark.parametrize("chunks", [(b"ABCDEFG",), (b"ABC", b"DEFG"), (b"ABCD", b"E", b"FG")])
    @pytest.mark.parametrize("separators", [(b"DEF", b"BCDE"), (b"BCDE", b"DEF")])
    async def test_the_separator_that_ends_first_counts(self, flow, chunks, separators):
        flow.receive(*chunks)
        assert await flow.ic.readuntil(separators) == b"ABCDE"
        assert await rest(flow) == b"FG"

    async def test_a_long_separator_does_not_hide_a_short_one_that_comes_late(self, flow):
        # There is enough for the short one, not enough for the long one.
        flow.receive(b"data")
        reading = await begin(flow.ic.readuntil((b"A", b"long sep")))
        flow.receive(b"Z", b"Aaaa")
        assert await reading == b"dataZA"
        assert await rest(flow) == b"aaa"

    async def test_a_long_separator_split_over_chunks_beside_a_short_one(self, flow):
        reading = await begin(flow.ic.readuntil((b"#", b"--boundary--")))
        for chunk in (b"text--bou", b"nda", b"ry-", b"-tail#"):
            flow.receive(chunk)
            await turn()
        assert await reading == b"text--boundary--"
        assert await flow.ic.readuntil((b"#", b"--boundary--")) == b"tail#"

    async def test_past_the_limit_no_byte_is_lost(self, flow):
        flow.ic.limit = 6
        flow.receive(b"some dataAA")
        with pytest.raises(asyncio.LimitOverrunError) as caught:
            await flow.ic.readuntil(b"AAA")
        # So many bytes hold no beginning of a separator.
        assert caught.value.consumed == 9
        flow.receive(b"A and more")
        with pytest.raises(asyncio.LimitOverrunError) as caught:
            await flow.ic.readuntil(b"AAA")
        assert caught.value.consumed == 9
        assert await flow.ic.readexactly(caught.value.consumed) == b"some data"
        assert await flow.ic.readuntil(b"AAA") == b"AAA"
        assert await rest(flow) == b" and more"

    async def test_the_limit_counts_what_is_before_the_separator(self, flow):
        flow.ic.limit = 4
        flow.receive(b"1234END")
        assert await flow.ic.readuntil(b"END") == b"1234END"
        flow.receive(b"12345END")
        with pytest.raises(asyncio.LimitOverrunError):
            await flow.ic.readuntil(b"END")

    async def test_a_waiting_read_sees_the_limit_too(self, flow):
        flow.ic.limit = 4
        reading = await begin(flow.ic.readuntil(b"END"))
        flow.receive(b"12345")
        await turn()
        # The last two bytes could be the beginning of a separator.
        assert not reading.done()
        flow.receive(b"67")
        with pytest.raises(asyncio.LimitOverrunError):
            await reading
        assert await rest(flow) == b"1234567"

    @pytest.mark.parametrize("separators", [(b"A", b"ome dataA"), (b"ome dataA", b"A")])
    async def test_of_separators_that_end_together_the_shortest_counts(self, flow, separators):
        # As in asyncio, whatever their order.
        flow.ic.limit = 3
        flow.receive(b"some dataA")
        with pytest.raises(asyncio.LimitOverrunError) as caught:
            await flow.ic.readuntil(separators)
        assert caught.value.consumed == 9
        assert await rest(flow) == b"some dataA"

    async def test_a_separator_longer_than_the_limit(self, flow):
        flow.ic.limit = 2
        separator = b"0123456789"
        reading = await begin(flow.ic.readuntil(separator))
        flow.receive(b"ab" + separator[:-1])
        await turn()
        assert not reading.done()
        flow.receive(separator[-1:] + b"!")
        assert await reading == b"ab" + separator

    async def test_over_a_socket_the_bytes_past_the_limit_are_there_to_the_last(self, socket_flow):
        sent = b"x" * 200_000 + b"\nrest"
        sending = asyncio.ensure_future(socket_flow.peer_sends(sent))
        with pytest.raises(asyncio.LimitOverrunError):
            await socket_flow.ic.readuntil()
        reading = asyncio.ensure_future(socket_flow.ic.read())
        await sending
        socket_flow.peer.close()
        assert await reading == sent


class TestLines:
    async def test_until_the_end(self, flow):
        flow.receive(LINES, b"cut off")
        flow.receive_eof()
        assert [line async for line in flow.ic] == [b"one\n", b"two\n", b"three\n", b"cut off"]

    async def test_an_empty_line_does_not_end_it(self, flow):
        flow.receive(b"\n\nx\n")
        flow.receive_eof()
        assert [line async for line in flow.ic] == [b"\n", b"\n", b"x\n"]

    async def test_can_be_left_and_taken_up_again(self, flow):
        flow.receive(LINES)
        flow.receive_eof()
        async for line in flow.ic:
            assert line == b"one\n"
            break
        assert await flow.ic.read(2) == b"tw"
        assert [line async for line in flow.ic] == [b"o\n", b"three\n"]

    async def test_a_failure_is_raised_after_the_lines_that_came(self, flow):
        flow.receive(LINES)
        flow.lose(ConnectionResetError("gone"))
        assert [await anext(flow.ic) for _ in range(3)] == [b"one\n", b"two\n", b"three\n"]
        with pytest.raises(ConnectionResetError):
            await anext(flow.ic)

    async def test_a_line_over_the_limit_is_a_value_error(self, flow):
        flow.ic.limit = 4
        flow.receive(b"abc\nabcdefgh\nabc\n")
        flow.receive_eof()
        assert await anext(flow.ic) == b"abc\n"
        with pytest.raises(ValueError, match="limit"):
            await anext(flow.ic)
        assert [line async for line in flow.ic] == [b"abc\n"]


class TestLimit:
    async def test_is_that_of_asyncio_streams(self, flow):
        assert flow.ic.limit == 65536

    @pytest.mark.parametrize("limit", [0, -1])
    async def test_is_at_least_one(self, flow, limit):
        with pytest.raises(ValueError, match="limit"):
            flow.ic.limit = limit
        assert flow.ic.limit == 65536

    async def test_counts_from_the_moment_it_is_set(self, flow):
        flow.ic.limit = 3
        flow.receive(b"12345\n")
        with pytest.raises(asyncio.LimitOverrunError):
            await flow.ic.readuntil()
        flow.ic.limit = 5
        assert flow.ic.limit == 5
        assert await flow.ic.readuntil() == b"12345\n"

    async def test_set_while_a_read_waits(self, flow):
        reading = await begin(flow.ic.readuntil())
        flow.ic.limit = 3
        flow.receive(b"12345")
        with pytest.raises(asyncio.LimitOverrunError):
            await reading


class TestBackPressure:
    async def test_input_is_held_back_beyond_twice_the_limit(self, flow):
        flow.ic.limit = 10
        flow.receive(b"x" * 20)
        assert flow.transport.is_reading()
        flow.receive(b"x")
        assert not flow.transport.is_reading()

    async def test_and_let_in_again_at_the_limit(self, flow):
        flow.ic.limit = 10
        flow.receive(b"x" * 21)
        await flow.ic.readexactly(10)
        assert not flow.transport.is_reading()
        await flow.ic.read(1)
        assert flow.transport.is_reading()

    @each_read
    async def test_every_read_lets_it_in_again(self, flow, read):
        flow.ic.limit = 10
        flow.receive(b"0123456\r\n0123456\r\n0123456\r\n")
        assert not flow.transport.is_reading()
        reading = asyncio.ensure_future(read(flow.ic))
        while not flow.transport.is_reading():
            # Three lines are too much; with one or two taken there is room.
            await turn()
            if reading.done():
                reading = asyncio.ensure_future(read(flow.ic))
        reading.cancel()

    @each_greedy_read
    async def test_a_read_that_needs_more_is_no_deadlock(self, flow, read):
        flow.ic.limit = 4
        flow.receive(b"123456789")
        assert not flow.transport.is_reading()
        reading = asyncio.ensure_future(read(flow.ic))
        await turn()
        # Either it said that the limit is passed, or it waits and more may come.
        if reading.done():
            assert isinstance(reading.exception(), asyncio.LimitOverrunError | ValueError), (
                reading.exception()
            )
        else:
            assert flow.transport.is_reading()
            reading.cancel()

    @each_greedy_read
    async def test_a_transport_may_deliver_while_it_is_asked_to_resume(
        self, flow, read, monkeypatch
    ):
        flow.ic.limit = 4
        flow.receive(b"123456789")
        assert not flow.transport.is_reading()
        resume = flow.transport.resume_reading

        def resume_and_deliver():
            resume()
            flow.ic.limit = 100
            flow.receive(b"0\r\n")
            flow.receive_eof()

        monkeypatch.setattr(flow.transport, "resume_reading", resume_and_deliver)
        flow.ic.limit = 20
        assert (await asyncio.wait_for(read(flow.ic), 5))[:10] == b"1234567890"

    async def test_a_read_that_asked_for_much_is_not_interrupted(self, flow):
        flow.ic.limit = 10
        reading = await begin(flow.ic.readexactly(1000))
        for _ in range(9):
            flow.receive(b"x" * 100)
            assert flow.transport.is_reading()
        assert not reading.done()
        flow.receive(b"x" * 100)
        assert await reading == b"x" * 1000

    async def test_once_such_a_read_is_cancelled_input_is_held_back(self, flow):
        flow.ic.limit = 10
        reading = await begin(flow.ic.readexactly(1000))
        flow.receive(b"x" * 100)
        reading.cancel()
        await turn()
        flow.receive(b"x")
        assert not flow.transport.is_reading()
        assert await flow.ic.readexactly(101) == b"x" * 101
        assert flow.transport.is_reading()

    async def test_a_peer_cannot_send_without_bound_what_nobody_reads(self, socket_flow):
        socket_flow.ic.limit = 1000
        sent = 0
        while True:
            try:
                sent += socket_flow.peer.send(b"x" * 65536)
            except BlockingIOError:
                if not socket_flow.oc.transport.is_reading():
                    break
            # The buffers of two sockets, and ours.
            assert sent < 20_000_000
            await turn()
        assert socket_flow.wire.bytes_in < 1_000_000


class TestSecondReader:
    @each_read
    async def test_is_refused_and_the_first_goes_on(self, flow, read):
        reading = await begin(read(flow.ic))
        for second in READS.values():
            with pytest.raises(RuntimeError, match="one reader"):
                await second(flow.ic)
        flow.receive(ENOUGH)
        flow.receive_eof()
        assert (await reading)[:10] == b"0123456789"

    async def test_is_refused_also_when_it_would_not_have_to_wait(self, flow):
        flow.receive(ENOUGH)
        reading = await begin(flow.ic.readexactly(100))
        for second in READS.values():
            with pytest.raises(RuntimeError, match="one reader"):
                await second(flow.ic)
        reading.cancel()
        await turn()
        assert await rest(flow) == ENOUGH

    async def test_the_error_names_the_call(self, flow):
        reading = await begin(flow.ic.readexactly(100))
        with pytest.raises(RuntimeError, match=r"readuntil\(\)"):
            await flow.ic.readuntil(b"x")
        reading.cancel()

    async def test_when_the_first_is_done_the_second_may_read(self, flow):
        reading = await begin(flow.ic.read(1))
        flow.receive(b"ab")
        assert await reading == b"a"
        assert await flow.ic.read(1) == b"b"


class TestCancelling:
    @each_read
    async def test_loses_no_byte(self, flow, read):
        reading = await begin(read(flow.ic))
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        flow.receive(ENOUGH)
        assert await rest(flow) == ENOUGH

    @each_greedy_read
    async def test_loses_nothing_of_what_it_had(self, flow, read):
        flow.receive(b"had ")
        reading = await begin(read(flow.ic))
        flow.receive(b"more ")
        await turn()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        flow.receive(ENOUGH)
        assert await rest(flow) == b"had more " + ENOUGH

    @each_read
    async def test_at_the_very_moment_the_bytes_come(self, flow, read):
        reading = await begin(read(flow.ic))
        flow.receive(ENOUGH)
        flow.receive_eof()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await flow.ic.read() == ENOUGH

    @each_read
    async def test_just_before_the_bytes_come(self, flow, read):
        reading = await begin(read(flow.ic))
        reading.cancel()
        flow.receive(ENOUGH)
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await rest(flow) == ENOUGH

    @each_read
    async def test_at_the_very_moment_of_a_failure(self, flow, read):
        reading = await begin(read(flow.ic))
        flow.lose(ConnectionResetError("gone"))
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        with pytest.raises(ConnectionResetError):
            await read(flow.ic)

    @each_read
    async def test_before_a_failure(self, flow, read):
        reading = await begin(read(flow.ic))
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        flow.lose(ConnectionResetError("gone"))
        with pytest.raises(ConnectionResetError):
            await read(flow.ic)

    async def test_again_and_again_over_a_socket(self, socket_flow):
        sent = bytes(range(256)) * 200
        found = bytearray()
        sending = asyncio.ensure_future(socket_flow.peer_sends(sent))
        while len(found) < len(sent):
            size = min(3000, len(sent) - len(found))
            reading = asyncio.ensure_future(socket_flow.ic.readexactly(size))
            await asyncio.wait([reading], timeout=0)
            reading.cancel()
            try:
                found += await reading
            except asyncio.CancelledError:
                found += await socket_flow.ic.read(100)
        await sending
        assert found == sent

    @each_read
    async def test_by_a_timeout(self, flow, read):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(flow.ic), 0.001)
        flow.receive(ENOUGH)
        assert await rest(flow) == ENOUGH


class TestFailure:
    @each_read
    async def test_is_raised_to_a_read_that_waits(self, flow, read):
        reading = await begin(read(flow.ic))
        flow.lose(ConnectionResetError("gone"))
        with pytest.raises(ConnectionResetError, match="gone"):
            await reading

    @each_read
    @pytest.mark.parametrize(
        "error",
        [
            ConnectionResetError(104, "no"),
            TimeoutError("no"),
            ZeroDivisionError("no"),
            Odd("n", "o"),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_of_any_kind_is_raised_as_it_is_each_time(self, flow, read, error):
        flow.lose(error)
        for _ in range(3):
            with pytest.raises(type(error)) as caught:
                await read(flow.ic)
            assert caught.value.args == error.args

    async def test_found_out_by_ending_our_side_is_a_reset(self, flow):
        # So uvloop tells it.
        flow.lose(OSError(errno.ENOTCONN, "Socket is not connected"))
        with pytest.raises(ConnectionResetError):
            await flow.ic.read(100)

    async def test_what_came_before_can_be_read_first(self, flow):
        flow.receive(b"GET / HTTP/1.1\r\nHost: x\r\nbody and")
        flow.lose(ConnectionResetError("gone"))
        assert await flow.ic.readline() == b"GET / HTTP/1.1\r\n"
        assert await flow.ic.readuntil(b"\r\n") == b"Host: x\r\n"
        assert await flow.ic.readexactly(5) == b"body "
        assert await flow.ic.read(2) == b"an"
        assert await flow.ic.read(100) == b"d"
        with pytest.raises(ConnectionResetError):
            await flow.ic.read(100)

    @each_greedy_read
    async def test_leaves_what_a_failed_read_could_not_use(self, flow, read):
        flow.receive(b"half")
        flow.lose(ConnectionResetError("gone"))
        with pytest.raises(ConnectionResetError):
            await read(flow.ic)
        assert await flow.ic.read(100) == b"half"
        with pytest.raises(ConnectionResetError):
            await flow.ic.read(100)

    async def test_reading_nothing_never_fails(self, flow):
        flow.lose(ConnectionResetError("gone"))
        assert await flow.ic.read(0) == b""

    async def test_what_came_before_can_be_read_first_also_when_input_was_held_back(self, flow):
        flow.receive(b"x" * 200_000)
        assert not flow.transport.is_reading()
        flow.lose(ConnectionResetError("gone"))
        assert await flow.ic.readexactly(199_999) == b"x" * 199_999
        assert await flow.ic.read(100) == b"x"
        with pytest.raises(ConnectionResetError):
            await flow.ic.read(100)

    async def test_after_the_peers_end_does_not_spoil_what_is_complete(self, flow):
        flow.receive(b"all of it")
        flow.receive_eof()
        flow.lose(BrokenPipeError("it takes no more"))
        assert await flow.ic.read() == b"all of it"
        assert await flow.ic.read(100) == b""

    async def test_a_loop_until_at_eof_sees_it(self, flow):
        # As much code for asyncio streams reads. A stream cut short must not look complete to it.
        flow.receive(LINES)
        flow.lose(ConnectionResetError("gone"))
        found = []

        async def read_on():
            while not flow.ic.at_eof():
                found.append(await flow.ic.readline())

        with pytest.raises(ConnectionResetError):
            await read_on()
        assert b"".join(found) == LINES

    async def test_of_the_peer_over_a_socket(self, make_socket_flow):
        flow = await make_socket_flow("tcp")
        await flow.peer_sends(b"before")
        assert await flow.ic.readexactly(6) == b"before"
        reading = await begin(flow.ic.read(100))
        flow.peer_resets()
        with pytest.raises(ConnectionResetError):
            await reading
        assert isinstance(flow.ic.exception(), ConnectionResetError)

    async def test_raised_often_it_holds_no_more_memory(self, flow):
        flow.lose(ConnectionResetError("gone"))
        lengths = set()
        for _ in range(3):
            with pytest.raises(ConnectionResetError) as caught:
                await flow.ic.read(100)
            lengths.add(len(caught.traceback))
        assert len(lengths) == 1


class TestException:
    async def test_is_none_while_all_is_well_and_after_a_proper_end(self, flow):
        assert flow.ic.exception() is None
        flow.receive_eof()
        assert flow.ic.exception() is None
        flow.oc.close()
        await flow.oc.wait_closed()
        assert flow.ic.exception() is None

    async def test_is_what_ended_the_flow(self, flow):
        error = ConnectionResetError("gone")
        flow.lose(error)
        assert flow.ic.exception() is error

    async def test_of_our_own_abort(self, flow):
        flow.oc.transport.abort()
        assert isinstance(flow.ic.exception(), ConnectionAbortedError)


class TestAtEof:
    async def test_when_all_was_read_and_the_peer_has_ended(self, flow):
        assert not flow.ic.at_eof()
        flow.receive(b"some data\n")
        assert not flow.ic.at_eof()
        await flow.ic.readline()
        assert not flow.ic.at_eof()
        flow.receive(b"some data\n")
        flow.receive_eof()
        assert not flow.ic.at_eof()
        await flow.ic.readline()
        assert flow.ic.at_eof()

    async def test_after_our_close(self, flow):
        flow.receive(b"unread")
        flow.oc.close()
        assert flow.ic.at_eof()


class TestOurClose:
    @pytest.mark.parametrize("close", [lambda f: f.oc.close(), lambda f: f.ic.close()])
    async def test_is_a_clean_end_for_reads(self, flow, close):
        flow.receive(b"unread")
        close(flow)
        assert await flow.ic.read(100) == b""
        assert await flow.ic.read() == b""
        assert await flow.ic.readline() == b""
        assert [line async for line in flow.ic] == []
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await flow.ic.readexactly(1)
        assert caught.value.partial == b""
        with pytest.raises(asyncio.IncompleteReadError):
            await flow.ic.readuntil(b"x")

    async def test_wakes_a_read_that_waits(self, flow):
        reading = await begin(flow.ic.read(100))
        flow.oc.close()
        await turn()
        assert reading.done()
        assert await reading == b""

    async def test_stays_a_clean_end_when_the_peer_resets_later(self, flow):
        flow.oc.close()
        flow.lose(ConnectionResetError("gone"))
        assert await flow.ic.read(100) == b""

    async def test_of_the_input_closes_the_flow_both_ways(self, flow):
        closing = flow.ic.close()
        assert flow.oc.is_closing()
        flow.receive_eof()
        await closing
        assert flow.transport.gone

    async def test_of_the_input_may_be_dropped(self, flow):
        flow.ic.close()
        flow.receive_eof()
        await flow.oc.wait_closed()


class TestOurAbort:
    @each_read
    async def test_is_an_error_for_reads(self, flow, read):
        flow.receive(b"unread")
        flow.oc.transport.abort()
        for _ in range(2):
            with pytest.raises(ConnectionAbortedError):
                await read(flow.ic)
            await turn()

    @each_read
    async def test_wakes_a_read_that_waits(self, flow, read):
        reading = await begin(read(flow.ic))
        flow.oc.transport.abort()
        with pytest.raises(ConnectionAbortedError):
            await reading

    async def test_is_never_a_clean_end_also_when_the_peers_was_there(self, flow):
        # What was complete but unread is thrown away, and a reader must not take that for all.
        flow.receive(b"unread")
        flow.receive_eof()
        flow.oc.transport.abort()
        with pytest.raises(ConnectionAbortedError):
            await flow.ic.read()

    async def test_leaves_a_failure_that_came_before_as_it_was(self, flow):
        flow.lose(ConnectionResetError("gone"))
        flow.oc.transport.abort()
        with pytest.raises(ConnectionResetError):
            await flow.ic.read(100)


async def test_repr_says_what_it_is_and_how_it_is(flow):
    flow.receive(b"12345")
    assert repr(flow.ic) == "<conduit.Input of <open flow: 5 bytes in, 0 bytes out>>"
    flow.oc.close()
    assert "closing flow" in repr(flow.ic)
    flow.lose()
    assert "closed flow" in repr(flow.ic)


@pytest.mark.alone
async def test_many_small_reads_of_much_input_cost_what_they_read(make_flow):
    """Twenty times as many lines take about twenty times as long, not four hundred times."""

    async def seconds(lines: int) -> float:
        flow = make_flow()
        flow.receive(b"a line of it\n" * lines)
        flow.receive_eof()
        started = time.process_time()
        count = 0
        async for _ in flow.ic:
            count += 1
        assert count == lines
        return time.process_time() - started

    await seconds(1000)
    few = min([await seconds(2000) for _ in range(3)])
    many = await seconds(40_000)
    assert many < 80 * few


@pytest.mark.alone
async def test_a_line_in_tiny_chunks_costs_what_it_is_long(make_flow):
    async def seconds(size: int) -> float:
        flow = make_flow()
        flow.ic.limit = size
        reading = await begin(flow.ic.readline())
        started = time.process_time()
        for _ in range(size // 10):
            flow.receive(b"0123456789")
            await turn(1)
        flow.receive(b"\n")
        assert len(await reading) == size + 1
        return time.process_time() - started

    await seconds(1000)
    few = min([await seconds(10_000) for _ in range(3)])
    many = await seconds(200_000)
    assert many < 80 * few
