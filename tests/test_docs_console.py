"""The terminals that the documentation shows: their commands do what they are shown to do.

In a block of kind `console` a line that begins with `$ ` is a command, and what follows is what it
prints; `…` stands for anything, and alone in a line for any lines. The blocks of a page are one
session. A command that ends in ` &` goes on while the next ones run.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, Queue

import pytest

from tests.test_readme import BLOCKS

SESSIONS = {
    page: [block.text for block in BLOCKS if (block.page, block.kind) == (page, "console")]
    for page in sorted({block.page for block in BLOCKS if block.kind == "console"})
}


def commands_of(text: str) -> list[tuple[str, list[str]]]:
    """Each command, and the lines that it is to print."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        elif found[-1][0].endswith("\\"):
            found[-1] = (found[-1][0][:-1] + line.strip(), [])
        else:
            found[-1][1].append(line)
    return found


def pattern_of(lines: list[str]) -> re.Pattern[str]:
    """What matches the output that is shown."""
    parts = [
        "(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in lines
    ]
    return re.compile("".join(parts))


class Session:
    """A shell; what its commands print, also those that go on, comes line by line."""

    def __init__(self, directory: Path) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=directory,
            env=os.environ | {"PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        self.printed: Queue[str] = Queue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.shell.stdout is not None
        for line in self.shell.stdout:
            self.printed.put(line)

    def run(self, command: str, lines: int) -> str:
        """Run a command, to its end, or if it goes on until it has printed so many lines."""
        assert self.shell.stdin is not None
        goes_on = command.endswith(" &")
        self.shell.stdin.write(command + "\n" + ("" if goes_on else "echo '(done)'\n"))
        said = ""
        while not (goes_on and said.count("\n") == lines):
            try:
                line = self.printed.get(timeout=20)
            except Empty:
                pytest.fail(f"{command} printed no more than this:\n{said}")
            if line == "(done)\n":
                break
            said += line
        return said

    def close(self) -> None:
        """End all that the session has started."""
        os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.wait()
        self.reader.join()
        for stream in self.shell.stdin, self.shell.stdout:
            assert stream is not None
            stream.close()


@pytest.mark.parametrize("page", SESSIONS)
def test_commands_print_what_is_shown(page: str, tmp_path: Path) -> None:
    session = Session(tmp_path)
    try:
        for text in SESSIONS[page]:
            for command, lines in commands_of(text):
                printed = session.run(command, len(lines))
                assert pattern_of(lines).fullmatch(printed), f"{command} printed:\n{printed}"
    finally:
        session.close()


def test_other_output_is_noticed() -> None:
    assert pattern_of(["a …", "…", "d"]).fullmatch("a b\nc\nd\n")
    assert not pattern_of(["a …", "d"]).fullmatch("a b\nc\nd\n")
    assert not pattern_of(["a.b"]).fullmatch("acb\n")
    assert commands_of("$ a \\\n  b\nx\n$ c\n") == [("a b", ["x"]), ("c", [])]
