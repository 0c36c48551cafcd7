"""A chat room: everybody hears what anybody says.

    python chat.py serve tcp://127.0.0.1:7777
    python chat.py join tcp://127.0.0.1:7777 ada

The address may be any: unix:/tmp/chat, vsock://*:7777, or TLS with a certificate of your own.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import conduit
from conduit import Input, Output, flow

# Who has so much unheard is too slow for this room.
TOO_MUCH = 256 * 1024


class Room:
    """The members by their names, and how to reach each."""

    def __init__(self) -> None:
        self.members: dict[str, Output] = {}

    def tell(self, words: str) -> None:
        """Say something to everybody. Nobody is waited for."""
        for oc in self.members.values():
            oc.write(f"{words}\n".encode())
            if oc.transport.get_write_buffer_size() > TOO_MUCH:
                oc.transport.abort()

    async def handle(self, f: flow.Flow, ic: Input, oc: Output) -> None:
        """One member, from the first line, which is the name, to the last."""
        name = (await ic.readline()).decode(errors="replace").strip()
        if not name or name in self.members:
            await oc.write(b"sorry, that name is taken\n")
            return
        self.members[name] = oc
        self.tell(f"* {name} is here")
        try:
            async for line in ic:
                self.tell(f"{name}: {line.decode(errors='replace').strip()}")
        finally:
            del self.members[name]
            self.tell(f"* {name} has left")

    def close(self) -> None:
        """Send everybody home."""
        self.tell("* the room is closed")
        for oc in self.members.values():
            oc.close()


async def serve(address: str) -> None:
    room = Room()
    async with conduit.listen(address, room.handle, max_active=1000) as srv:
        print("the room is at", *srv.endps, flush=True)
        await srv.wait_stopping()
        room.close()


async def join(address: str, name: str) -> None:
    async with conduit.connect(address) as (_, ic, oc), keyboard() as lines:
        await oc.write(f"{name}\n".encode())
        saying = asyncio.create_task(say(lines, oc))
        async for line in ic:
            print(line.decode().rstrip(), flush=True)
        saying.cancel()


async def say(lines: asyncio.StreamReader, oc: Output) -> None:
    async for line in lines:
        await oc.write(line)
    oc.write_eof()


@asynccontextmanager
async def keyboard() -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    try:
        yield reader
    finally:
        transport.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address]:
            conduit.run(serve(address))
        case ["join", address, name]:
            conduit.run(join(address, name))
        case _:
            sys.exit(__doc__)
