"""One direction of a faulty flow: what passes, when, and in what pieces."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conduit.testing import Faults
from conduit.testing.line import Line


class Watched:
    """A line, and what came out of it with the time of each."""

    def __init__(self, **faults: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.passed: list[object] = []
        self.times: list[float] = []
        self.begun = self.loop.time()
        self.line = Line(self.loop, Faults(**faults), self.passes, lambda: self.passes("cut"))
        self.line.start()

    def passes(self, what: object) -> None:
        self.passed.append(what)
        self.times.append(self.loop.time() - self.begun)

    async def done(self) -> list[object]:
        """Wait until all that is in the line has passed."""
        ended = self.loop.create_future()
        self.line.then(lambda: ended.set_result(None))
        await ended
        return self.passed


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_without_faults_everything_passes_in_order():
    watched = Watched()
    watched.line.put(b"one")
    watched.line.put(b"two")
    watched.line.then(lambda: watched.passes("an action"))
    watched.line.put(b"three")
    assert watched.line.size == 11
    assert watched.passed == []  # not from inside the call
    assert await watched.done() == [b"one", b"two", "an action", b"three"]
    assert watched.line.size == 0


async def test_chunks():
    watched = Watched(chunk=4)
    watched.line.put(b"0123456789")
    watched.line.put(b"ab")
    assert await watched.done() == [b"0123", b"4567", b"89", b"ab"]


async def test_each_chunk_has_a_turn_of_the_loop():
    watched = Watched(chunk=1)
    watched.line.put(b"abc")
    for expected in ([b"a"], [b"a", b"b"], [b"a", b"b", b"c"]):
        await asyncio.sleep(0)
        assert watched.passed == expected


async def test_delay():
    """Each byte is late, but late together with the others: a delay is no rate."""
    watched = Watched(delay=0.05)
    for _ in range(100):
        watched.line.put(b"a")
    await watched.done()
    assert watched.times[0] >= 0.049
    assert watched.times[-1] < 100 * 0.05


async def test_rate():
    watched = Watched(rate=10_000)
    watched.line.put(bytes(500))
    watched.line.put(bytes(500))
    await watched.done()
    # The last piece leaves when the time of those before it is over.
    assert watched.times[-1] >= 0.085
    assert max(len(piece) for piece in watched.passed if isinstance(piece, bytes)) <= 100


async def test_rate_with_chunks():
    watched = Watched(rate=10_000, chunk=300)
    watched.line.put(bytes(700))
    assert await watched.done() == [bytes(300), bytes(300), bytes(100)]
    assert watched.times[-1] >= 0.055


async def test_a_slow_rate_passes_single_bytes():
    watched = Watched(rate=50)
    watched.line.put(b"ab")
    assert await watched.done() == [b"a", b"b"]
    assert watched.times[-1] >= 0.015


async def test_held():
    watched = Watched()
    watched.line.put(b"one")
    watched.line.hold()
    watched.line.put(b"two")
    await turns()
    assert watched.passed == []
    assert watched.line.size == 6
    watched.line.release()
    assert await watched.done() == [b"one", b"two"]


async def test_cleared():
    watched = Watched()
    watched.line.put(b"lost")
    watched.line.clear()
    assert watched.line.size == 0
    watched.line.put(b"kept")
    assert await watched.done() == [b"kept"]


@pytest.mark.parametrize("cut", ["reset", "eof"])
async def test_cut(cut):
    watched = Watched(cut_after=5, cut=cut)
    watched.line.put(b"012")
    await turns()
    watched.line.put(b"3456789")
    watched.line.then(lambda: watched.passes("an action"))
    await turns()
    assert watched.passed == [b"012", b"34", "cut"]
    watched.line.put(b"more")
    watched.line.then(lambda: watched.passes("an action"))
    await turns()
    assert watched.passed == [b"012", b"34", "cut"]
    # What went beyond is gone, so nobody waits for it.
    assert (watched.line.size, watched.line.is_cut, watched.line.silent) == (0, True, False)


async def test_silence():
    watched = Watched(cut_after=5, cut="silence")
    watched.line.put(b"0123456789")
    watched.line.put(b"more")
    watched.line.then(lambda: watched.passes("an action"))
    await turns()
    watched.line.put(b"more")
    watched.line.then(lambda: watched.passes("an action"))
    await turns()
    assert watched.passed == [b"01234", "cut"]
    # What went beyond is still under way.
    assert (watched.line.size, watched.line.is_cut, watched.line.silent) == (13, True, True)


async def test_cut_exactly_at_the_end():
    watched = Watched(cut_after=3)
    watched.line.put(b"abc")
    await turns()
    assert watched.passed == [b"abc", "cut"]


async def test_cut_before_anything():
    watched = Watched(cut_after=0)
    watched.line.put(b"abc")
    assert watched.passed == []
    await turns()
    assert watched.passed == ["cut"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"delay": -1},
        {"chunk": 0},
        {"rate": 0},
        {"rate": -5.0},
        {"cut_after": -1},
        {"cut_after": 5, "cut": "noise"},
    ],
)
def test_faults_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=rf"^{[*wrong][-1]} is"):
        Faults(**wrong)


def test_faults_are_plain_data():
    assert Faults(chunk=1, delay=2) == Faults(delay=2, chunk=1) != Faults(chunk=1)
    assert hash(Faults(chunk=1)) == hash(Faults(chunk=1))
    assert repr(Faults()) == "Faults()"
    assert repr(Faults(cut_after=5, chunk=1)) == "Faults(chunk=1, cut_after=5)"
