"""The command `conduit` in a process of its own."""

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from textwrap import dedent
from unittest import mock

from conduit.cli import main

COMMAND = (sys.executable, "-W", "error", "-m", "conduit")

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def environment(**more: str) -> dict[str, str]:
    """The environment of the tests, without what would change how the command looks."""
    ours = ("COLUMNS", "LINES", "NO_COLOR", "TERM", "CONDUIT_DEBUG", "PYTHONIOENCODING")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"PYTHONIOENCODING": "utf-8", "TERM": "xterm-256color"} | more


def run(
    *args: str, before: str = "", wrapper: Sequence[str] = (), **more: str
) -> subprocess.CompletedProcess[str]:
    """Run `conduit` with `args` through pipes, to its end.

    before: Python to run first in its process. wrapper: a program that runs it. more: environment.
    """
    command = list(COMMAND)
    if before:
        ending = "\nfrom conduit.cli import main\nraise SystemExit(main())"
        command[-2:] = ["-c", dedent(before) + ending]
    return subprocess.run(
        [*wrapper, *command, *args],
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=40,
    )


def run_here(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, which costs a tenth: for whatever needs no process of its own."""
    out, err = (
        io.TextIOWrapper(io.BytesIO(), more.get("PYTHONIOENCODING", "utf-8"), newline="")
        for _ in ("out", "err")
    )
    with (
        mock.patch.dict(os.environ, environment(**more), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = main(args)
    said = []
    for stream in (out, err):
        stream.flush()
        said.append(stream.buffer.getvalue().decode(stream.encoding))
    return subprocess.CompletedProcess(args, status, *said)


def without_styles(text: str) -> str:
    return _STYLE.sub("", text)
