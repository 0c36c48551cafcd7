"""Faults put between a flow and its transport, whatever transport that is.

    the real transport  <->  what is here  <->  the flow's channels

Nothing is simulated of what lies below: a faulty TCP flow is a TCP flow whose bytes are held up,
broken into pieces or cut off on their way to and from its socket.
"""

from __future__ import annotations

import errno
import socket
import struct
from asyncio import Protocol, Transport
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import transports
from .._fields import Record
from .._resolve import resolved
from .._target import to_client, to_server
from ..channels import Wire, wire_of
from ..context import Context
from ..transports import Arrival, Attempts, Listener, ListenOptions, Triple
from ..transports.bounded import BoundedTransport, BytesLike, as_bytes
from ..transports.over import ListenerOver
from .line import Faults, Line

# Input that waits here; beyond it the real transport is paused, as it is by a program that is slow.
_HIGH = 64 * 1024
_LOW = 16 * 1024

_NONE = Faults()


@dataclass(frozen=True, slots=True, repr=False)
class Faulty(Record):
    """An address with faults: to connect to, or to serve, where it gives each client its own.

    address: any address that `connect` (or `serve`) takes. incoming: what happens to the bytes that
    this side reads. outgoing: to those that it writes. By default nothing does.

    The flow and its endpoint, and a server's, are those of `address`. For faults below TLS put this
    inside: `client.TLSOver(name, Faulty(...))`.
    """

    address: Any
    incoming: Faults = field(default=_NONE, kw_only=True)
    outgoing: Faults = field(default=_NONE, kw_only=True)


def add_faults(triple: Triple, *, incoming: Faults = _NONE, outgoing: Faults = _NONE) -> Triple:
    """Put faults under a flow that is open, also one that has some already.

    triple: the flow with its channels; on both sides of a `memory_pair`, each has its own.
    incoming: what happens to the bytes that it reads, those included that came in and were not
    read. outgoing: to those that it writes from now on. By default nothing does.

    Returns the same triple. A flow that is closed is left as it is.
    """
    wire = wire_of(triple[2])
    if not wire.lost and not wire.closing:
        _FaultyTransport(wire, incoming, outgoing)
    return triple


