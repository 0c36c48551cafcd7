"""A process full of clients: python -m benchmarks.many_clients PORT.

For each line of standard input, such as "connect 2000 100", so many operations are done by so many
clients at once, and "done" is said. The clients of ping-pong keep their connections.
"""

from __future__ import annotations

import asyncio
import sys

from .peers import reader_writer
from .peers.asyncio_loops import uvloop_loop
from .peers.asyncio_streams import PEER
from .peers.interface import Place


async def main() -> None:
    place = Place("tcp", port=int(sys.argv[1]))
    held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    while line := sys.stdin.readline():
        what, count, at_once = line.split()
        each = int(count) // int(at_once)
        if what == "connect":
            await asyncio.gather(*(PEER.exchange(place, each) for _ in range(int(at_once))))
        else:
            held = held or await PEER.hold(place, int(at_once))
            await asyncio.gather(*(reader_writer.ping_pong(*one, each, 64) for one in held))
        print("done", flush=True)


if __name__ == "__main__":
    uvloop_loop().run(main)
