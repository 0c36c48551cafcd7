"""What a run found: as ratios, as a table a person reads, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .idle_memory import MemoryResult
from .import_cost import ImportResult
from .other_processes import CostResult
from .rates import RateResult
from .ratios import Spread, below_recorded, far_above_the_rest, ratios, spread
from .rows import SEXP, Comparison, Panel, panels_for
from .s_expressions import PEER, SexpResult
from .variants import Variant

LABEL_WIDTH = 29
COLUMN_WIDTH = 10
LOWEST_SHARE = 0.7
"""A run in which a ratio is below this share of its recorded value has got slower."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """One cell of a table."""

    row: str
    ours: str
    theirs: str
    lower_is_better: bool
    spread: Spread

    @property
    def name(self) -> str:
        """What identifies it from one run to another."""
        return f"{self.row}: {self.ours} / {self.theirs}"


@dataclass(slots=True)
class Findings:
    """All that was measured in a run."""

    rates: list[RateResult] = field(default_factory=list)
    rate_panels: Sequence[Panel] = ()
    memory: list[MemoryResult] = field(default_factory=list)
    memory_panels: Sequence[Panel] = ()
    imports: ImportResult | None = None
    sexps: SexpResult | None = None
    growth: list[RateResult] = field(default_factory=list)
    growth_panels: Sequence[Panel] = ()
    costs: list[CostResult] = field(default_factory=list)

    def failures(self) -> list[str]:
        """What could not be measured, and why."""
        return [
            f"{result.row.name}: {reason}"
            for results in (self.rates, self.growth, self.memory)
            for result in results
            for reason in result.failures.values()
        ] + [f"{cost.row}: {reason}" for cost in self.costs for reason in cost.failures.values()]

    def waits(self) -> list[str]:
        """Who spent much more time waiting than the others: a rate by CPU time hides that."""
        found = []
        for result in self.rates:
            waited = {
                variant: spread([one.wall / one.cpu for one in rounds]).median
                for variant, rounds in result.rounds.items()
            }
            found += [
                f"{result.row.name}: {variant} took {waited[variant]:.1f} s for each second of CPU"
                for variant in far_above_the_rest(waited, 2.0)
            ]
        return found

    def ratios(self) -> list[Ratio]:
        """Every cell of every table, once."""
        found: dict[str, Ratio] = {}
        for result, comparison in self._cells():
            ratio = self._ratio(result, comparison)
            if ratio is not None:
                found.setdefault(ratio.name, ratio)
        for ratio in (*self._import_ratios(), *self._sexp_ratios(), *self._cost_ratios()):
            found[ratio.name] = ratio
        return [*found.values()]

    def _cells(self) -> list[tuple[RateResult | MemoryResult, Comparison]]:
        results: list[tuple[RateResult | MemoryResult, Sequence[Panel]]] = [
            *((result, self.rate_panels) for result in self.rates),
            *((result, self.growth_panels) for result in self.growth),
            *((result, self.memory_panels) for result in self.memory),
        ]
        return [
            (result, comparison)
            for result, panels in results
            for panel in panels_for(panels, result.row.kind)
            for comparison in panel.comparisons
        ]

    def _ratio(self, result: RateResult | MemoryResult, comparison: Comparison) -> Ratio | None:
        values: Mapping[Variant, Sequence[float]]
        if isinstance(result, RateResult):
            values = {
                variant: [one.rate for one in rounds] for variant, rounds in result.rounds.items()
            }
        else:
            values = result.bytes
        if comparison.ours not in values or comparison.theirs not in values:
            return None
        return Ratio(
            result.row.name,
            str(comparison.ours),
            str(comparison.theirs),
            isinstance(result, MemoryResult),
            spread(ratios(values[comparison.ours], values[comparison.theirs])),
        )

    def _import_ratios(self) -> list[Ratio]:
        if self.imports is None:
            return []
        return [
            Ratio("import", what, "asyncio", True, spread(ratios(cpu["conduit"], cpu["asyncio"])))
            for what, cpu in (
                ("conduit", self.imports.statement),
                ("whole process with conduit", self.imports.whole),
            )
        ]

    def _sexp_ratios(self) -> list[Ratio]:
        """Of rates, which are one megabyte by the seconds that it took."""
        if self.sexps is None:
            return []
        return [
            Ratio(SEXP, f"conduit {work}", PEER, False, spread(ratios(took[PEER], took["conduit"])))
            for work, took in (("reading", self.sexps.reading), ("printing", self.sexps.printing))
        ]

    def _cost_ratios(self) -> list[Ratio]:
        """Of rates, as all the others."""
        return [
            Ratio(cost.row, cost.ours, peer, False, spread(ratios(took, cost.costs[cost.ours])))
            for cost in self.costs
            if cost.ours in cost.costs
            for peer, took in cost.costs.items()
            if peer != cost.ours
        ]

    # The tables.

    def tables(self) -> str:
        """All tables, as plain text of less than 100 columns."""
        blocks = [
            *(self._table(panel, self.rates) for panel in self.rate_panels),
            *(self._table(panel, self.growth) for panel in self.growth_panels),
            *(self._table(panel, self.memory) for panel in self.memory_panels),
            self._cost_lines(),
            self._import_lines(),
            self._sexp_lines(),
            self._absolute_lines(),
        ]
        return "\n\n".join(block for block in blocks if block)

    def _table(self, panel: Panel, results: Sequence[RateResult | MemoryResult]) -> str:
        results = [result for result in results if result.row.kind in panel.kinds]
        if not results or not panel.comparisons:
            return ""
        columns = [comparison.column for comparison in panel.comparisons]
        lines = [panel.title, _line("", columns)]
        for result in results:
            cells = [self._ratio(result, comparison) for comparison in panel.comparisons]
            lines.append(_line(result.row.title, [_middle(cell) for cell in cells]))
            lines.append(_line("", [_edges(cell) for cell in cells]))
        return "\n".join(lines)

    def _import_lines(self) -> str:
        if self.imports is None:
            return ""
        cells = self._import_ratios()
        lines = ["import conduit; conduit.client.TCP (less is better), relative to import asyncio"]
        for title, cell in zip(("the statement", "the whole process"), cells, strict=True):
            lines.append(_line(title, [_middle(cell), _edges(cell)]))
        return "\n".join(lines)

    def _sexp_lines(self) -> str:
        if self.sexps is None:
            return ""
        lines = [f"s-expressions: the rate for the same megabyte, relative to {PEER}"]
        for title, cell in zip(("reading", "printing"), self._sexp_ratios(), strict=True):
            lines.append(_line(title, [_middle(cell), _edges(cell)]))
        return "\n".join(lines)

    def _cost_lines(self) -> str:
        if not self.costs:
            return ""
        lines = ["The CPU time of whole processes, seen from outside"]
        titles = {cost.row: cost.title for cost in self.costs}
        lines += [
            _line(titles[ratio.row], [_middle(ratio), _edges(ratio)])
            + f"  {ratio.ours} to {ratio.theirs}"
            for ratio in self._cost_ratios()
        ]
        for cost in self.costs:
            parts = [
                f"{name} {1e6 * spread(took).median / cost.count:.1f}"
                for name, took in cost.costs.items()
            ]
            lines.extend(_wrapped(f"  microseconds for one {cost.unit}", parts))
        return "\n".join(lines)

    def _absolute_lines(self) -> str:
        """What an operation took here and now: only to know what the ratios are ratios of."""
        lines = []
        for result in (*self.rates, *self.growth):
            parts = [
                f"{variant} {1e6 / spread([one.rate for one in rounds]).median:.1f}"
                for variant, rounds in result.rounds.items()
                if variant.server == variant.client
            ]
            lines.extend(_wrapped(result.row.title, parts))
        if lines:
            lines.insert(
                0,
                "CPU microseconds for one operation, both ends (to know what the ratios are of)",
            )
        memory = []
        for measured in self.memory:
            parts = [
                f"{variant} {spread(values).median:.0f}"
                for variant, values in measured.bytes.items()
            ]
            memory.extend(_wrapped(measured.row.title, parts))
        if memory:
            lines.extend(["", "Bytes for one idle connection", *memory])
        if self.imports is not None:
            took = {name: spread(cpu).median for name, cpu in self.imports.statement.items()}
            parts = [f"{name} {seconds * 1e3:.1f}" for name, seconds in took.items()]
            lines.extend(["", "CPU milliseconds of the statement", *_wrapped("import", parts)])
        if self.sexps is not None:
            parts = [
                f"{name} {1e3 * spread(read).median:.0f}/{1e3 * spread(printed).median:.0f}"
                for (name, read), printed in zip(
                    self.sexps.reading.items(), self.sexps.printing.values(), strict=True
                )
            ]
            lines.extend(["", "CPU milliseconds for a megabyte", *_wrapped("read/print", parts)])
        return "\n".join(lines).lstrip("\n")

    def growth_curves(self) -> dict[str, dict[str, float]]:
        """CPU microseconds for a message there and back, by row and variant."""
        return {
            result.row.name: {
                str(variant): round(1e6 / spread([one.rate for one in rounds]).median, 2)
                for variant, rounds in result.rounds.items()
            }
            for result in self.growth
        }

    # JSON.

    def as_json(self) -> dict[str, object]:
        """Everything, down to the single rounds."""
        return {
            "ratios": {
                ratio.name: {
                    "median": round(ratio.spread.median, 4),
                    "low": round(ratio.spread.low, 4),
                    "high": round(ratio.spread.high, 4),
                    "lower is better": ratio.lower_is_better,
                }
                for ratio in self.ratios()
            },
            "rounds": {
                result.row.name: {
                    str(variant): [[one.operations, one.cpu, one.wall] for one in rounds]
                    for variant, rounds in result.rounds.items()
                }
                for result in (*self.rates, *self.growth)
            },
            "growth": self.growth_curves(),
            "other processes": {
                cost.row: {"count": cost.count, "unit": cost.unit, "seconds": cost.costs}
                for cost in self.costs
            },
            "bytes": {
                result.row.name: {str(variant): sizes for variant, sizes in result.bytes.items()}
                for result in self.memory
            },
            "import": None
            if self.imports is None
            else {"statement": self.imports.statement, "process": self.imports.whole},
            "sexp": None
            if self.sexps is None
            else {"reading": self.sexps.reading, "printing": self.sexps.printing},
            "waits": self.waits(),
            "failures": self.failures(),
        }


def slower_than_recorded(found: Sequence[Ratio], recorded: Mapping[str, float]) -> list[Ratio]:
    """The ratios that are below LOWEST_SHARE of their recorded values."""
    ratios = {ratio.name: ratio for ratio in found}
    now = {name: ratio.spread.median for name, ratio in ratios.items()}
    directions = {name: ratio.lower_is_better for name, ratio in ratios.items()}
    return [ratios[name] for name in below_recorded(now, recorded, directions, LOWEST_SHARE)]


def _line(label: str, cells: Sequence[str]) -> str:
    return f"{label:<{LABEL_WIDTH}}" + "".join(f"{cell:>{COLUMN_WIDTH}}" for cell in cells)


def _wrapped(label: str, parts: Sequence[str]) -> list[str]:
    """The label, then the parts in lines that fit."""
    lines, line = [], f"{label:<{LABEL_WIDTH}}"
    for part in parts:
        if len(line) + len(part) + 2 > 98:
            lines.append(line)
            line = " " * LABEL_WIDTH
        line += "  " + part
    return [*lines, line]


def _middle(ratio: Ratio | None) -> str:
    return "-" if ratio is None else f"{ratio.spread.median:.2f}"


def _edges(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{ratio.spread.low:.2f}-{ratio.spread.high:.2f}"
