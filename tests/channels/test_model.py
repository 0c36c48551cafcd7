"""Random reads of random chunks against a model that cannot be wrong, and random writes."""

from __future__ import annotations

import array
import asyncio
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.channels.fakes import FakeFlow, SocketFlow, flow_over, tcp_pair, turn

# Few letters and few sizes, so that separators are split and limits are met.
data = st.text("ab;\n", max_size=60).map(str.encode)
chunks = st.lists(st.text("ab;\n", min_size=1, max_size=12).map(str.encode), max_size=12)
separators = st.lists(
    st.text("ab;\n", min_size=1, max_size=4).map(str.encode), min_size=1, max_size=3, unique=True
).map(lambda found: tuple(sorted(found, key=len)))

operations = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 20)),
    st.tuples(st.just("read"), st.just(-1)),
    st.tuples(st.just("readexactly"), st.integers(0, 20)),
    st.tuples(st.just("readuntil"), separators),
    st.tuples(st.just("readline")),
    st.tuples(st.just("limit"), st.integers(1, 20)),
)
# What to do, and the number of chunks after which it is given up, if it is.
steps = st.lists(
    st.tuples(operations, st.none() | st.none() | st.integers(0, 3)), min_size=1, max_size=15
)


class Model:
    """A stream that is known from the start: what each read must give."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.stream = b"".join(chunks)
        self.position = 0

    @property
    def rest(self) -> bytes:
        return self.stream[self.position :]

    def take(self, size: int) -> bytes:
        taken = self.rest[:size]
        self.position += len(taken)
        return taken

    def check(self, operation: tuple, outcome: object, limit: int, received: int) -> None:
        """Whether `outcome` is right; `received` bytes of the stream had come in by then."""
        name, *arguments = operation
        getattr(self, "check_" + name)(outcome, limit, received, *arguments)

    def check_read(self, outcome, limit, received, size):
        if size < 0:
            assert outcome == self.take(len(self.stream))
        elif size == 0 or not self.rest:
            assert outcome == b""
        else:
            assert isinstance(outcome, bytes)
            assert 1 <= len(outcome) <= size
            # All that was asked for, if there was so much.
            assert len(outcome) == min(size, received - self.position)
            assert outcome == self.take(len(outcome))

    def check_readexactly(self, outcome, limit, received, size):
        if len(self.rest) >= size:
            assert outcome == self.take(size)
        else:
            self.check_incomplete(outcome, size)

    def check_incomplete(self, outcome, expected):
        assert isinstance(outcome, asyncio.IncompleteReadError)
        assert (outcome.partial, outcome.expected) == (self.take(len(self.stream)), expected)

    def check_readuntil(self, outcome, limit, received, separators):
        first = first_match(self.rest, separators)
        if first is None:
            searched = len(self.rest) + 1 - len(separators[-1])
            if searched > limit:
                assert isinstance(outcome, asyncio.LimitOverrunError)
                assert limit < outcome.consumed <= searched
            else:
                self.check_incomplete(outcome, None)
        elif first[0] > limit:
            assert isinstance(outcome, asyncio.LimitOverrunError)
            # So many bytes can be taken without cutting into the separator.
            assert limit < outcome.consumed <= first[0]
        else:
            assert outcome == self.take(first[1])

    def check_readline(self, outcome, limit, received):
        line = self.rest[: self.rest.find(b"\n") + 1] or self.rest
        if len(line.rstrip(b"\n")) > limit:
            assert type(outcome) is ValueError
            # What there was of the line is dropped.
            self.position = min(received, self.position + len(line))
        else:
            assert outcome == self.take(len(line))


def first_match(data: bytes, separators: tuple[bytes, ...]) -> tuple[int, int] | None:
    """Where the separator that ends first begins and ends; of two the shorter one."""
    for end in range(1, len(data) + 1):
        for separator in sorted(separators, key=len):
            if data[:end].endswith(separator):
                return end - len(separator), end
    return None


class Driver:
    """Delivers the chunks one by one, as a loop would, only when the flow takes them in."""

    def __init__(self, flow: FakeFlow, chunks: list[bytes]) -> None:
        self.flow = flow
        self.coming = list(chunks)
        self.received = 0
        self.ended = False

    def deliver(self) -> bool:
        """One chunk, or the end after the last; False when the flow takes in nothing now."""
        if self.ended or not self.flow.transport.is_reading():
            return False
        if self.coming:
            chunk = self.coming.pop(0)
            self.received += len(chunk)
            self.flow.receive(chunk)
        else:
            self.ended = True
            self.flow.receive_eof()
        return True

    async def run(self, operation: tuple, patience: int | None) -> object:
        """What a read gives or raises; CancelledError if it was given up."""
        name, *arguments = operation
        reading = asyncio.ensure_future(getattr(self.flow.ic, name)(*arguments))
        await turn(2)
        while not reading.done():
            if patience is not None:
                patience -= 1
                if patience < 0:
                    reading.cancel()
                    break
            assert self.deliver(), f"{operation} waits for what can never come"
            if patience != 0:
                await turn(2)
            # Else it is cancelled in the very moment in which the bytes come.
        try:
            return await reading
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            return error
        except asyncio.CancelledError as error:
            return error


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(chunks=chunks, ahead=st.integers(0, 12), steps=steps)
async def test_reads_of_any_chunks_give_what_the_model_gives(chunks, ahead, steps):
    flow = FakeFlow()
    flow.ic.limit = 5
    model = Model(chunks)
    driver = Driver(flow, chunks)
    try:
        for _ in range(ahead):
            driver.deliver()
        for operation, patience in steps:
            if operation[0] == "limit":
                flow.ic.limit = operation[1]
                continue
            before = model.position
            outcome = await driver.run(operation, patience)
            if isinstance(outcome, asyncio.CancelledError):
                continue
            model.check(operation, outcome, flow.ic.limit, driver.received)
            assert flow.ic.at_eof() == (driver.ended and not model.rest)
            if model.position > before and driver.received - model.position <= flow.ic.limit:
                # There is room again.
                assert flow.transport.is_reading() or driver.ended
        assert await driver.run(("read", -1), None) == model.rest
    finally:
        flow.lose()


@settings(max_examples=60, deadline=None)
@given(chunks=chunks, failing=st.booleans(), size=st.integers(1, 7))
async def test_what_came_before_the_end_or_a_failure_is_read_to_the_last_byte(
    chunks, failing, size
):
    flow = FakeFlow()
    try:
        for chunk in chunks:
            flow.receive(chunk)
        if failing:
            flow.lose(ConnectionResetError("gone"))
        else:
            flow.receive_eof()
        found = bytearray()
        error = None
        try:
            while piece := await flow.ic.read(size):
                found += piece
        except ConnectionResetError as caught:
            error = caught
        assert found == b"".join(chunks)
        assert (error is not None) == failing
    finally:
        flow.lose()


KINDS: dict[str, Any] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "every other": lambda data: memoryview(b"".join(bytes((byte, 0)) for byte in data))[::2],
    "array": lambda data: array.array("B", data),
}
sizes = st.one_of(st.integers(0, 100), st.integers(0, 5000), st.integers(60_000, 300_000))
writes = st.tuples(
    st.sampled_from(["write", "await write", "write and drain", "writelines", "write and cancel"]),
    st.sampled_from(sorted(KINDS)),
    sizes,
)


async def run_writes(flow: SocketFlow, plan: list[tuple[str, str, int]], source: bytes) -> int:
    """Write the beginning of `source` as planned; how much it was."""
    written = 0
    for how, kind, size in plan:
        if kind == "every other":
            size %= 1000  # slow to make
        piece = source[written : written + size]
        written += size
        made = KINDS[kind](piece)
        if how == "write":
            flow.oc.write(made)
        elif how == "await write":
            await flow.oc.write(made)
        elif how == "write and drain":
            flow.oc.write(made)
            await flow.oc.drain()
        elif how == "writelines":
            await flow.oc.writelines([made[: size // 2], made[size // 2 :]])
        else:
            waiting = asyncio.ensure_future(flow.oc.write(made))
            await turn(1)
            waiting.cancel()
        if isinstance(made, bytearray):
            made[:] = b"\xff" * len(made)
    return written


SOURCE = random.Random(20).randbytes(5_000_000)


@settings(max_examples=25, deadline=None)
@given(
    plan=st.lists(writes, max_size=12),
    end=st.sampled_from(["eof", "close", "eof and close"]),
    reads=st.integers(1000, 400_000),
)
async def test_whatever_is_written_arrives(plan, end, reads):
    loop = asyncio.get_running_loop()
    flow = await flow_over(*tcp_pair())

    async def peer() -> bytes:
        found = bytearray()
        while data := await loop.sock_recv(flow.peer, reads):
            found += data
        return bytes(found)

    receiving = asyncio.ensure_future(peer())
    try:
        written = await run_writes(flow, plan, SOURCE)
        if end.startswith("eof"):
            flow.oc.write_eof()
        if end.endswith("close"):
            flow.oc.close()
        assert await receiving == SOURCE[:written]
    finally:
        receiving.cancel()
        flow.peer.close()
        await flow.oc.close()
