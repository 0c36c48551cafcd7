"""Calls between a virtual machine and its host, or two programs: JSON, a line each.

    python rpc.py serve vsock://*:5000          (in the machine; or unix:/tmp/rpc)
    python rpc.py call vsock://3:5000 add 1 2   (on its host, which knows it as 3)

Many calls are under way on one connection at once, and each is answered when it is done.
"""

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import conduit
from conduit import Input, Output, flow


async def add(*numbers: float) -> float:
    return sum(numbers)


FUNCTIONS: dict[str, Callable[..., Awaitable[Any]]] = {"add": add, "sleep": asyncio.sleep}


async def handle(f: flow.Flow, ic: Input, oc: Output) -> None:
    """One client, whose calls run side by side."""

    async def answer(call: dict[str, Any]) -> None:
        try:
            reply = {"result": await FUNCTIONS[call["name"]](*call["args"])}
        except Exception as error:
            reply = {"error": repr(error)}
        oc.write(json.dumps({"id": call["id"], **reply}).encode() + b"\n")

    async with asyncio.TaskGroup() as calls:
        async for line in ic:
            calls.create_task(answer(json.loads(line)))
            await oc.drain()  # who does not take answers in may not ask for more


class Remote:
    """The functions of the other side."""

    def __init__(self, ic: Input, oc: Output) -> None:
        self._ic, self._oc = ic, oc
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def call(self, name: str, *args: Any) -> Any:
        """Call a function. Raises RuntimeError for what it raised there."""
        number = next(self._numbers)
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        call = {"id": number, "name": name, "args": args}
        await self._oc.write(json.dumps(call).encode() + b"\n")
        reply = await answer
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["result"]

    async def read(self) -> None:
        async for line in self._ic:
            reply = json.loads(line)
            self._waiting.pop(reply["id"]).set_result(reply)
        for answer in self._waiting.values():
            answer.set_result({"error": "the other side has left"})


@asynccontextmanager
async def remote(address: str) -> AsyncIterator[Remote]:
    async with conduit.connect(address) as (_, ic, oc):
        there = Remote(ic, oc)
        reading = asyncio.create_task(there.read())
        yield there
        reading.cancel()


async def serve(address: str) -> None:
    async with conduit.listen(address, handle) as srv:
        print("serving", *sorted(FUNCTIONS), "at", *srv.endps, flush=True)
        await srv.wait_stopped()


async def call(address: str, name: str, *args: str) -> None:
    async with remote(address) as there:
        print(await there.call(name, *map(json.loads, args)))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address]:
            conduit.run(serve(address))
        case ["call", address, name, *args]:
            conduit.run(call(address, name, *args))
        case _:
            sys.exit(__doc__)
