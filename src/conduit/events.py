"""The one hook: what happens to connections, told as it happens.

A callback given to `subscribe` is called with one of the dataclasses below. It runs on the event
loop, between two steps of a connection, so it must be quick; what it raises is logged and goes no
further. Without a subscriber an event is never even made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from .endp import Endp
    from .flow import Flow

logger = logging.getLogger("conduit")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address is about to be tried.

    address: the endpoint that is tried now; of a `Host` each of its addresses in turn.
    """

    address: Endp


@dataclass(frozen=True, slots=True)
class Connected:
    """`connect` has succeeded.

    flow: the new connection. seconds: from the call of `connect` until now, all included.
    """

    flow: Flow
    seconds: float


@dataclass(frozen=True, slots=True)
class Handshake:
    """A secure handshake has ended well.

    flow: the secured connection. seconds: how long the handshake alone took.
    """

    flow: Flow
    seconds: float


@dataclass(frozen=True, slots=True)
class Accepted:
    """A server has accepted a connection and is about to call its handler.

    listener: the endpoint it came in by. flow: the new connection.
    """

    listener: Endp
    flow: Flow


@dataclass(frozen=True, slots=True)
class Throttled:
    """A listener has stopped accepting for a while.

    listener: which one. reason: "max_active", or the name of the errno ("EMFILE"...) that `accept`
    gave. A listener held back by `max_active` tells it once for each time.
    """

    listener: Endp
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A connection has ended.

    flow: which one. reason: "closed" (this side closed it), "aborted", "reset" (the connection
    failed), "close_timeout" (the peer did not take in what was left to send), "timeout" or
    "idle_timeout" (the server's limits on a handler), "cancelled" (the handler was). received:
    bytes that came in. sent: bytes that were given to the operating system. unsent: bytes that
    were written but never left this process; after a reset, as many as at the last look. seconds:
    how long it was open.
    """

    flow: Flow | None
    reason: str
    received: int
    sent: int
    unsent: int
    seconds: float


Event: TypeAlias = Attempt | Connected | Handshake | Accepted | Throttled | Closed

observers: tuple[Callable[[Event], object], ...] = ()
"""Who is told. Read it before making an event: most processes have none."""


class Subscription:
    """What `subscribe` returns: cancel it, or leave its `with` block, to hear no more."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[Event], object]) -> None:
        self._callback = callback

    def cancel(self) -> None:
        """Stop calling the callback. A second call does nothing."""
        global observers
        observers = tuple(known for known in observers if known != self._callback)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()


def subscribe(callback: Callable[[Event], object]) -> Subscription:
    """Call `callback` with every event of this process from now on.

    callback: a plain function of one event. What it returns is ignored; what it raises is logged
    as an error. Subscribing it a second time changes nothing.

    Returns a `Subscription`, which ends it.
    """
    global observers
    if callback not in observers:
        observers = (*observers, callback)
    return Subscription(callback)


def emit(event: Event) -> None:
    """Tell every subscriber of `event`. A caller on a hot path looks at `observers` first."""
    for callback in observers:
        try:
            callback(event)
        except Exception:
            logger.exception("a subscriber to conduit.events raised on %r", event)
