"""Flows as anyio's byte streams, and servers as its listeners.

    async with await connect("tls://db.example:5432") as stream:
        await stream.send(b"hello")

What in anyio takes a `ByteStream`, a `ByteStreamConnectable` or a `Listener` takes these, such as
TLSStream, BufferedByteStream and MultiListener. They run on anyio's asyncio backend.

Needs anyio: `pip install "conduit-net[anyio]"`.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias

from .. import endp, flow, server
from .._connect import connect as connect_flow
from .._left_out import left_out
from .._serve import listen
from .._target import to_client
from ..channels import Input, Output, Wire, wire_of
from ..context import Context, default_ctx
from ..convert import endp_of_flow
from ._needed import needs
from ._routes import Target

with needs("anyio"):
    import anyio
    from anyio.abc import (
        ByteStream,
        ByteStreamConnectable,
        Listener,
        SocketAttribute,
        TaskGroup,
    )
    from anyio.lowlevel import (
        cancel_shielded_checkpoint,
        checkpoint,
        checkpoint_if_cancelled,
    )
    from anyio.streams.tls import TLSAttribute

Attributes: TypeAlias = Mapping[Any, Callable[[], Any]]

_TIMEOUT: float | None = left_out(30.0)

# That a listener is closed ends no connection: those who handle them do.
_FOR_EVER = 365 * 86400.0


class FlowAttribute(anyio.TypedAttributeSet):
    """What a `FlowStream` and a `FlowListener` know besides what anyio asks for."""

    flow: flow.Flow = anyio.typed_attribute()
    """The flow of a stream."""
    endp: endp.Endp = anyio.typed_attribute()
    """Of a stream whom it is with, of a listener how to reach it."""


async def connect(
    target: Target, *, ctx: Context | None = None, timeout: float | None = _TIMEOUT
) -> FlowStream:
    """Connect to an address, and give the flow as a stream, which the caller closes.

    target, ctx and timeout: those of `conduit.connect`, and so are the errors. RuntimeError on
    another loop than asyncio's.
    """
    _need_asyncio()
    return FlowStream(*await connect_flow(target, ctx=ctx, timeout=timeout))


class FlowConnectable(ByteStreamConnectable):
    """An address to connect to, for what takes anyio's `ByteStreamConnectable`.

    target, ctx and timeout: those of `conduit.connect`.

    Raises AddressError for a target that cannot be.
    """

    def __init__(
        self, target: Target, *, ctx: Context | None = None, timeout: float | None = _TIMEOUT
    ) -> None:
        self._target = target
        self._ctx = ctx or default_ctx()
        self._timeout = timeout
        to_client(target, self._ctx, timeout)

    def __repr__(self) -> str:
        return f"<FlowConnectable {self._target}>"

    async def connect(self) -> FlowStream:
        """Connect. Raises anyio.ConnectionFailed, an OSError, with our error as its cause."""
        try:
            return await connect(self._target, ctx=self._ctx, timeout=self._timeout)
        except OSError as error:
            raise anyio.ConnectionFailed(str(error)) from error


class FlowStream(ByteStream):
    """A flow as a byte stream of anyio.

    f, ic, oc: what `conduit.connect` returned or a handler was given; the stream's from now on.
    server_side: whether the peer connected to us (default: no).

    Its errors are anyio's: EndOfStream after the peer's end, BrokenResourceError when the flow has
    failed or was cut short (with ours as its cause), ClosedResourceError after `aclose`,
    BusyResourceError for a second task that reads or writes at the same time.

    Attributes (`extra`) are those of `SocketAttribute`, of `TLSAttribute` over TLS, and
    `FlowAttribute`. `raw_socket` is the loop's view of the socket, not to be read or closed.
    """

    def __init__(self, f: flow.Flow, ic: Input, oc: Output, *, server_side: bool = False) -> None:
        self._flow = f
        self._ic = ic
        self._oc = oc
        self._server_side = server_side
        self._closed = False
        self._reading = anyio.ResourceGuard("reading from")
        self._writing = anyio.ResourceGuard("writing to")

    def __repr__(self) -> str:
        return f"<FlowStream {self._flow}>"

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive what there is, at most `max_bytes`, at least one byte."""
        if max_bytes < 1:
            raise ValueError("max_bytes must be a positive integer")
        wire = wire_of(self._ic)
        with self._reading:
            # Others get their turn in any case, as with each of anyio's streams.
            await (checkpoint() if wire.buffer or wire.ended else checkpoint_if_cancelled())
            with self._mapped():
                data = await self._ic.read(max_bytes)
            if data:
                return data
            if self._closed:
                raise anyio.ClosedResourceError
            raise anyio.EndOfStream

    async def send(self, item: bytes) -> None:
        """Send, and wait until there is room for more. RuntimeError after `send_eof`."""
        with self._writing:
            await checkpoint_if_cancelled()
            with self._mapped():
                await self._oc.write(item)
            await cancel_shielded_checkpoint()

    async def send_eof(self) -> None:
        """End the output; receiving goes on. NotImplementedError where that cannot be."""
        await checkpoint()
        if self._closed:
            raise anyio.ClosedResourceError
        if not self._oc.can_write_eof():
            raise NotImplementedError(f"{self._flow} cannot be closed one way")
        with self._mapped():
            self._oc.write_eof()

    async def aclose(self) -> None:
        """Close, when all that was sent has reached the peer's host; cancelled, at once."""
        self._closed = True
        wire = wire_of(self._oc)
        wire.close()
        # Code for anyio expects closing to be done soon, whatever the peer does.
        wire.hurry()
        try:
            await wire.wait_closed()
            await checkpoint()
        except asyncio.CancelledError:
            wire.abort()
            raise

    @property
    def extra_attributes(self) -> Attributes:
        """What `extra` can be asked for."""
        info = self._oc.get_extra_info
        found: dict[Any, Callable[[], Any]] = {
            FlowAttribute.flow: _always(self._flow),
            FlowAttribute.endp: lambda: endp_of_flow(self._flow),
        }
        sock = info("socket")
        if sock is not None:
            found[SocketAttribute.raw_socket] = _always(sock)
            found[SocketAttribute.family] = _always(sock.family)
        found |= _names(local=info("sockname"), remote=info("peername"))
        if info("tls") is not None:
            found |= _tls_attributes(self._oc, self._server_side)
        return found

    @contextlib.contextmanager
    def _mapped(self) -> Generator[None]:
        """Raise as anyio does what goes wrong with the flow."""
        if self._closed:
            raise anyio.ClosedResourceError
        try:
            yield
        except OSError as error:
            if self._closed:
                raise anyio.ClosedResourceError from error
            raise anyio.BrokenResourceError(str(error)) from error


