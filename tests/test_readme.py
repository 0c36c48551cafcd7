"""What README.md and docs/ show is true: their programs run, and their commands exist.

A block of Python is run. One that begins with a comment that is the path of a file is that file,
and the programs of its page find it; so does a pyproject.toml, whose entry points are installed.
"""

import ast
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

FENCE = re.compile(r"^```(?P<kind>[^\n`]*)\n(?P<text>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)

# How a block is marked: a whole program is run, one that serves is stopped when it is ready, one
# with a server that is somebody else's is run by tests/peers/test_docs_programs.py.
PROGRAM = "python"
SERVES = "python serves"
WITH = ("python with dns", "python with etcd", "python with postgresql")

# What a program that serves says for readers, and what it says here.
ELSEWHERE = {"TCP(8080)": "TCP(0)", "/run/app/": ""}

FILE = re.compile(r"# (?P<path>[\w./-]+\.(?:py|toml))\n")


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
PROGRAMS = [block for block in PYTHON if block.kind == PROGRAM and not FILE.match(block.text)]


def write_files_of(page: str, directory: Path) -> None:
    """Write the files that a page shows, and install what it shows the pyproject.toml of."""
    for block in BLOCKS:
        found = FILE.match(block.text)
        if block.page != page or found is None:
            continue
        file = directory / found["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, "utf-8")
        if file.name == "pyproject.toml":
            install(tomllib.loads(block.text)["project"], directory)


def install(project: dict[str, Any], directory: Path) -> None:
    """What pip would write for its entry points, as `importlib.metadata` finds it."""
    lines = [f"Name: {project['name']}", f"Version: {project['version']}"]
    info = directory / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]), "utf-8")
    entries = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in points.items()), ""])
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(entries), "utf-8")


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_program_runs_and_complains_of_nothing(block: Block, tmp_path: Path) -> None:
    write_files_of(block.page, tmp_path)
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


@pytest.mark.parametrize("block", [b for b in PYTHON if b.kind == SERVES], ids=str)
def test_program_serves_until_it_is_told_to_stop(block: Block, tmp_path: Path) -> None:
    text = block.text
    for shown, here in ELSEWHERE.items():
        text = text.replace(shown, here)
    (tmp_path / "program.py").write_text(text, "utf-8")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
        socket.create_server(("127.0.0.1", 0)) as web,
        socket.create_server(("127.0.0.1", 0)) as admin,
    ):
        told.bind(str(tmp_path / "notify"))
        told.settimeout(20)
        # As systemd starts it: with two sockets, and told who it is.
        command = (
            f"exec 3<&{web.fileno()} 4<&{admin.fileno()}; export LISTEN_PID=$$;"
            f" exec {sys.executable} -W error program.py"
        )
        names = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin"}
        program = subprocess.Popen(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=os.environ | names | {"NOTIFY_SOCKET": str(tmp_path / "notify")},
            pass_fds=(web.fileno(), admin.fileno()),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert b"READY=1" in told.recv(1024)
            program.terminate()
            _, errors = program.communicate(timeout=20)
        finally:
            program.kill()
            program.communicate()
    assert (program.returncode, errors) == (0, "")


def test_every_python_block_is_run() -> None:
    for block in PYTHON:
        assert block.kind in (PROGRAM, SERVES, *WITH), block
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
    text = "a\n```python\nx = 1\n```\n\n```sh\nls\n```\n```python serves\nawait f\n```\n"
    assert blocks_of("p", text) == [
        Block("p", 2, "python", "x = 1\n"),
        Block("p", 6, "sh", "ls\n"),
        Block("p", 9, "python serves", "await f\n"),
    ]
