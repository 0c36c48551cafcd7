"""What is served to the peers, and data to send to and fro."""

import asyncio
import hashlib
import random


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


async def echo(f, ic, oc):
    while data := await ic.read(65536):
        await oc.write(data)


async def digest(f, ic, oc):
    """Read the whole request, until the peer's end; only then reply, with 1 MB at the end."""
    request = await ic.read()
    oc.write(f"{hashlib.sha256(request).hexdigest()} {len(request)}\n".encode())
    await oc.write(noise(1_000_000, seed=len(request)))


def digest_reply(request: bytes) -> bytes:
    """What `digest` answers."""
    head = f"{hashlib.sha256(request).hexdigest()} {len(request)}\n".encode()
    return head + noise(1_000_000, seed=len(request))


async def exchange(ic, oc, data: bytes) -> bytes:
    """Send `data` and our end, and meanwhile read until the peer's: what came."""

    async def send() -> None:
        for start in range(0, len(data), 50_000):
            await oc.write(data[start : start + 50_000])
        oc.write_eof()

    async with asyncio.TaskGroup() as both:
        both.create_task(send())
        reading: asyncio.Task[bytes] = both.create_task(ic.read())
    return reading.result()