class _FaultyTransport(BoundedTransport, Protocol):
    """The protocol of a real transport, and the transport of a flow's wire."""

    def __init__(self, wire: Wire, incoming: Faults, outgoing: Faults) -> None:
        super().__init__(wire.loop, wire)
        self._real = real = wire.transport
        self._in = Line(self._loop, incoming, self._let_in, self._cut_in)
        self._in_cut = incoming.cut
        self._out = Line(self._loop, outgoing, self._let_out, self._cut_out)
        self._out_cut = outgoing.cut
        self._real_paused = wire.reading_paused
        self._real_ended = wire.eof
        self._real_lost = False
        self._eof_written = wire.shut
        self._closing = False
        self._lost = False
        self._failure: Exception | None = None
        self._take_over(wire, real)
        self._in.start()
        self._out.start()

    def _take_over(self, wire: Wire, real: Transport) -> None:
        self._low, self._high = real.get_write_buffer_limits()
        self._out.held = self._writing_paused = wire.writing_paused
        wire.transport = self
        wire.fd = -1
        wire.reading_paused = False
        # What the wire has and nobody has read goes through the faults as well.
        unread, wire.buffer = bytes(wire.buffer), b""
        wire.bytes_in -= len(unread)
        wire.eof = False
        self._in.put(unread)
        if self._real_ended:
            self._in.then(self._end)
        real.set_protocol(self)
        if not real.is_closing():
            # So that it tells each time that it has unsent bytes, and that it has none any more.
            real.set_write_buffer_limits(0)

    def __repr__(self) -> str:
        return f"<faulty {self._real!r}>"

    # What the real transport tells.

    def data_received(self, data: bytes) -> None:
        """As every protocol."""
        if self._closing:
            return
        self._in.put(data)
        if self._in.size > _HIGH and not self._real_paused:
            self._real_paused = True
            self._real.pause_reading()

    def eof_received(self) -> bool:
        """As every protocol. The transport stays open: the end is still on its way."""
        self._real_ended = True
        self._in.then(self._end)
        return True

    def pause_writing(self) -> None:
        """As every protocol."""
        # Many small pieces would pile up there, and each makes the next one dearer.
        self._out.hold()

    def resume_writing(self) -> None:
        """As every protocol."""
        self._out.release()
        self._resume_if_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """As every protocol. It is passed on after the input that came before, if that can be."""
        self._real_lost = True
        self._failure = self._failure or exc
        self._out.clear()
        if self._in.silent and not self._closing:
            # Nobody may know. What is written from now on goes nowhere.
            self._resume_if_room()
        elif self._closing or self._in.held or self._in.is_cut:
            self._lose()
        else:
            self._in.then(self._lose)

    # Reading.

    def is_reading(self) -> bool:
        """Whether input is passed on."""
        return not self._closing and not self._in.held

    def pause_reading(self) -> None:
        """Hold back what came in, and, when that is much, the real transport."""
        self._in.hold()
        if self._real_lost and not self._in.silent:
            # Its loss would be held back too, and a writer that waits would wait for ever.
            self._loop.call_soon(self._lose)

    def resume_reading(self) -> None:
        """Pass input on again."""
        self._in.release()

    def _let_in(self, data: bytes) -> None:
        self._protocol.data_received(data)
        self._resume_real()

    def _resume_real(self) -> None:
        if self._real_paused and self._in.size <= _LOW:
            self._real_paused = False
            if not self._real_ended and not self._real.is_closing():
                self._real.resume_reading()

    def _end(self) -> None:
        if not self._closing and not self._protocol.eof_received():
            self.close()

    # Writing.

    def write(self, data: BytesLike) -> None:
        """Send `data` on its way. Raises RuntimeError after `write_eof`."""
        data = as_bytes(data)
        if self._eof_written:
            raise RuntimeError("write() was called after write_eof()")
        if data and not self._lost and not self._real_lost:
            self._out.put(data)
            self._pause_if_full()

    def can_write_eof(self) -> bool:
        """As the real transport."""
        return self._real.can_write_eof()

    def write_eof(self) -> None:
        """End the output after what was written."""
        if not self._closing and not self._eof_written:
            self._eof_written = True
            self._out.then(self._end_real)

    def get_write_buffer_size(self) -> int:
        """How many bytes are on their way, those included that the real transport has."""
        return self._out.size + self._real.get_write_buffer_size()

    def _let_out(self, data: bytes) -> None:
        if not self._real.is_closing():
            self._real.write(data)
        self._resume_if_room()

    def _end_real(self) -> None:
        try:
            self._real.write_eof()
        except OSError:
            pass  # The peer is gone, as the transport will find out.

    # The end.

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing

    def close(self) -> None:
        """Take in no more, send what was written, then close."""
        if self._closing:
            return
        self._closing = True
        self._in.clear()
        if not self._out.is_cut:
            self._out.then(self._close_real)
        elif not self._out.size:
            self._loop.call_soon(self._close_real)

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._in.clear()
        self._out.clear()
        if self._real_lost:
            self._loop.call_soon(self._lose)
        else:
            self._real.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the real transport knows."""
        return self._real.get_extra_info(name, default)

    def _close_real(self) -> None:
        if self._real_lost:
            self._lose()
        else:
            self._real.close()

    def _lose(self) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._in.clear()
            self._out.clear()
            self._protocol.connection_lost(self._failure)

    # The cuts.

    def _cut_in(self) -> None:
        if self._in_cut == "reset":
            self._reset()
        elif self._in_cut == "eof":
            self._end()
            self._resume_real()
            if self._real_lost:
                self._lose()

    def _cut_out(self) -> None:
        if self._out_cut == "reset":
            self._reset()
        elif self._out_cut == "eof":
            self._end_real()

    def _reset(self) -> None:
        self._failure = ConnectionResetError(errno.ECONNRESET, "cut off by faults")
        sock = None if self._real_lost else self.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            # Makes abort send a reset, not an orderly end.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()


# As a transport of the library: it does what the address inside does, and adds the faults.


class _FaultyListener(ListenerOver):
    __slots__ = ("_faulty",)

    def __init__(self, real: Listener, faulty: Faulty) -> None:
        super().__init__(real)
        self._faulty = faulty

    def accept(self) -> Arrival:
        return _FaultyArrival(super().accept(), self._faulty)


class _FaultyArrival(Arrival):
    __slots__ = ("_faulty", "_real", "handshakes")

    def __init__(self, real: Arrival, faulty: Faulty) -> None:
        self._real = real
        self._faulty = faulty
        self.handshakes = real.handshakes

    async def open(self, on_closed: Callable[[], None]) -> Triple:
        triple = await self._real.open(on_closed)
        faulty = self._faulty
        return add_faults(triple, incoming=faulty.incoming, outgoing=faulty.outgoing)

    async def finish(self) -> None:
        await self._real.finish()

    def discard(self) -> None:
        self._real.discard()


class _FaultyTransports:
    """What `conduit.transports` calls for a `Faulty`."""

    async def connect(self, target: Faulty, ctx: Context, attempts: Attempts) -> Triple:
        asked = to_client(target.address, ctx, None)
        triple = await transports.connect((await resolved(asked)).address, asked.ctx, attempts)
        return add_faults(triple, incoming=target.incoming, outgoing=target.outgoing)

    async def listen(self, mode: Faulty, ctx: Context, options: ListenOptions) -> list[Listener]:
        where, ctx, *_ = to_server(mode.address, ctx)
        listeners = await transports.listen(where, ctx, options)
        return [_FaultyListener(listener, mode) for listener in listeners]


transports.register(Faulty, _FaultyTransports())
