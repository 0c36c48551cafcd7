"""Where the subcommands show things: colours only on terminals, ASCII where there is no more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """A console of rich on standard output or error, which takes all text as it is."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def say(text: str) -> None:
    """Print one line, or several, at once."""
    print("\n".join(map(printable, text.split("\n"))), flush=True)


def complain(line: str) -> None:
    """Print a line on standard error; nobody is told if nobody reads it."""
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except OSError:
        pass


def say_json(value: dict[str, Any]) -> None:
    """Print one JSON object in one line, at once."""
    import json  # errors are told by this module, too, at the start of a command

    print(json.dumps(value), flush=True)


def printable(text: str) -> str:
    """The text in one line and without control characters: what peers say may hold any."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def amount(size: float) -> str:
    """A number of bytes in words: 12 B, 3.4 kB, 5.6 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """A time in words: 0.12 ms, 3.4 ms, 1.2 s."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.2f} ms" if seconds < 0.00995 else f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
