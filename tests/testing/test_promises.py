"""Every check of the channel checker finds channels that break its promise."""

import asyncio
from typing import Any

import pytest

from conduit.channels import Input, Output, Wire
from conduit.channels.facade import TransportFacade
from conduit.endp import Unknown
from conduit.testing import CHECKS, MemoryFlow, check_channels, memory_transports

# Some of these channels hang. How long a check waits for them.
PATIENCE = 0.2


@pytest.fixture
def anyio_backend():
    """One loop is enough: what is broken here is above every loop."""
    return "asyncio", {"use_uvloop": False}


SOMEWHERE = Unknown("a test")


def broken(wire: Any = Wire, ic: Any = Input, oc: Any = Output, origin: Any = SOMEWHERE):
    """What `check_channels` asks for its pairs: both sides have the given classes."""

    async def make():
        loop = asyncio.get_running_loop()
        wires = wire(loop, 5.0), wire(loop, 5.0)
        memory_transports(*wires)
        return tuple(map(side, wires))

    def side(end):
        output = oc(end)
        return MemoryFlow("broken", origin=origin), ic(end, output), output

    return make


async def test_the_same_channels_pass_when_they_are_not_broken():
    await check_channels(broken(), skip=["close_ends_although_the_peer_stays"])


class Done:
    """May be awaited and dropped."""

    def __await__(self):
        return iter(())


# What is broken. Each class does one thing wrong.


class Reorders(Wire):
    def data_received(self, data):
        if self.buffer:
            data, self.buffer = data + bytes(self.buffer), b""
        super().data_received(data)


class LosesAByte(Wire):
    def data_received(self, data):
        super().data_received(data[:-1] if len(data) > 1 else data)


class ReadsTooMuch(Input):
    async def read(self, n=-1):
        return await super().read(n and n + 1 if n >= 0 else n)


class ReadsWhenNothingIsThere(Input):
    async def read(self, n=-1):
        return self._wire.take(n) if n > 0 else await super().read(n)


class ReadsOnceForAll(Input):
    async def read(self, n=-1):
        return await super().read(1 << 20 if n < 0 else n)


class ReadsFewer(Input):
    async def readexactly(self, n):
        return await self.read(n)


class DeadlocksOnLargeReads(Input):
    async def readexactly(self, n):
        # Waits without saying for how many, so that the bound on unread input holds.
        while len(self._wire.buffer) < n > self._wire.limit:
            await self._wire.wait(1)
            self._wire.reading_paused = False
        return await super().readexactly(n)


class SaysNothingOfAnEarlyEnd(Input):
    async def readexactly(self, n):
        try:
            return await super().readexactly(n)
        except asyncio.IncompleteReadError as error:
            return error.partial

    async def readuntil(self, separator=b"\n"):
        try:
            return await super().readuntil(separator)
        except asyncio.IncompleteReadError as error:
            return error.partial


class KeepsThePartial(Input):
    async def readexactly(self, n):
        try:
            return await super().readexactly(n)
        except asyncio.IncompleteReadError as error:
            self._wire.buffer = error.partial
            raise


class MissesDividedSeparators(Input):
    async def readuntil(self, separator=b"\n"):
        if isinstance(separator, tuple) or not separator:
            return await super().readuntil(separator)
        wire, seen = self._wire, 0
        while bytes(wire.buffer).find(separator, seen) < 0:
            seen = len(wire.buffer)
            await wire.wait(seen + 1)
        return await super().readuntil(separator)


class StopsAtTheFirstByteOfASeparator(Input):
    async def readuntil(self, separator=b"\n"):
        return await super().readuntil(separator[:1] if isinstance(separator, bytes) else separator)


class KnowsOneSeparator(Input):
    async def readuntil(self, separator=b"\n"):
        if isinstance(separator, tuple):
            separator = separator[0] if separator else b""
        return await super().readuntil(separator)


class DropsWhatIsPastTheLimit(Input):
    async def readuntil(self, separator=b"\n"):
        try:
            return await super().readuntil(separator)
        except asyncio.LimitOverrunError as error:
            self._wire.take(error.consumed)
            raise


