"""Real programs that a test talks to, as a person would at a terminal."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from types import TracebackType

from tests.peers.programs import SECONDS, listening_port


class Talking:
    """A program with which a test talks while the block lasts; ended and reaped afterwards.

    command: what to run. says: what it writes when it is ready; by default it is at once. user: who
    shall run it, if this process is root. ends_by: the signal that ends it. environment: variables
    on top of ours.

    What it writes to its output and to its standard error is read all the time, as one text.
    """

    def __init__(
        self,
        *command: str,
        says: str = "",
        user: str | None = None,
        ends_by: signal.Signals = signal.SIGTERM,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command
        self._ready = says
        self._user = user if os.geteuid() == 0 else None
        self._ends_by = ends_by
        self._environment = None if environment is None else {**os.environ, **environment}
        self._said = bytearray()
        self._returned = 0
        self._more = asyncio.Event()
        self._silent = False

    async def __aenter__(self) -> "Talking":
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else (),
            cwd="/",
            env=self._environment,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        asyncio.get_running_loop().add_reader(self._output, self._listen)
        try:
            await self.says(self._ready)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    def _listen(self) -> None:
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return
        self._said += data
        if not data:
            self._silent = True
            asyncio.get_running_loop().remove_reader(self._output)
        self._more.set()

    async def _end(self) -> None:
        process = self._process
        try:
            if process.poll() is None:
                process.send_signal(self._ends_by)
            await asyncio.to_thread(process.wait, SECONDS)
        finally:
            process.kill()
            process.wait()
            if not self._silent:
                asyncio.get_running_loop().remove_reader(self._output)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.close()
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass

    async def says(self, text: str) -> str:
        """Wait until it has said `text`: all that it said up to there and was not returned yet."""
        wanted = text.encode()
        try:
            async with asyncio.timeout(SECONDS):
                while (at := self._said.find(wanted, self._returned)) < 0:
                    assert not self._silent, f"it never said {text!r}, but:\n{self.all}"
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"it does not say {text!r}, but:\n{self.all}") from None
        start, self._returned = self._returned, at + len(wanted)
        return self._said[start : self._returned].decode(errors="replace")

    @property
    def all(self) -> str:
        """All that it has said so far."""
        return self._said.decode(errors="replace")

    async def tell(self, text: str) -> None:
        """Give it input."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        await asyncio.to_thread(self._process.stdin.flush)

    def end_input(self) -> None:
        """Tell it that no more input comes."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def ended(self) -> int:
        """Wait until it has ended by itself and said all: its status."""
        async with asyncio.timeout(SECONDS):
            while not self._silent:
                self._more.clear()
                await self._more.wait()
        return await asyncio.to_thread(self._process.wait, SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it, at once and without a word to its peers."""
        self._process.kill()

    @property
    def port(self) -> int:
        """The TCP port that it listens on, as the kernel knows it."""
        return listening_port(self._process.pid)
