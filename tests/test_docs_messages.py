"""docs/errors.md goes by messages: each is one that the program, or the system, has."""

import ast
import os
import re

import pytest

from tests.test_readme import ROOT

# Of the system's lookup, and of Python.
OTHERS = ["Name or service not known", "Temporary failure in name resolution"]


def strings() -> str:
    """All that the source may say; of an f-string the parts between its values."""
    found: list[str] = []
    for file in (ROOT / "src" / "conduit").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                found.append("".join(map(str, parts)))
    return "\n".join([*found, *OTHERS, *map(os.strerror, range(1, 134))])


MESSAGES = [
    message
    for row in re.findall(
        r"^\| ([^|]+) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE
    )
    for message in re.findall(r"`([^`]+)`", row)
    if " " in message
]
STRINGS = strings()


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_one_of_ours(message: str) -> None:
    for part in re.split(r"\[Errno \d+\]|…", message):
        assert part.strip(" '") in STRINGS


def test_messages_are_found() -> None:
    assert len(MESSAGES) > 25
