"""Measuring the reading and printing of s-expressions, ours and sexpdata's, in turn."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from .ratios import turns

SIZE = 1_000_000
PEER = "sexpdata"

# As in a configuration file: short and long atoms, some in quotes, some with escapes.
_ENTRY = (
    '((name "server %d")(client(TLS((Hostname db%d.example)(IP 192.0.2.%d)(Port 5432))))'
    '(note "says \\"hello\\"")(tags(blue green %d)))\n'
)


@dataclass(frozen=True, slots=True)
class SexpResult:
    """Seconds of CPU time for the same megabyte, one figure a round: by work, by whose."""

    reading: dict[str, list[float]]
    printing: dict[str, list[float]]


def is_missing() -> bool:
    """Whether there is nobody to be measured against."""
    return find_spec(PEER) is None


def text() -> str:
    """A megabyte that both read alike."""
    entries: list[str] = []
    size = 2
    while size < SIZE:
        number = len(entries)
        entries.append(_ENTRY % (number, number, number % 250, number))
        size += len(entries[-1])
    return f"({''.join(entries)})"


def measure(rounds: int) -> SexpResult:
    """Read and print the megabyte once a round each; the first round is not counted."""
    import sexpdata

    from conduit import sexp

    data = text()
    ours, theirs = sexp.of_string(data), sexpdata.loads(data)
    reading: dict[str, Callable[[], Any]] = {
        "conduit": lambda: sexp.of_string(data),
        PEER: lambda: sexpdata.loads(data),
    }
    printing: dict[str, Callable[[], Any]] = {
        "conduit": lambda: sexp.to_string(ours),
        PEER: lambda: sexpdata.dumps(theirs),
    }
    gc.freeze()  # what is read here is not walked through by the collector in the rounds
    try:
        return SexpResult(_measured(reading, rounds), _measured(printing, rounds))
    finally:
        gc.unfreeze()


def _measured(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in works}
    for number, order in enumerate(turns([*works], rounds + 1)):
        for name in order:
            gc.collect()
            started = time.process_time()
            works[name]()
            if number:
                took[name].append(time.process_time() - started)
    return took
