"""Accepting: when a listener is asked for its next client, and when it is left alone.

The loops' own servers cannot be limited, and when descriptors run out asyncio's logs without end
and uvloop's closes clients that wait. So: wait until the listener is readable, take a place, accept
without blocking. While there is no place the listener is not watched at all.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import events
from ._places import Places, process_places
from .transports import Arrival, Listener

if TYPE_CHECKING:
    from ._handle import Connection

# Clients accepted before the loop turns to something else.
_BATCH = 64

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS = 0.1
_SECONDS_BETWEEN_LOGS = 1.0

# The client has gone, or its network has: accept(2) says to go on.
_CLIENT_GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.EPERM,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
    }
    | ({errno.ENONET} if hasattr(errno, "ENONET") else set())
)

logger = logging.getLogger("conduit")

_last_log = -_SECONDS_BETWEEN_LOGS


class Acceptor:
    """Accepts the clients of one listener.

    listener: closed by `close`. places: the server's own. arrived: called with each client, which
    holds a place of both kinds then, and returns its connection; `give_places` gives them back.
    failed: called with an error that leaves the listener useless.
    """

    __slots__ = (
        "_arrived",
        "_closed",
        "_everywhere",
        "_failed",
        "_latest",
        "_pause",
        "_places",
        "_throttled",
        "_watching",
        "listener",
        "loop",
        "waiting",
    )

    def __init__(
        self,
        listener: Listener,
        places: Places,
        arrived: Callable[[Acceptor, Arrival], Connection],
        failed: Callable[[OSError], None],
    ) -> None:
        self.listener = listener
        self._places = places
        self._everywhere = process_places()
        self._arrived = arrived
        self._failed = failed
        self.loop = asyncio.get_running_loop()
        self._watching = False
        self._throttled = False
        self._closed = False
        self.waiting: deque[Arrival] = deque()
        """Clients that were accepted at the end, and for whom there was no place."""
        self._latest: Connection | None = None
        self._pause: asyncio.TimerHandle | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it accepts no more."""
        return self._closed

    def start(self) -> None:
        """Accept from now on."""
        # A wake from another thread may come when all is over.
        if not self._watching and not self._closed:
            self._watching = True
            self.listener.watch(self._ready)

    def finish(self, most: int) -> None:
        """Take the name away, accept the clients that wait (as many as `most`), and close.

        Clients for whom there is no place are kept, and handled as places come free.
        """
        self.listener.unpublish()
        self._accept(most)
        self._accept_without_places(most)
        self._closed = True
        self._rest()
        self.listener.close()
        if not self.waiting:
            self._forget_places()

    def give_up(self) -> None:
        """Turn away the clients that were kept."""
        while self.waiting:
            self.waiting.popleft().discard()
        self._forget_places()

    def close(self) -> None:
        """Accept no more, and close the listener."""
        self._closed = True
        self._rest()
        self.give_up()
        self.listener.close()

    def _forget_places(self) -> None:
        self._places.forget(self._wake)
        self._everywhere.forget(self._wake)

    def _accept_without_places(self, most: int) -> None:
        if not self._throttled:
            return
        for _ in range(most):
            try:
                self.waiting.append(self.listener.accept())
            except OSError as error:
                if error.errno not in _CLIENT_GONE:
                    # Nobody waits any more, or nothing can be done for those who do.
                    return

    def _handle_waiting(self) -> None:
        while self.waiting and self._take_places():
            self._arrived(self, self.waiting.popleft())
        if not self.waiting:
            self._forget_places()

    def give_places(self) -> None:
        """Give back what a client held."""
        self._places.give()
        self._everywhere.give()

    def _ready(self) -> None:
        # Asking until there is nobody costs a call and an exception for every client that comes
        # alone. In a rush the next one is here before the last one's task has got anywhere.
        rush = self._latest is not None and self._latest.opening
        self._accept(_BATCH if rush else 1)

    def _accept(self, most: int) -> None:
        for _ in range(most):
            if not self._take_places():
                self._throttle()
                return
            try:
                arrival = self.listener.accept()
            except (BlockingIOError, InterruptedError):
                self.give_places()
                self._throttled = False
                return
            except OSError as error:
                self.give_places()
                if error.errno in _CLIENT_GONE:
                    continue
                self._rest()
                if error.errno in _OUT_OF_RESOURCES:
                    self._starve(error)
                else:
                    self._failed(error)
                return
            self._throttled = False
            self._latest = self._arrived(self, arrival)

    def _take_places(self) -> bool:
        if not self._places.take(self._wake):
            return False
        if self._everywhere.take(self._wake):
            return True
        self._places.give()
        return False

    def _rest(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._watching:
            self._watching = False
            self.listener.unwatch()

    def _throttle(self) -> None:
        self._rest()
        if not self._throttled:
            self._throttled = True
            if events.observers:
                events.emit(events.Throttled(self.listener.endp, "max_active"))

    def _wake(self) -> None:
        """A place may be free; told by whoever gave it, perhaps in another thread."""
        go_on = self._handle_waiting if self._closed else self.start
        if asyncio._get_running_loop() is self.loop:
            go_on()
        else:
            try:
                self.loop.call_soon_threadsafe(go_on)
            except RuntimeError:
                pass  # That loop is closed, and its server with it.

    def _starve(self, error: OSError) -> None:
        """Out of descriptors or memory: say so, not often, and try again soon."""
        global _last_log
        name = errno.errorcode.get(error.errno or 0, "?")
        now = time.monotonic()
        if now - _last_log >= _SECONDS_BETWEEN_LOGS:
            _last_log = now
            logger.error(
                "cannot accept on %s for now, clients wait: %s (%s)",
                self.listener.endp,
                error.strerror,
                name,
            )
        if events.observers:
            events.emit(events.Throttled(self.listener.endp, name))
        self._pause = self.loop.call_later(_PAUSE_SECONDS, self.start)
