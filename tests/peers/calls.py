"""A client that makes a hundred calls a second, and counts those that fail."""

import asyncio

import conduit

A_HUNDREDTH = 0.01


class Calls:
    """Calls to a peer that sends back a line.

    target: of `connect`. limit: seconds for one try. at_once: how many may be under way; then the
    next waits, so that a slow machine makes fewer. made: the calls so far. retried: those that a
    second try saved. failed: why others failed. slowest: seconds that one took, with all its tries.
    """

    def __init__(self, ctx, target, limit=5.0, at_once=1000):
        self._ctx = ctx
        self._target = target
        self._limit = limit
        self.made = 0
        self.retried = 0
        self.failed = []
        self.slowest = 0.0
        self._answered = 0
        self._news = asyncio.Event()
        self._room = asyncio.Semaphore(at_once)

    async def answered(self, more):
        """Wait until so many more calls have been answered."""
        goal = self._answered + more
        while self._answered < goal:
            self._news.clear()
            await self._news.wait()

    async def _once(self, number):
        line = f"{number}\n".encode()
        async with asyncio.timeout(self._limit):
            async with conduit.connect(self._target, ctx=self._ctx) as (_, ic, oc):
                await oc.write(line)
                answer = await ic.readline()
        if answer != line:
            raise ConnectionError(f"the answer is {answer!r}")
        self._answered += 1
        self._news.set()

    async def _call(self):
        started = asyncio.get_running_loop().time()
        self.made += 1
        number = self.made
        try:
            await self._once(number)
        except OSError:
            self.retried += 1
            try:
                await self._once(number)
            except OSError as error:
                self.failed.append(error)
        finally:
            self._room.release()
        self.slowest = max(self.slowest, asyncio.get_running_loop().time() - started)

    async def go_on(self):
        """A hundred a second, however long each takes; until it is cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as calls:
            try:
                while True:
                    await self._room.acquire()
                    calls.create_task(self._call())
                    due = max(due + A_HUNDREDTH, loop.time())
                    await asyncio.sleep(due - loop.time())
            except asyncio.CancelledError:
                return
