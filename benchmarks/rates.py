"""Measuring rates: all variants of a row in turn, one short round at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .ratios import operations_for, turns
from .rows import RateRow
from .variants import Variant
from .worker_process import WorkerFailed, WorkerProcess

LARGEST_COUNT = 10_000_000


@dataclass(frozen=True, slots=True)
class Round:
    """What one variant did when it was its turn."""

    operations: int
    cpu: float
    wall: float

    @property
    def rate(self) -> float:
        return self.operations / self.cpu


@dataclass(frozen=True, slots=True)
class RateResult:
    """The rounds of each variant in a row; those that failed are in `failures` instead."""

    row: RateRow
    rounds: dict[Variant, list[Round]]
    failures: dict[Variant, str]


class RateMeasurement:
    """How long and how often to measure, and where the sockets may lie."""

    def __init__(self, directory: Path, rounds: int, duration: float, cpu: int | None) -> None:
        self._directory = directory
        self._rounds = rounds
        self._duration = duration
        self._cpu = cpu

    def measure(self, row: RateRow, variants: Sequence[Variant]) -> RateResult:
        """Start a fresh worker for each variant, warm it up, and have them take turns.

        Fresh, because what a worker did before lives on in its heap: bulk over a Unix socket
        ran at half or at twice its rate after bulk over TCP.
        """
        result = RateResult(row, {}, {})
        counts: dict[Variant, int] = {}
        with ExitStack() as stack:
            workers = {
                variant: stack.enter_context(WorkerProcess(variant, self._cpu, self._directory))
                for variant in variants
            }

            def guarded(variant: Variant, act: Callable[[WorkerProcess], object]) -> None:
                """Let the worker act; if that fails, say so and do without it from then on."""
                try:
                    act(workers[variant])
                except WorkerFailed as failure:
                    result.failures[variant] = str(failure)
                    result.rounds.pop(variant, None)
                    print(f"{row.name}: {failure}", file=sys.stderr)
                    workers[variant].end()

            def warm_up(worker: WorkerProcess) -> None:
                counts[worker.variant] = self._warm_up(row, worker)

            def work(worker: WorkerProcess) -> None:
                done = _one_round(row, worker, counts[worker.variant])
                result.rounds.setdefault(worker.variant, []).append(done)

            for variant in variants:
                guarded(variant, warm_up)
            for order in turns(variants, self._rounds):
                for variant in order:
                    if variant not in result.failures:
                        guarded(variant, work)
            for variant in [*result.rounds]:
                guarded(variant, lambda worker: worker.ask(do="close"))
        return result

    def _warm_up(self, row: RateRow, worker: WorkerProcess) -> int:
        """Open the server, find how many operations make a round, and do one uncounted."""
        worker.open(row.kind)
        count = row.at_once
        while (warm := _one_round(row, worker, count)).cpu < self._duration / 4:
            if count >= LARGEST_COUNT:
                break
            count *= 4
        count = operations_for(self._duration, count, warm.cpu, row.at_once)
        worker.ask(do="freeze")
        _one_round(row, worker, count)
        return count


def _one_round(row: RateRow, worker: WorkerProcess, count: int) -> Round:
    # The first round of a crowd opens all its connections.
    limit = 120.0 if row.work == "crowd" else 30.0
    answer = worker.ask(
        limit, do="round", work=row.work, count=count, size=row.size, at_once=row.at_once
    )
    return Round(answer["operations"], answer["cpu"], answer["wall"])
