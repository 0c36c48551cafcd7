"""Places: how many connections may be served at once, in one server and in the whole process."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from threading import Lock


class Places:
    """A limited number of places, each held by one connection.

    limit: how many; None for any number.

    Whoever finds none free is called when that changes. It keeps its turn until it has had a place,
    so that of two busy listeners neither starves, and an idle one holds up nobody. Safe to use from
    several threads, each with its own loop.
    """

    __slots__ = ("_limit", "_lock", "_taken", "_waiting")

    # To take a place where there is no limit, and to give one back where nobody waits, is what each
    # connection does: so without the lock. To append to a deque, to pop from it and to see its
    # length are one step each, for all threads.

    def __init__(self, limit: int | None = None) -> None:
        check_limit(limit)
        self._limit = limit
        self._taken: deque[None] = deque()
        # A dict for its order: who has waited longest is called first.
        self._waiting: dict[Callable[[], None], None] = {}
        self._lock = Lock()

    @property
    def limit(self) -> int | None:
        """How many places there are; None for any number."""
        return self._limit

    def take(self, wake: Callable[[], None]) -> bool:
        """Take a place; if there is none, `wake` is called each time that one may be free."""
        if self._limit is None:
            self._taken.append(None)
            if self._waiting:
                self.forget(wake)
            return True
        with self._lock:
            # First, and then the look: who gives one back meanwhile looks at who waits after that.
            self._waiting[wake] = None
            if self._is_free():
                self._taken.append(None)
                del self._waiting[wake]
                return True
            return False

    def give(self) -> None:
        """Give a place back."""
        if self._taken:  # else it was taken before a fork, and is the parent's
            self._taken.pop()
        if not self._waiting:
            return
        with self._lock:
            waiting = self._free_for()
        for wake in waiting:
            wake()

    def set_limit(self, limit: int | None) -> None:
        """Change how many there are. Connections beyond a lower limit go on."""
        check_limit(limit)
        with self._lock:
            self._limit = limit
            waiting = self._free_for()
        for wake in waiting:
            wake()

    def forget(self, wake: Callable[[], None]) -> None:
        """Call `wake` no more."""
        with self._lock:
            self._waiting.pop(wake, None)

    def clear(self) -> None:
        """Forget who has places and who waits, in a forked child: these are the parent's.

        The limit, a setting, stays.
        """
        # Another thread may have held it at that moment.
        self._lock = Lock()
        self._taken.clear()
        self._waiting.clear()

    def _free_for(self) -> list[Callable[[], None]]:
        # All are called, not the first alone: it may have no client to give the place to.
        return list(self._waiting) if self._is_free() else []

    def _is_free(self) -> bool:
        return self._limit is None or len(self._taken) < self._limit


def check_limit(limit: int | None) -> None:
    """Raise ValueError for a limit under which nothing could ever be served."""
    if limit is not None and limit < 1:
        raise ValueError(f"max_active is {limit!r}: it must be at least 1, or None for no limit")


_everywhere = Places()


def process_places() -> Places:
    """The places of this process, for all servers together."""
    return _everywhere


def set_max_active(n: int | None) -> None:
    """Limit how many connections all servers of this process serve at once.

    n: the number, at least 1; None lifts the limit. Clients beyond it wait in the queues of the
    operating system until a connection is closed. Idle listeners count for nothing. Connections
    that are open already stay. A server's own `max_active` holds as well.
    """
    _everywhere.set_limit(n)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_everywhere.clear)
