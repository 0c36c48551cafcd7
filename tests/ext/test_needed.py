"""An adapter without its library says how to get it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXT = ROOT / "src" / "conduit" / "ext"

# Those of a library, each by the name of the extra that brings it.
ADAPTERS = sorted(
    path.stem for path in EXT.glob("*.py") if f'with needs("{path.stem}")' in path.read_text()
)

PROGRAM = """
import importlib, sys
for name in sys.argv[1:]:
    sys.modules[name] = None  # as if it were not installed
for name in sys.argv[1:]:
    try:
        importlib.import_module(f"conduit.ext.{name}")
    except ImportError as error:
        print(error)
"""


def test_each_names_its_extra() -> None:
    assert {"aiohttp", "httpcore", "httpx", "hypercorn", "uvicorn", "websockets"} <= set(ADAPTERS)
    assert {"aiormq", "anyio", "asyncssh", "redis"} <= set(ADAPTERS)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(ADAPTERS) <= set(project["optional-dependencies"])
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *ADAPTERS],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (result.returncode, result.stderr) == (0, "")
    for name, line in zip(ADAPTERS, result.stdout.splitlines(), strict=True):
        assert line.endswith(f"pip install 'conduit-net[{name}]'")
