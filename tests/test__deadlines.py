"""Time limits that share a timer: called in time, in order, and not when they were cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref

import pytest

from conduit._deadlines import Deadline, TimeLimit, later

pytestmark = pytest.mark.anyio

SOON = 0.01


class Caller:
    """What is called, and in what order."""

    def __init__(self):
        self.calls = []
        self.last = asyncio.Event()

    def at(self, seconds, name):
        return later(asyncio.get_running_loop(), seconds, lambda: self.calls.append(name))

    def end(self, seconds):
        return later(asyncio.get_running_loop(), seconds, self.last.set)


@pytest.fixture
async def caller():
    return Caller()


# later --------------------------------------------------------------------------------------------


async def test_they_are_called_in_the_order_of_their_times(caller):
    for seconds in (3 * SOON, SOON, 2 * SOON):
        caller.at(seconds, seconds)
    caller.end(4 * SOON)
    await caller.last.wait()
    assert caller.calls == [SOON, 2 * SOON, 3 * SOON]


async def test_none_is_called_much_too_early(caller):
    loop = asyncio.get_running_loop()
    before = loop.time()
    caller.end(5 * SOON)
    await caller.last.wait()
    assert loop.time() - before >= 5 * SOON - 0.002


async def test_shorter_one_is_not_held_up_by_a_longer_one(caller):
    caller.at(1000, "long")
    caller.end(SOON)
    await caller.last.wait()
    assert caller.calls == []


async def test_later_one_is_called_though_the_first_was_cancelled(caller):
    first = caller.at(SOON, "first")
    caller.end(2 * SOON)
    first.cancel()
    first.cancel()
    await caller.last.wait()
    assert caller.calls == []


async def test_one_that_is_due_can_still_be_cancelled_by_another(caller):
    deadlines: list[Deadline] = []

    def cancel_both():
        caller.calls.append("one")
        for deadline in deadlines:
            deadline.cancel()

    loop = asyncio.get_running_loop()
    deadlines += [later(loop, SOON, cancel_both), later(loop, SOON, cancel_both)]
    caller.end(2 * SOON)
    await caller.last.wait()
    assert caller.calls == ["one"]


async def test_what_is_raised_goes_to_the_loop_and_holds_up_nobody(caller):
    loop = asyncio.get_running_loop()
    told = []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))

    def fail():
        raise ZeroDivisionError

    later(loop, SOON, fail)
    caller.end(SOON)
    await caller.last.wait()
    assert [type(error) for error in told] == [ZeroDivisionError]


async def test_cancelled_ones_are_forgotten_long_before_their_time():
    class Held:
        def call(self):
            raise AssertionError

    loop = asyncio.get_running_loop()
    kept = later(loop, 1000, Held().call)
    seen = []
    for _ in range(1000):
        held = Held()
        seen.append(weakref.ref(held))
        later(loop, 1000, held.call).cancel()
        del held
    gc.collect()
    assert not any(ref() for ref in seen)
    assert len(kept.queue.heap) < 200
    kept.cancel()


async def test_they_are_called_in_nobodys_context(caller):
    whose = contextvars.ContextVar("whose", default="nobody's")
    whose.set("mine")
    seen = []
    later(asyncio.get_running_loop(), SOON, lambda: seen.append(whose.get()))
    caller.end(2 * SOON)
    await caller.last.wait()
    assert seen == ["nobody's"]


# TimeLimit ----------------------------------------------------------------------------------------


async def forever():
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("seconds", [SOON, 0])
async def test_block_that_takes_too_long_raises_timeout_error(seconds):
    limit = TimeLimit(seconds)
    with pytest.raises(TimeoutError) as raised, limit:
        await forever()
    assert limit.expired
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("seconds", [1000, None])
async def test_block_that_is_done_in_time_is_left_alone(seconds):
    with TimeLimit(seconds) as limit:
        await asyncio.sleep(0)
    assert not limit.expired


async def test_own_error_of_the_block_is_raised_as_it_is():
    limit = TimeLimit(1000)
    with pytest.raises(ZeroDivisionError), limit:
        raise ZeroDivisionError
    assert not limit.expired


async def test_limit_ends_with_its_block(caller):
    with TimeLimit(SOON):
        pass
    caller.end(2 * SOON)
    await caller.last.wait()


async def test_cancellation_by_somebody_else_stays_one():
    began = asyncio.Event()

    async def work():
        with TimeLimit(1000):
            began.set()
            await forever()

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancellation_that_comes_with_the_expiry_wins():
    async def work():
        task = asyncio.current_task()
        assert task is not None
        with TimeLimit(SOON) as limit:
            later(asyncio.get_running_loop(), SOON, task.cancel)
            try:
                await forever()
            finally:
                assert limit.expired
                while task.cancelling() < 2:
                    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(work())


async def test_inner_limit_says_nothing_of_the_outer_one():
    with TimeLimit(1000) as outer:
        with pytest.raises(TimeoutError), TimeLimit(SOON) as inner:
            await forever()
    assert (inner.expired, outer.expired) == (True, False)


async def test_outer_limit_goes_through_the_inner_one():
    outer, inner = TimeLimit(SOON), TimeLimit(1000)
    with pytest.raises(TimeoutError), outer:
        with inner:
            await forever()
    assert (inner.expired, outer.expired) == (False, True)


def test_without_a_task_there_is_nothing_to_limit():
    async def outside():
        raised = []

        def enter():
            try:
                TimeLimit(1).__enter__()
            except RuntimeError as error:
                raised.append(error)

        asyncio.get_running_loop().call_soon(enter)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return raised

    assert len(asyncio.run(outside())) == 1
