"""What README.md and docs/ show is true: their programs run, and their commands exist."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(r"^```(?P<kind>[^\n`]*)\n(?P<text>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)

# How a block is marked: a whole program is run, a fragment has only to be Python. Others are run by
# tests/peers/test_docs.py, with a server that they are told of.
PROGRAM = "python"
FRAGMENT = "python fragment"
WITH_SERVER = ("python with dnsmasq", "python with etcd")


class Block(NamedTuple):
    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str, text: str) -> list[Block]:
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found["kind"].strip(), found["text"])
        for found in FENCE.finditer(text)
    ]


BLOCKS = [
    block
    for path in PAGES
    for block in blocks_of(str(path.relative_to(ROOT)), path.read_text("utf-8"))
]
PYTHON = [block for block in BLOCKS if block.kind.startswith("py")]


@pytest.mark.parametrize("block", [b for b in PYTHON if b.kind == PROGRAM], ids=str)
def test_program_runs_and_complains_of_nothing(block: Block, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(block.text, "utf-8")
    result = subprocess.run(
        [sys.executable, "-W", "error", program.name],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_every_python_block_is_a_program_or_a_fragment() -> None:
    for block in PYTHON:
        assert block.kind in (PROGRAM, FRAGMENT, *WITH_SERVER), block
        flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compile(block.text, str(block), "exec", flags=flags)


def test_readme_begins_with_a_program() -> None:
    assert next(block.kind for block in BLOCKS if block.page == "README.md") == PROGRAM


def test_commands_of_the_readme_are_targets_and_ci_runs_its_test_command() -> None:
    shown = [block.text for block in BLOCKS if (block.page, block.kind) == ("README.md", "sh")]
    commands = set(re.findall(r"^make ([a-z]+)", "".join(shown), re.MULTILINE))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {"demo", "test"} <= commands <= targets
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)


def test_blocks_are_found() -> None:
    text = "a\n```python\nx = 1\n```\n\n```sh\nls\n```\n```python fragment\nawait f\n```\n"
    assert blocks_of("p", text) == [
        Block("p", 2, "python", "x = 1\n"),
        Block("p", 6, "sh", "ls\n"),
        Block("p", 9, "python fragment", "await f\n"),
    ]
