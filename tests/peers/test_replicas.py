"""Three replicas behind one name, each restarted while a client makes 100 calls a second."""

import asyncio
import contextlib
import signal

import pytest

import conduit
from conduit.discovery import SRV, Rule
from conduit.resolver import Resolver
from tests.children import Child
from tests.peers.calls import Calls
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

AT_ONCE = 3


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
            ctx = await conduit.init(resolver=resolver)
            calls = Calls(ctx, "tcp://_x._tcp.db.test", at_once=AT_ONCE)
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
            assert calls.retried <= 3 * AT_ONCE
        else:
            assert calls.retried == 0
