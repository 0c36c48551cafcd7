"""What the demo found out, row by row, and how it is shown: as a table, or as lines of JSON."""

from __future__ import annotations

import json
import re
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TextIO

State = Literal["ok", "failed", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one address.

    server: what it was served by; empty where there is no server to it. address: what was connected
    to, or served where it did not come to a connection. state: "ok"; "failed"; or "missing", if the
    host or this version lacks what it takes. flow: what `connect` gave. connect_seconds: how long
    that took. sent: how many bytes went, both ways together. transfer_seconds: how long that took.
    tls: the version and the cipher suite, and "resumed" if a session was taken up; of TLS in TLS
    those of the inner one. handshake_seconds: how long its handshake took, a part of
    `connect_seconds`. reason: why it failed or what is missing.
    """

    server: str
    address: str
    state: State = "ok"
    flow: str | None = None
    connect_seconds: float | None = None
    sent: int | None = None
    transfer_seconds: float | None = None
    tls: str | None = None
    handshake_seconds: float | None = None
    reason: str | None = None


class Report(ABC):
    """Where the rows go. Each shows as soon as it is told."""

    @abstractmethod
    def begin(self, versions: Mapping[str, str], size: int) -> None:
        """The demo begins. versions: what it runs on. size: bytes each way."""

    @abstractmethod
    def serving(self, server: str, endp: str) -> None:
        """A server listens. endp: where."""

    @abstractmethod
    def trying(self, address: str) -> None:
        """An address is tried; its row comes later."""

    @abstractmethod
    def add(self, row: Row) -> None:
        """A row is done."""

    @abstractmethod
    def end(self, seconds: float) -> None:
        """All rows are done. seconds: since the beginning."""

    @abstractmethod
    def interrupted(self) -> None:
        """Somebody has had enough."""


class JSONLines(Report):
    """For programs: an object a line for each row, with the fields of `Row` and the versions."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._versions: Mapping[str, str] = {}

    def begin(self, versions: Mapping[str, str], size: int) -> None:
        """Each row says it."""
        self._versions = versions

    def serving(self, server: str, endp: str) -> None:
        """Each row says it."""

    def trying(self, address: str) -> None:
        """Only what is done is told."""

    def add(self, row: Row) -> None:
        """One line."""
        print(json.dumps(asdict(row) | {"versions": self._versions}), file=self._stream, flush=True)

    def end(self, seconds: float) -> None:
        """The last row was the end."""

    def interrupted(self) -> None:
        """The exit status says it."""


@dataclass(frozen=True, slots=True)
class _Signs:
    ok: str
    failed: str
    missing: str
    dot: str
    ellipsis: str


_PRETTY = _Signs(ok="✓", failed="✗", missing="-", dot="·", ellipsis="…")
_PLAIN = _Signs(ok="ok", failed="!!", missing="--", dot="|", ellipsis="..")

_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"

_CONNECT = 7  # "12.3 ms"
_SPEED = 8  # "1.2 GB/s"
_GAP = "  "

# As wide as the longest text that these usually hold.
_LONGEST_ADDRESS = 52
_LONGEST_FLOW = 48
# Of the room for both, the address gets more: it has the longer names. In 80 columns an IPv4
# address is shown whole in both.
_ADDRESS_SHARE = 32 / 59
# Narrower than this, the columns that matter less are left out.
_NARROW = 68
_VERY_NARROW = 46
_NARROWEST = 20


class Table(Report):
    """For people.

    stream: where it goes. width: of the terminal, in columns; nothing is wider. colour: whether to
    use any. live: whether a line may be taken back, so that what is tried now can be shown.

    If the encoding of the stream lacks the signs, it is plain ASCII.
    """

    def __init__(self, stream: TextIO, *, width: int, colour: bool, live: bool) -> None:
        self._stream = stream
        self._encoding = stream.encoding or "ascii"
        self._width = max(width, _NARROWEST)
        self._colour = colour
        self._live = live
        self._signs = (
            _PRETTY if _can_encode(self._encoding, "".join(_signs_of(_PRETTY))) else _PLAIN
        )
        self._indent = len(self._signs.ok) + 1
        self._address, self._flow = self._widths()
        self._rows: list[Row] = []

    def begin(self, versions: Mapping[str, str], size: int) -> None:
        """The title, and the heads of the columns."""
        title = f" {self._signs.dot} ".join(versions.values())
        self._print(self._styled(self._cut(title), _BOLD))
        self._paragraph(
            f"{size / 1_000_000:g} MB of random data go each way at once, checked by SHA-256; "
            "speed is their sum."
        )
        self._print()
        heads = self._line("address", "flow", "connect", "speed", dim_flow=False)
        self._print(self._styled(" " * self._indent + heads, _DIM))

    def serving(self, server: str, endp: str) -> None:
        """A heading."""
        where = "" if endp == server else f"  at {endp}"
        if len(server) + len(where) > self._width:
            where = ""
        server = self._cut(server)
        self._print(self._styled(server, _BOLD) + self._styled(where, _DIM))

    def trying(self, address: str) -> None:
        """A line that does not stay."""
        if self._live:
            line = " " * self._indent + _shorten(address, self._address, self._signs.ellipsis)
            self._write(f"{self._styled(line, _DIM)}\r")

    def add(self, row: Row) -> None:
        """A line; what is missing is kept for the end."""
        self._rows.append(row)
        if row.state == "ok":
            self._print(self._passed(row))
            if row.tls is not None:
                took = _duration(row.handshake_seconds or 0.0)
                text = f"{row.tls}, handshake {took}"
                self._paragraph(text, indent=self._indent + 2, style=_DIM)
        elif row.state == "failed":
            self._failed(row)

    def end(self, seconds: float) -> None:
        """What is missing, and the verdict."""
        tried = [row for row in self._rows if row.state != "missing"]
        failed = [row for row in tried if row.state == "failed"]
        missing = [row for row in self._rows if row.state == "missing"]
        self._print()
        if missing:
            self._paragraph("Not on this host, or not in this version", style=_BOLD)
            for reason in dict.fromkeys(row.reason or "" for row in missing):
                self._missing([row.address for row in missing if row.reason == reason], reason)
            self._print()
        if failed:
            verdict = f"{len(failed)} of {len(tried)} connections failed, in {seconds:.1f} s."
            self._sentence(self._signs.failed, _RED, verdict)
        elif tried:
            verdict = f"All {len(tried)} connections passed, in {seconds:.1f} s."
            self._sentence(self._signs.ok, _GREEN, verdict)

    def interrupted(self) -> None:
        """The last line."""
        if self._live:
            self._print()  # the terminal may have shown a ^C
        self._print("Interrupted.")

    # Lines.

    def _passed(self, row: Row) -> str:
        cells = self._line(
            row.address,
            (row.flow or "").removeprefix("flow."),
            _duration(row.connect_seconds or 0.0),
            _speed(row.sent or 0, row.transfer_seconds or 0.0),
        )
        return f"{self._styled(self._signs.ok, _GREEN)} {cells}"

    def _line(
        self, address: str, flow: str, connect: str, speed: str, *, dim_flow: bool = True
    ) -> str:
        ellipsis = self._signs.ellipsis
        line = _shorten(address, self._address, ellipsis).ljust(self._address)
        if self._flow:
            flow = _shorten(flow, self._flow, ellipsis).ljust(self._flow)
            line += f" {self._styled(flow, _DIM if dim_flow else '')}"
        if self._width >= _VERY_NARROW:
            line += _GAP + connect.rjust(_CONNECT)
        return line + _GAP + speed.rjust(_SPEED)

    def _failed(self, row: Row) -> None:
        room = self._width - self._indent
        address = _shorten(row.address, room, self._signs.ellipsis)
        self._print(f"{self._styled(self._signs.failed, _RED)} {address}")
        self._paragraph(row.reason or "", indent=self._indent + 2, style=_RED)

    def _missing(self, names: Sequence[str], reason: str) -> None:
        self._sentence(self._signs.missing, _YELLOW, ", ".join(names))
        self._paragraph(reason, indent=self._indent + 2, style=_DIM)

    def _sentence(self, sign: str, style: str, text: str) -> None:
        first, *rest = textwrap.wrap(text, self._width - self._indent)
        self._print(f"{self._styled(sign, style)} {first}")
        for line in rest:
            self._print(" " * self._indent + line)

    def _paragraph(self, text: str, indent: int = 0, style: str = "") -> None:
        for line in textwrap.wrap(text, self._width - indent):
            self._print(" " * indent + self._styled(line, style))

    # Ink.

    def _widths(self) -> tuple[int, int]:
        """How wide the address and the flow are; 0 for a flow that is left out."""
        room = self._width - self._indent - len(_GAP) - _SPEED
        if self._width >= _VERY_NARROW:
            room -= len(_GAP) + _CONNECT
        if self._width < _NARROW:
            return min(room, _LONGEST_ADDRESS), 0
        room -= 1
        address = min(round(room * _ADDRESS_SHARE), _LONGEST_ADDRESS)
        return address, min(room - address, _LONGEST_FLOW)

    def _cut(self, text: str) -> str:
        return _shorten(text, self._width, self._signs.ellipsis)

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[m" if self._colour and style and text else text

    def _print(self, line: str = "") -> None:
        # What was shown as tried is overwritten.
        self._write(f"\x1b[K{line}\n" if self._live else f"{line.rstrip()}\n")

    def _write(self, text: str) -> None:
        # A reason may hold anything, for instance a path.
        encodable = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
        self._stream.write(encodable)
        self._stream.flush()


def _can_encode(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _signs_of(signs: _Signs) -> Sequence[str]:
    return (signs.ok, signs.failed, signs.missing, signs.dot, signs.ellipsis)


def _shorten(text: str, width: int, ellipsis: str) -> str:
    """Cut `text` to `width`: the front of what it quotes, which is where paths differ least."""
    excess = len(text) - width
    if excess <= 0:
        return text
    quoted = re.search(r"'([^']*)'", text)
    cut = excess + len(ellipsis)
    if quoted and len(quoted[1]) > cut:
        return text[: quoted.start(1)] + ellipsis + text[quoted.start(1) + cut :]
    return text[: max(width - len(ellipsis), 0)] + ellipsis


def _duration(seconds: float) -> str:
    if seconds >= 0.9995:
        return f"{_three_digits(seconds)} s"
    return f"{_three_digits(seconds * 1000)} ms"


def _three_digits(value: float) -> str:
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def _speed(size: int, seconds: float) -> str:
    """How fast `size` bytes went; both ways count."""
    rate = size / seconds / 1_000_000 if seconds else 0.0
    if rate >= 999.5:
        return f"{rate / 1000:.1f} GB/s" if rate < 9950 else f"{rate / 1000:.0f} GB/s"
    return f"{rate:.0f} MB/s" if rate >= 9.95 else f"{rate:.1f} MB/s"
