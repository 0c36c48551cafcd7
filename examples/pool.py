"""A pool of connections to Redis, on whichever hosts the SRV records of a name say.

    python pool.py redis://cache.example
    python pool.py redis://cache.example 127.0.0.1:5353     (the name server to ask)

Needs the extra dns. It counts to a thousand, ten at a time, and says how many connections it took.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

import conduit
from conduit import discovery, resolver
from conduit.transports import Triple


class Pool:
    """Connections to a target that are used again. Close it by leaving its `async with` block.

    size: how many there are at most; more users wait.
    """

    def __init__(self, target: str, *, ctx: conduit.Context, size: int = 10) -> None:
        self.made = 0
        self._target, self._ctx = target, ctx
        self._places = asyncio.Semaphore(size)
        self._idle: list[Triple] = []

    async def __aenter__(self) -> "Pool":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(triple.oc.close() for triple in self._idle))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Triple]:
        """One that nobody else uses. Left by an error, it is not used again."""
        async with self._places:
            triple = self._pop() or await self._connect()
            try:
                yield triple
            except BaseException:
                triple.oc.transport.abort()
                raise
            self._idle.append(triple)

    def _pop(self) -> Triple | None:
        while self._idle:
            triple = self._idle.pop()
            if not (triple.ic.at_eof() or triple.ic.exception() or triple.oc.is_closing()):
                return triple
            triple.oc.close()  # the server has ended it meanwhile
        return None

    async def _connect(self) -> Triple:
        # Each connection asks anew, so a host that comes or goes is noticed.
        self.made += 1
        return await conduit.connect(self._target, ctx=self._ctx, timeout=5)


async def command(pool: Pool, *words: str) -> bytes:
    """One command of Redis, and its answer of one line."""
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    async with pool.connection() as (_, ic, oc):
        await oc.write(f"*{len(parts)}\r\n{''.join(parts)}".encode())
        return (await ic.readuntil(b"\r\n")).strip()


async def main(target: str, name_server: str = "") -> None:
    host, _, port = name_server.partition(":")
    source = discovery.SRV([host], port=int(port)) if name_server else discovery.SRV()
    names = resolver.Resolver(rewrites=[("", discovery.Rule(source))])
    async with Pool(target, ctx=await conduit.init(resolver=names)) as pool:
        await command(pool, "DEL", "counted")
        await asyncio.gather(*(command(pool, "INCR", "counted") for _ in range(999)))
        last = await command(pool, "INCR", "counted")
        print(f"counted to {last.decode()[1:]} by {pool.made} connections to {target}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    conduit.run(main(*sys.argv[1:]))
