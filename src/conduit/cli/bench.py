"""`conduit bench`: how long connecting takes, and a round trip, when many do it at once."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import click

import conduit
from conduit import client

from .._target import to_client
from .latencies import Latencies
from .parameters import POSITIVE, SECONDS, TARGET, Settings, connecting, json_option, subcommand
from .terminal import say_json

_CONCURRENCY = 10
_MESSAGES = 1000
_LARGEST = 64 * 1024 * 1024

_MOST_KINDS = 20
_OTHERS = "other failures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked for.

    connections: how many in all; None for as many as the time allows. concurrency: how many at
    once. messages: round trips on each. size: of a message, in bytes. seconds: when to end at the
    latest; None for when all is done. timeout: for a connect, and for a round trip.
    """

    connections: int | None
    concurrency: int
    messages: int
    size: int
    seconds: float | None
    timeout: float


@dataclass(slots=True)
class Result:
    """What was measured so far."""

    address: str
    load: Load
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    interrupted: bool = False
    connects: Latencies = field(default_factory=Latencies)
    trips: Latencies = field(default_factory=Latencies)
    failures: Counter[str] = field(default_factory=Counter[str])

    def fail(self, error: BaseException) -> None:
        """Count a failure by what it says; those of ever more kinds together."""
        what = str(error).partition("\n")[0] or type(error).__name__
        if what not in self.failures and len(self.failures) >= _MOST_KINDS:
            what = _OTHERS
        self.failures[what] += 1

    def as_json(self) -> dict[str, Any]:
        """The result as JSON can say it."""
        seconds = self.seconds or 1e-9
        return {
            "address": self.address,
            "seconds": round(self.seconds, 6),
            "interrupted": self.interrupted,
            "concurrency": self.load.concurrency,
            "size": self.load.size,
            "connections": self.connects.count,
            "connections_per_second": round(self.connects.count / seconds, 1),
            "connect_seconds": self.connects.as_json(),
            "round_trips": self.trips.count,
            "round_trips_per_second": round(self.trips.count / seconds, 1),
            "bytes_per_second_each_way": round(self.trips.count * self.load.size / seconds),
            "round_trip_seconds": self.trips.as_json(),
            "failures": dict(self.failures),
        }


@subcommand(
    "bench",
    example="conduit serve tcp://127.0.0.1:7000 --echo &\n"
    "conduit bench tcp://127.0.0.1:7000\n"
    "conduit bench --connections 500 --messages 0 tls://db.example:5432",
    statuses="0  every connection and every round trip succeeded\n"
    "1  some failed, counted by what went wrong; or none was made\n"
    "2  the arguments make no sense\n"
    "Ctrl-C and SIGTERM end it, and what was measured until then is shown.",
)
@click.argument("address", type=TARGET)
@click.option(
    "--connections",
    type=POSITIVE,
    metavar="N",
    help="Make so many in all (default: one for each at once; with --seconds, any number).",
)
@click.option(
    "--concurrency",
    type=POSITIVE,
    default=_CONCURRENCY,
    metavar="N",
    help=f"Have so many open at once (default: {_CONCURRENCY}).",
)
@click.option(
    "--messages",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Round trips on each connection; 0 only connects (default: {_MESSAGES}).",
)
@click.option(
    "--size",
    type=click.IntRange(1, _LARGEST),
    default=64,
    metavar="BYTES",
    help="Of a message (default: 64).",
)
@click.option("--seconds", type=SECONDS, metavar="SECONDS", help="End after so long.")
@json_option("the result")
@connecting(10.0)
def command(
    address: str,
    connections: int | None,
    concurrency: int,
    messages: int | None,
    size: int,
    seconds: float | None,
    timeout: float,
    as_json: bool,
    settings: Settings,
) -> int:
    """Connect to ADDRESS many times, send messages, and show how long each took to come back.

    The server there must be one that echoes, as `conduit serve ADDRESS --echo`; with --messages 0,
    any will do. --timeout is also for each round trip.
    """
    if connections is None and seconds is None:
        connections = concurrency
    if connections is not None:
        concurrency = min(concurrency, connections)
    load = Load(
        connections=connections,
        concurrency=concurrency,
        messages=_MESSAGES if messages is None else messages,
        size=size,
        seconds=seconds,
        timeout=timeout,
    )
    result = Result(str(to_client(address, conduit.Context(), None)), load)
    if as_json:
        conduit.run(lambda: _run(result, address, settings))
        say_json(result.as_json())
    else:
        from .bench_view import progressing, show

        conduit.run(lambda: _run(result, address, settings, progressing))
        show(result)
    return 1 if result.failures or not result.connects.count else 0


async def _run(
    result: Result,
    address: str,
    settings: Settings,
    show_progress: Callable[[Result], Coroutine[Any, Any, None]] | None = None,
) -> None:
    ctx = await settings.context()
    where = to_client(address, ctx, None)
    progress = None if show_progress is None else asyncio.create_task(show_progress(result))
    bench = _Bench(result, where.where, where.ctx)
    try:
        async with asyncio.timeout(result.load.seconds):
            await bench.run()
    except TimeoutError:
        pass
    except asyncio.CancelledError:
        result.interrupted = True  # by a signal: what there is, is shown
    finally:
        result.seconds = time.perf_counter() - result.began
        if progress is not None:
            progress.cancel()
            await asyncio.wait((progress,))


class _Bench:
    """The load itself. where: an address, or the URI of a service."""

    def __init__(self, result: Result, where: client.Client | str, ctx: conduit.Context) -> None:
        self._result = result
        self._where = where
        self._ctx = ctx
        self._message = os.urandom(result.load.size)
        self._numbers: Iterator[int] = iter(range(result.load.connections or 2**63))

    async def run(self) -> None:
        self._result.began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._result.load.concurrency):
                group.create_task(self._one_after_another())

    async def _one_after_another(self) -> None:
        for _ in self._numbers:
            try:
                await self._visit()
            except (OSError, EOFError, conduit.ConduitError) as error:
                self._result.fail(error)
                # A server that refuses at once is not to be asked as fast as we can.
                await asyncio.sleep(0.001)

    async def _visit(self) -> None:
        load = self._result.load
        began = time.perf_counter_ns()
        async with conduit.connect(self._where, ctx=self._ctx, timeout=load.timeout) as triple:
            self._result.connects.add(time.perf_counter_ns() - began)
            _, ic, oc = triple
            limit = asyncio.timeout(None)
            try:
                async with limit:
                    await self._talk(ic, oc, limit)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                oc.transport.abort()
                raise TimeoutError(f"no echo within {load.timeout:g} s") from error
            except asyncio.IncompleteReadError as error:
                raise EOFError("the server ended before it had sent all back") from error

    async def _talk(self, ic: conduit.Input, oc: conduit.Output, limit: asyncio.Timeout) -> None:
        message, size = self._message, len(self._message)
        loop = asyncio.get_running_loop()
        now, add = time.perf_counter_ns, self._result.trips.add
        for _ in range(self._result.load.messages):
            limit.reschedule(loop.time() + self._result.load.timeout)
            began = now()
            oc.write(message)
            answer = await ic.readexactly(size)
            add(now() - began)
            if answer != message:
                raise EOFError("what came back is not what was sent: this is no echo server")
        limit.reschedule(None)
