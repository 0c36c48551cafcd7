"""`Output`: what a program writes to. It can stand where an `asyncio.StreamWriter` stands."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import Awaitable, Generator, Iterable
from importlib import import_module
from typing import Any, TypeAlias

from .names import extra_info
from .wire import TURN, Wire

BytesLike: TypeAlias = bytes | bytearray | memoryview


class Output:
    """The bytes that go out on a flow, and the end of the flow.

    Made by `connect` and `serve`, not by hand. The methods are those of `asyncio.StreamWriter`,
    with the same results, and these promises on top:

    - What was given to `write` goes out as it was then: changing a bytearray later changes nothing.
    - `write` never raises for a peer that has gone; `drain` does, also one that is waiting.
    - `close` closes the flow, reads included; it never raises for a dead peer and never hangs.

    A flow that is dropped without being closed is aborted, with a ResourceWarning.
    """

    __slots__ = ("__weakref__", "_wire")

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __repr__(self) -> str:
        return f"<conduit.Output of {self._wire!r}>"

    def __del__(self) -> None:
        wire = self._wire
        if wire.closing or wire.lost or wire.above is not None:
            return
        # The garbage may be collected in another thread, or in a forked child. A loop that is
        # closed has no use for it: the descriptor goes with the transport.
        with contextlib.suppress(RuntimeError):
            wire.loop.call_soon_threadsafe(wire.abort)
        warnings.warn(
            f"a flow was dropped without being closed: {wire.flow or wire!r}",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )

    def write(self, data: BytesLike) -> Awaitable[None]:
        """Queue `data` at once; what is returned can be awaited, or dropped, and is `drain()`.

        data: anything bytes-like; what it holds now is what goes out.

        Returns an awaitable equal to `drain()`. Cancelling it does not take the bytes back. Raises
        TypeError for what is not bytes-like, RuntimeError after `write_eof`. That the peer has gone
        is told by the awaitable, not by the call.
        """
        if type(data) is not bytes:
            data = _frozen(data)
        wire = self._wire
        if wire.eof_sent or wire.closing or wire.lost or wire.transport.is_closing():
            return _refuse(wire)
        wire.bytes_out += len(data)
        if wire.writing_paused:
            wire.hold(data)
        else:
            wire.transport.write(data)
        return wire

    def writelines(self, lines: Iterable[BytesLike]) -> Awaitable[None]:
        """Queue several pieces as if they were one.

        lines: bytes-like objects. Returns and raises as `write` does.
        """
        return self.write(b"".join(map(_frozen, lines)))

    async def drain(self) -> None:
        """Wait until the peer has taken in enough for more to be written.

        Raises ConnectionError when the flow is gone, or goes while waiting.
        """
        wire = self._wire
        # As Wire.__await__, without the cost of a call.
        if (
            wire.writing_paused
            or wire.bytes_out - wire.turned >= TURN
            or wire.closing
            or wire.lost
            or wire.transport.is_closing()
        ):
            await wire.drain()

    def can_write_eof(self) -> bool:
        """Whether this flow can be closed one way (`write_eof`)."""
        return self._wire.transport.can_write_eof()

    def write_eof(self) -> None:
        """End the output, after what was written; reading goes on. A second call does nothing."""
        if not self._wire.closing:
            self._wire.send_eof()

    def close(self) -> Awaitable[None]:
        """Close the flow, both ways.

        What was written is sent, for `close_timeout` seconds at most (`conduit.init`); unread input
        is thrown away. This goes on by itself; await the result, or `wait_closed`, to see its end.
        Never raises for a peer that has gone. A second call does nothing.
        """
        self._wire.close()
        return _Closed(self._wire)

    async def wait_closed(self) -> None:
        """Wait until the flow is closed and its descriptor too. Never raises for a dead peer."""
        await self._wire.wait_closed()

    def is_closing(self) -> bool:
        """Whether the flow is closed, or about to be."""
        wire = self._wire
        return wire.closing or wire.lost or wire.transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """A fact about the flow, as asyncio's transports give them.

        name: "socket", "peername", "sockname" (an IPv4 peer of a dual-stack socket appears as
        IPv4), or "peercred": the `PeerCredentials` (pid, uid, gid) of the process at the other end
        of a Unix socket, on systems that tell. Of a flow with TLS also "tls" (all of its facts),
        "tls_version", "alpn", "sni", "peer_certificate", "peer_chain" and "resumed"; and asyncio's
        "cipher", "peercert", "ssl_object". default: returned for what is not known.
        """
        return extra_info(self._wire.transport, name, default)

    async def start_tls(
        self,
        sslcontext: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        server_side: bool | None = None,
    ) -> None:
        """Upgrade this flow to TLS in place, as `asyncio.StreamWriter.start_tls`.

        `conduit.start_tls` does the same by a context of ours and is what to use in new code.

        sslcontext: whose settings count, and nothing else's. server_hostname: of a client, the name
        that the peer's certificate must be for (default: the name that was connected to).
        ssl_handshake_timeout: seconds (default 60). ssl_shutdown_timeout: taken, and of no meaning:
        closing has its limits. server_side: which side of the handshake this is (default: what the
        context is made for, and the client if it is made for both).

        Raises TLSError for input that nobody has read, and when the handshake fails, which closes
        the flow; TimeoutError.
        """
        await self._wire.drain()
        if server_side is None:
            server_side = sslcontext.protocol == ssl.PROTOCOL_TLS_SERVER
        # By name: TLS stands on the channels, and is loaded only where it is used.
        upgrade = import_module("conduit._start_tls").upgrade
        seconds = 60.0 if ssl_handshake_timeout is None else ssl_handshake_timeout
        await upgrade(
            self._wire,
            sslcontext,
            server_side=server_side,
            hostname=server_hostname,
            handshake_timeout=seconds,
        )

    @property
    def transport(self) -> asyncio.Transport:
        """An asyncio transport's view of this flow, for code that reaches below its writer."""
        from .facade import TransportFacade

        return TransportFacade(self, self._wire)


def _frozen(data: BytesLike) -> bytes:
    """A copy that nobody can change, of anything bytes-like."""
    return data if type(data) is bytes else bytes(memoryview(data))


def _refuse(wire: Wire) -> Awaitable[None]:
    """Answer a write that can go nowhere."""
    if wire.above is not None and not wire.lost:
        raise RuntimeError("this flow carries another now: write to the channels of that one")
    if wire.eof_sent and not (wire.closing or wire.lost or wire.transport.is_closing()):
        raise RuntimeError("cannot write after write_eof()")
    wire.refused = True
    return _Refused(wire)


class _Refused:
    """The result of a write to a closed flow: nothing was queued, and awaiting it says so."""

    __slots__ = ("_wire",)

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __await__(self) -> Generator[object, None, None]:
        # A failure that the transport has not told of yet is told when the loop turns.
        yield from asyncio.sleep(0).__await__()
        raise self._wire.gone()


class _Closed:
    """The result of `close`: may be awaited or dropped."""

    __slots__ = ("_wire",)

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __await__(self) -> Generator[object, None, None]:
        return self._wire.wait_closed().__await__()