async def create_listener(mode: server.Mode | endp.Endp | str, **options: Any) -> FlowListener:
    """Listen on an address.

        listener = await create_listener("unix:/run/app.sock", unix_mode=0o660)
        await listener.serve(handle)

    mode: how to be reached, as `conduit.serve` takes it. options: those of `conduit.listen`; its
    `drain` counts for a stop by a signal (`conduit.run`).

    Returns the listener, which the caller closes. Raises what `conduit.listen` raises;
    RuntimeError on another loop than asyncio's.
    """
    _need_asyncio()
    listener = FlowListener()
    await listener.start(mode, options)
    return listener


class FlowListener(Listener[FlowStream]):
    """A server of ours as a listener of anyio. Made by `create_listener`, not by hand.

    Clients are let in from the start, within `max_active`, and wait for `serve`. A connection
    belongs to the task that handles it, which closes its stream; that the listener is closed, or
    `serve` cancelled, lets it go on if its task group does.
    """

    def __init__(self) -> None:
        self._closed = False
        self._stopped = False
        self._served_by: Callable[[FlowStream], object] | None = None
        self._changed = asyncio.Event()

    async def start(self, mode: server.Mode | endp.Endp | str, options: Mapping[str, Any]) -> None:
        """Begin to listen; done by `create_listener`."""
        self._running = await listen(mode, self._handle, **options).__aenter__()
        self._running.ends_by_itself = True
        stopping = asyncio.ensure_future(self._running.wait_stopping())
        stopping.add_done_callback(lambda _: self._stop())

    @property
    def endps(self) -> tuple[endp.Endp, ...]:
        """How to reach it, as `conduit.Server` says it: with the real port of a port 0."""
        return self._running.endps

    async def serve(
        self, handler: Callable[[FlowStream], Any], task_group: TaskGroup | None = None
    ) -> None:
        """Run `handler` for each client, in `task_group` or in one of its own, until cancelled.

        It returns when a signal has stopped the server (`conduit.run`). Raises ClosedResourceError
        when the listener is closed, BusyResourceError while another task serves.
        """
        if self._stopped:
            raise anyio.ClosedResourceError
        if self._served_by is not None:
            raise anyio.BusyResourceError("serving on")
        async with contextlib.AsyncExitStack() as stack:
            group = task_group
            if group is None:
                group = await stack.enter_async_context(anyio.create_task_group())
            self._served_by = lambda stream: group.start_soon(handler, stream)
            self._news()
            try:
                await self._until_stopped()
            finally:
                self._served_by = None
        if self._closed:
            raise anyio.ClosedResourceError

    async def aclose(self) -> None:
        """Listen no more. Connections go on."""
        if not self._closed:
            self._closed = True
            self._stopping = asyncio.ensure_future(self._running.stop(drain=_FOR_EVER))
            self._stop()
        await checkpoint()

    @property
    def extra_attributes(self) -> Attributes:
        """What `extra` can be asked for; of several listeners the first one is meant."""
        where = self._running.endps[0]
        below = where
        while isinstance(below, endp.TLS):
            below = below.endp
        match below:
            case endp.TCP(ip, port):
                local: object = (str(ip), port)
            case endp.UnixDomainSocket(path):
                local = path
            case _:
                local = None
        return {FlowAttribute.endp: _always(where), **_names(local=local, remote=None)}

    async def _handle(self, f: flow.Flow, ic: Input, oc: Output) -> None:
        while self._served_by is None and not self._stopped:
            await self._changed.wait()
        if self._served_by is None:
            return
        stream = FlowStream(f, ic, oc, server_side=True)
        wire = wire_of(oc)
        # It may be cancelled before it has begun, and then nobody closes the stream.
        dropped = weakref.ref(stream, lambda _: _abort(wire))
        self._served_by(stream)
        del stream
        # The flow would be closed when this returns.
        await wire.wait_closed()
        del dropped

    async def _until_stopped(self) -> None:
        while not self._stopped:
            await self._changed.wait()

    def _stop(self) -> None:
        self._stopped = True
        self._news()

    def _news(self) -> None:
        before, self._changed = self._changed, asyncio.Event()
        before.set()