class HasNoLimit(Input):
    async def readuntil(self, separator=b"\n"):
        self.limit = 1 << 30
        return await super().readuntil(separator)


class StripsNewlines(Input):
    async def readline(self):
        return (await super().readline()).rstrip(b"\n")


class StaysAtALongLine(Input):
    async def readline(self):
        try:
            return await self.readuntil()
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError as error:
            raise ValueError from error


class ForgetsTheLastLine(Input):
    async def __anext__(self):
        line = await super().__anext__()
        if not line.endswith(b"\n"):
            raise StopAsyncIteration
        return line


class EndsTooEarly(Input):
    def at_eof(self):
        return self._wire.ended


class TakesAProperEndForAFailure(Wire):
    def eof_received(self):
        self.exception = EOFError()
        return super().eof_received()


class ManyReaders(Input):
    async def read(self, n=-1):
        self._wire.reader = None
        return await super().read(n)


class LosesWhenCancelled(Input):
    async def readexactly(self, n):
        got = b""
        while len(got) < n:
            got += await self.read(n - len(got))
        return got


class DrainsAtOnce(Output):
    async def drain(self):
        pass


class TakesInWithoutBound(Wire):
    def __init__(self, *args):
        super().__init__(*args)
        self.limit = 1 << 40


class StaysPaused(Wire):
    def resume_reading(self):
        pass


class WakesOneDrain(Wire):
    def resume_writing(self):
        self.drainers = self.drainers and self.drainers[:1]
        super().resume_writing()


class DrainsTogether(Wire):
    """All drains wait for one future, so cancelling one cancels all."""

    async def drain(self):
        if self.writing_paused and not self.lost:
            if self.drainers is None:
                self.drainers = [self.loop.create_future()]
            await self.drainers[0]
        else:
            await super().drain()


class AbortsWhenCancelled(Wire):
    async def drain(self):
        try:
            await super().drain()
        except asyncio.CancelledError:
            self.abort()
            raise


class WritesWithoutWaiting(Output):
    def write(self, data):
        super().write(data)
        return Done()


class WritesACoroutine(Output):
    def write(self, data):
        super().write(data)
        return self.drain()


class TakesOnlyBytes(Output):
    def write(self, data):
        if not isinstance(data, bytes):
            raise TypeError
        return super().write(data)


class TakesViewsAsTheyLie(Output):
    def write(self, data):
        return super().write(data if isinstance(data, bytes) else memoryview(data).cast("B"))


class TakesAnything(Output):
    def write(self, data):
        return super().write(bytes(data))  # of an int: so many zeros


class WritesPieceByPiece(Output):
    def writelines(self, lines):
        for line in lines:
            self.write(line)
        return self._wire


class SendsLater(Output):
    def write(self, data):
        if isinstance(data, memoryview | bytearray):
            self._wire.loop.call_soon(super().write, data)
            return self._wire
        return super().write(data)


class LocksBuffers(Output):
    def write(self, data):
        self.locks = [*getattr(self, "locks", ()), memoryview(data)]
        return super().write(data)


class ClosesAtOnce(Wire):
    def close(self, reason="closed"):
        self.closing = True
        self.wake_reader()
        self.transport.abort()


class ClosesWithoutLingering(Wire):
    def close(self, reason="closed"):
        self.closing = True
        self.buffer = b""
        self.wake_reader()
        self.transport.close()


class EndsBothWays(Wire):
    def eof_received(self):
        super().eof_received()
        return False


class DropsAtTheEnd(Wire):
    def send_eof(self):
        self.transport._buffer.clear()  # type: ignore[attr-defined]
        super().send_eof()


class ClosesAtTheEnd(Wire):
    def send_eof(self):
        self.eof_sent = True
        self.transport.close()


class WritesAfterTheEnd(Output):
    def write(self, data):
        return self._wire if self._wire.eof_sent else super().write(data)


class ThinksItIsClosed(Wire):
    def close(self, reason="closed"):
        if not self.eof or not self.eof_sent:
            super().close(reason)


