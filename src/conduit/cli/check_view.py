"""How `conduit check` shows what it found: a waterfall, a tree of certificates, and a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from .facts import certificate_lines
from .terminal import console, duration, printable

if TYPE_CHECKING:
    from .check import Report

_BAR = 24

_STYLES = ("green", "yellow", "red")
_VERDICTS = ("OK", "WARNING", "CRITICAL")


def show(report: Report) -> None:
    """Print it on standard output."""
    screen = console()
    ascii_only = screen.options.ascii_only
    screen.print(Text(printable(report.address), style="bold", overflow="fold"))
    bar = min(_BAR, max(screen.width // 3, 4))
    screen.print(_waterfall(report, "#" if ascii_only else "\u2588", bar))
    if report.tls is not None:
        tls = report.tls
        screen.print(Text(f"TLS: {tls['version']}, {tls['cipher']}, ALPN: {tls['alpn'] or 'none'}"))
    if report.versions:
        screen.print(Text(f"versions taken: {', '.join(report.versions)}"))
        screen.print(Text(f"ALPN taken: {', '.join(report.protocols) or 'none of h2, http/1.1'}"))
    if report.chain:
        screen.print(_chain(report.chain))
    for finding in report.findings:
        said = f"{_VERDICTS[finding.level].lower()}: {printable(finding.what)}"
        screen.print(Text(said, style=_STYLES[finding.level], overflow="fold"))
    screen.print(Text(_VERDICTS[report.status], style=f"bold {_STYLES[report.status]}"))


def _waterfall(report: Report, sign: str, width: int) -> Table:
    whole = max((phase.start + phase.seconds for phase in report.phases), default=0.0) or 1.0
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True, width=width)
    table.add_column(no_wrap=True, justify="right")
    for phase in report.phases:
        before = min(int(phase.start / whole * width), width - 1)
        length = max(round(phase.seconds / whole * width), 1)
        drawn = " " * before + sign * min(length, width - before)
        style = "green" if phase.failed is None else "red"
        table.add_row(
            Text(printable(phase.name)), Text(drawn, style=style), duration(phase.seconds)
        )
    return table


def _chain(chain: list[dict[str, Any]]) -> Tree:
    """The certificates, each below the one that signed it."""
    tree = Tree("certificates")
    at = tree
    for certificate in reversed(chain):
        head, *lines = certificate_lines(certificate)
        text = "\n".join(map(printable, [head, *lines]))
        late = certificate.get("days_left", 0) < 0
        at = at.add(Text(text, style="red" if late else "", overflow="fold"))
    return tree
