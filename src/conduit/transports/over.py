"""A listener that stands over another one, and leaves to it whatever it does not do itself."""

from __future__ import annotations

from collections.abc import Callable

from .base import Arrival, Listener, Reloadable, Shared


class ListenerOver(Listener):
    """A listener over another: what a subclass does not say, that one does.

    below: the listener, which belongs to this one and is closed with it.
    """

    __slots__ = ("_below",)

    def __init__(self, below: Listener) -> None:
        self._below = below
        self.endp = below.endp

    @property
    def reloads(self) -> tuple[Reloadable, ...]:
        """As of every listener; so all that follow."""
        return self._below.reloads

    def watch(self, ready: Callable[[], None]) -> None:
        self._below.watch(ready)

    def unwatch(self) -> None:
        self._below.unwatch()

    def accept(self) -> Arrival:
        return self._below.accept()

    def unpublish(self) -> None:
        self._below.unpublish()

    def served(self, succeeded: Callable[[], None]) -> None:
        self._below.served(succeeded)

    def share(self) -> Shared:
        return self._below.share()

    def lend(self, lent: bool) -> None:
        self._below.lend(lent)

    def close(self) -> None:
        self._below.close()