class CannotCloseByTheInput(Input):
    def close(self):
        return Done()


class IsNotClosing(Output):
    def is_closing(self):
        return self._wire.lost


class LetsReadersWait(Wire):
    def wake_reader(self):
        pass


class FailsToReadAfterClose(Wire):
    def close(self, reason="closed"):
        self.exception = self.exception or ConnectionAbortedError()
        super().close(reason)


class WriteRaises(Output):
    def write(self, data):
        if self._wire.closing or self._wire.lost:
            raise ConnectionResetError
        return super().write(data)


class NeverGivesUp(Wire):
    def _give_up(self):
        pass


class LingersForEver(Wire):
    def flushed(self):
        self.lingering = True


class CancelsTogether(Wire):
    async def wait_closed(self):
        ended = self.closed or self.loop.create_future()  # type: ignore[has-type]
        self.closed = ended
        if not self.lost:
            await ended


class ClosesWhenAWaiterIsCancelled(Wire):
    async def wait_closed(self):
        try:
            await super().wait_closed()
        except asyncio.CancelledError:
            self.close()
            raise


class RaisesWhenClosed(Wire):
    async def wait_closed(self):
        await super().wait_closed()
        if self.exception is not None:
            raise self.exception


class NeverFails(Wire):
    async def drain(self):
        try:
            await super().drain()
        except ConnectionError:
            pass


class ForgetsDrains(Wire):
    def fail_drainers(self):
        pass


class AbortsGently(Wire):
    def check_failure(self):
        pass


class AbortFlushes(Wire):
    def abort(self, reason="aborted"):
        self.close(reason)


class LosesInputWhenItFails(Wire):
    def connection_lost(self, exc):
        self.buffer = b""
        super().connection_lost(exc)


class KnowsNoDefault(Output):
    def get_extra_info(self, name, default=None):
        return super().get_extra_info(name)


class ForgetsFacts(Output):
    def get_extra_info(self, name, default=None):
        if self._wire.lost:
            raise OSError("closed")
        return super().get_extra_info(name, default)


class GivesItsProtocolAway(Output):
    @property
    def transport(self):
        return GivenAway(self, self._wire)


class GivenAway(TransportFacade):
    def set_protocol(self, protocol):
        pass


class FailsUnseen(Output):
    def write(self, data):
        self._wire.loop.call_soon(lambda: 1 / 0)
        return super().write(data)


