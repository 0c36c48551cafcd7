"""Measuring the memory of an idle connection, each time in a fresh process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .ratios import turns
from .rows import MemoryRow
from .variants import Variant
from .worker_process import WorkerFailed, WorkerProcess


@dataclass(frozen=True, slots=True)
class MemoryResult:
    """Bytes for each connection, one figure a repetition."""

    row: MemoryRow
    bytes: dict[Variant, list[float]]
    failures: dict[Variant, str]


def measure(
    row: MemoryRow,
    variants: Sequence[Variant],
    connections: int,
    repeats: int,
    directory: Path,
    cpu: int | None,
) -> MemoryResult:
    """Hold `connections` idle connections in each variant's process, `repeats` times."""
    result = MemoryResult(row, {}, {})
    for order in turns(variants, repeats):
        for variant in order:
            if variant in result.failures:
                continue
            try:
                with WorkerProcess(variant, cpu, directory) as worker:
                    worker.open(row.kind)
                    answer = worker.ask(
                        limit=150.0,
                        do="idle",
                        held_by=row.held_by,
                        count=max(1, connections // row.share),
                    )
                result.bytes.setdefault(variant, []).append(answer["bytes"])
            except WorkerFailed as failure:
                result.failures[variant] = str(failure)
                result.bytes.pop(variant, None)
                print(f"{row.name}: {failure}", file=sys.stderr)
    return result
