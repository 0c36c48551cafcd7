"""A program of ours under `conduit.run`, in a process of its own, reached by socat."""

import asyncio
import os
import signal
import subprocess

import pytest

from tests.children import Child
from tests.peers.handlers import noise
from tests.peers.programs import run
from tests.peers.tls_server import on_both_loops

pytestmark = on_both_loops

PROGRAM = """
    import sys, conduit

    if "asyncio" in sys.argv:
        sys.modules["uvloop"] = None

    async def handler(f, ic, oc):
        while data := await ic.read(65536):
            await oc.write(data)

    def told(event):
        if isinstance(event, conduit.events.Accepted):
            print("accepted", flush=True)

    async def main():
        conduit.events.subscribe(told)
        async with conduit.listen(conduit.server.TCP(0), handler) as srv:
            print(srv.endps[0].port, flush=True)
            await asyncio.Event().wait()
        print("the block was left", flush=True)

    import asyncio
    conduit.run(main)
    print("run has returned", flush=True)
"""


@pytest.fixture
def loop(anyio_backend) -> str:
    """The loop of the program; that of the test is the same."""
    return "uvloop" if anyio_backend[1]["use_uvloop"] else "asyncio"


async def test_socat_is_served(loop, program):
    socat, data = program("socat"), noise(2_000_000)
    with Child(PROGRAM, loop) as child:
        port = await child.says()
        assert await run(socat, "-t", "20", "-", f"TCP:127.0.0.1:{port}", stdin=data) == data


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_lets_the_connected_finish(loop, number, program):
    with Child(PROGRAM, loop) as child:
        port = await child.says()
        with subprocess.Popen(
            [program("socat"), "-t", "20", "-", f"TCP:127.0.0.1:{port}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as socat:
            assert socat.stdin is not None
            assert await child.says() == "accepted"
            os.kill(child.pid, number)
            out, _ = await asyncio.to_thread(socat.communicate, b"one more thing\n", 20)
        assert out == b"one more thing\n"
        assert await child.says() == "the block was left"
        assert await child.says() == "run has returned"
        assert await child.status() == 0
