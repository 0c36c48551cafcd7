"""Questions that several wait for: asked once, and not longer than anybody wants to know."""

import asyncio

import pytest

from conduit.discovery.questions import Questions


class Source:
    """Answers when it is let, and counts how often it was asked and given up."""

    def __init__(self):
        self.asked = 0
        self.cancelled = 0
        self.go = asyncio.Event()

    async def ask(self, name):
        self.asked += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if name == "bad":
            raise OSError("no idea")
        return f"{name} {self.asked}"


async def some(questions, name, count=3):
    waiting = [asyncio.create_task(questions.answer(name)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return waiting


async def test_who_asks_the_same_at_once_shares_the_answer():
    source = Source()
    questions = Questions(source.ask)
    waiting = [*await some(questions, "a"), *await some(questions, "b", 1)]
    source.go.set()
    assert await asyncio.gather(*waiting) == ["a 2", "a 2", "a 2", "b 2"]
    # Nothing is remembered here.
    assert await questions.answer("a") == "a 3"


async def test_failure_is_for_all_who_wait():
    source = Source()
    waiting = await some(Questions(source.ask), "bad")
    source.go.set()
    for one in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(one, OSError)
    assert source.asked == 1


async def test_it_is_given_up_with_the_last_who_waits_and_asked_anew():
    source = Source()
    questions = Questions(source.ask)
    waiting = await some(questions, "a")
    for one in waiting[:2]:
        one.cancel()
    await asyncio.wait(waiting[:2])
    assert source.cancelled == 0
    waiting[2].cancel()
    # Who asks before it has ended does not get the end of it.
    again = asyncio.create_task(questions.answer("a"))
    await asyncio.wait(waiting)
    source.go.set()
    assert await again == "a 2"
    assert source.cancelled == 1


async def test_it_goes_on_when_patience_is_over():
    source = Source()
    questions = Questions(source.ask)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
        await questions.answer("a", 0.01)
    [one] = await some(questions, "a", 1)
    one.cancel()
    await asyncio.wait([one])
    assert (source.asked, source.cancelled) == (1, 0)
    source.go.set()
    assert await questions.answer("a") == "a 1"


def test_each_loop_asks_for_itself():
    questions = None
    for _ in range(2):

        async def ask():
            nonlocal questions
            source = Source()
            source.go.set()
            questions = questions or Questions(source.ask)
            return await questions.answer("a")

        assert asyncio.run(ask()).startswith("a ")
    assert questions is not None
    assert questions is not None
    assert not any(questions._asked.values())
