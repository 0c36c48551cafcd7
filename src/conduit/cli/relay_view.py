"""The live view of a relay: its connections and how fast bytes move."""

from __future__ import annotations

import asyncio
import time

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .journal import Journal
from .terminal import amount, console, duration, printable

_SECONDS = 0.5

_LINES_AROUND = 6


async def show(journal: Journal) -> None:
    """Show the journal on standard error until this is cancelled; failures are shown there, too."""
    screen = console(stderr=True)
    journal.quiet = True
    rates = _Rates()
    with Live(console=screen, auto_refresh=False, transient=False) as live:
        try:
            while True:
                rows = max(screen.size.height - _LINES_AROUND, 1)
                live.update(_picture(journal, rates, rows), refresh=True)
                await asyncio.sleep(_SECONDS)
        finally:
            journal.quiet = False
            live.update(_picture(journal, rates, 0), refresh=True)


class _Rates:
    """Bytes a second of each connection, and of all, since the last look."""

    def __init__(self) -> None:
        self._before: dict[int, int] = {}
        self._at = time.monotonic()

    def take(self, now: dict[int, int]) -> dict[int, float]:
        """now: bytes so far by connection."""
        at = time.monotonic()
        seconds = max(at - self._at, 1e-3)
        rates = {key: (size - self._before.get(key, 0)) / seconds for key, size in now.items()}
        self._before, self._at = now, at
        return rates


def _picture(journal: Journal, rates: _Rates, rows: int) -> Group:
    visits = list(journal.open.values())
    moved = {visit.number: visit.received + visit.sent for visit in visits}
    rate = rates.take(moved)
    received = journal.received + sum(visit.received for visit in visits)
    sent = journal.sent + sum(visit.sent for visit in visits)
    table = Table(box=None, padding=(0, 2, 0, 0), expand=False)
    for name in ("client", "target"):
        table.add_column(name, overflow="fold")
    for name in ("age", "in", "out", "rate"):
        table.add_column(name, justify="right", no_wrap=True)
    for visit in visits[:rows]:
        table.add_row(
            Text(printable(visit.peer)),
            Text(printable(visit.target or "connecting")),
            duration(time.monotonic() - visit.began),
            amount(visit.received),
            amount(visit.sent),
            f"{amount(rate[visit.number])}/s",
        )
    lines: list[Table | Text] = []
    if rows and visits:
        lines.append(table)
        if len(visits) > rows:
            lines.append(Text(f"and {len(visits) - rows} more"))
    summary = Text(
        f"{len(visits)} open, {journal.accepted} accepted, {journal.failures} failed, "
        f"{amount(received)} in, {amount(sent)} out, {amount(sum(rate.values()))}/s"
    )
    lines.append(summary)
    if journal.last_failure:
        lines.append(Text(f"last failure: {printable(journal.last_failure)}", style="red"))
    return Group(*lines)
