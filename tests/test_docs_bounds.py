"""docs/security.md tells bounds: each is that of the program."""

import importlib
import inspect
import re
from typing import Any

import pytest

from tests.test_readme import ROOT

ROW = re.compile(
    r"^\| (?P<what>[^|]+) \|.*\| `(?P<name>[\w.]+)` = (?P<value>[\d.]+) \|$", re.MULTILINE
)
ROWS = [
    (found["name"], float(found["value"]), found[0])
    for found in ROW.finditer((ROOT / "docs" / "security.md").read_text("utf-8"))
]
UNITS = {"KiB": 1024, "MiB": 1024**2, "h": 3600}


def value_of(name: str) -> Any:
    """A constant of a module, a field's default, or an argument's."""
    parts = name.split(".")
    for size in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        *path, last = parts[size:]
        for part in path:
            found = getattr(found, part)
        if path:
            return inspect.signature(found).parameters[last].default
        return getattr(found, last)
    raise LookupError(name)


@pytest.mark.parametrize(("name", "value"), [row[:2] for row in ROWS], ids=lambda part: str(part))
def test_bound_is_that_of_the_program(name: str, value: float) -> None:
    assert value_of(name) == value


@pytest.mark.parametrize("row", [row for row in ROWS if re.search(r"_DEEPEST", row[0]) is None])
def test_bound_is_told_as_it_is(row: tuple[str, float, str]) -> None:
    _, value, text = row
    told = re.search(r"(?:2 [^ ] )?(?P<number>[\d,]+) ?(?P<unit>KiB|MiB|h)?\b", text.split("|")[2])
    assert told is not None
    assert float(told["number"].replace(",", "")) * UNITS.get(told["unit"], 1) == value


def test_rows_are_found() -> None:
    assert len(ROWS) > 30
