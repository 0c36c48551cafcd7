"""A connection after its handshake: data, alerts, new keys, and the goodbye.

Bytes in, bytes out, as an engine; what the two sides agreed on does not change any more, but for
the keys.
"""

from __future__ import annotations

from typing import Final

from ...errors import TLSError
from . import failures
from .protected import (
    ALERT,
    DATA,
    HANDSHAKE,
    LARGEST,
    Buffer,
    Protection,
    forged,
)

__all__ = ["Established"]

_HEADER: Final = 5

# Kinds of handshake messages.
_HELLO_REQUEST, _CLIENT_HELLO, _NEW_SESSION_TICKET, _KEY_UPDATE = 0, 1, 4, 24

_WARNING, _FATAL = b"\x01", b"\x02"
_CLOSE_NOTIFY, _USER_CANCELED, _NO_RENEGOTIATION = 0, 90, 100

# A ticket and its extensions have 64 KiB each at the most.
_LARGEST_MESSAGE: Final = 132 * 1024

# One after another: as OpenSSL has it.
_MOST_WARNINGS: Final = 5
_MOST_EMPTY: Final = 32


class Failed(Exception):
    """The peer did what it must not. alert: to tell it, by number; words: to tell us."""

    def __init__(self, alert: int, words: str) -> None:
        super().__init__(words)
        self.alert = alert


