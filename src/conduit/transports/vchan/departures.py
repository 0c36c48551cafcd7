"""Domains that are destroyed. Their ends of vchans say nothing then, but xenstore does.

Only domain 0 is told; elsewhere a flow with a destroyed domain is a silent one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from weakref import WeakKeyDictionary

from .libxenstore import Store
from .watching import Watching

# The watch that xenstored knows of; not a path.
_A_DOMAIN_IS_RELEASED = "@releaseDomain"

logger = logging.getLogger("conduit")


class Departures:
    """Who wants to know of which domain's end, on one loop. Watches while there is anybody."""

    def __init__(self) -> None:
        self._told: dict[Callable[[], None], int] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, domid: int, gone: Callable[[], None]) -> Callable[[], None]:
        """Call `gone`, once, when a domain is no more. Returns what takes that back."""
        self._told[gone] = domid
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._watch())

        def remove() -> None:
            self._told.pop(gone, None)
            if not self._told and self._task is not None:
                self._task.cancel()
                self._task = None

        return remove

    async def _watch(self) -> None:
        try:
            async with Watching(lambda store: store.watch(_A_DOMAIN_IS_RELEASED)) as watching:
                while True:
                    for gone in await watching.run(self._departed):
                        if self._told.pop(gone, None) is not None:
                            gone()
                    await watching.change(None)
        except OSError as error:
            logger.debug("nobody will tell of domains that are destroyed: %s", error)

    def _departed(self, store: Store) -> list[Callable[[], None]]:
        """In the worker's thread: who has to be told."""
        return [gone for gone, domid in list(self._told.items()) if not store.has_domain(domid)]


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Departures] = WeakKeyDictionary()


def departures() -> Departures:
    """Those of the running loop."""
    return _of_loops.setdefault(asyncio.get_running_loop(), Departures())
