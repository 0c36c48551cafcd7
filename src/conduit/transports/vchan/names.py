"""Vchans between domains that know each other's names, by the protocol of MirageOS.

    /conduit/<server>                         the number of the server's domain
    /conduit/<client>                         the number of the client's domain
    /conduit/<server>/<client>/<port> = port  the client's wish to be served; the server removes it

Then a direct vchan is opened between the two. `/conduit` must let all domains write: see
`make_directory`, which `conduit xenstore-init` calls.
"""

from __future__ import annotations

import asyncio
import itertools
import os

from ...errors import UnsupportedTransport
from ..base import Attempts
from . import host, paths, worker
from .direct import reach
from .libxenstore import READ, WRITE, Store
from .libxenvchan import End
from .watching import Watching

# When to ask again for what a server may have overlooked because it has just been started anew.
_ASK_AGAIN = 2.0

_counter = itertools.count()


def make_directory() -> None:
    """Make `/conduit`, in which any domain may write. Blocks.

    Raises OSError where that is not allowed; only domain 0 may. UnsupportedTransport without Xen.
    """
    what = paths.NAMES
    host.check(what, serving=True)
    with Store() as store:
        own = host.own_domid(store, what)
        if store.read(paths.NAMES) is None:
            store.write(paths.NAMES, "")
        store.allow(paths.NAMES, own, READ | WRITE)


async def reach_by_name(name: str, port: str, what: str, attempts: Attempts) -> tuple[End, int]:
    """Connect to a port of the domain that goes by a name; wait for it if it is not there.

    what: the address, for errors. attempts: gets why it did not work, if the wait is cancelled.

    Returns the end and the number of the server's domain. Raises OSError, UnsupportedTransport, or
    AddressError.
    """
    request = _Request(name, port, what)
    try:
        async with Watching(request.register) as watching:
            while True:
                server = await watching.run(request.send, lambda _: request.take_back())
                if server is None:
                    request.why = f"no domain goes by the name {name!r} ({paths.NAMES} in xenstore)"
                    await watching.change(_ASK_AGAIN)
                    continue
                failed: Attempts = []
                try:
                    async with asyncio.timeout(_ASK_AGAIN):
                        return await reach(server, port, what, failed), server
                except TimeoutError:
                    request.why = (
                        f"domain {server} goes by the name {name!r}, but does not serve us"
                    )
    except asyncio.CancelledError:
        attempts.append((what, ConnectionRefusedError(request.why)))
        raise
    finally:
        worker.later(request.take_back)


class _Request:
    """What a client writes. All of its methods block."""

    def __init__(self, name: str, port: str, what: str) -> None:
        self._server = f"{paths.NAMES}/{name}"
        self._port = port
        self._what = what
        self._client = ""
        self.why = "xenstore has not answered"

    def register(self, store: Store) -> None:
        """Take a name of our own, by which the server finds out who we are."""
        host.check(self._what, serving=False)
        check_directory(store, self._what)
        store.watch(self._server)
        own = host.own_domid(store, self._what)
        self._client = f"client-{own}-{os.getpid()}-{next(_counter)}"
        store.write(f"{paths.NAMES}/{self._client}", str(own))

    def send(self, store: Store) -> int | None:
        """Ask to be served, if there is a server: the number of its domain."""
        server = store.read(self._server)
        if server is None or not server.isdecimal():
            return None
        store.write(f"{self._server}/{self._client}/{self._port}", self._port)
        return int(server)

    def take_back(self) -> None:
        """Remove all that was written."""
        if self._client:
            with Store() as store:
                store.remove(f"{self._server}/{self._client}")
                store.remove(f"{paths.NAMES}/{self._client}")
                if store.read(self._server) == "":
                    # The server had gone when we asked, so that we have made it.
                    store.remove_empty(self._server)


def check_directory(store: Store, what: str) -> None:
    """Raise UnsupportedTransport where there is no `/conduit`."""
    if store.read(paths.NAMES) is None:
        raise UnsupportedTransport(
            f"{what}: there is no {paths.NAMES} in xenstore, where domains find each other by "
            "name; run 'conduit xenstore-init' in domain 0, once after each start of the host"
        )
