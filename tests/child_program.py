"""Python programs run in a process of their own: for signals, forks and limits."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from types import TracebackType

WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None  # as if it were not installed\n"

LOOPS = ("asyncio", "uvloop")


class ChildProgram:
    """A running program. Leaving the `with` block kills it, if it still runs, and reaps it.

    source: its text; `conduit.run` and the tests' loops follow `loop`. arguments: its sys.argv[1:].
    """

    def __init__(self, source: str, *arguments: str, loop: str = "asyncio") -> None:
        before = WITHOUT_UVLOOP if loop == "asyncio" else ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", before + textwrap.dedent(source), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def __enter__(self) -> ChildProgram:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        _, complaints = self.process.communicate()
        if error is not None and complaints:
            error.add_note(f"the child program said:\n{complaints}")

    def line(self) -> str:
        """Its next line, without the newline."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, timeout: float = 20) -> tuple[int, str, str]:
        """Wait for its end: its exit status, and the rest of what it printed, and complained."""
        printed, complaints = self.process.communicate(timeout=timeout)
        return self.process.returncode, printed, complaints
