"""`run`: a program's main coroutine, on the fastest loop there is, with an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
import sys
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar, cast
from weakref import WeakSet

from ._notify import notifier
from ._server import running_servers

T = TypeVar("T")

_SIGNALS = ("SIGINT", "SIGTERM")

_hearing: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


def hears_signals() -> bool:
    """Whether `run` runs the running loop, and turns signals into a stop of its servers."""
    return asyncio.get_running_loop() in _hearing


def run(main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` to its end on a new loop: uvloop's where it is installed, else asyncio's.

        conduit.run(conduit.serve(conduit.server.TCP(8080), handler))

    main: a coroutine, or an async function without arguments.

    SIGINT and SIGTERM become a stop: every server that runs stops in its orderly way (`serve`
    returns, the block of `listen` is left as if by itself), and then `main` goes on to its end.
    With no server running, and at a second signal, `main` is cancelled.

    Where NOTIFY_SOCKET is set, systemd is told when servers listen, reload and stop, and that the
    loop turns (sd_notify(3)); and SIGHUP lets every server read its files again.

    Returns what `main` returns. Raises what it raises; KeyboardInterrupt or SystemExit(128 +
    signal) if a signal cancelled it; RuntimeError inside a loop that runs.
    """
    if asyncio._get_running_loop() is not None:
        if asyncio.iscoroutine(main):
            main.close()
        raise RuntimeError("conduit.run starts a loop, and one is running: await the coroutine")
    return run_and_tell(main)[0]


def run_and_tell(
    main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]],
    on_signal: Callable[[], None] | None = None,
) -> tuple[T, bool]:
    """As `run`, and whether a signal told it to end; `on_signal` is called before it does."""
    program = _Main(main, on_signal)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        result = runner.run(program.run())
    return result, bool(program.signals)


class _Main(Generic[T]):
    """A main coroutine and the signals it got."""

    def __init__(
        self,
        main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]],
        on_signal: Callable[[], None] | None,
    ) -> None:
        self._main = main
        self._on_signal = on_signal
        self.signals: list[signal.Signals] = []
        self._cancelled_by: signal.Signals | None = None
        self._reloading: set[asyncio.Task[None]] = set()

    async def run(self) -> T:
        main = self._main() if callable(self._main) else self._main
        notifier().turn()
        task = asyncio.get_running_loop().create_task(main)
        with self._handling_signals(task):
            try:
                return await task
            except asyncio.CancelledError:
                if self._cancelled_by is None:
                    task.cancel()
                    raise
        if self._cancelled_by is signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self._cancelled_by)

    @contextlib.contextmanager
    def _handling_signals(self, task: asyncio.Task[T]) -> Generator[None]:
        loop = asyncio.get_running_loop()
        handled: list[signal.Signals] = []
        for name in _SIGNALS:
            number = getattr(signal, name)
            if signal.getsignal(number) is signal.SIG_IGN:
                # So does a shell for what it runs in the background: that is its wish.
                continue
            # Not on Windows, and not in a thread other than the main one.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self._told, number, task)
                handled.append(number)
        if notifier().is_heard:
            # Not elsewhere: there the signal says that the terminal has gone.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)
                handled.append(signal.SIGHUP)
        if handled:
            _hearing.add(loop)
        try:
            yield
        finally:
            _hearing.discard(loop)
            for number in handled:
                loop.remove_signal_handler(number)

    def _told(self, number: signal.Signals, task: asyncio.Task[T]) -> None:
        self.signals.append(number)
        if self._on_signal is not None:
            self._on_signal()
        servers = running_servers()
        if servers and len(self.signals) == 1:
            for server in servers:
                server.interrupt()
        else:
            self._cancelled_by = number
            task.cancel()

    def _told_to_reload(self) -> None:
        reloading = asyncio.get_running_loop().create_task(_reload_all())
        self._reloading.add(reloading)
        reloading.add_done_callback(self._reloading.discard)


async def _reload_all() -> None:
    with notifier().reload():
        for server in running_servers():
            try:
                await server.reload()
            except (OSError, ValueError):
                pass  # It is in the log, and what was read before is in use.


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)
