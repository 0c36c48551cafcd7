"""The conversations written once for everything that has asyncio's reader and writer.

asyncio's own streams and Conduit's channels both run this very code, so that a difference
between them is a difference between the channels and not between two ways to use them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from .interface import MESSAGE, READ_SIZE, WrongEcho, check_amount


class Reader(Protocol):
    async def read(self, n: int = -1, /) -> bytes: ...

    async def readexactly(self, n: int, /) -> bytes: ...


class Writer(Protocol):
    def write(self, data: bytes, /) -> object: ...

    def drain(self) -> Awaitable[None]: ...

    def close(self) -> object: ...

    def wait_closed(self) -> Awaitable[None]: ...


async def echo(reader: Reader, writer: Writer) -> None:
    """Send back what comes in until it ends."""
    while data := await reader.read(READ_SIZE):
        writer.write(data)
        await writer.drain()


async def one_message(reader: Reader, writer: Writer) -> None:
    """Send MESSAGE and receive it."""
    writer.write(MESSAGE)
    await writer.drain()
    await reader.readexactly(len(MESSAGE))


async def ping_pong(reader: Reader, writer: Writer, count: int, size: int) -> None:
    message = bytes(size)
    for _ in range(count):
        writer.write(message)
        await writer.drain()
        await reader.readexactly(size)


async def bulk(reader: Reader, writer: Writer, count: int, size: int) -> None:
    piece = bytes(size)

    async def send() -> None:
        for _ in range(count):
            writer.write(piece)
            await writer.drain()

    sending = asyncio.create_task(send())
    try:
        expected, received = count * size, 0
        while received < expected:
            data = await reader.read(READ_SIZE)
            if not data:
                raise WrongEcho(f"the connection ended after {received} of {expected} bytes")
            received += len(data)
        check_amount(expected, received)
        await sending
    finally:
        sending.cancel()


async def close(writer: Writer) -> None:
    writer.close()
    await writer.wait_closed()
