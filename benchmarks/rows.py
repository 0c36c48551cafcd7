"""What is measured: the rows of the table, and who is compared with whom in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal

from .other_processes import NAMES as OTHER_PROCESSES
from .peers.interface import MESSAGE, TLS_KINDS, Kind
from .variants import Variant

PLAIN_KINDS: tuple[Kind, ...] = ("tcp", "unix")

Work = Literal["connect", "ping-pong", "bulk", "crowd"]
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
    """Bytes of resident memory for each idle connection.

    share: of so many of the connections that are asked for, one is opened.
    """

    name: str
    title: str
    kind: Kind
    held_by: HeldBy
    share: int = 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """One variant measured against another; `column` names the other in the table."""

    ours: Variant
    theirs: Variant
    column: str


@dataclass(frozen=True, slots=True)
class Panel:
    """The comparisons that are shown as the columns of one table, for the rows of some kinds."""

    title: str
    kinds: tuple[Kind, ...]
    comparisons: tuple[Comparison, ...]

    def without(self, absent: Iterable[Variant]) -> Panel:
        """The same without what cannot be run here."""
        gone = set(absent)
        return Panel(
            self.title,
            self.kinds,
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
    RateRow("connect-1/tls", "connect+echo+close, TLS", "connect", "tls", len(MESSAGE)),
    RateRow(
        "connect-1/tls-resumed",
        "connect+echo+close, resumed",
        "connect",
        "tls-resumed",
        len(MESSAGE),
    ),
    RateRow("ping-pong/tls", "64 B ping-pong, TLS", "ping-pong", "tls", 64),
    RateRow("bulk/tls", "bulk, 64 KiB writes, TLS", "bulk", "tls", 65536),
    RateRow("bulk/tls-in-tls", "bulk, TLS in TLS", "bulk", "tls-in-tls", 65536),
)

CONNECTIONS = (1, 10, 100, 1_000, 10_000)
SIZES = {"64B": 64, "1KiB": 1 << 10, "16KiB": 1 << 14, "128KiB": 1 << 17, "1MiB": 1 << 20}

GROWTH_BY_CONNECTIONS = tuple(
    RateRow(f"growth/connections-{count}", f"64 B, {count:,} at once", "crowd", "tcp", 64, count)
    for count in CONNECTIONS
)
GROWTH_BY_SIZE = tuple(
    RateRow(f"growth/size-{name}", f"{name}, 1 connection", "crowd", "tcp", size)
    for name, size in SIZES.items()
)
GROWTH_ROWS = (*GROWTH_BY_CONNECTIONS, *GROWTH_BY_SIZE)
"""How the cost of a message there and back grows, by connections that talk at once and by size."""

BRIEF_GROWTH = ("growth/connections-1000", "growth/size-1MiB")
"""Those of them that a quick run has time for."""

FEWER = 4
"""An idle connection of TLS is large, and opening one takes long."""

MEMORY_ROWS = (
    MemoryRow("memory-server/tcp", "idle connection, server", "tcp", "outsider"),
    MemoryRow("memory-both/tcp", "idle connection, both ends", "tcp", "client"),
    MemoryRow("memory-server/tls", "idle TLS, server", "tls", "outsider", FEWER),
    MemoryRow("memory-both/tls", "idle TLS, both ends", "tls", "client", FEWER),
)

IMPORT = "import"
"""The name of the row that has no variants: what importing costs."""

SEXP = "sexp"
"""The name of the row about s-expressions, which has no variants either."""

ALL_NAMES = (
    *(row.name for row in RATE_ROWS),
    *(row.name for row in GROWTH_ROWS),
    *OTHER_PROCESSES,
    *(row.name for row in MEMORY_ROWS),
    IMPORT,
    SEXP,
)


def chosen(pattern: str | None, name: str) -> bool:
    """Whether a row is asked for: by shell patterns, or by parts of its name, with commas."""
    return pattern is None or any(
        one in name or fnmatch(name, one) for one in pattern.split(",") if one
    )


def panels_for(panels: Iterable[Panel], kind: Kind) -> list[Panel]:
    """Those in which the rows of a kind are shown."""
    return [panel for panel in panels if kind in panel.kinds]


def rate_panels(subject: str) -> tuple[Panel, ...]:
    """Who is compared in the rate rows, `subject` being the peer that is measured."""
    return (*_plain_panels(subject), *_tls_panels(subject))


def _plain_panels(subject: str) -> tuple[Panel, ...]:
    uvloop = Variant.both(subject, "uvloop")
    server, client = Variant(subject, "protocol", "uvloop"), Variant("protocol", subject, "uvloop")
    trio, twisted = Variant.both("trio", "trio"), Variant.both("twisted", "epoll-reactor")
    floor = Variant.both("system-calls", "none")
    protocol = Variant.both("protocol", "uvloop")
    return _panels(
        PLAIN_KINDS,
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
            _on_the_standard_loop(subject),
        ),
    )


def _tls_panels(subject: str) -> tuple[Panel, ...]:
    uvloop, streams = Variant.both(subject, "uvloop"), Variant.both("streams", "uvloop")
    floor = Comparison(uvloop, Variant.both("system-calls", "none"), "floor")
    panels = _panels(
        TLS_KINDS,
        (
            f"TLS: {subject} on uvloop, both ends, relative to",
            (
                Comparison(uvloop, streams, "streams"),
                Comparison(uvloop, Variant.both("anyio", "uvloop"), "anyio"),
                Comparison(uvloop, Variant.both("trio", "trio"), "trio"),
                Comparison(uvloop, Variant.both("twisted", "epoll-reactor"), "Twisted"),
            ),
        ),
        (
            f"TLS: {subject} and streams as the two ends (uvloop), relative to streams as both",
            (
                Comparison(Variant(subject, "streams", "uvloop"), streams, "server"),
                Comparison(Variant("streams", subject, "uvloop"), streams, "client"),
            ),
        ),
        (
            f"TLS: {subject} on the standard library's loop, both ends, relative to",
            _on_the_standard_loop(subject),
        ),
    )
    native = (Comparison(Variant.both("conduit-native", "uvloop"), uvloop, "OpenSSL"),)
    # One layer can stand on a socket itself; a second would need memory between them.
    return (
        *panels,
        *_panels(
            ("tls", "tls-resumed"),
            (f"TLS: {subject} on uvloop, both ends, relative to OpenSSL on sockets", (floor,)),
        ),
        # It takes up no sessions.
        *_panels(
            ("tls", "tls-in-tls") if subject == "conduit" else (),
            ("TLS: the native stack on uvloop, both ends, relative to that of OpenSSL", native),
        ),
    )


def _on_the_standard_loop(subject: str) -> tuple[Comparison, ...]:
    standard = Variant.both(subject, "asyncio")
    return (
        Comparison(standard, Variant.both("streams", "asyncio"), "streams"),
        Comparison(standard, Variant.both("anyio", "asyncio"), "anyio"),
        Comparison(standard, Variant.both("trio", "trio"), "trio"),
        Comparison(standard, Variant.both("twisted", "epoll-reactor"), "Twisted"),
    )


def memory_panels(subject: str) -> tuple[Panel, ...]:
    """Who is compared in the memory rows."""
    uvloop, standard = Variant.both(subject, "uvloop"), Variant.both(subject, "asyncio")
    protocol = Comparison(uvloop, Variant.both("protocol", "uvloop"), "protocol")
    on_uvloop = (
        Comparison(uvloop, Variant.both("streams", "uvloop"), "streams"),
        Comparison(uvloop, Variant.both("anyio", "uvloop"), "anyio"),
        Comparison(uvloop, Variant.both("trio", "trio"), "trio"),
        Comparison(uvloop, Variant.both("twisted", "epoll-reactor"), "Twisted"),
    )
    on_the_standard_loop = (
        Comparison(standard, Variant.both("streams", "asyncio"), "streams"),
        Comparison(standard, Variant.both("anyio", "asyncio"), "anyio"),
    )
    title = f"{subject} on {{}}, memory (less is better), relative to"
    first, second = title.format("uvloop"), title.format("the standard library's loop")
    return (
        *_panels(PLAIN_KINDS, (first, (protocol, *on_uvloop)), (second, on_the_standard_loop)),
        *_panels(
            TLS_KINDS,
            (f"TLS: {first}", on_uvloop),
            (f"TLS: {second}", on_the_standard_loop),
        ),
    )


def growth_panels(subject: str) -> tuple[Panel, ...]:
    """Who is compared in the rows of growth."""
    ours = Variant.both(subject, "uvloop")
    return _panels(
        ("tcp",),
        (
            f"growth: {subject} on uvloop, both ends, relative to",
            (
                Comparison(ours, Variant.both("streams", "uvloop"), "streams"),
                Comparison(ours, Variant.both("protocol", "uvloop"), "protocol"),
            ),
        ),
    )


def _panels(
    kinds: tuple[Kind, ...], *panels: tuple[str, tuple[Comparison, ...]]
) -> tuple[Panel, ...]:
    """Without comparing anything with itself, which happens when a peer is the subject."""
    return tuple(
        Panel(title, kinds, tuple(c for c in comparisons if c.ours != c.theirs))
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
