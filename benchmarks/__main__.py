"""The command: python -m benchmarks, from the root of the repository."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from . import (
    certificates,
    idle_memory,
    import_cost,
    machine,
    other_processes,
    plot,
    report,
    rows,
    s_expressions,
)
from .peers.interface import TLS_KINDS
from .rates import RateMeasurement
from .variants import PEERS

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"
PLOT = HERE.parent / "docs" / "pictures" / "growth.svg"


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how often."""

    rounds: int
    duration: float
    connections: int
    memory_repeats: int
    import_rounds: int
    growth_rounds: int
    process_rounds: int
    all_growth: bool


DEFAULT = Settings(
    rounds=30,
    duration=0.05,
    connections=2000,
    memory_repeats=3,
    import_rounds=15,
    growth_rounds=8,
    process_rounds=10,
    all_growth=True,
)
SECOND_LOOK = Settings(
    rounds=15,
    duration=0.03,
    connections=2000,
    memory_repeats=1,
    import_rounds=9,
    growth_rounds=8,
    process_rounds=8,
    all_growth=False,
)
"""For the rows that --quick found slower than recorded; three short rounds may be mistaken."""

QUICK = Settings(
    rounds=3,
    duration=0.02,
    connections=1000,
    memory_repeats=1,
    import_rounds=3,
    growth_rounds=2,
    process_rounds=2,
    all_growth=False,
)


def main() -> int:
    options = _options()
    base = QUICK if options.quick else DEFAULT
    settings = Settings(
        rounds=options.rounds or base.rounds,
        duration=options.duration or base.duration,
        connections=options.connections or base.connections,
        memory_repeats=base.memory_repeats,
        import_rounds=base.import_rounds,
        growth_rounds=base.growth_rounds,
        process_rounds=base.process_rounds,
        all_growth=base.all_growth,
    )
    _measure_this_checkout()
    if options.subject == "conduit" and not _conduit_works():
        print("conduit cannot be imported here; --subject streams runs its peers alone")
        return 2
    cpu = machine.last_cpu() if options.cpu is None else options.cpu
    facts = machine.facts(cpu)
    print(_heading(facts, settings))

    started = time.monotonic()
    findings = _measure(settings, cpu, lambda row: rows.chosen(options.rows, row), options.subject)
    print(findings.tables())
    for line in findings.waits():
        print(f"waits: {line}")
    print(f"\n{time.monotonic() - started:.0f} s in all")

    contents = {
        "machine": facts,
        "settings": {name: getattr(settings, name) for name in Settings.__slots__},
        **findings.as_json(),
    }
    if options.json:
        options.json.write_text(json.dumps(contents, indent=1) + "\n")
    if options.plot:
        plot.draw(findings.growth_curves(), options.plot)
    failures = findings.failures()
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    slower: list[str] = []
    if options.record and not failures:
        _record(contents)
    elif options.quick and RECORDED.exists():
        slower = _slower_than_recorded(findings, cpu, options.subject)
        for line in slower:
            print(f"slower: {line}", file=sys.stderr)
    return 1 if failures or slower else 0


def _slower_than_recorded(findings: report.Findings, cpu: int | None, subject: str) -> list[str]:
    """A line for each ratio that is well below its recorded value, also at a second look."""
    contents = json.loads(RECORDED.read_text())["ratios"]
    recorded = {name: ratio["median"] for name, ratio in contents.items()}
    suspected = report.slower_than_recorded(findings.ratios(), recorded)
    if not suspected:
        return []
    doubtful = {ratio.row for ratio in suspected}
    print("seems slower than recorded, measured once more: " + ", ".join(sorted(doubtful)))
    again = _measure(SECOND_LOOK, cpu, lambda row: row in doubtful, subject)
    print(again.tables())
    names = {ratio.name for ratio in suspected}
    return again.failures() + [
        f"{ratio.name} is {ratio.spread.median:.2f}, recorded was {recorded[ratio.name]:.2f}"
        for ratio in report.slower_than_recorded(again.ratios(), recorded)
        if ratio.name in names
    ]


