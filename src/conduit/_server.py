"""A server that runs: its listeners, its connections, and its end."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Awaitable
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from . import endp, server
from ._accept import Acceptor
from ._handle import Connection, Handling
from ._notify import notifier
from ._places import Places
from ._reload import Reloader
from .channels.waiters import wait_in, wake
from .context import Context
from .errors import UnsupportedTransport
from .transports import Arrival, ListenOptions, listen

Stop: TypeAlias = asyncio.Event | Awaitable[object]

# How often a stop says that it still waits for handlers that ignore their cancellation.
_SECONDS_BETWEEN_COMPLAINTS = 5.0

logger = logging.getLogger("conduit")

_running: dict[asyncio.AbstractEventLoop, set[Server]] = {}

# How many times a task is cancelled because servers in its `async with` blocks were interrupted.
_cuts: WeakKeyDictionary[asyncio.Task[object], int] = WeakKeyDictionary()


def running_servers() -> set[Server]:
    """The servers of the running loop; `conduit.run` stops them on a signal."""
    return set(_running.get(asyncio.get_running_loop(), ()))


class Server:
    """A server that runs: what `listen` gives to its `async with` block.

    It belongs to the loop and the process that made it: in a forked child it raises RuntimeError.
    """

    def __init__(
        self,
        mode: server.Mode,
        handling: Handling,
        ctx: Context,
        options: ListenOptions,
        drain: float,
        max_active: int | None,
        stop: Stop | None,
        reload_interval: float | None,
    ) -> None:
        self._mode = mode
        self._handling = handling
        self._ctx = ctx
        self._options = options
        self._drain = drain
        self._places = Places(max_active)
        self._stop = stop
        self._reload_interval = reload_interval
        self._reloader: Reloader | None = None
        self._pid = os.getpid()
        self._acceptors: list[Acceptor] = []
        self._connections: set[Connection] = set()
        self._endps: tuple[endp.Endp, ...] = ()
        self._started = False
        self._stopping = False
        self._stopping_waiters: list[asyncio.Future[None]] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._failure: BaseException | None = None
        self._waiter: asyncio.Future[Any] | None = None
        self._block: asyncio.Task[object] | None = None
        self._interrupted = False
        self.cut = False
        """Whether the task inside the `async with` block was cancelled because of `interrupt`."""
        self.ends_by_itself = False
        """Whether the block ends when the server has stopped, without being cancelled."""

    def __repr__(self) -> str:
        state = "stopping" if self._stopping else "serving"
        where = ", ".join(map(str, self._endps))
        return f"<conduit.Server {state} {where}: {len(self._connections)} active>"

    @property
    def endps(self) -> tuple[endp.Endp, ...]:
        """How to reach it: one endpoint for each listener, with the real port."""
        return self._endps

    @property
    def active(self) -> int:
        """How many connections it has: accepted and not yet closed."""
        return len(self._connections)

    async def stop(self, drain: float | None = None) -> None:
        """Stop in an orderly way, and return when all is closed.

        What the operating system's queues hold is accepted, the listeners are closed, handlers get
        `drain` seconds to end, then they are cancelled.

        drain: seconds; None for what was given to `serve` (10 by default), 0 to cancel at once. A
        call while another stop waits can only shorten its time.
        """
        self.check_process()
        self._begin_stop(self._drain if drain is None else drain)
        # Several may wait, and one that is cancelled does not speak for the others.
        await asyncio.shield(self._stopped)

    async def wait_stopping(self) -> None:
        """Wait until a stop begins, whoever asked for it: new clients are taken in no more.

        For what runs on top of a server and has more to end than its connections.
        """
        self.check_process()
        if not self._stopping:
            await wait_in(self._stopping_waiters, self._loop)

    async def reload(self) -> None:
        """Read again what the server reads from files: TLS certificates, keys and authorities.

        Clients that arrive from now on are shown the new ones; open connections are left alone. A
        server without TLS has nothing to read again.

        Raises OSError or TLSError when that fails; then the old ones stay in use.
        """
        self.check_process()
        if self._reloader is not None:
            with notifier().reload():
                await self._reloader.reload()

    async def handover(self, path: str | os.PathLike[str]) -> bool:
        """Give the listening sockets to the process that comes for them, then stop.

        path: of a Unix socket that is made for it (mode 0600), where `server.Handover(path)` of the
        same user comes for them; "@NAME" in Linux's abstract namespace. While the successor is not
        ready this server serves, and goes on if it fails.

        Returns, when all is closed, whether a successor has taken over; if not, the server was
        stopped. Cancelled, the sockets are offered no more. A server of `server.Handover` offers
        its sockets by itself.

        Raises OSError where the path cannot be listened on, UnsupportedTransport for a server of
        what is no socket.
        """
        self.check_process()
        from .transports.handover import offer_once

        listeners = [acceptor.listener for acceptor in self._acceptors]
        if not await offer_once(os.fspath(path), listeners, self._stopped):
            await self.wait_stopped()
            return False
        self._retire()
        await self.stop()
        return True

    # For `serve`, `listen` and `run`.

    async def start(self) -> None:
        """Begin to listen. Raises what the transport raises; RuntimeError for a second start."""
        if self._started:
            raise RuntimeError("this server was started before: call listen() again")
        self._started = True
        self._loop = asyncio.get_running_loop()
        self._block = asyncio.current_task()
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        notifier().server_starts()
        try:
            await self._listen()
        finally:
            notifier().server_started(bool(self._acceptors))
        _running.setdefault(self._loop, set()).add(self)
        logger.debug("serving %s", ", ".join(map(str, self._endps)))
        if self._stop is not None:
            self._waiter = _when_done(self._stop)
            self._waiter.add_done_callback(self._told_to_stop)
        for acceptor in list(self._acceptors):
            acceptor.listener.served(self._succeeded)

    async def _listen(self) -> None:
        try:
            listeners = await listen(self._mode, self._ctx, self._options)
        except BaseException:
            if inspect.iscoroutine(self._stop):
                # Nobody will ever wait for it.
                self._stop.close()
            raise
        self._endps = tuple(listener.endp for listener in listeners)
        self._reloader = Reloader(listeners)
        self._acceptors = [
            Acceptor(listener, self._places, self._arrived, self._fail) for listener in listeners
        ]
        try:
            for acceptor in self._acceptors:
                acceptor.start()
        except NotImplementedError:
            self._close_acceptors()
            raise UnsupportedTransport(
                f"{type(self._loop).__name__} cannot watch a listening socket; "
                "on Windows use asyncio.SelectorEventLoop"
            ) from None
        except BaseException:
            self._close_acceptors()
            raise
        if self._reload_interval is not None:
            self._reloader.watch(self._reload_interval)

    async def kill(self) -> None:
        """Close the listeners, cancel the handlers, and wait for them."""
        if not self._stopping:
            self._close_acceptors()
        await self.stop(drain=0)

    def interrupt(self) -> None:
        """Stop, and then end the `async with` block, if there is one, as if it were left."""
        self._interrupted = True
        self._begin_stop(self._drain)

    def _succeeded(self) -> None:
        """Another process serves the same sockets: leave to it whom they hold, and end."""
        self._retire()
        self.interrupt()

    def _retire(self) -> None:
        if not self._stopping:
            self._close_acceptors()

    def leave_block(self) -> bool:
        """The `async with` block is left: take back its cancellation. Whether there was one."""
        block = self._block
        if not self.cut or block is None:
            self.ends_by_itself = True
            return False
        _cuts[block] -= 1
        block.uncancel()
        return True

    def only_cut(self) -> bool:
        """Whether the task is cancelled for `interrupt` alone, of this server or of another."""
        block = self._block
        return self._interrupted and block is not None and not self.cancelled_by_others()

    def cancelled_by_others(self) -> bool:
        """Whether somebody else wants the task to end."""
        block = self._block
        return block is not None and block.cancelling() > _cuts.get(block, 0)

    async def wait_stopped(self) -> None:
        """Wait until it has stopped."""
        await asyncio.shield(self._stopped)

    def raise_failure(self) -> None:
        """Raise what ended the server, if it did not end well."""
        if self._failure is not None:
            raise self._failure

    def check_process(self) -> None:
        """Raise RuntimeError in a forked child."""
        if self._pid != os.getpid():
            raise RuntimeError(
                f"this server runs in process {self._pid}, not in its forked child {os.getpid()}"
            )

    def _arrived(self, acceptor: Acceptor, arrival: Arrival) -> Connection:
        connection = Connection(self._handling, acceptor, arrival, self._gone)
        self._connections.add(connection)
        return connection

    def _gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self._stopping and self._is_empty():
            self._finished()

    def _close_acceptors(self) -> None:
        acceptors, self._acceptors = self._acceptors, []
        for acceptor in acceptors:
            acceptor.close()

    def _is_empty(self) -> bool:
        return not self._connections and not any(acceptor.waiting for acceptor in self._acceptors)

    def _begin_stop(self, drain: float) -> None:
        if not self._stopping:
            self._stopping = True
            wake(self._stopping_waiters)
            notifier().server_stops()
            for acceptor in self._acceptors:
                # As many as may wait; more can come in only while we accept.
                acceptor.finish(self._options.backlog + 1)
        if self._is_empty():
            self._finished()
            return
        until = self._loop.time() + drain
        if self._deadline is None or until < self._deadline.when():
            self._set_deadline(drain)
        for connection in list(self._connections):
            connection.hurry()

    def _set_deadline(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if seconds <= 0:
            self._cancel_handlers()
        else:
            self._deadline = self._loop.call_later(seconds, self._cancel_handlers)

    def _cancel_handlers(self) -> None:
        for acceptor in self._acceptors:
            acceptor.give_up()
        for connection in list(self._connections):
            connection.cancel()
        if self._is_empty():
            self._finished()
            return
        self._deadline = self._loop.call_later(_SECONDS_BETWEEN_COMPLAINTS, self._complain)

    def _complain(self) -> None:
        stubborn = [c.task for c in self._connections if c.task is not None]
        if stubborn:
            logger.warning(
                "%d handlers go on although they were cancelled; the server waits for them: %s",
                len(stubborn),
                ", ".join(task.get_name() for task in stubborn[:10]),
            )
        self._deadline = self._loop.call_later(_SECONDS_BETWEEN_COMPLAINTS, self._complain)

    def _told_to_stop(self, waiter: asyncio.Future[Any]) -> None:
        error = None if waiter.cancelled() else waiter.exception()
        if error is not None and self._failure is None:
            self._failure = error
        self._begin_stop(self._drain)

    def _finished(self) -> None:
        if self._stopped.done():
            return
        self._stopped.set_result(None)
        if self._reloader is not None:
            self._reloader.close()
        if self._deadline is not None:
            self._deadline.cancel()
        servers = _running.get(self._loop, set())
        servers.discard(self)
        if not servers:
            _running.pop(self._loop, None)
        if self._waiter is not None:
            self._waiter.remove_done_callback(self._told_to_stop)
            if isinstance(self._stop, asyncio.Event):
                # The wait is ours; whatever else we were given is not.
                self._waiter.cancel()
        if self._interrupted and self._block is not None and not self.ends_by_itself:
            self.cut = True
            _cuts[self._block] = _cuts.get(self._block, 0) + 1
            self._block.cancel()

    def _fail(self, error: OSError) -> None:
        """A listener broke: stop, and let `serve` raise it."""
        if self._failure is None:
            logger.error("cannot accept any more on %s: %s", self._mode, error)
            self._failure = error
        self._loop.call_soon(self._begin_stop, self._drain)


def _when_done(stop: Stop) -> asyncio.Future[Any]:
    if isinstance(stop, asyncio.Event):
        return asyncio.ensure_future(stop.wait())
    return asyncio.ensure_future(stop)
