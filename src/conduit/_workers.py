"""`run_workers`: a program in several processes, which serve the same addresses."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from ._lending import Lending
from ._notify import READY, STOPPING, WATCHDOG, notifier
from ._worker_process import WorkerProcess
from .errors import UnsupportedTransport
from .transports.turns import forget, size_of

# Before a worker that ended soon after its start is replaced: the first pause, doubled each time.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_SOON = 10.0

# So often in a row a worker may fail to start, before it is given up.
_MOST_FAILURES = 5

# The others are started when the first one listens, so that what none of them can do is said once;
# or when it has run for so long, for it may never listen.
_HEAD_START = 1.0

# What handlers get that a second signal has cancelled, before their process is killed.
_SECONDS_TO_DIE = 5.0

_UCRED = struct.Struct("iII")  # struct ucred, unix(7)

logger = logging.getLogger("conduit")


def run_workers(main: str, n: int | None = None) -> None:
    """Run an async function in several processes, which all serve what it listens on.

        if __name__ == "__main__":
            conduit.run_workers("package:main", 4)

    main: where the function is, as "package.module:function"; it takes no arguments, and each
    worker runs it as `conduit.run` does. n: how many workers (default: one for each CPU that this
    process may use).

    The workers are fresh interpreters with the arguments, the search path and the environment of
    this process. This one opens their listening sockets and keeps them, so a port 0 is the same
    port in all, and a worker that dies loses no client who waits; it is replaced, and the log says
    so. What a worker limits (`max_active`) it limits for itself.

    SIGTERM and SIGINT stop all workers in their orderly way; a second one cancels what is left, and
    kills it 5 s later. SIGHUP lets every server read its files again, unless this process has a
    terminal. The kernel kills the workers of a parent that is killed. systemd is told as by
    `conduit.run`, once for all.

    Returns when `main` has returned in all workers. Raises RuntimeError when workers fail as soon
    as they start, with what the last one said, and for a call that does not come from the main
    thread, or from a running loop; KeyboardInterrupt or SystemExit(128 + signal) if a signal
    cancelled `main`; UnsupportedTransport where there is no Linux.
    """
    if sys.platform != "linux":
        raise UnsupportedTransport(f"run_workers needs Linux, and this is {sys.platform}")
    if n is None:
        n = len(os.sched_getaffinity(0))
    if n < 1:
        raise ValueError(f"run_workers: {n} workers are none: give at least 1")
    module, _, name = main.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ValueError(f'run_workers: {main!r} is no function: write "package.module:function"')
    if module == "__main__":
        raise ValueError("run_workers: name the module of the program, for __main__ is the worker")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("run_workers answers signals: call it in the main thread")
    if "asyncio" in sys.modules and sys.modules["asyncio"]._get_running_loop() is not None:
        raise RuntimeError(
            "run_workers starts processes, each with a loop, and one is running here"
        )
    with ExitStack() as stack:
        _Parent(main, n, stack).run()


class _Parent:
    """The process that starts workers, replaces them, and ends with them."""

    def __init__(self, target: str, count: int, stack: ExitStack) -> None:
        self._target = target
        self._count = count
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._lending = Lending()
        stack.callback(self._lending.close)
        self._workers: dict[int, WorkerProcess] = {}
        stack.callback(self._kill)
        self._due: dict[int, float] = {0: 0.0}
        """When to start which worker; the others follow when the first one works."""
        self._early = dict.fromkeys(range(count), 0)
        self._failures = dict.fromkeys(range(count), 0)
        self._first = True
        self._proven = False
        """Whether any worker has ever begun to work."""
        self._why = ""
        self._trace = ""
        self._signals: list[signal.Signals] = []
        self._kill_at: float | None = None
        self._cancelled = False
        self._told = False
        self._terminal = _has_terminal()
        self._open(stack)

    def _open(self, stack: ExitStack) -> None:
        self._environment, self._for_me = _environment()
        self._supervisor = notifier()
        heartbeat = self._supervisor.watchdog
        self._feeds = None if heartbeat is None else heartbeat / 2
        self._fed = time.monotonic()
        self._counts = os.memfd_create("conduit-turns")
        stack.callback(os.close, self._counts)
        os.truncate(self._counts, size_of(self._count))
        self._notices = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._notices.bind(b"")  # The kernel makes up an abstract name, unix(7).
        self._notices.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._notices.setblocking(False)
        name = self._notices.getsockname()
        self._environment["NOTIFY_SOCKET"] = "@" + os.fsdecode(name[1:])
        self._watch(self._notices, self._noticed)
        self._arrived: list[int] = []
        self._woken = stack.enter_context(_signals_to(self._arrived))
        self._watch(self._woken, self._look_at_signals)

    def run(self) -> None:
        """Until the last worker has ended, and none is to follow."""
        while self._workers or self._due:
            for key, _ in self._selector.select(self._next()):
                key.data()
            self._look()
        if self._why:
            error = RuntimeError(f"run_workers({self._target!r}, {self._count}): {self._why}")
            if self._trace:
                error.add_note(self._trace)
            raise error
        if self._cancelled:
            if self._signals[0] is signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + self._signals[0])

    # What is to be done when.

    def _next(self) -> float | None:
        """Seconds until something is due; None for nothing."""
        due = [*self._due.values()]
        if self._first and 0 in self._workers and (at := self._workers[0].imported) is not None:
            due.append(at + _HEAD_START)
        if self._kill_at is not None:
            due.append(self._kill_at)
        if self._feeds is not None:
            due.append(self._fed + self._feeds)
        return None if not due else max(0.0, min(due) - time.monotonic())

    def _look(self) -> None:
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            for worker in self._workers.values():
                logger.warning("%s does not end, and is killed", worker)
                worker.signal(signal.SIGKILL)
        if self._first and 0 in self._workers:
            worker = self._workers[0]
            if worker.listens or worker.done or worker.has_run_for(_HEAD_START):
                self._go_on_with_the_others(now)
        for number in [number for number, at in self._due.items() if now >= at]:
            del self._due[number]
            self._start(number)
        if self._feeds is not None and now >= self._fed + self._feeds:
            self._feed(now)

    def _go_on_with_the_others(self, now: float) -> None:
        self._first = False
        if not self._signals:
            self._due |= dict.fromkeys(range(1, self._count), now)

    def _feed(self, now: float) -> None:
        """Feed the watchdog of this process, and end a worker whose loop hangs."""
        self._fed = now
        self._supervisor.tell_now(WATCHDOG)
        patience = self._supervisor.watchdog
        for worker in self._workers.values():
            if worker.fed is not None and patience is not None and now - worker.fed > patience:
                logger.error("%s has hung for %g s, and is killed", worker, patience)
                worker.fed = None
                worker.signal(signal.SIGKILL)

    # Workers.

    def _start(self, number: int) -> None:
        try:
            worker = WorkerProcess(
                number,
                self._count,
                self._target,
                self._environment,
                self._for_me,
                self._counts,
            )
        except OSError as error:
            self._failed(number, f"worker {number} cannot be started: {error}", "")
            return
        self._workers[number] = worker
        self._say_how_it_is()
        self._watch(worker.line, lambda: self._hear(worker))
        self._watch(worker.pidfd, lambda: self._ended(worker))

    def _hear(self, worker: WorkerProcess) -> None:
        if self._workers.get(worker.number) is not worker:
            return  # It has ended in this turn.
        for message in worker.heard():
            if "release" in message:
                self._lending.release(worker.number, message)
                continue
            try:
                if self._signals:
                    raise OSError("this program is about to end")
                sockets = self._lending.lend(worker.number, message)
            except (OSError, ValueError) as error:
                worker.refuse(error)
            else:
                worker.lend(sockets)

    def _ended(self, worker: WorkerProcess) -> None:
        self._selector.unregister(worker.pidfd)
        self._noticed()
        self._hear(worker)
        self._selector.unregister(worker.line)
        del self._workers[worker.number]
        forget(self._counts, worker.number)
        status = worker.end()
        if self._first and worker.done:
            self._go_on_with_the_others(time.monotonic())
        if worker.done or self._signals or self._why:
            self._lending.release_all(worker.number)
            if not worker.done and self._signals and not self._why:
                self._ended_by_signal(worker, status)
            self._say_how_it_is()
            return
        how = worker.failure or (
            f"it ended by signal {-status} ({signal.strsignal(-status)})"
            if status < 0
            else f"it ended with status {status}"
        )
        if worker.settled and time.monotonic() - worker.started > _SOON:
            self._early[worker.number] = 0
        if worker.settled:
            self._proven = True
            self._failures[worker.number] = 0
            self._replace(worker.number, f"{worker} died: {how}", worker.traceback)
        else:
            self._failed(worker.number, f"{worker} could not start: {how}", worker.traceback)

    def _ended_by_signal(self, worker: WorkerProcess, status: int) -> None:
        if worker.failure:
            self._why, self._trace = f"{worker} failed: {worker.failure}", worker.traceback
        elif status:
            self._cancelled = True

    def _failed(self, number: int, why: str, trace: str) -> None:
        """One could not start. Where none ever has, it speaks for all."""
        self._failures[number] += 1
        proven = self._proven or any(worker.settled for worker in self._workers.values())
        if proven and (self._workers or self._failures[number] < _MOST_FAILURES):
            self._replace(number, why, trace)
            return
        self._why, self._trace = why, trace
        self._due.clear()
        self._stop_all()

    def _replace(self, number: int, why: str, trace: str) -> None:
        early = self._early[number]
        self._early[number] += 1
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (early - 1)) if early else 0.0
        after = f" after {pause:g} s" if pause else ""
        logger.error("%s; another takes its place%s%s", why, after, trace and "\n" + trace.rstrip())
        self._due[number] = time.monotonic() + pause

    def _kill(self) -> None:
        """At the end there is none, unless this has failed."""
        for worker in self._workers.values():
            worker.signal(signal.SIGKILL)
            worker.end()

    # Signals.

    def _look_at_signals(self) -> None:
        self._woken.recv(4096)
        while self._arrived:
            number = signal.Signals(self._arrived.pop(0))
            if number is not signal.SIGHUP:
                self._told_to_stop(number)
            elif self._terminal and not self._supervisor.is_heard:
                # It has gone: as it ends any program.
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            else:
                self._reload()

    def _told_to_stop(self, number: signal.Signals) -> None:
        self._signals.append(number)
        self._due.clear()
        if len(self._signals) == 1:
            # First our own: whoever comes from now on is to find nobody, not a queue that closes.
            self._lending.close()
        else:
            patience = _SECONDS_TO_DIE if len(self._signals) == 2 else 0.0
            self._kill_at = time.monotonic() + patience
        self._stop_all()

    def _stop_all(self) -> None:
        self._say_stopping()
        for worker in self._workers.values():
            worker.signal(signal.SIGTERM)

    def _reload(self) -> None:
        for worker in self._workers.values():
            if worker.listens:
                worker.reloading = True
                worker.signal(signal.SIGHUP)
        if self._told and not self._signals:
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._supervisor.tell_now(f"RELOADING=1\nMONOTONIC_USEC={now}")
            self._told = False
            self._say_how_it_is()

    # What workers tell of themselves, as to systemd, and what systemd is told.

    def _noticed(self) -> None:
        while True:
            try:
                data, extra, _, _ = self._notices.recvmsg(4096, socket.CMSG_SPACE(_UCRED.size))
            except BlockingIOError:
                return
            for level, kind, value in extra:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    sender = _UCRED.unpack(value)[0]
                    for worker in self._workers.values():
                        if worker.pid == sender:
                            self._understand(worker, data.decode("utf-8", "replace").split("\n"))

    def _understand(self, worker: WorkerProcess, words: list[str]) -> None:
        if WATCHDOG in words:
            worker.fed = time.monotonic()
        if READY in words:
            worker.listens, worker.reloading = True, False
            self._say_how_it_is()

    def _say_how_it_is(self) -> None:
        """Tell systemd when all workers listen that have not come to their end."""
        workers = self._workers.values()
        all_here = not self._first and not self._due and bool(workers)
        all_ready = all(worker.listens and not worker.reloading for worker in workers)
        if all_here and all_ready and not self._told and not self._signals:
            self._told = True
            self._supervisor.tell_now(READY)

    def _say_stopping(self) -> None:
        self._supervisor.tell_now(STOPPING)

    def _watch(self, what: socket.socket | int, then: Callable[[], None]) -> None:
        self._selector.register(what, selectors.EVENT_READ, then)


def _environment() -> tuple[dict[str, str], list[str]]:
    """That of workers, and the variables in which each writes its own number."""
    beat = notifier().watchdog  # It takes the variables out of ours.
    environment = dict(os.environ)
    environment.pop("LISTEN_PIDFDID", None)  # It says which process LISTEN_PID means.
    if beat is not None:
        environment["WATCHDOG_USEC"] = str(int(beat * 1e6))
    mine = environment.get("LISTEN_PID") == str(os.getpid())
    return environment, ["LISTEN_PID"] if mine else []


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


@contextmanager
def _signals_to(arrived: list[int]) -> Generator[socket.socket]:
    """In the block, put the numbers of signals into a list; what is given can be read then."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        before: dict[signal.Signals, Any] = {}
        woke = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                # Who starts it in the background has it ignore some: that is its wish.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, lambda told, _: arrived.append(told))
            yield ours
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(woke)
