"""The process in which one variant works, and how it is told to.

    python -m benchmarks.worker SERVER CLIENT RUNTIME CPU

Orders come as lines of JSON on standard input, and each is answered by one line on standard
output. Between two orders the process sleeps in a read, its event loop standing still, so that
only the variant whose turn it is uses the CPU.

    {"do": "open", "kind": "tcp", "path": "…"}          listen; the path is that of
                                                        the socket or directory -> {}
    {"do": "round", "work": …, "count": …, "size": …, "at_once": …}
                                                        work and time it        -> a Round
    {"do": "freeze"}                                    exempt from collection what lives now
    {"do": "idle", "held_by": "outsider"/"client", "count": …}
                                                        memory of idle connections
                                                                                -> {"bytes": …}
    {"do": "close"}                                     stop listening          -> {}

Server and client share this process and its loop, so nothing ever waits for another process,
and operations per second of CPU time are what the code costs and not what the machine's other
tenants leave of it.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

from .peers import tls_contexts
from .peers.interface import Peer, Place, Runtime, Talkative
from .variants import load_peer, load_runtime

Order = dict[str, Any]
Answer = dict[str, Any]

CLOSING_LIMIT = 5.0
"""Seconds within which every socket of a round must be closed."""

IDLE_LIMIT = 120.0
"""Seconds within which the connections to be held must be open."""

WARM_UP_SHARE = 4
"""One connection for so many is opened first: they fill what start-up left free in the heap."""


DESCRIPTORS_FOR_THE_REST = 100


class LeftOpen(Exception):
    """A round is over and sockets it opened are not closed."""


def _open_sockets() -> int:
    """How many descriptors are sockets; loops also open other files when they first need them."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # The one that was open for the listing itself.
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
    return count


