"""A transport without any socket: both ends are in the memory of this process, on one loop.

What stands here for the operating system keeps to what stream sockets do: a bounded number of bytes
is under way, either side may end its output alone, and whoever closes with input that it never took
sends a reset, which destroys what the peer has not taken yet. Sockets may do that; here it is
certain, so that a test sees it.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast
from weakref import WeakKeyDictionary

from .. import endp, events, flow
from .._fields import Record, check, hostname
from ..channels import Wire, pair
from ..context import Context
from ..transports import Arrival, Attempts, Listener, ListenOptions, Triple, register
from ..transports.bounded import BoundedTransport, BytesLike, as_bytes

CAPACITY = 64 * 1024
"""Bytes that may be under way in each direction, between the two transports."""


@dataclass(frozen=True, slots=True, repr=False)
class Memory(Record):
    """An address in the memory of this process, to connect to and to serve; also as an endpoint.

    name: any str but the empty one. Names belong to an event loop: two loops may serve the same
    name, and neither can be reached from the other.

    Raises AddressError for a name that cannot be. Connecting to one that nobody serves is a
    ConnectError (ConnectionRefusedError), serving one that is served is OSError(EADDRINUSE).
    """

    name: str

    def __post_init__(self) -> None:
        # The same rule as for a TLS name: a str, not empty, without NUL.
        check(self, name=hostname)


@dataclass(frozen=True, slots=True, repr=False)
class MemoryFlow(Record):
    """A connection in the memory of this process.

    name: the name that was connected to or served; for a `memory_pair`, "left" or "right".
    origin: the endpoint it came from, by default None.
    """

    name: str
    origin: endp.Endp | None = field(default=None, kw_only=True, compare=False, repr=False)


def memory_pair(*, close_timeout: float = 5.0) -> tuple[Triple, Triple]:
    """Two flows that are connected with each other; for tests. Call it on a running loop.

        (f, ic, oc), (f2, ic2, oc2) = conduit.testing.memory_pair()

    close_timeout: seconds that unsent bytes get when either is closed (default 5).

    Returns the two triples. What one writes the other reads; each is closed by itself.
    """
    loop = asyncio.get_running_loop()
    left, right = Wire(loop, close_timeout), Wire(loop, close_timeout)
    memory_transports(left, right)
    nowhere = endp.Unknown("a memory_pair has no address")
    return _triple(left, "left", nowhere), _triple(right, "right", nowhere)


def memory_transports(
    left: asyncio.Protocol, right: asyncio.Protocol
) -> tuple[asyncio.Transport, asyncio.Transport]:
    """Two transports that are connected with each other, for protocols of your own.

    left, right: each gets its `connection_made` before this returns, and all else later. Call it on
    a running loop.

    Returns the transport of each.
    """
    near, far = _connected()
    return MemoryTransport(near, left), MemoryTransport(far, right)


class _End:
    """One end of a connection, as an operating system keeps it: a socket without a descriptor.

    `readable` and `writable` are called when it may have become so, from inside the calls of the
    other end.
    """

    __slots__ = (
        "closed",
        "ended",
        "incoming",
        "peer",
        "readable",
        "reset",
        "writable",
    )

    peer: _End

    def __init__(self) -> None:
        # Sent by the peer, and not received here.
        self.incoming = bytearray()
        self.ended = False
        self.reset = False
        self.closed = False
        self.readable: Callable[[], None] = _nobody
        self.writable: Callable[[], None] = _nobody

    def receive(self) -> bytes | None:
        """What came in; `b""` for the peer's end, None for nothing yet. Raises OSError."""
        if self.reset:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if self.incoming:
            data = bytes(self.incoming)
            self.incoming.clear()
            self.peer.writable()
            return data
        return b"" if self.ended else None

    def send(self, data: bytes | bytearray) -> int:
        """Give the peer what there is room for; says how many bytes. Raises OSError."""
        if self.reset:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if self.peer.closed:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        incoming = self.peer.incoming
        size = min(len(data), CAPACITY - len(incoming))
        if size:
            incoming += data[:size]
            self.peer.readable()
        return size

    def shut(self) -> None:
        """Send nothing more."""
        self.peer.ended = True
        self.peer.readable()

    def close(self, reset: bool = False) -> None:
        """Let go of it. The peer is told by a reset if asked for, or if input was left behind."""
        if self.closed:
            return
        self.closed = True
        self.readable = self.writable = _nobody
        peer = self.peer
        if reset or self.incoming:
            # What it has not received is lost to it, too.
            peer.reset = True
        peer.ended = True
        peer.readable()
        peer.writable()


