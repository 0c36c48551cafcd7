"""Subcommands that serve, in a process of their own; and terminals to run any in."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.cli.command import COMMAND, environment


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    addresses: list[str] = field(default_factory=list)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().rstrip("\n")

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def ports(self) -> list[int]:
        return [int(one.partition("?")[0].rpartition(":")[2]) for one in self.addresses]

    def stop(self, number: int = signal.SIGTERM) -> tuple[str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return out.decode(), err.decode()


@contextlib.contextmanager
def serving(
    *args: str, listeners: int = 1, fds: Sequence[int] = (), wrapper: Sequence[str] = ()
) -> Iterator[Server]:
    """Run a server until the block is left; then it must end well.

    listeners: how many to wait for. fds: descriptors it gets, under the same numbers. wrapper: a
    program that runs it.
    """
    process = subprocess.Popen(
        [*wrapper, *COMMAND, *args],
        pass_fds=fds,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    server = Server(process)
    try:
        for _ in range(listeners):
            line = server.line()
            assert line.startswith("listening on "), (
                line,
                process.stderr and process.stderr.read(),
            )
            server.addresses.append(line.removeprefix("listening on "))
        yield server
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def started(*args: str) -> subprocess.Popen[bytes]:
    """Begin a command with pipes to all its streams."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, *args], env=environment(), stdin=pipe, stdout=pipe, stderr=pipe
    )


def talk(*args: str, said: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command through pipes, to its end."""
    return subprocess.run(
        [*COMMAND, *args], env=environment(), input=said, capture_output=True, timeout=40
    )


class Terminal:
    """A shell in a terminal of tmux."""

    def __init__(self, tmux: str, directory: str, columns: int, lines: int, **more: str) -> None:
        self._tmux = [tmux, "-f", "/dev/null", "-S", os.path.join(directory, "t")]
        self._env = environment(**more)
        self._asked = 0
        size = ["-x", str(columns), "-y", str(lines)]
        shell = ["env", "PS1=ready> ", "sh"]
        subprocess.run([*self._tmux, "new-session", "-d", *size, *shell], env=self._env, check=True)

    def run(self, *args: str) -> None:
        """Type a `conduit` command."""
        quoted = " ".join(f"'{arg}'" for arg in (sys.executable, "-m", "conduit", *args))
        self.type(quoted)
        self.type("Enter")

    def type(self, keys: str) -> None:
        """Send keys by their names, or text."""
        subprocess.run([*self._tmux, "send-keys", keys], env=self._env, check=True)

    def screen(self, *, colours: bool = False) -> str:
        """What is on the screen, with its history."""
        args = ["capture-pane", "-p", "-S", "-", *(["-e"] if colours else [])]
        return subprocess.run(
            [*self._tmux, *args], env=self._env, check=True, capture_output=True, encoding="utf-8"
        ).stdout

    def wait_for(self, pattern: str, seconds: float = 20) -> re.Match[str]:
        """Where the screen shows what `pattern` matches, once it does."""
        until = time.monotonic() + seconds
        while (found := re.search(pattern, screen := self.screen())) is None:
            assert time.monotonic() < until, f"no {pattern!r} in\n{screen}"
            time.sleep(0.05)  # tmux tells nobody
        return found

    def status(self) -> int:
        """The exit status of the last command."""
        self._asked += 1
        self.wait_for(r"ready> ?\s*\Z")  # what is typed before would be lost by Ctrl-C
        self.type(f"echo status{self._asked}=$?.")
        self.type("Enter")
        return int(self.wait_for(rf"status{self._asked}=(\d+)\.")[1])

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], env=self._env, check=False)


@contextlib.contextmanager
def terminal(tmux: str, columns: int = 80, lines: int = 40, **more: str) -> Iterator[Terminal]:
    with tempfile.TemporaryDirectory(prefix="tmux-") as directory:
        made = Terminal(tmux, directory, columns, lines, **more)
        try:
            yield made
        finally:
            made.close()
