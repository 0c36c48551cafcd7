"""A worker seen from outside: start it, give it one order at a time, end it."""

from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from .peers.interface import TLS_KINDS, Kind
from .peers.tls_contexts import OPENSSL_SETTINGS
from .variants import Variant
from .worker import Answer, Order

_numbers = itertools.count()


class WorkerFailed(Exception):
    """A worker could not do what it was ordered to."""


class WorkerProcess:
    """One variant in a process of its own.

    directory: where its Unix socket may lie, and where the certificates of the run are.
    """

    def __init__(self, variant: Variant, cpu: int | None, directory: Path) -> None:
        self.variant = variant
        self._directory = directory
        self._pending = b""
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                f"{__package__}.worker",
                variant.server,
                variant.client,
                variant.runtime,
                "" if cpu is None else str(cpu),
            ],
            env={**os.environ, "OPENSSL_CONF": str(directory / OPENSSL_SETTINGS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # An interrupt is ours to answer; the worker is then ended.
        )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def open(self, kind: Kind) -> None:
        """Let it listen, and make a first connection; WorkerFailed if it cannot."""
        path = self._directory
        if kind not in TLS_KINDS:
            # A path of its own for each worker of a run.
            path /= f"{next(_numbers)}.sock"
        self.ask(do="open", kind=kind, path=str(path))

    def ask(self, limit: float = 30.0, **order: object) -> Answer:
        """Give an order and wait for the answer; WorkerFailed if it is bad or does not come."""
        answer = self._exchange(order, limit)
        if "error" in answer:
            raise WorkerFailed(f"{self.variant}: {answer['error']}")
        return answer

    def _exchange(self, order: Order, limit: float) -> Answer:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):  # Then it has died; its last words are still read.
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        until = time.monotonic() + limit
        while b"\n" not in self._pending:
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise WorkerFailed(f"{self.variant}: no answer within {limit:g} s to {order}")
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                raise WorkerFailed(f"{self.variant}: ended with status {process.wait()}")
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        answer: Answer = json.loads(line)
        return answer

    def end(self) -> None:
        """Kill it: nothing of it is needed any more, and leaving in good order takes time."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