def _connected() -> tuple[_End, _End]:
    near, far = _End(), _End()
    near.peer, far.peer = far, near
    return near, far


def _nobody() -> None:
    """Nobody wants to know."""


class MemoryTransport(BoundedTransport):
    """An asyncio transport over one end of a connection in memory.

    It reads and writes when the loop turns, in the contextvars context in which it was made, as the
    loop's own transports do.
    """

    def __init__(
        self, end: _End, protocol: asyncio.Protocol, peername: str = "", sockname: str = ""
    ) -> None:
        extra = {"peername": peername, "sockname": sockname}
        super().__init__(asyncio.get_running_loop(), protocol, extra)
        self._end = end
        self._variables = contextvars.copy_context()
        self._buffer = bytearray()
        self._paused = False
        self._at_end = False  # and the protocol wants to go on writing
        self._eof_written = False
        self._closing = False
        self._lost = False  # connection_lost was called, or is about to be
        self._reading: asyncio.Handle | None = None
        self._writing: asyncio.Handle | None = None
        protocol.connection_made(self)
        end.readable = self._read_soon
        end.writable = self._write_soon
        self._read_soon()

    def __repr__(self) -> str:
        state = "closed" if self._lost else "closing" if self._closing else "open"
        return f"<{state} memory transport: {len(self._buffer)} bytes unsent>"

    # Reading.

    def is_reading(self) -> bool:
        """Whether input is taken in."""
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        """Leave input where it is; the peer is held up when that is full."""
        self._paused = True

    def resume_reading(self) -> None:
        """Take input in again."""
        if self._paused:
            self._paused = False
            self._at_end = False
            self._read_soon()

    def _read_soon(self) -> None:
        if self._reading is None and self.is_reading() and not self._at_end:
            self._reading = self._loop.call_soon(self._read, context=self._variables)

    def _read(self) -> None:
        self._reading = None
        if not self.is_reading():
            return
        try:
            data = self._end.receive()
        except OSError as error:
            self._fail(error)
            return
        if data is None:
            return
        keep_open: object = True
        try:
            if data:
                self._protocol.data_received(data)
            else:
                keep_open = self._protocol.eof_received()
        except Exception as error:
            self._loop.call_exception_handler(
                {
                    "message": "a protocol failed to take its input",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
            self._fail(error)
            return
        self._at_end = not data
        if data:
            self._read_soon()
        elif not keep_open:
            self.close()

    # Writing.

    def write(self, data: BytesLike) -> None:
        """Send `data`, or keep it until there is room. Raises RuntimeError after `write_eof`."""
        data = as_bytes(data)
        if self._eof_written:
            raise RuntimeError("write() was called after write_eof()")
        if self._lost:
            return
        if not self._buffer:
            try:
                data = data[self._end.send(data) :]
            except OSError as error:
                self._fail(error)
                return
        self._buffer += data
        self._pause_if_full()

    def write_eof(self) -> None:
        """End the output after what was written."""
        if self._closing or self._eof_written:
            return
        self._eof_written = True
        if not self._buffer:
            self._end.shut()

    def get_write_buffer_size(self) -> int:
        """How many bytes were written and are not yet under way."""
        return len(self._buffer)

    def _write_soon(self) -> None:
        if self._writing is None and self._buffer:
            self._writing = self._loop.call_soon(self._write, context=self._variables)

    def _write(self) -> None:
        self._writing = None
        if self._lost:
            return
        try:
            del self._buffer[: self._end.send(self._buffer)]
        except OSError as error:
            self._fail(error)
            return
        self._resume_if_room()  # which may write more, or close
        if not self._buffer and not self._lost:
            if self._closing:
                self._lose(None)
            elif self._eof_written:
                self._end.shut()

    # The end.

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing

    def close(self) -> None:
        """Take in no more, send what was written, then close."""
        if not self._closing:
            self._closing = True
            if not self._buffer:
                self._lose_soon(None)

    def abort(self) -> None:
        """Close at once. The peer is told by a reset."""
        self._lose_soon(None, reset=True)

    def _fail(self, error: BaseException) -> None:
        self._lose_soon(error)

    def _lose_soon(self, error: BaseException | None, reset: bool = False) -> None:
        if not self._lost:
            self._closing = True
            self._buffer.clear()
            self._lost = True
            self._loop.call_soon(self._lose, error, reset, context=self._variables)

    def _lose(self, error: BaseException | None, reset: bool = False) -> None:
        self._lost = True
        try:
            self._protocol.connection_lost(cast("Exception | None", error))
        finally:
            self._end.close(reset)


# As a transport of the library: an address, a listener, arrivals.


class MemoryListener(Listener):
    """A served name, and the clients that wait there; a queue without a descriptor."""

    __slots__ = (
        "_backlog",
        "_beyond",
        "_ctx",
        "_loop",
        "_name",
        "_names",
        "_queue",
        "_ready",
        "_telling",
    )

    def __init__(self, mode: Memory, ctx: Context, backlog: int) -> None:
        self.endp = cast("endp.Endp", mode)
        self._ctx = ctx
        self._backlog = backlog
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_End] = deque()
        # Clients that found the queue full, in their order.
        self._beyond: dict[asyncio.Future[bool], _End] = {}
        self._ready: Callable[[], None] | None = None
        self._telling: asyncio.Handle | None = None
        self._name = mode.name
        self._names = _served.setdefault(self._loop, {})
        if self._names.setdefault(mode.name, self) is not self:
            raise OSError(errno.EADDRINUSE, f"cannot listen on {mode!r}: it is served already")

    async def enter(self, end: _End) -> None:
        """Let a client wait to be accepted; while the queue is full, wait for a place in it."""
        if len(self._queue) < self._backlog:
            self._queue.append(end)
            self._tell_soon()
            return
        turn: asyncio.Future[bool] = self._loop.create_future()
        self._beyond[turn] = end
        try:
            admitted = await turn
        finally:
            del self._beyond[turn]
        if not admitted:
            raise _refused(self._name)

    def watch(self, ready: Callable[[], None]) -> None:
        """As every listener."""
        self._ready = ready
        self._tell_soon()

    def unwatch(self) -> None:
        """As every listener."""
        self._ready = None

    def accept(self) -> Arrival:
        """As every listener."""
        if not self._queue:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        end = self._queue.popleft()
        for turn, waiting in self._beyond.items():
            if not turn.done():
                self._queue.append(waiting)
                turn.set_result(True)
                break
        return MemoryArrival(end, self._name, self._ctx)

    def unpublish(self) -> None:
        """As every listener. Clients that found no place in the queue are refused."""
        if self._names.get(self._name) is self:
            del self._names[self._name]
        for turn in self._beyond:
            if not turn.done():
                turn.set_result(False)

    def close(self) -> None:
        """As every listener. Clients that were not accepted are told by a reset."""
        self.unwatch()
        self.unpublish()
        while self._queue:
            self._queue.popleft().close(reset=True)

    def _tell_soon(self) -> None:
        if self._queue and self._ready is not None and self._telling is None:
            self._telling = self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._telling = None
        if self._queue and self._ready is not None:
            self._ready()
            # It may leave some for the next time.
            self._tell_soon()


class MemoryArrival(Arrival):
    """A client that a listener accepted."""

    __slots__ = ("_ctx", "_end", "_name")

    def __init__(self, end: _End, name: str, ctx: Context) -> None:
        self._end = end
        self._name = name
        self._ctx = ctx

    async def open(self, on_closed: Callable[[], None]) -> Triple:
        """As every arrival; there is no handshake."""
        wire = Wire(asyncio.get_running_loop(), self._ctx.close_timeout, on_closed)
        MemoryTransport(self._end, wire, sockname=self._name)
        return _triple(wire, self._name, Memory(self._name))

    def discard(self) -> None:
        """As every arrival."""
        self._end.close(reset=True)


class _MemoryTransports:
    """What `conduit.transports` calls for a `Memory`."""

    async def connect(self, target: Memory, ctx: Context, attempts: Attempts) -> Triple:
        """As every transport."""
        if events.observers:
            events.emit(events.Attempt(cast("endp.Endp", target)))
        loop = asyncio.get_running_loop()
        listener = _served.get(loop, {}).get(target.name)
        if listener is None:
            raise _refused(target.name)
        near, far = _connected()
        try:
            await listener.enter(far)
        except BaseException:
            near.close()
            raise
        wire = Wire(loop, ctx.close_timeout)
        MemoryTransport(near, wire, peername=target.name)
        return _triple(wire, target.name, target)

    async def listen(self, mode: Memory, ctx: Context, options: ListenOptions) -> list[Listener]:
        """As every transport."""
        return [MemoryListener(mode, ctx, options.backlog)]


_served: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, MemoryListener]] = (
    WeakKeyDictionary()
)

register(Memory, _MemoryTransports())


def _triple(wire: Wire, name: str, origin: endp.Endp | Memory) -> Triple:
    made = MemoryFlow(name, origin=cast("endp.Endp", origin))
    wire.flow = cast("flow.Flow", made)
    return Triple(wire.flow, *pair(wire))


def _refused(name: str) -> ConnectionRefusedError:
    return ConnectionRefusedError(errno.ECONNREFUSED, f"nobody serves {Memory(name)!r} here")
