"""asyncio protocols over flows: what is written for `loop.create_connection` or a loop's server.

    a flow's transport  <->  Wire  <->  FlowTransport  <->  a protocol

The protocol sees an ordinary asyncio transport. Below it the flow stays what it is, so its limits,
its way of closing and its events are those of every other flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar, cast

from .. import client, endp, flow
from .._connect import connect
from .._left_out import left_out
from ..channels import Input, Output, Wire, wire_of
from ..context import Context

BytesLike: TypeAlias = bytes | bytearray | memoryview
P = TypeVar("P", bound=asyncio.BaseProtocol)

_TIMEOUT: float | None = left_out(30.0)


async def create_connection(
    factory: Callable[[], P],
    target: client.Client | endp.Endp | str,
    *,
    ctx: Context | None = None,
    timeout: float | None = _TIMEOUT,
) -> tuple[FlowTransport, P]:
    """Connect, and let a protocol have the flow: what `loop.create_connection` does for TCP.

        transport, protocol = await create_connection(MyProtocol, "tls+unix:/run/x?hostname=x")

    factory: makes the protocol, a Protocol or a BufferedProtocol of asyncio. target, ctx and
    timeout: those of `conduit.connect`, and so are the errors.

    Returns the transport and the protocol, whose `connection_made` was called. The caller closes
    the transport.
    """
    _, ic, oc = await connect(target, ctx=ctx, timeout=timeout)
    try:
        protocol = factory()
        return FlowTransport(ic, oc, protocol), protocol
    except BaseException:
        wire_of(oc).abort()
        raise


class Serving:
    """A handler for `conduit.serve` and `conduit.listen` that gives each client to a protocol.

    factory: makes the protocol of one client.

    It ends, and with it the handling of the client, when the protocol closes its transport or the
    client has gone. Cancelled, the server drops the connection.
    """

    def __init__(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self._factory = factory

    async def __call__(self, f: flow.Flow, ic: Input, oc: Output) -> None:
        """Handle one client. f, ic, oc: as a handler gets them."""
        await FlowTransport(ic, oc, self._factory()).wait_closing()


class FlowTransport(asyncio.Transport):
    """The asyncio transport of a protocol that has a flow.

    ic, oc: the channels of the flow, which is the transport's from now on. protocol: its
    `connection_made` is called from here, everything else when the loop turns next: first what
    had come in and was not read.

    All is as with a transport of asyncio's own, but for these: `close` goes through the steps of
    closing a flow, each with its limit; and TLS whose end is missing loses the connection with a
    TruncatedError. `can_write_eof` is true for TLS, too.

    Raises ValueError for channels of two flows, RuntimeError for a flow that somebody reads from
    or that carries another, ConnectionError for one that is closed on this side.
    """

    # What lets `asyncio.loop.start_tls` put its own TLS over this.
    _start_tls_compatible = True

    @property
    def _sendfile_compatible(self) -> object:
        """Asked by `loop.sendfile` of asyncio, which is to say the same as that of uvloop."""
        raise NotImplementedError("files are not sent by the kernel here: write what is in them")

    def __init__(self, ic: Input, oc: Output, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        wire = _free(ic, oc)
        self._wire = wire
        self._oc = oc
        self._wrote_eof = wire.eof_sent
        self._paused = False
        self._choked = False
        self._lost = False
        self._told_eof = False
        self._error: BaseException | None = None
        self._closing: asyncio.Future[None] | None = None
        # What comes in before the protocol may be told.
        self._early: list[bytes] | None = []
        self.set_protocol(protocol)
        self._early.insert(0, wire.carry(self))
        try:
            protocol.connection_made(self)
        except BaseException:
            wire.abort()
            raise
        wire.loop.call_soon(self._start)

    def __repr__(self) -> str:
        return f"<transport of {self._wire!r}>"

    async def wait_closing(self) -> None:
        """Wait until the transport is closed by its protocol, or gone.

        What is unsent then is still being sent. Cancelled, it leaves the transport as it is. For
        one task at a time.
        """
        if not self.is_closing():
            self._closing = self._wire.loop.create_future()
            await self._closing

    # What the protocol asks for.

    def write(self, data: BytesLike) -> None:
        """Send; nothing is done on a flow that is closed. Raises RuntimeError after `write_eof`."""
        if self._wrote_eof:
            raise RuntimeError("cannot write after write_eof()")
        # What it holds now is what goes out.
        self._wire.send(data if type(data) is bytes else bytes(memoryview(data)))

    def writelines(self, list_of_data: Iterable[BytesLike]) -> None:
        """As `write`, of all of them."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Whether the flow can be closed one way."""
        return self._wire.transport.can_write_eof()

    def write_eof(self) -> None:
        """End the output, after what was written; reading goes on."""
        if not self._wrote_eof and not self.is_closing():
            self._wrote_eof = True
            # Set when this took the flow over, to keep others from writing.
            self._wire.eof_sent = False
            self._wire.send_eof()

    def close(self) -> None:
        """Close the flow: what was written is sent first, within the limits of the flow."""
        self._wire.close()
        self._tell_closing()

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        self._wire.abort()
        self._tell_closing()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        wire = self._wire
        return wire.closing or wire.lost or wire.transport.is_closing()

    def pause_reading(self) -> None:
        """Let nothing in, until `resume_reading`."""
        self._paused = True
        wire = self._wire
        if not wire.reading_paused and not wire.lost and not wire.closing:
            wire.reading_paused = True
            wire.transport.pause_reading()

    def resume_reading(self) -> None:
        """Let input in again."""
        if self._paused:
            self._paused = False
            if self._early is not None:
                self._wire.loop.call_soon(self._start)
            self._wire.resume_reading()

    def is_reading(self) -> bool:
        """Whether input is let in."""
        return not self._paused and not self.is_closing()

    def get_write_buffer_size(self) -> int:
        """How many bytes are written but not yet given to the operating system."""
        return self._wire.backlog

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and high water marks of the output, in bytes."""
        return self._wire.transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when `pause_writing` and `resume_writing` are called. high, low: bytes."""
        if not self.is_closing():
            self._wire.transport.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """A fact about the flow: the same as `Output.get_extra_info`."""
        return self._oc.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol have what comes from now on."""
        self._protocol = protocol
        self._deliver: Callable[[bytes], object]
        if isinstance(protocol, asyncio.BufferedProtocol):
            self._deliver = self._fill
        else:
            self._deliver = cast("asyncio.Protocol", protocol).data_received

    # What the wire tells.

    def data_received(self, data: bytes, /) -> None:
        """Input."""
        if self._early is not None:
            self._early.append(data)
        else:
            self._deliver(data)

    def eof_received(self) -> None:
        """The peer's end: a protocol that does not want to go on is closed, as asyncio does it."""
        if self._early is not None or self._told_eof or self._wire.closing:
            return
        self._told_eof = True
        if not cast("asyncio.Protocol", self._protocol).eof_received():
            self.close()

    def pause_writing(self) -> None:
        """The wire has enough."""
        if not self._choked and not self.is_closing():
            self._choked = True
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """There is room again."""
        if self._choked and not self._lost:
            self._choked = False
            self._protocol.resume_writing()

    def fail_input(self, error: BaseException, /) -> None:
        """No more input will come, for want of a proper end."""
        self.fail(error)
        self.close()

    def fail(self, error: BaseException, /) -> None:
        """The flow has failed, and will be gone soon."""
        if self._error is None:
            self._error = error

    def connection_lost(self, exc: BaseException | None, /) -> None:
        """The flow is gone."""
        if self._error is None:
            self._error = exc
        if self._early is None or self._paused or self._wire.closing:
            self._tell_lost()

    def _start(self) -> None:
        """Tell the protocol what came before it was there to be told."""
        if self._early is None or self._paused or self._lost:
            return
        data, self._early = b"".join(self._early), None
        wire = self._wire
        if wire.writing_paused:
            self.pause_writing()
        try:
            if data and not wire.closing:
                self._deliver(data)
            if wire.eof:
                self.eof_received()
        except Exception as error:
            # What a transport of asyncio's does.
            text = f"{self._protocol!r} failed when it was told of what had come in"
            wire.loop.call_exception_handler({"message": text, "exception": error})
            self.fail(error)
            wire.abort()
        if wire.exception is not None and not wire.eof:
            self.fail(wire.exception)
            self.close()
        if wire.lost:
            self._tell_lost()

    def _fill(self, data: bytes) -> None:
        """Give data to a BufferedProtocol."""
        protocol = cast("asyncio.BufferedProtocol", self._protocol)
        left = memoryview(data)
        while left:
            room = memoryview(protocol.get_buffer(len(left))).cast("B")
            size = min(len(room), len(left))
            if not size:
                raise RuntimeError(f"{protocol!r}: get_buffer() returned an empty buffer")
            room[:size] = left[:size]
            left = left[size:]
            protocol.buffer_updated(size)

    def _tell_closing(self) -> None:
        closing, self._closing = self._closing, None
        if closing is not None and not closing.done():
            closing.set_result(None)

    def _tell_lost(self) -> None:
        if not self._lost:
            self._lost = True
            self._early = None
            self._tell_closing()
            self._protocol.connection_lost(cast("Exception | None", self._error))


def _free(ic: Input, oc: Output) -> Wire:
    """The wire of a flow that nobody else uses."""
    wire = wire_of(oc)
    if wire_of(ic) is not wire:
        raise ValueError("ic and oc must be the two channels of one flow")
    if wire.above is not None:
        raise RuntimeError("this flow carries another now: use the channels of that one")
    if wire.reader is not None:
        raise RuntimeError("another task is reading from this flow")
    if wire.closing:
        raise wire.gone()
    return wire
