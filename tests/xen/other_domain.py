"""What a second domain does: serves and connects, as the tests in domain 0 expect it.

vchan:0/echo             sends back what comes, from the number 0
vchan-name:other/echo    the same by name
vchan:0/ours             connects there whenever domain 0 serves it, and checks what comes back
vchan-name:zero/ours     the same by name
"""

from __future__ import annotations

import asyncio
import hashlib
import random

import conduit
from conduit import client, server

SIZE = 10_000_000
PIECE = 64 * 1024


async def echo(f, ic, oc):
    while data := await ic.read(PIECE):
        await oc.write(data)


async def swap(ic, oc, seed: int, size: int = SIZE) -> bool:
    """Send random bytes to an `echo`: whether the same come back."""
    data = random.Random(seed).randbytes(size)

    async def read() -> str:
        hashed, missing = hashlib.sha256(), size
        while missing:
            piece = await ic.read(min(PIECE, missing))
            if not piece:
                return "cut short"
            hashed.update(piece)
            missing -= len(piece)
        return hashed.hexdigest()

    async def write() -> None:
        for start in range(0, size, PIECE):
            await oc.write(data[start : start + PIECE])

    got, _ = await asyncio.gather(read(), write())
    return got == hashlib.sha256(data).hexdigest()


async def answer(f, ic, oc):
    """The other side of `check`: its verdict."""
    missing = SIZE
    while missing and (data := await ic.read(min(PIECE, missing))):
        missing -= len(data)
        await oc.write(data)
    return (await ic.readline()).decode().strip()


async def check(target: client.Client) -> None:
    """Connect whenever somebody serves, swap, and tell how it went."""
    while True:
        async with conduit.connect(target, timeout=None) as (_, ic, oc):
            same = await swap(ic, oc, seed=3)
            await oc.write(b"the same\n" if same else b"something else\n")
            await ic.read()


async def main() -> None:
    async with conduit.listen(server.VchanDirect(0, "echo"), echo):
        async with conduit.listen(server.VchanDomainSocket("other", "echo"), echo):
            await asyncio.gather(
                check(client.VchanDirect(0, "ours")),
                check(client.VchanDomainSocket("zero", "ours")),
            )


if __name__ == "__main__":
    asyncio.run(main())
