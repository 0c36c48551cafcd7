"""Serving vchans to whoever asks for this domain by its name; see `names` for the protocol."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from ... import endp
from ...context import Context
from ...errors import AddressError
from ..base import Arrival, Listener
from . import host, paths, worker
from .libxenstore import READ, WRITE, Store
from .names import check_directory
from .slot import Slot, VchanArrival, claim
from .watching import Watching

# A client that has asked and does not come: its memory is for others then.
_PATIENCE = 15.0

# Look again after so long, in case that nobody told of a change.
_LOOK_AGAIN = 5.0

logger = logging.getLogger("conduit")


class NameListener(Listener):
    """Serves the clients that ask for a port of this domain by its name.

    Those of one domain are served one after the other, those of several domains at once.
    """

    def __init__(self, name: str, port: str, what: str, ctx: Context) -> None:
        self.endp = endp.VchanDomainSocket(name, port)
        self._registration = _Registration(name, port, what)
        self._port = port
        self._what = what
        self._ctx = ctx
        self._loop = asyncio.get_running_loop()
        self._watching = Watching(self._registration.register)
        self._ready: Callable[[], None] | None = None
        self._slots: dict[int, _Wanted] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self) -> None:
        """Take the name, and listen to who asks for the port. Raises OSError."""
        try:
            await self._watching.__aenter__()
        except BaseException:
            worker.later(self._registration.take_back)
            raise
        self._do(self._listen())

    def watch(self, ready: Callable[[], None]) -> None:
        """As every listener."""
        self._ready = ready
        # Who came while nobody watched made the only event there is.
        self._loop.call_soon(self._changed)

    def unwatch(self) -> None:
        """As every listener."""
        self._ready = None

    def accept(self) -> Arrival:
        """As every listener."""
        for wanted in self._slots.values():
            end = wanted.slot.take()
            if end is not None:
                wanted.met()
                return VchanArrival(wanted.slot, end, self._ctx)
        raise BlockingIOError

    def unpublish(self) -> None:
        """Take the name from xenstore, and the vchans whose clients have not come."""
        worker.later(self._registration.take_back_name)
        for wanted in self._slots.values():
            wanted.slot.withdraw()

    def close(self) -> None:
        """As every listener; the name goes too."""
        if self._closed:
            return
        self._closed = True
        self.unwatch()
        for task in self._tasks:
            task.cancel()
        for wanted in self._slots.values():
            wanted.close()
        self._watching.close()
        worker.later(self._registration.take_back)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self) -> None:
        while True:
            try:
                clients = await self._watching.run(self._registration.requests)
            except OSError as error:
                logger.error(  # noqa: TRY400 - xenstored's trouble, no bug
                    "%s: cannot see who asks to be served: %s", self._what, error
                )
                clients = []
            for client in clients:
                self._want(client)
            await self._watching.change(_LOOK_AGAIN)

    def _want(self, client: int) -> None:
        """A client of this domain wants to be served."""
        wanted = self._slots.get(client)
        if wanted is None:
            wanted = _Wanted(Slot(client, self._port, self._what, self._changed))
            self._slots[client] = wanted
        wanted.again = wanted.slot.taken
        if not wanted.again and not wanted.slot.opening and not wanted.slot.is_open:
            self._open_soon(wanted)

    def _open_soon(self, wanted: _Wanted) -> None:
        # From now on, not only when the task gets going: else it would be forgotten meanwhile.
        wanted.slot.opening = True
        self._do(self._open(wanted))

    async def _open(self, wanted: _Wanted) -> None:
        slot = wanted.slot
        try:
            await slot.open()
        except (OSError, AddressError) as error:
            # The others have nothing to do with it.
            logger.warning("cannot serve domain %d: %s", slot.client, error)
            self._forget(wanted)
        else:
            wanted.timer = self._loop.call_later(_PATIENCE, self._lose_patience, wanted)

    def _lose_patience(self, wanted: _Wanted) -> None:
        # Who has come and waits for a place is served.
        if not wanted.slot.is_ready:
            self._forget(wanted)

    def _forget(self, wanted: _Wanted) -> None:
        if self._slots.get(wanted.slot.client) is wanted:
            del self._slots[wanted.slot.client]
        wanted.close()

    def _changed(self) -> None:
        if self._closed:
            return
        ready = self._ready
        if ready is not None and any(wanted.slot.is_ready for wanted in self._slots.values()):
            ready()
        for wanted in list(self._slots.values()):
            slot = wanted.slot
            if slot.taken or slot.opening or slot.is_open:
                continue
            if wanted.again:
                wanted.again = False
                self._open_soon(wanted)
            else:
                self._forget(wanted)


class _Wanted:
    """A slot that a client has asked for."""

    __slots__ = ("again", "slot", "timer")

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.again = False
        """Whether another client of this domain waits for the present one to go."""
        self.timer: asyncio.TimerHandle | None = None

    def met(self) -> None:
        """The client has come."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def close(self) -> None:
        """Wait for nobody."""
        self.met()
        self.slot.close()


class _Registration:
    """The name of this domain, and what others write below it. All of its methods block."""

    def __init__(self, name: str, port: str, what: str) -> None:
        self._name = name
        self._path = f"{paths.NAMES}/{name}"
        self._port = port
        self._what = what
        self._own = 0
        self._lock: socket.socket | None = None
        self._published = False

    def register(self, store: Store) -> None:
        """Take the name. Raises OSError, EADDRINUSE if it is another's."""
        self._own = host.own_domid(store, self._what)
        check_directory(store, self._what)
        self._lock = claim(f"name/{self._name}/{self._port}", self._what)
        self._publish(store)
        store.watch(self._path)

    def requests(self, store: Store) -> list[int]:
        """The domains of clients that have asked for the port; they are struck off."""
        if self._published:
            # A server of another port of ours takes the name away when it ends.
            self._publish(store)
        found: list[int] = []
        for client in store.children(self._path):
            below = f"{self._path}/{client}"
            if self._port not in store.children(below):
                continue
            store.remove(f"{below}/{self._port}")
            store.remove_empty(below)
            domid = store.read(f"{paths.NAMES}/{client}")
            if domid is not None and domid.isdecimal():
                found.append(int(domid))
            else:
                logger.warning("%s: a client goes by %r, which has no domain", self._what, client)
        return found

    def take_back_name(self) -> None:
        """Let nobody find it any more."""
        published, self._published = self._published, False
        if published:
            with Store() as store:
                if store.read(self._path) == str(self._own):
                    store.remove(self._path)

    def take_back(self) -> None:
        """Give the name back."""
        try:
            self.take_back_name()
        finally:
            lock, self._lock = self._lock, None
            if lock is not None:
                lock.close()

    def _publish(self, store: Store) -> None:
        domid = store.read(self._path)
        if domid is None or not domid.isdecimal():
            # A client that came too late may have made it anew, without a number.
            store.write(self._path, str(self._own))
            store.allow(self._path, self._own, READ | WRITE)
        elif domid != str(self._own):
            raise OSError(
                errno.EADDRINUSE,
                f"cannot listen on {self._what}: domain {domid} goes by this name ({self._path} in "
                f"xenstore). If it is no more: xenstore-rm {self._path}",
            )
        self._published = True