# The check that must find it, and what it must find.
MUTANTS: dict[str, list[dict[str, Any]]] = {
    "bytes_arrive_in_order_both_ways_at_once": [
        {"wire": Reorders},
        {"wire": LosesAByte},
        {"oc": FailsUnseen},
    ],
    "read_gives_what_there_is": [{"ic": ReadsTooMuch}, {"ic": ReadsWhenNothingIsThere}],
    "read_gives_everything_until_the_end": [{"ic": ReadsOnceForAll}],
    "readexactly_gives_so_many_bytes": [{"ic": ReadsFewer}, {"ic": DeadlocksOnLargeReads}],
    "readexactly_tells_of_an_early_end": [
        {"ic": SaysNothingOfAnEarlyEnd},
        {"ic": KeepsThePartial},
    ],
    "readuntil_finds_its_separator": [
        {"ic": MissesDividedSeparators},
        {"ic": StopsAtTheFirstByteOfASeparator},
    ],
    "readuntil_takes_several_separators": [{"ic": KnowsOneSeparator}],
    "readuntil_tells_of_an_early_end": [{"ic": SaysNothingOfAnEarlyEnd}],
    "readuntil_past_its_limit_loses_nothing": [{"ic": DropsWhatIsPastTheLimit}, {"ic": HasNoLimit}],
    "readline_gives_lines": [{"ic": StripsNewlines}],
    "readline_past_its_limit_goes_on": [{"ic": StaysAtALongLine}],
    "lines_can_be_iterated_over": [{"ic": ForgetsTheLastLine}],
    "at_eof_is_told_when_all_was_read": [
        {"ic": EndsTooEarly},
        {"wire": TakesAProperEndForAFailure},
    ],
    "a_second_reader_is_refused": [{"ic": ManyReaders}],
    "cancelling_a_read_loses_nothing": [{"ic": LosesWhenCancelled}],
    "a_writer_waits_for_its_reader": [
        {"oc": DrainsAtOnce},
        {"wire": TakesInWithoutBound},
        {"wire": StaysPaused},
    ],
    "every_drain_is_woken": [{"wire": WakesOneDrain}],
    "a_write_can_be_awaited": [{"oc": WritesWithoutWaiting}],
    "cancelling_a_wait_takes_no_bytes_back": [
        {"wire": AbortsWhenCancelled},
        {"wire": DrainsTogether},
    ],
    "the_result_of_a_write_can_be_dropped": [{"oc": WritesACoroutine}],
    "anything_bytes_like_can_be_written": [{"oc": TakesOnlyBytes}, {"oc": TakesViewsAsTheyLie}],
    "what_is_not_bytes_is_refused": [{"oc": TakesAnything}, {"oc": WritesPieceByPiece}],
    "bytes_go_out_as_they_were": [{"oc": SendsLater}, {"oc": LocksBuffers}],
    "close_sends_what_was_written": [{"wire": ClosesAtOnce}],
    "one_side_ends_and_the_other_goes_on": [{"wire": EndsBothWays}],
    "the_end_comes_after_all_that_was_written": [{"wire": DropsAtTheEnd}, {"wire": ClosesAtTheEnd}],
    "writing_after_write_eof_is_refused": [{"oc": WritesAfterTheEnd}],
    "a_flow_that_ended_both_ways_closes": [{"wire": ThinksItIsClosed}],
    "close_keeps_the_reply_although_input_is_unread": [{"wire": ClosesWithoutLingering}],
    "close_works_in_any_order_and_twice": [{"ic": CannotCloseByTheInput}, {"oc": IsNotClosing}],
    "own_close_ends_the_reads": [{"wire": LetsReadersWait}, {"wire": FailsToReadAfterClose}],
    "writing_to_a_closed_flow_fails_when_awaited": [{"oc": WriteRaises}, {"wire": NeverFails}],
    "close_ends_although_the_peer_reads_nothing": [{"wire": NeverGivesUp}],
    "close_ends_although_the_peer_stays": [{"wire": LingersForEver}],
    "a_cancelled_wait_closed_harms_no_other": [
        {"wire": CancelsTogether},
        {"wire": ClosesWhenAWaiterIsCancelled},
    ],
    "waiting_for_the_end_never_raises": [{"wire": RaisesWhenClosed}],
    "writing_to_a_peer_that_went_fails_in_drain_alone": [
        {"oc": WriteRaises},
        {"wire": NeverFails},
    ],
    "writing_to_a_peer_that_closed_fails": [{"wire": NeverFails}],
    "a_waiting_drain_fails_with_the_flow": [{"wire": ForgetsDrains}],
    "abort_ends_everything_at_once": [{"wire": AbortsGently}, {"wire": AbortFlushes}],
    "a_failure_comes_after_the_bytes_before_it": [{"wire": LosesInputWhenItFails}],
    "unknown_facts_have_a_default": [{"oc": KnowsNoDefault}, {"oc": ForgetsFacts}],
    "the_flow_knows_its_origin": [{"origin": None}],
    "the_transport_below_can_be_used": [{"oc": GivesItsProtocolAway}],
}


def test_every_check_is_shown_to_fail():
    assert MUTANTS.keys() == CHECKS.keys()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize(
    ("check", "mutant"),
    [
        pytest.param(check, mutant, id=f"{check}-{name}")
        for check, mutants in MUTANTS.items()
        for mutant in mutants
        for name in ["-".join(getattr(part, "__name__", "None") for part in mutant.values())]
    ],
)
async def test_a_broken_promise_is_found(check, mutant):
    with pytest.raises(AssertionError, match=rf"1 of 1 promises are broken:\n  {check}, with"):
        await check_channels(broken(**mutant), only=[check], timeout=PATIENCE)
