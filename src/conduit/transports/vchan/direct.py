"""Vchans between domains whose numbers are known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ... import endp
from ...context import Context
from ..base import Arrival, Attempts, Listener
from . import rendezvous
from .libxenstore import Store
from .libxenvchan import End
from .slot import Slot, VchanArrival
from .watching import Watching

# Nobody tells that a server's client has gone, if the server keeps its keys meanwhile.
_LOOK_AGAIN = 0.5


async def reach(domid: int, port: str, what: str, attempts: Attempts) -> End:
    """Connect to a vchan of a domain; wait for it if it is not there, or has another client.

    what: the address, for errors. attempts: gets why it did not work, if the wait is cancelled.

    Raises OSError, UnsupportedTransport, or AddressError.
    """
    why = "xenstore has not answered"

    def watch(store: Store) -> None:
        store.watch(rendezvous.watched_by_client(store, domid, port, what))

    def join(store: Store) -> End | str:
        return rendezvous.join(store, domid, port, what)

    try:
        async with Watching(watch) as watching:
            while True:
                found = await watching.run(join, close_unwanted)
                if isinstance(found, End):
                    return found
                why = found
                await watching.change(_LOOK_AGAIN)
    except asyncio.CancelledError:
        attempts.append((what, ConnectionRefusedError(why)))
        raise


def close_unwanted(found: End | str) -> None:
    """Close the end that nobody waits for any more. Blocks a little."""
    if isinstance(found, End):
        found.close()


class VchanListener(Listener):
    """Serves the clients of one domain on one port, one after the other."""

    __slots__ = ("_ctx", "_ready", "_slot", "_task")

    def __init__(self, client: int, port: str, what: str, ctx: Context) -> None:
        self._ctx = ctx
        self._ready: Callable[[], None] | None = None
        self._slot = Slot(client, port, what, self._changed)
        self._task: asyncio.Task[None] | None = None

    async def open(self, own: int) -> None:
        """Publish the first vchan. own: the number of this domain. Raises OSError."""
        self.endp = endp.VchanDirect(own, self._slot.port)
        await self._slot.open()

    def watch(self, ready: Callable[[], None]) -> None:
        """As every listener."""
        self._ready = ready
        # Who came while nobody watched made the only event there is.
        asyncio.get_running_loop().call_soon(self._changed)

    def unwatch(self) -> None:
        """As every listener."""
        self._ready = None

    def accept(self) -> Arrival:
        """As every listener."""
        end = self._slot.take()
        if end is None:
            raise BlockingIOError
        return VchanArrival(self._slot, end, self._ctx)

    def unpublish(self) -> None:
        """Remove the keys from xenstore."""
        self._slot.withdraw()

    def close(self) -> None:
        """As every listener; the keys go too."""
        self.unwatch()
        self._slot.close()

    def _changed(self) -> None:
        if self._slot.is_ready:
            if self._ready is not None:
                self._ready()
        elif self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._slot.open_again())
