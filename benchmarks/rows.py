"""What is measured: the rows of the table, and who is compared with whom in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal

from .peers.interface import MESSAGE, Kind
from .variants import Variant

Work = Literal["connect", "ping-pong", "bulk"]
HeldBy = Literal["outsider", "client"]


@dataclass(frozen=True, slots=True)
class RateRow:
    """Work whose rate is measured: operations per second of CPU time."""

    name: str
    title: str
    work: Work
    kind: Kind
    size: int
    at_once: int = 1


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """Bytes of resident memory for each idle connection."""

    name: str
    title: str
    kind: Kind
    held_by: HeldBy


@dataclass(frozen=True, slots=True)
class Comparison:
    """One variant measured against another; `column` names the other in the table."""

    ours: Variant
    theirs: Variant
    column: str


@dataclass(frozen=True, slots=True)
class Panel:
    """The comparisons that are shown as the columns of one table."""

    title: str
    comparisons: tuple[Comparison, ...]

    def without(self, absent: Iterable[Variant]) -> Panel:
        """The same without what cannot be run here."""
        gone = set(absent)
        return Panel(
            self.title,
            tuple(c for c in self.comparisons if c.ours not in gone and c.theirs not in gone),
        )


def _over_both(name: str, title: str, work: Work, size: int, at_once: int) -> list[RateRow]:
    return [
        RateRow(f"{name}/tcp", f"{title}, TCP", work, "tcp", size, at_once),
        RateRow(f"{name}/unix", f"{title}, Unix", work, "unix", size, at_once),
    ]


RATE_ROWS = (
    *_over_both("connect-1", "connect+echo+close, 1", "connect", len(MESSAGE), 1),
    *_over_both("connect-100", "connect+echo+close, 100", "connect", len(MESSAGE), 100),
    *_over_both("ping-pong", "64 B ping-pong", "ping-pong", 64, 1),
    *_over_both("bulk", "bulk, 64 KiB writes", "bulk", 65536, 1),
)

MEMORY_ROWS = (
    MemoryRow("memory-server/tcp", "idle connection, server", "tcp", "outsider"),
    MemoryRow("memory-both/tcp", "idle connection, both ends", "tcp", "client"),
)

IMPORT = "import"
"""The name of the row that has no variants: what importing costs."""

SEXP = "sexp"
"""The name of the row about s-expressions, which has no variants either."""

ALL_NAMES = (
    *(row.name for row in RATE_ROWS),
    *(row.name for row in MEMORY_ROWS),
    IMPORT,
    SEXP,
)


def chosen(pattern: str | None, name: str) -> bool:
    """Whether a row is asked for: by a shell pattern, or by a part of its name."""
    return pattern is None or pattern in name or fnmatch(name, pattern)


def rate_panels(subject: str) -> tuple[Panel, ...]:
    """Who is compared in every rate row, `subject` being the peer that is measured."""
    uvloop, standard = Variant.both(subject, "uvloop"), Variant.both(subject, "asyncio")
    server, client = Variant(subject, "protocol", "uvloop"), Variant("protocol", subject, "uvloop")
    trio, twisted = Variant.both("trio", "trio"), Variant.both("twisted", "epoll-reactor")
    floor = Variant.both("system-calls", "none")
    protocol = Variant.both("protocol", "uvloop")
    return _panels(
        (
            f"{subject} on uvloop, both ends, relative to",
            (
                Comparison(uvloop, Variant.both("streams", "uvloop"), "streams"),
                Comparison(uvloop, protocol, "protocol"),
                Comparison(uvloop, Variant("accept-loop", "protocol", "uvloop"), "accept"),
                Comparison(uvloop, Variant.both("anyio", "uvloop"), "anyio"),
                Comparison(uvloop, trio, "trio"),
                Comparison(uvloop, twisted, "Twisted"),
                Comparison(uvloop, floor, "floor"),
            ),
        ),
        (
            f"{subject} as the server, a bare Protocol as the client (uvloop), relative to",
            (
                Comparison(server, Variant("streams", "protocol", "uvloop"), "streams"),
                Comparison(server, protocol, "protocol"),
                Comparison(server, Variant("accept-loop", "protocol", "uvloop"), "accept"),
            ),
        ),
        (
            f"{subject} as the client, a bare Protocol as the server (uvloop), relative to",
            (
                Comparison(client, Variant("protocol", "streams", "uvloop"), "streams"),
                Comparison(client, protocol, "protocol"),
            ),
        ),
        (
            f"{subject} on the standard library's loop, both ends, relative to",
            (
                Comparison(standard, Variant.both("streams", "asyncio"), "streams"),
                Comparison(standard, Variant.both("anyio", "asyncio"), "anyio"),
                Comparison(standard, trio, "trio"),
                Comparison(standard, twisted, "Twisted"),
            ),
        ),
    )


def memory_panels(subject: str) -> tuple[Panel, ...]:
    """Who is compared in the memory rows."""
    uvloop, standard = Variant.both(subject, "uvloop"), Variant.both(subject, "asyncio")
    return _panels(
        (
            f"{subject} on uvloop, memory (less is better), relative to",
            (
                Comparison(uvloop, Variant.both("streams", "uvloop"), "streams"),
                Comparison(uvloop, Variant.both("protocol", "uvloop"), "protocol"),
                Comparison(uvloop, Variant.both("anyio", "uvloop"), "anyio"),
                Comparison(uvloop, Variant.both("trio", "trio"), "trio"),
                Comparison(uvloop, Variant.both("twisted", "epoll-reactor"), "Twisted"),
            ),
        ),
        (
            f"{subject} on the standard library's loop, memory (less is better), relative to",
            (
                Comparison(standard, Variant.both("streams", "asyncio"), "streams"),
                Comparison(standard, Variant.both("anyio", "asyncio"), "anyio"),
            ),
        ),
    )


def _panels(*panels: tuple[str, tuple[Comparison, ...]]) -> tuple[Panel, ...]:
    """Without comparing anything with itself, which happens when a peer is the subject."""
    return tuple(
        Panel(title, tuple(c for c in comparisons if c.ours != c.theirs))
        for title, comparisons in panels
    )


def variants_of(panels: Iterable[Panel]) -> list[Variant]:
    """Every variant that the panels need, once, ours between their peers.

    The nearer two variants are in the order, the less can change between their turns, and
    what stands in the middle is never far from anything.
    """
    ours: dict[Variant, None] = {}
    theirs: dict[Variant, None] = {}
    for panel in panels:
        for comparison in panel.comparisons:
            ours.setdefault(comparison.ours)
            theirs.setdefault(comparison.theirs)
    others: Sequence[Variant] = [variant for variant in theirs if variant not in ours]
    middle = len(others) // 2
    return [*others[middle:], *ours, *others[:middle]]
