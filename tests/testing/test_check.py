"""The channel checker itself: which checks it does, on what, and how it tells what is broken."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from conduit.testing import CHECKS, check, check_channels, memory, memory_pair
from conduit.testing.promises import NEED_HALF_CLOSE


async def make():
    return memory_pair()


@pytest.fixture
def checks(monkeypatch):
    """A list of checks of the test's own, instead of the real one."""
    listed: dict[str, Any] = {}
    monkeypatch.setattr(check, "CHECKS", listed)
    return listed


def add(checks, name, promise="It does."):
    """Put a check on the list."""

    def decorate(function):
        function.__doc__ = promise
        checks[name] = function
        return function

    return decorate


# The list -------------------------------------------------------------------------------------


def test_every_check_says_what_it_promises():
    assert len(CHECKS) > 40
    for name, function in CHECKS.items():
        assert function.__name__ == name
        assert (function.__doc__ or "").strip().endswith(".")
    assert set(CHECKS) > NEED_HALF_CLOSE


async def test_a_check_can_be_called_by_itself():
    a, b = memory_pair()
    await CHECKS["read_gives_what_there_is"](a, b)
    for _, _, oc in a, b:
        oc.transport.abort()


async def test_all_are_done_with_either_side_in_either_role(checks):
    made = []
    done = []

    async def make():
        made.append(memory_pair())
        return made[-1]

    @add(checks, "first")
    async def _(a, b):
        done.append(("first", a.flow.name, b.flow.name))

    @add(checks, "second")
    async def _(a, b):
        done.append(("second", a.flow.name, b.flow.name))

    await check_channels(make)
    assert done == [
        (name, *sides)
        for name in ("first", "second")
        for sides in (("left", "right"), ("right", "left"))
    ]
    assert len(made) == 4
    for pair in made:
        for _, _, oc in pair:
            assert oc.is_closing()
            await oc.wait_closed()


async def test_some_are_chosen(checks):
    done = []
    for name in ("one", "two", "three"):

        @add(checks, name)
        async def _(a, b, name=name):
            done.append(name)

    await check_channels(make, only=["three", "one"])
    assert done == ["three", "three", "one", "one"]
    done.clear()
    await check_channels(make, skip=["two"])
    assert done == ["one", "one", "three", "three"]
    done.clear()
    await check_channels(make, only=["one", "two"], skip=["one"])
    assert done == ["two", "two"]


async def test_a_transport_without_half_close(monkeypatch):
    """It cannot pass the checks of that, and keeps all the other promises.

    Where an end that goes away destroys what is under way it could not keep them all, so the ends
    here do no such thing.
    """
    close = memory._End.close

    def close_gently(end, reset=False):
        if not reset:
            end.incoming.clear()
        close(end, reset)

    def cannot():
        raise NotImplementedError  # as asyncio's transports that cannot

    monkeypatch.setattr(memory._End, "close", close_gently)

    async def make():
        pair = memory_pair()
        for _, _, oc in pair:
            transport: Any = oc._wire.transport
            transport.can_write_eof = lambda: False
            transport.write_eof = cannot
        return pair

    await check_channels(make, half_close=False, timeout=1)
    with pytest.raises(AssertionError) as caught:
        await check_channels(make, only=NEED_HALF_CLOSE, timeout=1)
    assert all(f"  {name}, with" in str(caught.value) for name in NEED_HALF_CLOSE)


@pytest.mark.parametrize("argument", ["only", "skip"])
async def test_a_name_that_is_none_is_refused(argument):
    names: dict[str, Any] = {argument: ["no_such_check"]}
    with pytest.raises(ValueError, match="no such check: no_such_check; they are bytes_arrive"):
        await check_channels(make, **names)


# What is made for them ------------------------------------------------------------------------


async def test_a_context_manager_is_left_after_each_check(checks):
    left = []

    @asynccontextmanager
    async def make():
        pair = memory_pair()
        try:
            yield pair
        finally:
            left.append([oc.is_closing() for _, _, oc in pair])

    @add(checks, "works")
    async def _(a, b):
        a.oc.write(b"abc")
        assert await b.ic.readexactly(3) == b"abc"

    @add(checks, "fails")
    async def _(a, b):
        raise AssertionError

    with pytest.raises(AssertionError, match="1 of 2"):
        await check_channels(make)
    assert left == 3 * [[True, True]]


async def test_plain_tuples_will_do():
    async def make():
        return tuple(tuple(triple) for triple in memory_pair())

    await check_channels(make, only=["read_gives_what_there_is"])


async def test_a_pair_that_cannot_be_made(checks):
    async def make():
        raise ConnectionRefusedError("nobody there")

    @add(checks, "anything")
    async def _(a, b):
        pass

    with pytest.raises(AssertionError, match="ConnectionRefusedError: nobody there"):
        await check_channels(make)


# Failures -------------------------------------------------------------------------------------


async def test_all_that_is_broken_is_told(checks):
    @add(checks, "is_fine")
    async def _(a, b):
        pass

    @add(checks, "is_odd", "It is even.")
    async def _(a, b):
        raise AssertionError("it is 5")

    @add(checks, "breaks_on_one_side", "It is symmetric.")
    async def _(a, b):
        if a.flow.name == "right":
            raise LookupError("no left")

    with pytest.raises(AssertionError) as caught:
        await check_channels(make)
    assert str(caught.value) == (
        "2 of 3 promises are broken:\n"
        "  is_odd, with the first flow as a: It is even.\n"
        "    it is 5\n"
        "  breaks_on_one_side, with the second flow as a: It is symmetric.\n"
        "    LookupError: no left"
    )
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert [type(error) for error in cause.exceptions] == [AssertionError, LookupError]


async def test_what_does_not_end_is_broken(checks):
    @add(checks, "hangs")
    async def _(a, b):
        await a.ic.read()

    with pytest.raises(AssertionError, match=r"it did not end within 0\.05 s"):
        await check_channels(make, timeout=0.05)


async def test_a_timeout_of_the_channels_own_is_told_as_one(checks):
    @add(checks, "times_out")
    async def _(a, b):
        raise TimeoutError("no answer")

    with pytest.raises(AssertionError, match="TimeoutError: no answer"):
        await check_channels(make)


async def test_what_fails_unseen_is_broken(checks):
    @add(checks, "fails_in_the_background")
    async def _(a, b):
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)

    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    with pytest.raises(AssertionError, match=r"that nobody waited for: .*ZeroDivisionError"):
        await check_channels(make)
    assert loop.get_exception_handler() is before


async def test_what_is_cancelled_by_nobody_is_broken(checks):
    @add(checks, "cancels")
    async def _(a, b):
        raise asyncio.CancelledError

    with pytest.raises(AssertionError, match="something was cancelled"):
        await check_channels(make)


async def test_it_can_be_cancelled(checks):
    begun = asyncio.Event()

    @add(checks, "hangs")
    async def _(a, b):
        begun.set()
        await a.ic.read()

    task = asyncio.ensure_future(check_channels(make))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
