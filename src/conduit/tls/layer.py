"""TLS over any flow: an asyncio transport that has an engine, and a wire below it.

    a transport  <->  Wire below  <->  TLSTransport and its engine  <->  Wire above  <->  channels

The wire below goes on doing what it does for every flow: holding back, flushing, lingering. So a
layer is closed by saying close_notify and closing what is below, and it costs no task of its own.
Layers stand over each other in any number.

What a peer can make this side keep is bounded: plaintext by the wire above, which stops the input
when nobody reads, and what the engine itself has to answer (to key updates without end) by stopping
the input while the peer takes in nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from ..channels import Wire
from ..channels.state import again
from ..errors import TLSError, TruncatedError
from .engine import Engine
from .facts import Facts

# What is encrypted in one go; the rest waits in the clear until the wire below has room.
_PIECE = 64 * 1024

_FACTS = frozenset(("version", "alpn", "sni", "peer_certificate", "peer_chain", "resumed"))


class TLSTransport(asyncio.Transport):
    """The transport of a TLS flow.

    below: the wire of the flow that carries it; from now on it belongs to the layer. engine: at the
    beginning of its handshake. above: the wire that gets the plaintext.

    Call `handshake` once, before anything else.
    """

    __slots__ = (
        "_choked",
        "_closing",
        "_engine",
        "_facts",
        "_handshaking",
        "_paused",
        "_unencrypted",
        "above",
        "allow_truncation",
        "below",
    )

    def __init__(
        self, below: Wire, engine: Engine, above: Wire, *, allow_truncation: bool = False
    ) -> None:
        self.below = below
        self.above = above
        self.allow_truncation = allow_truncation
        self._engine = engine
        self._handshaking: asyncio.Future[None] | None = None
        self._closing = False
        self._paused = False
        self._choked = False
        # Written, and not given to the engine yet: only while the wire below has enough. What is
        # left when the flow ends stays until that is told, as unsent.
        self._unencrypted: memoryview = _NOTHING
        self._facts: Facts | None = None
        above.connection_made(self)

    def __repr__(self) -> str:
        return f"<TLS over {self.below!r}>"

    async def handshake(self) -> None:
        """Say hello, or wait for it, until both sides know each other.

        Raises TLSError, or what the flow below failed with. When it has failed or was cancelled,
        the flow below is closed: at once, but after a TLSError in order, for the peer to hear why.
        Whoever wants to see the end of that waits for it.
        """
        below = self.below
        early = below.carry(self)
        self._handshaking = handshaking = below.loop.create_future()
        try:
            if below.lost:
                raise below.gone()
            if early:
                self._engine.receive(early)
            self._go_on()
            if below.eof:
                self.eof_received()
            await handshaking
        except TLSError:
            below.close()
            raise
        except BaseException:
            below.abort()
            raise
        finally:
            self._handshaking = None
            # It has the exception, which has this frame.
            del handshaking

    # What the wire below tells.

    def data_received(self, data: bytes) -> None:
        """Ciphertext from the peer."""
        engine = self._engine
        engine.receive(data)
        if self._handshaking is not None:
            self._go_on()
        elif not engine.ended:
            self._take_in()

    def eof_received(self) -> None:
        """The peer's end of the flow below, which means nothing unless it said goodbye before."""
        if self._handshaking is not None:
            self._end_handshake(TLSError("the peer ended the connection during the TLS handshake"))
        elif not self._engine.ended and not self.above.ended:
            self._cut_short()

    def pause_writing(self) -> None:
        """The wire below has enough."""
        self.above.pause_writing()

    def resume_writing(self) -> None:
        """The wire below has room again."""
        if self._choked:
            self._choked = False
            if not self._paused:
                self._resume()
        if self._unencrypted and not self._closing:
            self._encrypt()
        if not self._unencrypted and not self.below.writing_paused and not self.above.lost:
            self.above.resume_writing()

    def fail_input(self, error: BaseException) -> None:
        """The flow below, itself a layer, was cut short."""
        if self._handshaking is not None:
            self._end_handshake(again(error))
        elif not self._engine.ended:
            self.above.fail_input(error)

    def fail(self, error: BaseException) -> None:
        """The flow below, itself a layer, has failed and is being closed."""
        self._closing = True
        if self._handshaking is not None:
            self._end_handshake(again(error))
        else:
            self.above.fail(error)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The flow below is gone."""
        self._closing = True
        if self._handshaking is not None:
            closed = TLSError("the connection was closed during the TLS handshake")
            self._end_handshake(closed if exc is None else again(exc))
        if exc is None and not (self._engine.ended or self.above.ended):
            self._cut_short()
        self.above.connection_lost(exc)
        # Each would keep the other, and OpenSSL's memory, until garbage is collected.
        del self.above
        self._unencrypted = _NOTHING

    # What the wire above asks for.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; what the wire below has no room for waits in the clear."""
        if self._closing:
            return
        if self._unencrypted or len(data) > _PIECE:
            self._unencrypted = memoryview(
                b"".join((self._unencrypted, data)) if self._unencrypted else data
            )
            self._encrypt()
            if self._unencrypted and not self.above.writing_paused:
                self.above.pause_writing()
            return
        engine = self._engine
        try:
            engine.write(data)
        except TLSError as error:
            self._fail(error)
            return
        self.below.send(engine.to_send())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """As `write`, of all of them."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """TLS can be closed one way (RFC 8446, 6.1)."""
        return True

    def write_eof(self) -> None:
        """Say close_notify; reading goes on."""
        if not self._closing:
            self._say_goodbye()

    def close(self) -> None:
        """Say close_notify, and close the flow below, in order."""
        if not self._closing:
            self._say_goodbye()
            self._closing = True
            self.below.close()

    def abort(self) -> None:
        """Close the flow below at once."""
        self._closing = True
        if self.below.lost:
            self.below.loop.call_soon(self.above.connection_lost, None)
        else:
            self.below.abort()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        below = self.below
        # The flow below may know of a failure that it has not told yet.
        return self._closing or below.closing or below.lost or below.transport.is_closing()

    def pause_reading(self) -> None:
        """Leave input to the flow below."""
        self._paused = True
        self._pause()

    def resume_reading(self) -> None:
        """Take input in again."""
        self._paused = False
        if not self._choked:
            self._resume()

    def is_reading(self) -> bool:
        """Whether input is taken in."""
        return not self._paused and not self.is_closing()

    def get_write_buffer_size(self) -> int:
        """How many bytes are written and not given to the operating system, about as many."""
        below = self.below
        if below.lost and not hasattr(self, "above"):
            return 0
        unsent = below.unsent if below.lost else below.backlog
        return min(unsent + len(self._unencrypted), self.above.bytes_out)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Those of the transport below."""
        return self.below.transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set those of the transport below."""
        if not self.below.lost:
            self.below.transport.set_write_buffer_limits(high, low)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The wire above."""
        return self.above

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another wire get the plaintext."""
        self.above = cast("Wire", protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the TLS connection, else of what carries it.

        name: "tls" for all of the `Facts`; "tls_version", or any other of their names alone; or as
        asyncio's TLS transports have it: "ssl_object", "sslcontext", "cipher", "compression",
        "peercert".
        """
        if name == "tls":
            return self.facts()
        if name in _FACTS or name == "tls_version":
            value = getattr(self.facts(), name.removeprefix("tls_"))
        else:
            value = self._engine.extra(name)
            if value is None:
                return self.below.transport.get_extra_info(name, default)
        return default if value is None else value

    def facts(self) -> Facts:
        """What was agreed on."""
        if self._facts is None:
            self._facts = self._engine.facts()
        return self._facts

    # The handshake.

    def _go_on(self) -> None:
        """Do what can be done of the handshake, and send what it says."""
        try:
            done = self._engine.handshake()
        except TLSError as error:
            self._send_answers()
            self._end_handshake(error)
            return
        if not done:
            self._send_answers()
            return
        self._end_handshake(None)
        # Whoever has finished may have gone on speaking.
        self._take_in(answers_later=True)
        # After the task that waited has had its turn: what it writes first goes in the same packet.
        self.below.loop.call_soon(self._send_answers)

    def _end_handshake(self, error: BaseException | None) -> None:
        handshaking, self._handshaking = self._handshaking, None
        if handshaking is None or handshaking.done():
            return
        if error is None:
            handshaking.set_result(None)
        else:
            handshaking.set_exception(error)

    # Data.

    def _take_in(self, answers_later: bool = False) -> None:
        """Decrypt what has come, and hand it up."""
        engine = self._engine
        try:
            data = engine.read()
        except TLSError as error:
            self._fail(error)
            return
        answers = b"" if answers_later else engine.to_send()
        if answers:
            self.below.send(answers)
            if self.below.writing_paused and not self._choked:
                self._choked = True
                self._pause()
        above = self.above
        if data:
            above.data_received(data)
        if engine.ended:
            above.eof_received()
        elif engine.failure is not None:
            self._fail(engine.failure)

    def _send_answers(self) -> None:
        answers = self._engine.to_send()
        if answers:
            self.below.send(answers)

    def _encrypt(self) -> None:
        """Send of what waits in the clear what there is room for."""
        engine, below = self._engine, self.below
        waiting = self._unencrypted
        while waiting and not below.writing_paused:
            try:
                engine.write(waiting[:_PIECE])
            except TLSError as error:
                self._unencrypted = waiting
                self._fail(error)
                return
            waiting = waiting[_PIECE:]
            below.send(engine.to_send())
        self._unencrypted = waiting or _NOTHING

    def _pause(self) -> None:
        below = self.below
        if not below.reading_paused and not below.lost and not below.closing:
            below.reading_paused = True
            below.transport.pause_reading()

    def _resume(self) -> None:
        self.below.resume_reading()

    # The end.

    def _say_goodbye(self) -> None:
        self._engine.close_notify()
        self._send_answers()

    def _cut_short(self) -> None:
        """The peer has ended without saying so."""
        if self.allow_truncation:
            self.above.eof_received()
        else:
            self.above.fail_input(
                TruncatedError(
                    "the connection ended without the peer's close_notify: what came in may have "
                    "been cut short (allow_truncation in conduit.init takes it as it is)"
                )
            )

    def _fail(self, error: TLSError) -> None:
        """The peer sent what cannot be, or an alert: it is told, and the flow ends."""
        self._send_answers()
        self.fail(error)
        self.below.close()


_NOTHING = memoryview(b"")