def _measure(
    settings: Settings, cpu: int | None, wanted: Callable[[str], bool], subject: str
) -> report.Findings:
    findings = report.Findings()
    rate_rows = [row for row in rows.RATE_ROWS if wanted(row.name) and _possible(row)]
    memory_rows = [row for row in rows.MEMORY_ROWS if wanted(row.name) and _possible(row)]
    rate_panels, memory_panels = rows.rate_panels(subject), rows.memory_panels(subject)
    absent = {
        variant: missing
        for variant in rows.variants_of((*rate_panels, *memory_panels))
        if (missing := variant.missing())
    }
    for variant, missing in absent.items():
        print(f"left out: {variant} ({', '.join(missing)} not installed)")
    findings.rate_panels = [panel.without(absent) for panel in rate_panels]
    findings.memory_panels = [panel.without(absent) for panel in memory_panels]
    findings.growth_panels = [panel.without(absent) for panel in rows.growth_panels(subject)]
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        directory = Path(temporary)
        if certificates.can_be_made():
            certificates.make(directory)
        measurement = RateMeasurement(directory, settings.rounds, settings.duration, cpu)
        for row in rate_rows:
            _say(row.name)
            variants = rows.variants_of(rows.panels_for(findings.rate_panels, row.kind))
            findings.rates.append(measurement.measure(row, variants))
        _measure_growth(findings, settings, directory, cpu, wanted)
        for name in filter(wanted, other_processes.NAMES if subject == "conduit" else ()):
            _say(name)
            findings.costs.append(
                other_processes.measure(name, settings.process_rounds, directory, cpu, print)
            )
        for memory_row in memory_rows:
            _say(memory_row.name)
            variants = rows.variants_of(rows.panels_for(findings.memory_panels, memory_row.kind))
            many, repeats = settings.connections, settings.memory_repeats
            findings.memory.append(
                idle_memory.measure(memory_row, variants, many, repeats, directory, cpu)
            )
    if wanted(rows.IMPORT) and subject == "conduit":
        _say("import")
        machine.pin(cpu)
        findings.imports = import_cost.measure(settings.import_rounds)
    if wanted(rows.SEXP) and subject == "conduit":
        _say("sexp")
        if s_expressions.is_missing():
            print(f"left out: {rows.SEXP} ({s_expressions.PEER} not installed)")
        else:
            machine.pin(cpu)
            findings.sexps = s_expressions.measure(settings.import_rounds)
    _say("")
    return findings


def _measure_growth(
    findings: report.Findings,
    settings: Settings,
    directory: Path,
    cpu: int | None,
    wanted: Callable[[str], bool],
) -> None:
    measurement = RateMeasurement(directory, settings.growth_rounds, settings.duration, cpu)
    variants = rows.variants_of(findings.growth_panels)
    for row in rows.GROWTH_ROWS:
        if wanted(row.name) and (settings.all_growth or row.name in rows.BRIEF_GROWTH):
            _say(row.name)
            findings.growth.append(measurement.measure(row, variants))


def _possible(row: rows.RateRow | rows.MemoryRow) -> bool:
    """Whether it can be measured with what is installed; if not, say so."""
    if row.kind not in TLS_KINDS or certificates.can_be_made():
        return True
    print(f"left out: {row.name} (cryptography not installed)")
    return False


def _record(contents: dict[str, object]) -> None:
    """Keep the ratios, and what they were measured on, for later runs to be held against."""
    kept = {name: contents[name] for name in ("machine", "settings", "ratios", "growth")}
    RECORDED.write_text(json.dumps(kept, indent=1) + "\n")
    plot.draw(cast("plot.Curves", contents["growth"]), PLOT)
    print(f"recorded in {RECORDED} and {PLOT}")


def _measure_this_checkout() -> None:
    """Let this process and all it starts import the package that lies next to us."""
    root = HERE.parent
    paths = [str(root / "src"), str(root)]
    sys.path[:0] = paths
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *([inherited] if inherited else [])])


def _conduit_works() -> bool:
    program = "import conduit; conduit.connect, conduit.listen"
    return subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def _heading(facts: dict[str, object], settings: Settings) -> str:
    return (
        f"{facts['python']}, {facts['kernel']}\n"
        f"{facts['cpu']}, {facts['cores']} cores, pinned to CPU {facts['pinned to']}\n"
        f"{settings.rounds} rounds of {settings.duration:g} s of CPU time for each variant\n"
        "Above 1 we are faster; the second line of a row has the quartiles.\n"
    )


def _say(row: str) -> None:
    """Show on a terminal what is being measured."""
    if sys.stderr.isatty():
        print(f"\r{row:<40}", end="" if row else "\r", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Conduit against other ways to write the same program.",
        epilog="rows: " + ", ".join(rows.ALL_NAMES),
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="everything runs, in few short rounds; fails if a ratio is below "
        f"{report.LOWEST_SHARE} of the one in {RECORDED.name}",
    )
    parser.add_argument(
        "--rows",
        metavar="PATTERN",
        help="only these rows: a part of the name or *; several with commas between them",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything measured")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw how cost grows, as SVG")
    parser.add_argument(
        "--record",
        action="store_true",
        help=f"write {RECORDED.name} and {PLOT.name}, from a whole run",
    )
    parser.add_argument("--rounds", type=int, help=f"rounds of each row ({DEFAULT.rounds})")
    parser.add_argument(
        "--duration", type=float, help=f"seconds of CPU time of a round ({DEFAULT.duration})"
    )
    parser.add_argument(
        "--connections", type=int, help=f"idle connections to hold ({DEFAULT.connections})"
    )
    parser.add_argument("--cpu", type=int, help="the CPU to run on (the last)")
    parser.add_argument(
        "--subject",
        default="conduit",
        choices=[name for name in PEERS if name in ("conduit", "streams", "anyio")],
        help="whom to measure against the others (conduit)",
    )
    options = parser.parse_args()
    if options.record and (options.quick or options.rows or options.subject != "conduit"):
        parser.error("--record keeps a whole run: not with --quick, --rows or --subject")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
