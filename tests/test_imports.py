"""Imports go only upwards in one list, never in a circle, and `import conduit` stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "conduit"
SOURCE = Path(__file__).resolve().parent.parent / "src" / PACKAGE

# Every module and package directly below src/conduit. Each may import those above it, and a
# package's files may import each other. A new one goes just below the last one that it needs.
ORDER = [
    "_version",
    "errors",
    "_left_out",
    "_hostnames",
    "_lookup",
    "_fields",
    "endp",
    "client",
    "server",
    "flow",
    "events",
    "_debug",
    "proxy_protocol",
    "_deadlines",
    "channels",
    "tls",
    "text",
    "resolver",
    "sexp",
    "proxies",
    "discovery",
    "context",
    "convert",
    "_tailored",
    "_target",
    "transports",
    "_resolve",
    "_connect",
    "_places",
    "_accept",
    "_handle",
    "_notify",
    "_reload",
    "_server",
    "_serve",
    "_start_tls",
    "_splice",
    "_relay",
    "_forward",
    "_run",
    "_lending",
    "_worker",
    "_worker_process",
    "_workers",
    "testing",
    "__init__",  # conduit itself: the public names
    "ext",
    "cli",
    "__main__",
]

# Who may import these, whatever the order says.
ONLY_IMPORTED_BY: dict[str, set[str]] = {
    "ext": set(),
    "cli": {"__main__"},
    "__main__": set(),
}

# What `import conduit` must not bring along, unless `import asyncio` has already.
NOT_AT_IMPORT = [
    "argparse",
    "conduit.cli",
    "conduit.ext",
    "conduit.sexp",
    "conduit.testing",
    "cryptography",
    "hypothesis",
    "idna",
    "importlib.metadata",
    "subprocess",
    "tlslite",
    "uvloop",
]


@dataclass(frozen=True)
class Import:
    """One file of the package imports another."""

    importer: str  # dotted, as in "conduit.channels.wire"
    imported: str
    line: int
    at_module_level: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules_below(root: Path) -> dict[str, Path]:
    """Return the files of the package whose folder is ``root``, by dotted name."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        modules[".".join(parts)] = path
    return modules