class Established:
    """One side of it.

    reading, writing: the keys. tls13: which of the two versions it is. peer: its role, for errors.
    """

    __slots__ = (
        "_empty",
        "_handshake",
        "_incoming",
        "_must_answer",
        "_outgoing",
        "_peer",
        "_reading",
        "_refuses",
        "_said_all",
        "_tls13",
        "_warnings",
        "_writing",
        "ended",
        "failure",
    )

    def __init__(
        self,
        reading: Protection,
        writing: Protection,
        *,
        tls13: bool,
        peer: str,
    ) -> None:
        self.ended = False
        self.failure: TLSError | None = None
        # Received, and not decrypted yet.
        self._incoming: bytes | bytearray = b""
        self._outgoing: list[bytes] = []
        self._reading = reading
        self._writing = writing
        self._tls13 = tls13
        self._peer = peer
        self._said_all = False
        self._must_answer = False
        self._refuses = False
        self._warnings = 0
        self._empty = 0
        # A message that is not complete yet.
        self._handshake = bytearray()

    def receive(self, data: Buffer) -> None:
        """As of every engine."""
        if not self._incoming:
            self._incoming = bytes(data)
        elif isinstance(self._incoming, bytearray):
            self._incoming += data
        else:
            self._incoming = bytearray(b"".join((self._incoming, data)))

    def read(self) -> bytes:
        """As of every engine; what it fails with after some data is in `failure`."""
        pieces: list[bytes] = []
        try:
            self._read(pieces)
        except (Failed, TLSError) as error:
            failure = self._fail(error) if isinstance(error, Failed) else error
            self._incoming = b""
            if not pieces:
                raise failure from error.__cause__
            self.failure = failure
        else:
            self._answer()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, data: Buffer) -> None:
        """As of every engine."""
        outgoing = self._outgoing
        if len(data) <= LARGEST:
            if not data:
                return
            if self._writing.is_worn_out:
                self._update()
            outgoing.append(self._writing.seal(DATA, data))
            return
        view = memoryview(data).cast("B")
        for start in range(0, len(view), LARGEST):
            if self._writing.is_worn_out:
                self._update()
            outgoing.append(self._writing.seal(DATA, view[start : start + LARGEST]))

    def close_notify(self) -> None:
        """As of every engine."""
        if not self._said_all:
            self._said_all = True
            self._send(ALERT, _WARNING + bytes((_CLOSE_NOTIFY,)))

    def to_send(self) -> bytes:
        """As of every engine."""
        outgoing = self._outgoing
        if not outgoing:
            return b""
        data = outgoing[0] if len(outgoing) == 1 else b"".join(outgoing)
        outgoing.clear()
        return data

    # Input.

    def _read(self, pieces: list[bytes]) -> None:
        incoming = self._incoming
        available = len(incoming)
        at = 0
        with memoryview(incoming) as view:
            while not self.ended and available - at >= _HEADER:
                header = bytes(view[at : at + _HEADER])
                end = at + _HEADER + self._size(header)
                if end > available:
                    break
                kind, data = self._open(header, view[at + _HEADER : end])
                at = end
                if kind != DATA or self._handshake:
                    self._take(kind, data)
                elif data:
                    pieces.append(data)
                    self._empty = self._warnings = 0
                else:
                    self._count_empty()
            if self.ended or at == available:
                self._incoming = b""
            elif at:
                self._incoming = bytearray(view[at:])

    def _size(self, header: bytes) -> int:
        size = int.from_bytes(header[3:])
        if self._tls13 and header[0] != DATA:
            raise Failed(
                failures.UNEXPECTED_MESSAGE, "the peer sent a record that is not encrypted"
            )
        if not ALERT <= header[0] <= DATA and header[0] != 20:
            raise Failed(failures.UNEXPECTED_MESSAGE, "the peer sent what is no TLS record")
        if header[1:3] != b"\x03\x03":
            raise Failed(failures.PROTOCOL_VERSION, "the peer sent a record of another version")
        if size > LARGEST + self._reading.overhead:
            raise Failed(failures.RECORD_OVERFLOW, "the peer sent a record that is too long")
        return size

    def _open(self, header: bytes, sealed: Buffer) -> tuple[int, bytes]:
        try:
            return self._reading.open(header, sealed)
        except forged:
            raise Failed(failures.BAD_RECORD_MAC, failures.DAMAGED) from None
        except ValueError as error:
            alert = failures.UNEXPECTED_MESSAGE
            if "longer" in str(error):
                alert = failures.RECORD_OVERFLOW
            raise Failed(alert, f"the peer sent a record {error}") from None

    def _count_empty(self) -> None:
        self._empty += 1
        if self._empty > _MOST_EMPTY:
            raise Failed(
                failures.UNEXPECTED_MESSAGE, "the peer sends one empty record after another"
            )

    def _take(self, kind: int, data: bytes) -> None:
        """Take in what is no data."""
        if not data:
            raise Failed(failures.UNEXPECTED_MESSAGE, "the peer sent an empty record of no data")
        if kind == ALERT:
            self._take_alert(data)
        elif kind == HANDSHAKE:
            self._handshake += data
            while self._take_message():
                pass
        elif self._handshake:
            raise Failed(failures.UNEXPECTED_MESSAGE, "the peer interrupted a handshake message")
        else:
            raise Failed(failures.UNEXPECTED_MESSAGE, f"the peer sent a record of type {kind}")

    def _take_alert(self, data: bytes) -> None:
        if len(data) != 2:
            raise Failed(failures.DECODE_ERROR, "the peer sent an alert that is none")
        level, number = data
        if number == _CLOSE_NOTIFY:
            self.ended = True
        elif number == _USER_CANCELED or (level == 1 and not self._tls13):
            # In TLS 1.3 all others are fatal, whatever they say.
            self._count_warning()
        else:
            raise failures.of_alert(number, self._peer)

    def _count_warning(self) -> None:
        self._warnings += 1
        if self._warnings >= _MOST_WARNINGS:
            raise Failed(failures.UNEXPECTED_MESSAGE, "the peer sends one warning after another")

    def _take_message(self) -> bool:
        """Take in a handshake message; whether there was a whole one."""
        handshake = self._handshake
        if len(handshake) < 4:
            return False
        size = 4 + int.from_bytes(handshake[1:4])
        if size > _LARGEST_MESSAGE:
            raise Failed(failures.ILLEGAL_PARAMETER, failures.TOO_LONG)
        if len(handshake) < size:
            return False
        kind, body = handshake[0], bytes(handshake[4:size])
        del handshake[:size]
        if self._tls13 and kind == _KEY_UPDATE:
            self._take_key_update(body)
        elif self._tls13 and kind == _NEW_SESSION_TICKET and self._peer == "server":
            pass
        elif not self._tls13 and self._begins_anew(kind):
            self._count_warning()
            self._refuses = True
        else:
            raise Failed(failures.UNEXPECTED_MESSAGE, failures.OUT_OF_ORDER)
        return True

    def _begins_anew(self, kind: int) -> bool:
        return kind == (_CLIENT_HELLO if self._peer == "client" else _HELLO_REQUEST)

    def _take_key_update(self, body: bytes) -> None:
        if len(body) != 1:
            raise Failed(failures.DECODE_ERROR, "the peer sent an update of keys that is none")
        if body[0] > 1:
            raise Failed(failures.ILLEGAL_PARAMETER, "the peer sent an update of keys that is none")
        if self._handshake:
            raise Failed(failures.UNEXPECTED_MESSAGE, failures.OUT_OF_ORDER)
        assert self._reading.renewed is not None
        self._reading = self._reading.renewed()
        self._must_answer = self._must_answer or body[0] == 1

    # Output.

    def _answer(self) -> None:
        """Answer what was asked for in this reading: once, however often it was."""
        if self._must_answer:
            self._must_answer = False
            if not self._said_all:
                self._update()
        if self._refuses:
            self._refuses = False
            self._send(ALERT, _WARNING + bytes((_NO_RENEGOTIATION,)))

    def _update(self) -> None:
        """Go on with another key."""
        self._send(HANDSHAKE, bytes((_KEY_UPDATE, 0, 0, 1, 0)))
        assert self._writing.renewed is not None
        self._writing = self._writing.renewed()

    def _send(self, kind: int, data: bytes) -> None:
        self._outgoing.append(self._writing.seal(kind, data))

    def _fail(self, failed: Failed) -> TLSError:
        if not self._said_all:
            self._said_all = True
            self._send(ALERT, _FATAL + bytes((failed.alert,)))
        return TLSError(str(failed))