def _most_connections() -> int:
    """How many this process may have, with both ends of each."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - DESCRIPTORS_FOR_THE_REST) // 2


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class Worker:
    def __init__(self, runtime: Runtime, server: Peer, client: Peer, answers: int) -> None:
        self._runtime = runtime
        self._server = server
        self._client = client
        self._answers = answers
        self._sockets = 0
        self._crowd: list[Any] = []

    def _answer(self, answer: Answer) -> None:
        try:
            os.write(self._answers, json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:
            os._exit(1)  # Nobody is left to work for.

    def _next_order(self) -> Order | None:
        """Block the whole process until the next order; None when there will be none."""
        line = sys.stdin.readline()
        return json.loads(line) if line else None

    async def attend(self) -> None:
        """Do what is ordered until the input ends."""
        try:
            while order := self._next_order():
                if order["do"] != "open":
                    raise ValueError(f"not while nothing is open: {order}")
                async with self._server.serving(order["kind"], order["path"]) as place:
                    # Loops open sockets of their own when the first connection is made.
                    await self._client.exchange(place, 1)
                    await self._runtime.rest(0.01)
                    self._sockets = _open_sockets()
                    self._answer({})
                    await self._attend_open(place)
                gc.unfreeze()
                self._answer({})
        except BaseException as error:
            self._answer({"error": "".join(traceback.format_exception_only(error)).strip()})
            raise

    async def _attend_open(self, place: Place) -> None:
        while order := self._next_order():
            match order["do"]:
                case "close":
                    return
                case "round":
                    self._answer(await self._round(place, order))
                case "freeze":
                    gc.collect()
                    gc.freeze()
                    self._answer({})
                case "idle":
                    if order["held_by"] == "client":
                        size = await self._idle_held_by_client(place, order["count"])
                    else:
                        size = await self._idle_held_by_outsider(place, order["count"])
                    self._answer({"bytes": size / order["count"]})
                case other:
                    raise ValueError(f"no such order: {other}")

    async def _round(self, place: Place, order: Order) -> Answer:
        count, size, at_once = order["count"], order["size"], order["at_once"]
        gc.collect()
        wall = cpu = 0.0

        def start() -> None:
            nonlocal wall, cpu
            wall, cpu = time.perf_counter(), time.process_time()

        start()
        match order["work"]:
            case "connect" if at_once == 1:
                await self._client.exchange(place, count)
            case "connect":
                job = partial(self._client.exchange, place, count // at_once)
                await self._runtime.together([job] * at_once)
            case "ping-pong":
                await self._client.ping_pong(place, count, size, start)
            case "bulk":
                await self._client.bulk(place, count, size, start)
            case "crowd":
                crowd = await self._crowd_of(place, min(at_once, _most_connections()))
                each = count // at_once
                count = each * len(crowd)
                talk = cast(Talkative, self._client).talk
                start()
                await self._runtime.together([partial(talk, one, each, size) for one in crowd])
            case other:
                raise ValueError(f"no such work: {other}")
        wall = time.perf_counter() - wall
        await self._all_closed()
        cpu = time.process_time() - cpu
        return {"operations": count, "cpu": cpu, "wall": wall}

    async def _crowd_of(self, place: Place, number: int) -> list[Any]:
        """Connections that stay open from one round to the next."""
        if not self._crowd:
            self._crowd = await cast(Talkative, self._client).hold(place, number)
            self._sockets = _open_sockets()
        return self._crowd

    async def _all_closed(self) -> None:
        """Wait until only the server's sockets are open: closing is part of the work."""
        await self._runtime.rest(0.001)
        limit = time.monotonic() + CLOSING_LIMIT
        while (now := _open_sockets()) > self._sockets:
            if time.monotonic() > limit:
                raise LeftOpen(f"{now - self._sockets} sockets are still open")
            await self._runtime.rest(0.002)

    async def _idle_held_by_client(self, place: Place, count: int) -> int:
        """Bytes that `count` connections take, both ends being in this process."""
        held = [await self._client.hold(place, count // WARM_UP_SHARE)]
        await self._runtime.rest(0.1)
        before = _resident_bytes()
        held.append(await self._client.hold(place, count))
        await self._runtime.rest(0.1)
        return _resident_bytes() - before

    async def _idle_held_by_outsider(self, place: Place, count: int) -> int:
        """Bytes that `count` connections take whose other ends are in another process."""
        holder = subprocess.Popen(
            [
                sys.executable,
                "-S",
                str(Path(__file__).with_name("idle_clients.py")),
                str(place.port or place.path),
                *(
                    [tls_contexts.file(place.path, f"{tls_contexts.AUTHORITY}.crt")]
                    if place.layers
                    else []
                ),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        os.set_blocking(holder.stdout.fileno(), False)

        async def open_more(number: int) -> None:
            assert holder.stdin is not None
            assert holder.stdout is not None
            holder.stdin.write(b"%d\n" % number)
            holder.stdin.flush()
            limit = time.monotonic() + IDLE_LIMIT
            while not holder.stdout.read(1):
                if holder.poll() is not None or time.monotonic() > limit:
                    raise RuntimeError(f"{number} connections could not be opened")
                await self._runtime.rest(0.01)
            await self._runtime.rest(0.1)

        with holder:
            try:
                await open_more(count // WARM_UP_SHARE)
                before = _resident_bytes()
                await open_more(count)
                return _resident_bytes() - before
            finally:
                holder.stdin.close()
                await self._runtime.rest(0.1)


def main() -> None:
    server, client, runtime_name, cpu = sys.argv[1:]
    # Whatever a peer prints goes to standard error and cannot be taken for an answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    runtime = load_runtime(runtime_name)
    worker = Worker(runtime, load_peer(server), load_peer(client), answers)
    # Only now: workers of a row may start on all CPUs, but work on one.
    if cpu:
        os.sched_setaffinity(0, {int(cpu)})
    runtime.run(worker.attend)


if __name__ == "__main__":
    main()