def _names(*, local: Any, remote: Any) -> dict[Any, Callable[[], Any]]:
    found: dict[Any, Callable[[], Any]] = {}
    for name, address, port in (
        (local, SocketAttribute.local_address, SocketAttribute.local_port),
        (remote, SocketAttribute.remote_address, SocketAttribute.remote_port),
    ):
        if isinstance(name, str | bytes):
            found[address] = _always(name)
        elif name is not None:
            # As anyio has it: IPv6 without the numbers that Python adds.
            found[address], found[port] = _always(name[:2]), _always(name[1])
    return found


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value


def _tls_attributes(oc: Output, server_side: bool) -> dict[Any, Callable[[], Any]]:
    info = oc.get_extra_info
    facts = info("tls")
    known: dict[Any, Any] = {
        TLSAttribute.alpn_protocol: facts.alpn,
        TLSAttribute.tls_version: facts.version,
        TLSAttribute.peer_certificate_binary: facts.peer_certificate,
        TLSAttribute.server_side: server_side,
        TLSAttribute.standard_compatible: True,
    }
    for attribute, name in (
        (TLSAttribute.cipher, "cipher"),
        (TLSAttribute.peer_certificate, "peercert"),
        (TLSAttribute.ssl_object, "ssl_object"),
    ):
        # Some stacks have none of these.
        if (value := info(name)) is not None:
            known[attribute] = value
    return {attribute: _always(value) for attribute, value in known.items()}


def _abort(wire: Wire) -> None:
    # The garbage may be collected in any thread, and after the end of the loop.
    with contextlib.suppress(RuntimeError):
        wire.loop.call_soon_threadsafe(wire.abort)


def _need_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "conduit.ext.anyio needs anyio's asyncio backend: anyio.run(main, backend='asyncio')"
        ) from None
