"""How `conduit bench` shows what it measures: a progress bar, then a table and a histogram."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .latencies import PERCENTILES, Latencies
from .terminal import amount, console, printable

if TYPE_CHECKING:
    from .bench import Result

_SECONDS = 0.2
_ROWS = 12
_BAR = 40


async def progressing(result: Result) -> None:
    """Show on standard error how far it is, until this is cancelled; only in a terminal."""
    screen = console(stderr=True)
    if not screen.is_terminal or screen.is_dumb_terminal:
        return
    columns = (BarColumn(None), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=screen, auto_refresh=False, transient=True) as progress:
        bar = progress.add_task("", total=1.0)
        while True:
            said = f"{result.connects.count} connections, {result.trips.count} round trips"
            progress.update(bar, completed=_share(result), description=said, refresh=True)
            await asyncio.sleep(_SECONDS)


def _share(result: Result) -> float:
    """How much of it is done, from 0 to 1, by what will end it first."""
    load = result.load
    shares = [0.0]
    if load.seconds is not None:
        shares.append((time.perf_counter() - result.began) / load.seconds)
    if load.connections is not None:
        done = result.trips.count if load.messages else result.connects.count
        shares.append(done / (load.connections * max(load.messages, 1)))
    return min(max(shares), 1.0)


def show(result: Result) -> None:
    """Print it on standard output."""
    screen = console()
    screen.print(Text(printable(result.address), style="bold", overflow="fold"))
    seconds = result.seconds or 1e-9
    load = result.load
    screen.print(
        Text(f"{result.connects.count} connections, {load.concurrency} at once, {seconds:.2f} s")
    )
    if load.messages:
        rate = result.trips.count / seconds
        screen.print(
            Text(
                f"{result.trips.count} round trips of {amount(load.size)}: {rate:.0f} a second, "
                f"{amount(rate * load.size)}/s each way"
            )
        )
    kinds = [("connect", result.connects), ("round trip", result.trips)]
    measured = [(name, latencies) for name, latencies in kinds if latencies.count]
    if measured:
        screen.print(_table(measured, across=screen.width >= 64))
        name, latencies = measured[-1]
        ascii_only = screen.options.ascii_only
        bar = max(min(_BAR, screen.width - 30), 4)
        screen.print(_histogram(name, latencies, "#" if ascii_only else "█", bar))
    for what, count in result.failures.most_common():
        screen.print(Text(f"{count} failed: {printable(what)}", style="red", overflow="fold"))
    if result.interrupted:
        screen.print(Text("interrupted before the end", style="yellow"))


def _table(measured: list[tuple[str, Latencies]], *, across: bool) -> Table:
    """across: whether a row has all of one kind; else a column has it."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    heads = ["min", *(f"{percent:g} %" for percent in PERCENTILES), "max"]
    rows = [
        [latencies.shortest, *map(latencies.percentile, PERCENTILES), latencies.longest]
        for _, latencies in measured
    ]
    cells = [[time_in_words(one) for one in row] for row in rows]
    names = [name for name, _ in measured]
    if not across:
        heads, names, cells = names, heads, [list(row) for row in zip(*cells, strict=True)]
    table.add_column("")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for name, row in zip(names, cells, strict=True):
        table.add_row(name, *row)
    return table


def _histogram(name: str, latencies: Latencies, sign: str, width: int) -> Table:
    """Each row's times are longer than those of the one before by the same factor."""
    low, high = max(latencies.shortest, 1), max(latencies.longest + 1, 2)
    factor = max((high / low) ** (1 / _ROWS), 1.02)
    bounds = [round(low * factor**row) + 1 for row in range(1, _ROWS + 1)]
    bounds[-1] = max(bounds[-1], high)
    counts = latencies.counts(bounds)
    most = max(counts)
    table = Table(box=None, padding=(0, 1, 0, 0), title=None)
    table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=width)
    table.add_column("", justify="right", no_wrap=True)
    last = max(row for row, count in enumerate(counts) if count)
    for bound, count in list(zip(bounds, counts, strict=True))[: last + 1]:
        # A bar for whatever there is, however little.
        drawn = sign * (max(round(count / most * width), 1) if count else 0)
        table.add_row(f"to {time_in_words(bound)}", Text(drawn, style="green"), str(count))
    return table


def time_in_words(nanoseconds: float) -> str:
    """A time with three digits: 52.1 us, 3.40 ms, 1.20 s."""
    for unit, size in (("us", 1e3), ("ms", 1e6), ("s", 1e9)):
        number = nanoseconds / size
        if number < 999.5 or unit == "s":
            digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
            return f"{number:.{digits}f} {unit}"
    raise AssertionError
