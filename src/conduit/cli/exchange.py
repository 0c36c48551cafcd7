"""One connection put to the test: data both ways at once, and whether it arrived as it was sent."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from typing import TypeAlias, cast

import conduit
from conduit import Input, Output, client, endp, events, flow

from .report import Row

Target: TypeAlias = client.Client | endp.Endp

_PIECE = 64 * 1024

# How long one connection may take: this, and what a megabyte a second would add.
_SECONDS = 10.0
_SLOWEST = 1_000_000


class _Payload:
    """Random bytes, the same for the same seed, and their hash."""

    def __init__(self, seed: int, size: int) -> None:
        self.data = random.Random(seed).randbytes(size)
        self.sha256 = hashlib.sha256(self.data).hexdigest()

    def check(self, pieces: list[bytes], who: str) -> None:
        """Raise _Differs unless `pieces` are these bytes."""
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        if digest.hexdigest() != self.sha256:
            raise _Differs(
                f"what {who} got is not what was sent: {sum(map(len, pieces))} bytes with SHA-256 "
                f"{digest.hexdigest()[:16]}, instead of {len(self.data)} with {self.sha256[:16]}"
            )


class _Differs(Exception):
    """What arrived is not what was sent."""


class Exchange:
    """Both ends of the test, for one connection after the other.

    size: how many bytes go each way.
    """

    def __init__(self, size: int) -> None:
        self._to_server = _Payload(1, size)
        self._to_client = _Payload(2, size)
        self._seconds = _SECONDS + size / _SLOWEST
        # How the server's side of the present connection ended: an error, or None if it went well.
        self._served: asyncio.Future[BaseException | None] | None = None

    async def serve(self, f: flow.Flow, ic: Input, oc: Output) -> None:
        """The handler of a server."""
        # Kept: a handler that outlives its connection must not speak for the next one.
        served = self._served
        try:
            pieces = await _swap(ic, oc, self._to_client.data, len(self._to_server.data))
            self._to_server.check(pieces, "the server")
        except Exception as error:
            _tell(served, error)
        else:
            _tell(served, None)

    def failed(self, error: BaseException) -> None:
        """The `on_exn` of a server: it did not come to its handler."""
        _tell(self._served, error)

    async def connect(
        self, target: Target, server: str, name: str, ctx: conduit.Context | None = None
    ) -> Row:
        """Connect, exchange and check.

        target: where `serve` is the handler. server, name: what it is served by, and what the
        target is called, for the row. ctx: for connecting.

        Raises UnsupportedTransport for what cannot be connected to here; everything else that goes
        wrong is told in the row.
        """
        served = self._served = asyncio.get_running_loop().create_future()
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                return await self._connect(target, server, name, ctx, served)
        except conduit.UnsupportedTransport:
            raise
        except Exception as error:
            reason = f"not done in {self._seconds:g} s" if limit.expired() else reason_of(error)
            theirs = served.result() if served.done() else None
            if theirs is not None and theirs is not error:
                reason += f"; on the server's side: {reason_of(theirs)}"
            return Row(server=server, address=name, state="failed", reason=reason)

    async def _connect(
        self,
        target: Target,
        server: str,
        name: str,
        ctx: conduit.Context | None,
        served: asyncio.Future[BaseException | None],
    ) -> Row:
        handshakes: list[events.Handshake] = []

        def note(event: events.Event) -> None:
            if isinstance(event, events.Handshake):
                handshakes.append(event)

        started = time.perf_counter()
        with events.subscribe(note):
            async with conduit.connect(target, ctx=ctx) as (f, ic, oc):
                connected = time.perf_counter()
                pieces = await _swap(ic, oc, self._to_server.data, len(self._to_client.data))
                done = time.perf_counter()
                self._to_client.check(pieces, "the client")
                if (error := await served) is not None:
                    raise error
                return Row(
                    server=server,
                    address=name,
                    flow=repr(f),
                    connect_seconds=connected - started,
                    sent=len(self._to_server.data) + len(self._to_client.data),
                    transfer_seconds=done - connected,
                    tls=_described(oc),
                    # The server's own is told as well, and that of TLS below.
                    handshake_seconds=next((e.seconds for e in handshakes if e.flow is f), None),
                )


def _described(oc: Output) -> str | None:
    """What was agreed on, if there is TLS."""
    facts = oc.get_extra_info("tls")
    if facts is None:
        return None
    return f"{facts.version} {facts.cipher}{' resumed' if facts.resumed else ''}"


def _tell(served: asyncio.Future[BaseException | None] | None, error: BaseException | None) -> None:
    if served is not None and not served.done():
        served.set_result(error)


async def _swap(ic: Input, oc: Output, data: bytes, expected: int) -> list[bytes]:
    """Send `data` and our end, and meanwhile read until the peer's end.

    expected: how many bytes the peer sends; a flow whose output cannot be ended alone is read so
    far.
    """
    pieces: list[bytes] = []

    async def read() -> None:
        missing = expected
        while (missing > 0 or oc.can_write_eof()) and (piece := await ic.read(_PIECE)):
            pieces.append(piece)
            missing -= len(piece)

    async with asyncio.TaskGroup() as both:
        both.create_task(read())
        with memoryview(data) as view:
            for start in range(0, len(view), _PIECE):
                await oc.write(view[start : start + _PIECE])
        if oc.can_write_eof():
            oc.write_eof()
    return pieces


def reason_of(error: BaseException) -> str:
    """Why, in one line."""
    if isinstance(error, BaseExceptionGroup):
        return reason_of(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    text = " ".join(str(error).split())
    if isinstance(error, conduit.ConduitError | _Differs) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
