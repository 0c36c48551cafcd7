"""Where the clients of one domain arrive on one port: one after the other, as vchans are."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from ... import endp, flow
from ...channels import Wire, pair
from ...context import Context
from ..base import Arrival, Triple
from . import host, rendezvous, worker
from .departures import departures
from .libxenvchan import End
from .transport import VchanTransport


class Slot:
    """A vchan that waits for a client, or the client that it has got; then the next vchan.

    client: the domain whose clients come. port: the vchan's name. what: the address, for errors.
    changed: called on the loop when there is something to `take`, or the slot is free again.

    A vchan is for two ends and no more, so the next client of this domain on this port waits in
    its `connect` until the first has gone.
    """

    __slots__ = (
        "_changed",
        "_end",
        "_failure",
        "_name",
        "_path",
        "client",
        "closed",
        "loop",
        "opening",
        "port",
        "taken",
        "what",
    )

    def __init__(self, client: int, port: str, what: str, changed: Callable[[], None]) -> None:
        self.client = client
        self.port = port
        self.what = what
        self._changed = changed
        self.loop = asyncio.get_running_loop()
        self._name: socket.socket | None = None  # of the worker's thread alone
        self._end: End | None = None
        self._path = ""
        self._failure: OSError | None = None
        self.opening = False
        self.taken = False
        """Whether a client has it."""
        self.closed = False

    async def open(self) -> None:
        """Publish a vchan for the next client. Raises OSError when that cannot be."""
        self.opening = True
        try:
            end, path = await worker.run(self._publish, self._give_back)
        finally:
            self.opening = False
        if self.closed:
            worker.later(lambda: self._give_back((end, path)))
            return
        self._end, self._path = end, path
        self.loop.add_reader(end.fd, self._event)

    async def open_again(self) -> None:
        """As `open`, but a failure is kept for `take`, and told as a change."""
        if self.opening or self.taken or self.closed or self._end is not None:
            return
        try:
            await self.open()
        except OSError as error:
            self._failure = error
            self._changed()

    @property
    def is_open(self) -> bool:
        """Whether there is a vchan that nobody has taken yet."""
        return self._end is not None

    @property
    def is_ready(self) -> bool:
        """Whether `take` gives or raises something."""
        return self._failure is not None or (self._end is not None and self._end.has_client)

    def take(self) -> End | None:
        """The end whose client has come, to own; None for no client."""
        failure, self._failure = self._failure, None
        if failure is not None:
            if failure.errno in (errno.ENOSPC, errno.ENOMEM, 0):
                # Others have it now; so does accept(2) tell.
                raise OSError(errno.ENOMEM, failure.strerror)
            raise failure
        end = self._end
        if end is None or not end.has_client:
            return None
        self.loop.remove_reader(end.fd)
        self.taken = True
        # Its keys are of no use to anybody else, who is to wait for the next ones.
        self.withdraw()
        self._end = None
        return end

    def free(self) -> None:
        """The client that it had has gone."""
        self.taken = False
        if not self.closed:
            self._changed()

    def withdraw(self) -> None:
        """Let nobody come any more; who is there already can be taken."""
        if self._end is not None:
            path = self._path
            worker.later(lambda: rendezvous.withdraw(path))

    def close(self) -> None:
        """Give up waiting. A client that was taken goes on."""
        if self.closed:
            return
        self.closed = True
        end, self._end = self._end, None
        if end is None:
            worker.later(self._give_back)
        else:
            self.loop.remove_reader(end.fd)
            path = self._path
            worker.later(lambda: self._give_back((end, path)))

    def _event(self) -> None:
        end = self._end
        if end is not None:
            end.take_event()
            if end.has_client:
                self._changed()

    # In the worker's thread.

    def _publish(self) -> tuple[End, str]:
        if self._name is None:
            self._name = claim(f"{self.client}/{self.port}", self.what)
        try:
            return rendezvous.serve(self.client, self.port, self.what)
        except BaseException:
            self._give_back()
            raise

    def _give_back(self, published: tuple[End, str] | None = None) -> None:
        if published is not None:
            end, path = published
            rendezvous.withdraw(path)
            end.close()
        name, self._name = self._name, None
        if name is not None:
            name.close()


def claim(name: str, what: str) -> socket.socket:
    """Take a name that one server in this domain may have; close the socket to give it back.

    A socket's abstract name, since that goes with the process however it ends. Blocks a little.

    Raises OSError(EADDRINUSE).
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(f"\0conduit-vchan/{name}".encode())
    except OSError as error:
        sock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            error.errno, f"cannot listen on {what}: another server of this domain is there"
        ) from error
    return sock


class VchanArrival(Arrival):
    """A client that has come to a slot."""

    __slots__ = ("_ctx", "_end", "_slot")

    def __init__(self, slot: Slot, end: End, ctx: Context) -> None:
        self._slot = slot
        self._end = end
        self._ctx = ctx

    async def open(self, on_closed: Callable[[], None]) -> Triple:
        """As every arrival; there is no handshake.

        The keys of the vchan are gone by then: if this process is killed from now on, it leaves
        none behind.
        """
        slot = self._slot

        def closed() -> None:
            slot.free()
            on_closed()

        try:
            await worker.settled()
        except BaseException:
            self.discard()
            raise
        origin = endp.VchanDirect(slot.client, slot.port)
        return triple(self._end, origin, Wire(slot.loop, self._ctx.close_timeout, closed), origin)

    def discard(self) -> None:
        """As every arrival."""
        slot, end = self._slot, self._end

        def let_go() -> None:
            end.close()
            try:
                slot.loop.call_soon_threadsafe(slot.free)
            except RuntimeError:
                pass  # The loop is closed.

        worker.later(let_go)


def triple(end: End, peer: endp.VchanDirect, wire: Wire, origin: endp.Endp) -> Triple:
    """Channels over an end, which is theirs from now on.

    peer: its domain, and the port. origin: the endpoint that the flow comes from.
    """
    transport = VchanTransport(end, wire, {"peername": (peer.domid, peer.port)})
    own = host.latest_domid()
    if own is not None and peer.domid != own:
        transport.on_lost = departures().add(peer.domid, transport.give_up)
    wire.flow = flow.Vchan(peer.domid, peer.port, origin=origin)
    return Triple(wire.flow, *pair(wire))
