"""Measuring what an import costs, in fresh interpreters that take turns."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from .ratios import turns

STATEMENTS = {
    "conduit": "import conduit; conduit.client.TCP",
    "asyncio": "import asyncio",
}

_PROGRAM = """
import time
start = time.process_time()
{}
print(time.process_time() - start)
"""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Seconds of CPU time for each statement, one figure a round.

    `statement` holds what the statement itself took, `whole` what the process took in all,
    user and system together, from its start to its end.
    """

    statement: dict[str, list[float]]
    whole: dict[str, list[float]]


def measure(rounds: int) -> ImportResult:
    """Run each statement once a round; the first round, which may compile, is not counted."""
    result = ImportResult({name: [] for name in STATEMENTS}, {name: [] for name in STATEMENTS})
    for number, order in enumerate(turns([*STATEMENTS], rounds + 1)):
        for name in order:
            statement, whole = _run(STATEMENTS[name])
            if number:
                result.statement[name].append(statement)
                result.whole[name].append(whole)
    return result


def _run(statement: str) -> tuple[float, float]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(statement)], stdout=subprocess.PIPE
    )
    assert process.stdout
    with process.stdout as output:
        printed = output.read()
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{statement!r} ended with status {process.returncode}")
    return float(printed), usage.ru_utime + usage.ru_stime
