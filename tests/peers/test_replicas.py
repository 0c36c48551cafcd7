"""Three replicas behind one name, each restarted while a client makes 100 calls a second."""

import asyncio
import contextlib
import signal

import pytest

import conduit
from conduit.discovery import SRV, Rule
from conduit.resolver import Resolver
from tests.children import Child
from tests.peers.programs import port_of_its_own
from tests.peers.test_srv import dnsmasq, srv
from tests.peers.tls_server import on_one_loop

REPLICA = """
import asyncio, sys
import conduit

async def answer(f, ic, oc):
    await oc.write(await ic.readline())

async def main():
    async with conduit.listen(f"tcp://127.0.0.1:{sys.argv[1]}", answer) as srv:
        print("up", flush=True)
        await asyncio.Event().wait()

conduit.run(main())
"""

A_HUNDREDTH = 0.01


class Calls:
    """made, failed: the calls so far. retried: those that a second try saved."""

    def __init__(self, ctx):
        self._ctx = ctx
        self.made = 0
        self.retried = 0
        self.failed = []
        self._answered = 0
        self._news = asyncio.Event()

    async def answered(self, more):
        """Wait until so many more calls have been answered."""
        goal = self._answered + more
        while self._answered < goal:
            self._news.clear()
            await self._news.wait()

    async def _once(self, number):
        line = f"{number}\n".encode()
        async with conduit.connect("tcp://_x._tcp.db.test:1", ctx=self._ctx, timeout=5) as triple:
            await triple.oc.write(line)
            answer = await triple.ic.readline()
        if answer != line:
            raise ConnectionError(f"the answer is {answer!r}")
        self._answered += 1
        self._news.set()

    async def _call(self):
        self.made += 1
        try:
            await self._once(self.made)
        except OSError:
            self.retried += 1
            try:
                await self._once(self.made)
            except OSError as error:
                self.failed.append(error)

    async def go_on(self):
        """A hundred a second, however long each takes; until it is cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as calls:
            while True:
                calls.create_task(self._call())
                due += A_HUNDREDTH
                try:
                    await asyncio.sleep(max(0.0, due - loop.time()))
                except asyncio.CancelledError:
                    return


@pytest.mark.alone
@on_one_loop
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_no_call_fails_while_each_is_restarted(program, how, anyio_backend):
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(port_of_its_own()) for _ in range(3)]
        replicas = [stack.enter_context(Child(REPLICA, str(port))) for port in ports]
        for replica in replicas:
            assert await replica.says() == "up"
        records = [srv("x", "a.test", port) for port in ports]
        async with dnsmasq(program, *records, "--host-record=a.test,127.0.0.1") as port:
            rule = Rule(SRV(["127.0.0.1"], port=port))
            resolver = Resolver(rewrites=[("test", rule)])
            calls = Calls(await conduit.init(resolver=resolver))
            going_on = asyncio.create_task(calls.go_on())
            for at in range(3):
                await replicas[at].end(how)
                replicas[at] = stack.enter_context(Child(REPLICA, str(ports[at])))
                assert await replicas[at].says() == "up"
                await calls.answered(20)
            going_on.cancel()
            await going_on
        print(how.name, "made", calls.made, "retried", calls.retried)
        assert calls.made > 60
        assert calls.failed == []
        if how is signal.SIGKILL:
            # Only what was under way when a replica died had to be tried again.
            assert calls.retried <= 6
        else:
            assert calls.retried == 0
