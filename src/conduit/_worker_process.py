"""One worker as its parent sees it: a process, the line to it, and what it has said."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

# What a new interpreter is told; its arguments are those of `work`, and the search path.
_COMMAND = (
    "import sys; sys.path[:] = sys.argv.pop().split('\\n'); "
    "from conduit._worker import work; work(*map(int, sys.argv[1:]))"
)

# A worker that has run for so long works, though it may never listen.
_SECONDS_TO_SETTLE = 10.0

_PIECE = 65536


class WorkerProcess:
    """A worker, from its start to its end.

    number, count: which of the workers, of how many. target: what it runs. environment: its own.
    for_me: the names of variables in which it writes its number of process. counts: the
    descriptor of the memory for turns.
    """

    def __init__(
        self,
        number: int,
        count: int,
        target: str,
        environment: Mapping[str, str],
        for_me: list[str],
        counts: int,
    ) -> None:
        self.number = number
        self.started = time.monotonic()
        self.imported: float | None = None
        """When it had imported what it runs."""
        self.listens = False
        self.reloading = False
        self.done = False
        """Whether what it runs has come to its end by itself."""
        self.fed: float | None = None
        """When it last fed its watchdog."""
        self.failure = ""
        self.traceback = ""
        self._data = b""
        self.line, theirs = socket.socketpair()
        # The kernel closes our end when this process ends in whatever way. Each worker has a pipe
        # of its own, for a file that several have open signals to one of them only.
        lifeline, self._lifeline = os.pipe()
        passed = (theirs.fileno(), lifeline, counts)
        try:
            self._process = _started(passed, number, count, environment)
        except BaseException:
            self.line.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self.pid = self._process.pid
        self.pidfd = os.pidfd_open(self.pid)
        self._say({"main": target, "arguments": sys.argv, "for me": for_me})
        self.line.setblocking(False)

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.pid})"

    @property
    def settled(self) -> bool:
        """Whether it has begun to work: it listens, or has run for a while."""
        return self.listens or self.done or self.has_run_for(_SECONDS_TO_SETTLE)

    def has_run_for(self, seconds: float) -> bool:
        """Whether so much time has passed since it had imported what it runs."""
        return self.imported is not None and time.monotonic() >= self.imported + seconds

    def heard(self) -> Iterator[dict[str, Any]]:
        """What it has said, but for what is only about itself."""
        while True:
            try:
                piece = self.line.recv(_PIECE)
            except (BlockingIOError, ConnectionError):
                return
            if not piece:
                return
            self._data += piece
            while b"\n" in self._data:
                line, _, self._data = self._data.partition(b"\n")
                yield from self._understand(json.loads(line))

    def lend(self, sockets: list[socket.socket]) -> None:
        """Answer with sockets."""
        self._say({}, [sock.fileno() for sock in sockets])

    def refuse(self, error: Exception) -> None:
        """Answer with what went wrong."""
        number = getattr(error, "errno", None)
        text = str(getattr(error, "strerror", None) or error)
        self._say({"error": text, "kind": type(error).__name__, "errno": number})

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still lives."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def end(self) -> int:
        """It has ended: its exit status, or the number of the signal, below zero."""
        status = self._process.wait()
        os.close(self.pidfd)
        os.close(self._lifeline)
        self.line.close()
        return status

    def _say(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        try:
            socket.send_fds(self.line, [json.dumps(message).encode() + b"\n"], descriptors or [])
        except BlockingIOError:
            self.signal(signal.SIGKILL)  # It asks without listening to the answers.
        except ConnectionError:
            pass  # It has gone.

    def _understand(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "imported" in message:
            self.imported = time.monotonic()
        elif "done" in message:
            self.done = True
        elif "failed" in message:
            self.failure, self.traceback = message["failed"], message["traceback"]
        else:
            yield message


def _started(
    passed: tuple[int, ...], number: int, count: int, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """A fresh interpreter with `passed` descriptors.

    It is no fork of this one, in which the program may have made what a forked child cannot use.
    All else that was left open for us by our own parent goes on to it, under its number. It has a
    group of its own, for Ctrl-C is ours to answer.
    """
    command = [
        sys.executable,
        *cast("Any", subprocess)._args_from_interpreter_flags(),
        "-c",
        _COMMAND,
        *map(str, (*passed, number, count)),
        "\n".join(map(os.path.abspath, sys.path)),
    ]
    try:
        for descriptor in passed:
            os.set_inheritable(descriptor, True)
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            close_fds=False,
            process_group=0,
        )
    finally:
        for descriptor in passed:
            os.set_inheritable(descriptor, False)
