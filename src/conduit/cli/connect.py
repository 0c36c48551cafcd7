"""`conduit connect`: a connection joined to standard input and output."""

from __future__ import annotations

import asyncio
import json
import sys

import click

import conduit

from .facts import facts_of, lines_of
from .parameters import TARGET, Number, Settings, connecting, json_option, subcommand
from .standard_streams import StandardInput, StandardOutput
from .terminal import complain

_PIECE = 256 * 1024


@subcommand(
    "connect",
    example="printf 'GET / HTTP/1.0\\r\\n\\r\\n' | conduit connect https://example.com\n"
    "conduit connect --facts tls://db.example:5432 </dev/null",
    statuses="0  both sides have ended\n"
    "1  it could not connect, or the connection failed; standard error says why\n"
    "2  the arguments make no sense\n"
    "130, 143  ended by SIGINT, SIGTERM",
)
@click.argument("address", type=TARGET)
@click.option("--facts", is_flag=True, help="Tell on stderr whom it is with, and by which TLS.")
@json_option("the facts on stderr")
@click.option(
    "--wait",
    type=Number(),
    default=0.5,
    metavar="SECONDS",
    help="When the peer has ended: go on until stdin is silent for so long (default: 0.5).",
)
@connecting(None)
def command(
    address: str,
    timeout: float | None,
    facts: bool,
    as_json: bool,
    wait: float,
    settings: Settings,
) -> int:
    """Connect to ADDRESS, send it what comes in on stdin, and write to stdout what it says.

    ADDRESS is the text of an address (tcp://HOST:PORT, tls://..., unix:/PATH), an s-expression, the
    URI of a service (https://example.com), or @FILE with one of these in a file.

    The end of stdin is the end of what the peer gets, and its answer is still awaited. When the
    peer ends, so does this, as soon as stdin has nothing more to send.
    """
    return conduit.run(_Connection(address, timeout, facts, as_json, wait, settings).run)


class _Connection:
    """One run; the arguments are the options."""

    def __init__(
        self,
        address: str,
        timeout: float | None,
        facts: bool,
        as_json: bool,
        wait: float,
        settings: Settings,
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._facts = facts
        self._as_json = as_json
        self._wait = wait
        self._settings = settings

    async def run(self) -> int:
        """Connect, and join. Returns the exit status."""
        ctx = await self._settings.context()
        limits = {} if self._timeout is None else {"timeout": self._timeout}
        async with conduit.connect(self._address, ctx=ctx, **limits) as triple:
            if self._as_json:
                complain(json.dumps(facts_of(triple)))
            elif self._facts:
                for line in lines_of(facts_of(triple)):
                    complain(line)
            _, ic, oc = triple
            await _join(ic, oc, self._wait)
        return 0


async def _join(ic: conduit.Input, oc: conduit.Output, wait: float) -> None:
    stdin = StandardInput()
    there = asyncio.ensure_future(_send(stdin, oc))
    back = asyncio.ensure_future(_receive(ic))
    try:
        await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        if not back.done():
            # Stdin has ended; or the peer takes no more, but has perhaps still something to say.
            await asyncio.wait((back,))
        back.result()
        await _finish(there, stdin, wait)
    finally:
        for task in (there, back):
            task.cancel()
        await asyncio.gather(there, back, return_exceptions=True)


async def _finish(there: asyncio.Future[None], stdin: StandardInput, wait: float) -> None:
    """The peer has ended: send what there is, and do not wait for what there may be."""
    while not there.done():
        before = stdin.received
        await asyncio.wait((there,), timeout=0 if stdin.is_terminal else wait)
        if stdin.received == before:
            break
    if there.done():
        there.result()


async def _send(stdin: StandardInput, oc: conduit.Output) -> None:
    while data := await stdin.read():
        try:
            await oc.write(data)
        except BrokenPipeError as error:
            # By its class it would be taken for a reader of stdout that has gone.
            raise ConnectionResetError(
                error.errno, "the peer has gone before it had all of stdin"
            ) from error
    if oc.can_write_eof():
        oc.write_eof()
        await oc.drain()


async def _receive(ic: conduit.Input) -> None:
    stdout = StandardOutput()
    sys.stdout.flush()
    while data := await ic.read(_PIECE):
        await stdout.write(data)