def is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def import_statements(
    node: ast.AST, at_module_level: bool = True
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Find the imports that can happen at run time, each with whether it is at module level."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_module_level
        elif isinstance(child, ast.If) and is_type_checking(child.test):
            otherwise = ast.Module(body=child.orelse, type_ignores=[])
            yield from import_statements(otherwise, at_module_level)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from import_statements(child, at_module_level and not is_function)


def targets(
    statement: ast.Import | ast.ImportFrom, importer: str, is_package: bool, modules: set[str]
) -> Iterator[str]:
    """Name the modules that a statement imports, in full; of a package, the file meant."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
        return
    base = statement.module or ""
    if statement.level:
        up = statement.level - is_package
        package = importer.split(".")
        package = package[: len(package) - up]
        base = ".".join([*package, base] if base else package)
    for alias in statement.names:
        submodule = f"{base}.{alias.name}"
        yield submodule if submodule in modules else base


def imports_below(root: Path) -> list[Import]:
    """Find every import of one file of the package by another."""
    modules = modules_below(root)
    found = []
    for importer, path in modules.items():
        tree = ast.parse(path.read_text("utf-8"), str(path))
        is_package = path.name == "__init__.py"
        found += [
            Import(importer, imported, statement.lineno, at_module_level)
            for statement, at_module_level in import_statements(tree)
            for imported in targets(statement, importer, is_package, set(modules))
            if imported.split(".")[0] == root.name
        ]
    return found


def top_level(module: str) -> str:
    """Return the name that stands in ORDER for a module of the package."""
    _, name, *_ = [*module.split("."), "__init__"]
    return name


def violations(root: Path) -> list[str]:
    """Say all that is wrong with the imports of the package whose folder is ``root``."""
    place = {name: index for index, name in enumerate(ORDER)}
    modules = modules_below(root)
    problems = [
        f"{name} is not in ORDER: add it to the list in tests/test_imports.py, just below the "
        f"last module that it needs"
        for name in sorted({top_level(module) for module in modules} - set(place))
    ]
    graph: dict[str, set[str]] = {}
    for found in imports_below(root):
        importer, imported = top_level(found.importer), top_level(found.imported)
        if found.imported not in modules:
            problems.append(f"{found}: there is no such module")
        if importer not in place or imported not in place:
            continue  # told above
        if importer != imported:
            allowed = ONLY_IMPORTED_BY.get(imported)
            if allowed is not None and importer not in allowed:
                problems.append(f"{found}: nothing may import {imported}")
            elif place[imported] > place[importer]:
                problems.append(f"{found}: {imported} stands below {importer} in ORDER")
        if found.at_module_level:
            graph.setdefault(found.importer, set()).add(found.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        problems.append("a circle of imports: " + " <- ".join(error.args[1]))
    return problems


def write_package(folder: Path, files: dict[str, str]) -> Path:
    root = folder / PACKAGE
    for name, text in {"__init__.py": "", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


# --- The package itself


def test_imports_go_only_upwards_in_the_list() -> None:
    assert modules_below(SOURCE), f"no module below {SOURCE}"
    problems = violations(SOURCE)
    assert not problems, "\n" + "\n".join(problems)


def test_importing_conduit_brings_nothing_that_can_wait() -> None:
    program = (
        "import asyncio, sys; before = set(sys.modules); import conduit; "
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    brought = result.stdout.split()
    assert "conduit" in brought
    heavy = [
        module
        for module in brought
        if any(module == name or module.startswith(f"{name}.") for name in NOT_AT_IMPORT)
    ]
    assert not heavy


# --- The checker: what it lets pass, and that it sees each kind of violation

PACKAGED = {"channels/__init__.py": "", "channels/wire.py": "", "channels/input.py": ""}


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"errors.py": "", "flow.py": "import conduit.errors"}, id="upwards"),
        pytest.param(
            PACKAGED | {"errors.py": "", "channels/wire.py": "from .. import errors"},
            id="upwards out of a package",
        ),
        pytest.param(
            PACKAGED | {"channels/input.py": "from conduit.channels import wire"}, id="sibling"
        ),
        pytest.param(
            PACKAGED
            | {
                "channels/__init__.py": "from .input import read",
                "channels/input.py": "from . import wire",
            },
            id="package of its own files",
        ),
        pytest.param(
            PACKAGED
            | {
                "channels/input.py": "from conduit.channels import wire",
                "channels/wire.py": "def f():\n    from conduit.channels import input",
            },
            id="circle broken by a function",
        ),
        pytest.param(
            {
                "flow.py": "",
                "errors.py": "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from conduit import flow",
            },
            id="only for types",
        ),
        pytest.param(
            {"errors.py": "", "__init__.py": "from conduit.errors import E"}, id="public names"
        ),
        pytest.param({"errors.py": "import asyncio.events, cli"}, id="other packages"),
        pytest.param({"cli/__init__.py": "import conduit"}, id="command uses the public names"),
        pytest.param({"cli.py": "", "__main__.py": "from .cli import main"}, id="python -m"),
    ],
)
def test_checker_lets_pass(files: dict[str, str], tmp_path: Path) -> None:
    assert violations(write_package(tmp_path, files)) == []


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        pytest.param(
            {"flow.py": "", "errors.py": "import os\nimport conduit.flow"},
            "conduit.errors:2 imports conduit.flow: flow stands below errors in ORDER",
            id="downwards",
        ),
        pytest.param(
            {"flow.py": "", "errors.py": "from conduit.flow import TCP"},
            "conduit.errors:1 imports conduit.flow: flow stands below errors in ORDER",
            id="downwards from a module",
        ),
        pytest.param(
            {"flow.py": "", "errors.py": "from conduit import flow"},
            "conduit.errors:1 imports conduit.flow: flow stands below errors in ORDER",
            id="downwards from the package",
        ),
        pytest.param(
            {"flow.py": "", "errors.py": "from . import flow"},
            "conduit.errors:1 imports conduit.flow: flow stands below errors in ORDER",
            id="downwards, relative",
        ),
        pytest.param(
            PACKAGED | {"tls/__init__.py": "", "channels/wire.py": "from ..tls import layer"},
            "conduit.channels.wire:1 imports conduit.tls: tls stands below channels in ORDER",
            id="downwards, relative, out of a package",
        ),
        pytest.param(
            {"flow.py": "", "errors.py": "class E:\n    def f(self):\n        import conduit.flow"},
            "conduit.errors:3 imports conduit.flow: flow stands below errors in ORDER",
            id="downwards in a function",
        ),
        pytest.param(
            {"flow.py": "", "errors.py": "try:\n    import conduit.flow\nexcept OSError: pass"},
            "conduit.errors:2 imports conduit.flow: flow stands below errors in ORDER",
            id="downwards in a try",
        ),
        pytest.param(
            {
                "flow.py": "",
                "errors.py": "import typing\nif typing.TYPE_CHECKING:\n    pass\n"
                "else:\n    import conduit.flow",
            },
            "conduit.errors:5 imports conduit.flow: flow stands below errors in ORDER",
            id="downwards unless for types",
        ),
        pytest.param(
            {"errors.py": "from conduit import connect"},
            "conduit.errors:1 imports conduit: __init__ stands below errors in ORDER",
            id="public names from within",
        ),
        pytest.param(
            {"cli/__init__.py": "", "cli/demo.py": "", "__init__.py": "import conduit.cli.demo"},
            "conduit:1 imports conduit.cli.demo: nothing may import cli",
            id="command",
        ),
        pytest.param(
            {"cli.py": "import conduit.ext.other", "ext/__init__.py": "", "ext/other.py": ""},
            "conduit.cli:1 imports conduit.ext.other: nothing may import ext",
            id="adapter",
        ),
        pytest.param(
            PACKAGED
            | {
                "channels/input.py": "from conduit.channels import wire",
                "channels/wire.py": "from conduit.channels.input import Input",
            },
            "a circle of imports: conduit.channels",
            id="circle",
        ),
        pytest.param(
            PACKAGED
            | {
                "channels/__init__.py": "from .input import Input",
                "channels/input.py": "from conduit.channels import Output",
            },
            "a circle of imports: conduit.channels",
            id="circle through the package",
        ),
        pytest.param({"utils.py": ""}, "utils is not in ORDER: add it to the list", id="unknown"),
        pytest.param(
            {"flow.py": "import conduit.erors"},
            "conduit.flow:1 imports conduit.erors: there is no such module",
            id="no such module",
        ),
    ],
)
def test_checker_sees(files: dict[str, str], problem: str, tmp_path: Path) -> None:
    problems = violations(write_package(tmp_path, files))
    assert len(problems) == 1
    assert problems[0].startswith(problem)
