"""One connection of a server: from the client's arrival until its flow is closed."""

from __future__ import annotations

import asyncio
import inspect
import logging
from asyncio import timeouts
from collections.abc import Awaitable, Callable
from contextvars import Context as Variables
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from . import events
from ._deadlines import TimeLimit
from .channels import Input, Output, Wire, wire_of
from .errors import ConduitError
from .transports import Arrival, Triple

if TYPE_CHECKING:
    from ._accept import Acceptor

Handler: TypeAlias = Callable[[Any, Input, Output], Awaitable[object]]
OnExn: TypeAlias = Callable[[BaseException], object]

# How often in one idle_timeout it is looked whether a byte has moved.
_LOOKS = 4

logger = logging.getLogger("conduit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """How the connections of one server are handled; the fields are `serve`'s."""

    handler: Handler
    on_exn: OnExn | None
    timeout: float | None
    idle_timeout: float | None
    handshake_timeout: float | None
    variables: Variables


class Connection:
    """A client that was accepted.

    arrival: what was accepted; opened or discarded by the task. acceptor: gets its places back when
    the flow is closed. gone: called once, after that and after the handler has ended.
    """

    __slots__ = (
        "_acceptor",
        "_arrival",
        "_gone",
        "_handling",
        "_held",
        "_triple",
        "opening",
        "task",
    )

    def __init__(
        self,
        handling: Handling,
        acceptor: Acceptor,
        arrival: Arrival,
        gone: Callable[[Connection], None],
    ) -> None:
        self._handling = handling
        self._acceptor = acceptor
        self._arrival: Arrival | None = arrival
        self._gone = gone
        self._held = True
        self._triple: Triple | None = None
        self.opening = True
        """Whether the client has arrived and its flow is not there yet."""
        self.task: asyncio.Task[None] | None = acceptor.loop.create_task(
            self._run(), context=handling.variables.copy()
        )
        self.task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """The server waits no longer: cancel the handler; if it is done, drop what is unsent."""
        if self.task is not None:
            self.task.cancel()
        elif self._triple is not None:
            wire_of(self._triple.oc).abort("close_timeout")

    def hurry(self) -> None:
        """The server is stopping: do not linger for a client that has all and says nothing."""
        if self.task is None and self._triple is not None:
            wire_of(self._triple.oc).hurry()

    async def _run(self) -> None:
        arrival, self._arrival = self._arrival, None
        assert arrival is not None
        try:
            if arrival.handshakes:
                triple = await self._open(arrival)
            else:
                triple = await arrival.open(self._closed)
        except Exception as error:
            self._report(error, "handshake" if arrival.handshakes else "opening the connection")
            await arrival.finish()
            return
        self._triple = triple
        self.opening = False
        if events.observers:
            events.emit(events.Accepted(self._acceptor.listener.endp, triple.flow))
        handling = self._handling
        wire = wire_of(triple.oc)
        try:
            if handling.timeout is None and handling.idle_timeout is None:
                await handling.handler(*triple)
            else:
                await self._run_limited(triple)
        except Exception as error:
            self._report(error, "the handler")
        except BaseException:
            # Cancelled, or the process is to end: nobody waits for a flush any more.
            wire.abort("cancelled")
            raise
        finally:
            wire.close()

    async def _open(self, arrival: Arrival) -> Triple:
        seconds = self._handling.handshake_timeout
        if seconds is None:
            return await arrival.open(self._closed)
        limit = TimeLimit(seconds)
        try:
            with limit:
                return await arrival.open(self._closed)
        except TimeoutError as error:
            if limit.expired:
                raise TimeoutError(
                    f"a client of {self._acceptor.listener.endp} did not finish the handshake "
                    f"within handshake_timeout={seconds:g} s"
                ) from error
            raise

    async def _run_limited(self, triple: Triple) -> None:
        """Run the handler for `timeout` seconds, and `idle_timeout` seconds without a byte."""
        handling = self._handling
        limit = timeouts.timeout(handling.timeout)
        idleness = None
        if handling.idle_timeout is not None:
            idleness = _Idleness(wire_of(triple.oc), handling.idle_timeout, limit)
        try:
            async with limit:
                await handling.handler(*triple)
        except TimeoutError:
            if not limit.expired():
                raise
            wire = wire_of(triple.oc)
            if idleness is not None and idleness.expired:
                logger.info("%s: nothing moved for %g s", triple.flow, handling.idle_timeout)
                # It had its time to take in what is unsent.
                wire.abort("idle_timeout")
            else:
                logger.info("%s: not done within %g s", triple.flow, handling.timeout)
                wire.close("timeout")
        finally:
            if idleness is not None:
                idleness.cancel()

    def _report(self, error: Exception, where: str) -> None:
        on_exn = self._handling.on_exn
        if on_exn is not None:
            try:
                result = on_exn(error)
            except Exception:
                logger.exception("on_exn raised while it was told of %r", error)
                return
            if inspect.iscoroutine(result):
                result.close()
                logger.error("on_exn returned a coroutine: it is called, not awaited")
            return
        # The peer's doing needs no traceback of ours.
        trace = None if isinstance(error, ConduitError | ConnectionError) else error
        who = self._acceptor.listener.endp if self._triple is None else self._triple.flow
        logger.error("%s: %s failed: %s", who, where, str(error) or repr(error), exc_info=trace)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task is done, be it that it never began."""
        self.task = None
        self.opening = False
        if not task.cancelled():
            # What is left is KeyboardInterrupt or SystemExit, and the loop has it already.
            task.exception()
        if self._arrival is not None:
            self._arrival.discard()
            self._arrival = None
        if self._triple is None:
            self._give_places()
        elif self._acceptor.is_closed:
            self.hurry()
        self._forget()

    def _closed(self) -> None:
        """The flow is closed; perhaps before it was opened in full."""
        self._give_places()
        self._forget()

    def _give_places(self) -> None:
        if self._held:
            self._held = False
            self._acceptor.give_places()

    def _forget(self) -> None:
        if self.task is None and not self._held:
            self._triple = None
            self._gone(self)


class _Idleness:
    """Ends a time limit when no byte has moved, either way, for `seconds`."""

    __slots__ = ("_limit", "_loop", "_moved", "_seconds", "_since", "_timer", "_wire", "expired")

    def __init__(self, wire: Wire, seconds: float, limit: timeouts.Timeout) -> None:
        self._wire = wire
        self._seconds = seconds
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._moved = self._wire.moved
        self._since = self._loop.time()
        self.expired = False
        self._timer = self._loop.call_later(seconds / _LOOKS, self._look)

    def _look(self) -> None:
        if self._limit.expired():
            # The handler was cancelled for `timeout`, and is still busy with that.
            return
        now = self._loop.time()
        moved = self._wire.moved
        if moved != self._moved:
            self._moved = moved
            self._since = now
        left = self._since + self._seconds - now
        if left <= 0:
            self.expired = True
            self._limit.reschedule(now)
        else:
            self._timer = self._loop.call_later(min(left, self._seconds / _LOOKS), self._look)

    def cancel(self) -> None:
        self._timer.cancel()
