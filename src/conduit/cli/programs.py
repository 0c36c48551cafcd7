"""A program that talks to a client by its standard input and output."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

from ..channels import Input, Output
from ..convert import endp_of_flow
from ..transports import Triple

_PIECE = 64 * 1024

_SECONDS_TO_END = 2.0


async def run_program(args: Sequence[str], triple: Triple) -> None:
    """Run a program for a client, until it ends.

    args: the program and its arguments. triple: the client's flow, which stays open.

    The end of the client's output is the end of its input; its own end, or that of its output, is
    the end of what the client gets. When the connection fails or this is cancelled, the program and
    all that it has started are sent SIGTERM, and SIGKILL two seconds later. Raises what the flow
    fails with, and OSError when it cannot be run.
    """
    process = await asyncio.create_subprocess_exec(
        *args,
        stdin=PIPE,
        stdout=PIPE,
        env=os.environ | {"CONDUIT_PEER": str(endp_of_flow(triple.flow))},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    there = asyncio.ensure_future(_feed(triple.ic, process.stdin))
    back = asyncio.ensure_future(_answer(process.stdout, triple.oc))
    try:
        await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        if not back.done() and there.exception() is None:
            await asyncio.wait((back,))
        for task in (back, there):
            if task.done():
                task.result()
        await process.wait()
    finally:
        for task in (there, back):
            task.cancel()
        process.stdin.close()
        await asyncio.shield(asyncio.ensure_future(_end(process)))
        await asyncio.gather(there, back, return_exceptions=True)


async def _feed(ic: Input, stdin: asyncio.StreamWriter) -> None:
    try:
        while data := await ic.read(_PIECE):
            stdin.write(data)
            await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        if not stdin.is_closing():
            raise  # it is the client that has gone
        return
    stdin.close()


async def _answer(stdout: asyncio.StreamReader, oc: Output) -> None:
    while data := await stdout.read(_PIECE):
        await oc.write(data)
    if oc.can_write_eof():
        oc.write_eof()
        await oc.drain()


async def _end(process: Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            await asyncio.wait_for(process.wait(), _SECONDS_TO_END)
        except TimeoutError:
            pass
