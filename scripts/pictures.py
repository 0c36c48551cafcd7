"""Makes the terminal pictures of the documentation from real runs: docs/pictures/*.svg.

    .venv/docs/bin/python scripts/pictures.py [NAME...]

Each command runs in a directory of its own, on a terminal of 90 columns that is made for it; what
it prints there, colours and all, is drawn by rich. Beside a picture stands its text, which a test
compares with what the command prints now.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
BIN = Path(sys.executable).parent
COLUMNS = 90


class Picture(NamedTuple):
    """A command to run, after others whose output nobody sees; and one that serves meanwhile.

    lines: so many at the start are drawn, and the last one; all if it is 0.
    """

    command: str
    before: tuple[str, ...] = ()
    server: str = ""
    lines: int = 0


_CA = ("conduit cert localhost 127.0.0.1",)
_SERVE = "conduit serve 'tls://127.0.0.1:{port}?crt=localhost.crt&key=localhost.key' --echo"

ALL = {
    "demo": Picture("conduit demo", lines=24),
    "cert": Picture("conduit cert localhost 127.0.0.1 ::1"),
    "check": Picture("conduit check --ca ca.crt tls://localhost:{port}", _CA, _SERVE),
    "refused": Picture("conduit check tls://localhost:{port}", _CA, _SERVE),
    "resolve": Picture("conduit resolve https://127.0.0.1:8443"),
}


def environment() -> dict[str, str]:
    """That of a plain terminal."""
    left_out = ("NO_COLOR", "CONDUIT_TLS", "CONDUIT_DEBUG", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LC_ALL": "C.UTF-8",
    }


def run_on_terminal(command: str, directory: str) -> str:
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    program = subprocess.Popen(
        ["bash", "-c", command],
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    printed = b""
    try:
        while piece := os.read(ours, 65536):
            printed += piece
    except OSError:
        pass  # Linux says so when the last writer is gone.
    os.close(ours)
    program.wait()
    # A line that is written over is what it was in the end.
    return re.sub(r"[^\n]*\r", "", printed.decode("utf-8").replace("\r\n", "\n"))


@contextmanager
def serving(command: str, directory: str) -> Iterator[str]:
    """Run a server at a free port while the block runs, which is given the port."""
    if not command:
        yield ""
        return
    server = subprocess.Popen(
        ["bash", "-c", "exec " + command.format(port=0)],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    try:
        found = re.search(r":(\d+)", server.stdout.readline())
        assert found is not None
        yield found[1]
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def printed_by(picture: Picture) -> tuple[str, str]:
    """The command as it was run, and what it printed, with its colours."""
    with tempfile.TemporaryDirectory(prefix="conduit-") as directory:
        for command in picture.before:
            run_on_terminal(command, directory)
        with serving(picture.server, directory) as port:
            command = picture.command.format(port=port)
            printed = run_on_terminal(command, directory).rstrip("\n").split("\n")
    if picture.lines:
        printed[picture.lines : -1] = ["…", ""]
    return command, "\n".join(printed) + "\n"


def plain(text: str) -> str:
    """The text without its colours, and without blanks at the end of lines."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n")) + "\n"


def drawn(command: str, printed: str) -> str:
    """The picture."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"\x1b[1m$ {command}\x1b[0m\n{printed.rstrip()}"))
    svg = console.export_svg(title="", unique_id="picture")
    # No fonts from elsewhere: a picture looks the same without a network.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", "ui-monospace, monospace")


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or ALL:
        command, printed = printed_by(ALL[name])
        (PICTURES / f"{name}.svg").write_text(drawn(command, printed), "utf-8")
        (PICTURES / f"{name}.txt").write_text(f"$ {command}\n{plain(printed)}", "utf-8")
        print(f"docs/pictures/{name}.svg")


if __name__ == "__main__":
    main()
