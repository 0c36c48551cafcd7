"""The race by itself, on a clock of the test's own: when attempts start, who wins, what is left."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import conduit
from conduit.transports.race import DELAY, interleaved, race
from tests import virtual_time

JUST_AFTER = 1e-6


@dataclass(eq=False)
class Sock:
    """What an attempt opens."""

    name: str
    open: bool = True


@dataclass
class Plan:
    """How an attempt goes. after: seconds; None ends it before it first waits.

    how: "fail", "win", "hang" (until it is cancelled), or "late": it hangs, and when it is
    cancelled it has just succeeded.
    """

    how: str
    after: float | None = None

    @property
    def seconds(self) -> float:
        return self.after or 0.0


@dataclass
class Course:
    """The attempts of one race, and what became of them."""

    plans: list[Plan]
    started: list[float] = field(default_factory=list)
    ended: dict[int, float] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    socks: list[Sock] = field(default_factory=list)
    failures: list[tuple[Any, BaseException]] = field(default_factory=list)

    async def attempt(self, number: int, inside: list[tuple[object, BaseException]]) -> Sock:
        loop = asyncio.get_running_loop()
        assert number == len(self.started), "not in their order"
        self.started.append(loop.time())
        plan = self.plans[number]
        sock = Sock(str(number))
        self.socks.append(sock)
        try:
            if plan.how in ("hang", "late"):
                await loop.create_future()
            elif plan.after is not None:
                await asyncio.sleep(plan.after)
            self.ended[number] = loop.time()
            if plan.how == "fail":
                raise ConnectionRefusedError(f"{number} refused")
        except asyncio.CancelledError:
            self.cancelled.add(number)
            if plan.how == "late":
                await asyncio.sleep(0)
                return sock
            sock.open = False
            raise
        except ConnectionRefusedError:
            sock.open = False
            raise
        return sock

    async def run(self, delay: float = DELAY) -> Sock:
        def discard(sock: Sock) -> None:
            assert sock.open, "closed twice"
            sock.open = False

        return await race(
            range(len(self.plans)), self.attempt, self.failures, discard=discard, delay=delay
        )

    @property
    def left_open(self) -> list[Sock]:
        return [sock for sock in self.socks if sock.open]


def course(*plans: tuple[str, float] | str) -> Course:
    return Course([Plan(plan) if isinstance(plan, str) else Plan(*plan) for plan in plans])


async def until_cancelled_at(seconds: float, run: Course) -> bool:
    """Whether the race was cancelled then, and had not ended."""
    try:
        async with asyncio.timeout(seconds):
            await run.run()
    except TimeoutError:
        return True
    return False


# When attempts start ------------------------------------------------------------------------------


def test_first_that_answers_in_time_is_alone():
    run = course(("win", 0.2), "win", "win")
    won = virtual_time.run(run.run())
    assert won.name == "0"
    assert run.started == [0]
    assert run.failures == []


def test_silence_brings_the_next_after_a_quarter_of_a_second():
    run = course("hang", "hang", ("win", 0.1), "win")
    won = virtual_time.run(run.run())
    assert won.name == "2"
    assert run.started == [0, 0.25, 0.5]
    assert run.left_open == [won]


def test_failure_brings_the_next_at_once():
    run = course(("fail", 0.1), "fail", ("fail", 0.1), "win")
    assert virtual_time.run(run.run()).name == "3"
    assert run.started == pytest.approx([0, 0.1, 0.1, 0.2])


def test_after_a_failure_the_delay_counts_from_the_new_start():
    run = course(("fail", 0.1), "hang", "hang", ("win", 0.0))
    virtual_time.run(run.run())
    assert run.started == pytest.approx([0, 0.1, 0.35, 0.6])


def test_attempt_goes_on_when_the_next_one_starts_and_may_win():
    run = course(("win", 0.6), "hang", "hang", "hang")
    won = virtual_time.run(run.run())
    assert won.name == "0"
    assert run.started == [0, 0.25, 0.5]
    assert run.cancelled == {1, 2}
    assert run.left_open == [won]


def test_failure_of_an_older_attempt_brings_the_next_as_well():
    run = course(("fail", 0.3), "hang", ("win", 0.1))
    virtual_time.run(run.run())
    assert run.started == pytest.approx([0, 0.25, 0.3])


def test_one_alone_is_no_race():
    assert virtual_time.run(course("win").run()).name == "0"
    run = course(("fail", 3.0))
    with pytest.raises(ConnectionRefusedError, match="0 refused"):
        virtual_time.run(run.run())


def test_delay_can_be_given():
    run = course("hang", "win")
    virtual_time.run(run.run(delay=2.0))
    assert run.started == [0, 2]


# Who wins, and what is told -----------------------------------------------------------------------


def test_of_two_that_succeed_in_one_turn_the_preferred_wins_and_the_other_is_closed():
    run = course(("win", 0.5), ("win", 0.25))
    won = virtual_time.run(run.run())
    assert won.name == "0"
    assert run.ended == {0: 0.5, 1: 0.5}
    assert run.left_open == [won]


def test_success_while_it_is_being_cancelled_is_closed():
    run = course("late", "late", ("win", 0.1))
    won = virtual_time.run(run.run())
    assert run.left_open == [won]
    assert run.cancelled == {0, 1}


def test_all_failures_are_told_in_the_order_of_their_starts():
    run = course(("fail", 1.0), ("fail", 0.1), ("fail", 0.2))
    with pytest.raises(ConnectionRefusedError, match="2 refused"):
        virtual_time.run(run.run())
    assert [(number, str(error)) for number, error in run.failures] == [
        (0, "0 refused"),
        (1, "1 refused"),
        (2, "2 refused"),
    ]


def test_cancelled_it_tells_who_gave_no_answer_and_for_how_long():
    run = course("hang", ("fail", 0.1), "hang", "hang", "hang")
    assert virtual_time.run(until_cancelled_at(0.7, run))
    assert [(number, str(error)) for number, error in run.failures] == [
        (0, "no answer within 0.7 s"),
        (1, "1 refused"),
        (2, "no answer within 0.35 s"),
        (3, "no answer within 0.1 s"),
    ]
    assert isinstance(run.failures[0][1], TimeoutError)
    assert run.left_open == []


def test_what_an_attempt_tried_itself_stands_for_it():
    failures: list[tuple[object, BaseException]] = []

    async def attempt(number, inside):
        for part in "ab":
            inside.append((f"{number}{part}", OSError(f"{number}{part} failed")))
        if number == 2:
            await asyncio.get_running_loop().create_future()
        raise OSError(f"{number} failed")

    async def main():
        async with asyncio.timeout(1):
            await race([1, 2], attempt, failures, discard=print)

    with pytest.raises(TimeoutError):
        virtual_time.run(main())
    assert [name for name, _ in failures] == ["1a", "1b", "2a", "2b"]


def test_address_that_cannot_be_used_is_a_failure_like_others():
    failures: list[tuple[object, BaseException]] = []

    async def attempt(number, inside):
        if number == 0:
            raise conduit.AddressError("no source")
        return Sock(str(number))

    won = virtual_time.run(race([0, 1], attempt, failures, discard=print))
    assert won.name == "1"
    [(number, error)] = failures
    assert (number, type(error)) == (0, conduit.AddressError)


def test_mistake_of_ours_ends_the_race_and_is_not_hidden():
    run = course("late", "hang")

    async def attempt(number, inside):
        if number == 2:
            raise ZeroDivisionError
        return await run.attempt(number, inside)

    def discard(sock):
        sock.open = False

    with pytest.raises(ZeroDivisionError):
        virtual_time.run(race([0, 1, 2], attempt, [], discard=discard))
    assert run.cancelled == {0, 1}
    assert run.left_open == []


# Cancelled ----------------------------------------------------------------------------------------


def test_cancelled_twice_it_ends_at_once_and_the_attempts_by_themselves():
    run = course("late", "late", "hang")

    async def main():
        task = asyncio.create_task(run.run())
        await asyncio.sleep(0.6)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(5):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtual_time.run(main())
    assert run.cancelled == {0, 1, 2}
    assert run.left_open == []


def test_cancelled_when_it_has_a_winner_already_it_closes_it():
    winner, ending = Sock("winner"), asyncio.Event()

    async def attempt(number, inside):
        if number == 1:
            return winner
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ending.set()
            await asyncio.sleep(0)

    async def main():
        task = asyncio.create_task(race([0, 1], attempt, [], discard=lambda s: discarded.append(s)))
        await ending.wait()
        # The winner is known, and that the other ends is waited for.
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    discarded: list[Sock] = []
    virtual_time.run(main())
    assert discarded == [winner]


# Any course ---------------------------------------------------------------------------------------

# Coarse, so that many things happen at the same time.
SECONDS = st.sampled_from([None, 0.0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.75, 1.0, 2.0])
PLANS = st.builds(Plan, st.sampled_from(["fail", "fail", "win", "hang", "late"]), SECONDS)


@given(st.lists(PLANS, min_size=1, max_size=7))
@example([Plan("win", 0.25), Plan("win", 0.0)])
@example([Plan("hang"), Plan("fail", 0.25), Plan("fail", 0.0), Plan("late"), Plan("win", 0.25)])
def test_any_course(plans: list[Plan]):
    run = Course(plans)

    async def main() -> tuple[Sock | None, float]:
        loop = asyncio.get_running_loop()
        won = None
        try:
            async with asyncio.timeout(60):
                won = await run.run()
        except TimeoutError:
            assert pending(plans)
        except ConnectionRefusedError:
            assert not pending(plans)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return won, loop.time()

    won, now = virtual_time.run(main())
    check_starts(run, now)
    check_end(run, won, now)


def pending(plans: list[Plan]) -> list[Plan]:
    return [plan for plan in plans if plan.how in ("hang", "late")]


def check_starts(run: Course, now: float) -> None:
    failed = [time for number, time in run.ended.items() if run.plans[number].how == "fail"]
    for before, after in pairwise(run.started):
        assert after <= before + DELAY + JUST_AFTER
        if after < before + DELAY - JUST_AFTER:
            assert any(abs(time - after) < JUST_AFTER for time in failed), "before its time"
        assert not any(before + JUST_AFTER < time < after - JUST_AFTER for time in failed), "late"
    if len(run.started) < len(run.plans):
        # The race was over before the next was due.
        assert now <= run.started[-1] + DELAY + JUST_AFTER


def check_end(run: Course, won: Sock | None, now: float) -> None:
    ends = {
        number: start + plan.seconds
        for number, (start, plan) in enumerate(zip(run.started, run.plans, strict=False))
        if plan.how == "win"
    }
    told = [number for number, _ in run.failures]
    assert told == sorted(told)
    if won is None:
        assert not ends
        assert len(run.started) == len(run.plans)
        assert told == list(range(len(run.plans)))
        assert run.left_open == []
    else:
        assert ends[int(won.name)] == pytest.approx(min(ends.values()))
        assert now == pytest.approx(min(ends.values()))
        assert run.left_open == [won]
        assert all(run.plans[number].how == "fail" for number in told)
    for number, error in run.failures:
        if number in run.ended:
            assert str(error) == f"{number} refused"
        else:
            assert str(error) == f"no answer within {round(now - run.started[number], 2):g} s"


@given(
    st.lists(PLANS, min_size=1, max_size=5),
    st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.75, 1.0]),
    st.integers(0, 6),
    st.integers(0, 3),
)
def test_cancelled_at_any_moment_nothing_is_left(plans, seconds, turns, again):
    run = Course(plans)

    async def main() -> None:
        task = asyncio.create_task(run.run())
        if seconds:
            await asyncio.sleep(seconds)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        if again:
            for _ in range(again):
                await asyncio.sleep(0)
            task.cancel()
        try:
            won = await task
        except (asyncio.CancelledError, ConnectionRefusedError):
            won = None
        for _ in range(5):
            await asyncio.sleep(0)
        assert run.left_open == ([] if won is None else [won])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtual_time.run(main())


# The order of addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_order", "expected"),
    [
        ("a1", "a1"),
        ("a1 a2 b1 b2", "a1 b1 a2 b2"),
        ("b1 a1 a2 a3", "b1 a1 a2 a3"),
        ("a1 a2 a3 b1", "a1 b1 a2 a3"),
        ("a1 b1 b2 a2 c1", "a1 b1 c1 a2 b2"),
    ],
)
def test_families_take_turns_and_the_first_stays_first(given_order, expected):
    assert interleaved(given_order.split(), lambda name: name[0]) == expected.split()


@given(st.lists(st.tuples(st.sampled_from([4, 6]), st.integers())))
def test_interleaving_loses_nothing_and_keeps_each_family_in_order(addresses):
    mixed = interleaved(addresses, lambda address: address[0])
    assert sorted(mixed) == sorted(addresses)
    assert mixed[:1] == addresses[:1]
    for family in (4, 6):
        ours = partial(filter, lambda address, family=family: address[0] == family)
        assert list(ours(mixed)) == list(ours(addresses))
    # While both have any left, none has two in a row.
    shorter = min(sum(1 for one in addresses if one[0] == family) for family in (4, 6))
    assert all(a[0] != b[0] for a, b in pairwise(mixed[: 2 * shorter]))
