"""A Python process of its own that a test talks to, line by line."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from textwrap import dedent
from types import TracebackType


class Child:
    """Runs `program` (Python source) with `args`; ended and reaped when its block is left.

    fds: descriptors it gets, under the same numbers. command: a program that runs it, as
    `unshare --net`. loop: "asyncio" or "uvloop"; the source finds it as `new_loop`.
    """

    def __init__(
        self,
        program: str,
        *args: str,
        loop: str = "asyncio",
        fds: Sequence[int] = (),
        command: Sequence[str] = (),
    ) -> None:
        maker = "None" if loop == "asyncio" else "__import__('uvloop').new_event_loop"
        source = f"new_loop = {maker}\n{dedent(program)}"
        self._process = subprocess.Popen(
            [*command, sys.executable, "-c", source, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=fds,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def says(self) -> str:
        """Wait for its next line; "" when it has ended."""
        assert self._process.stdout is not None
        return (await asyncio.to_thread(self._process.stdout.readline)).strip()

    async def tell(self, line: str) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        await asyncio.to_thread(self._process.stdin.flush)

    async def end(self, how: signal.Signals) -> int:
        """Send it a signal, and wait for its end: its status."""
        self._process.send_signal(how)
        return await asyncio.to_thread(self._process.wait)

    async def status(self) -> int:
        """Wait for its end: its status."""
        return await asyncio.to_thread(self._process.wait)

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
        process.stdout.close()
