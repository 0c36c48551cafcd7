"""The records of a handshake, between bytes and tlslite-ng's record layer."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Final

from ...errors import TLSError
from . import bases
from . import tlslite_copy as tlslite

__all__ = ["Fragments", "HandshakeRecords"]

_HEADER: Final = 5
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_MESSAGE_HEADER: Final = 4
_TYPES = frozenset((20, 21, 22, 23))
_METHODS = (b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"OPTI", b"PATC", b"TRAC")

LARGEST_HANDSHAKE: Final = 256 * 1024
"""Bytes that a peer may send in a handshake: tlslite-ng itself would take 16 MiB a message."""

LARGEST_MESSAGE: Final = 128 * 1024
"""Bytes of one message: about what OpenSSL takes."""

LARGEST_HELLO: Final = 32 * 1024
"""Bytes of a client's first message, which costs time whoever it is from; real ones have 2 KiB."""

MOST_RECORDS: Final = 8 * 1024
"""How many records they may be in, which bounds the time that they take."""

_NO_TLS = "the peer does not speak TLS here: what it sent is no TLS record"
_HTTP = "the peer sent a plain HTTP request to a port for TLS"
_TOO_MUCH = "the peer sent a handshake message that is too long"


class TooMuch(TLSError):
    """The peer goes on and on."""


class NoTLS(TLSError):
    """What the peer sends is something else."""


class Fragments(bases.Defragmenter):
    """Puts handshake messages together, and refuses one that is too long by what it claims."""

    def add_data(self, msg_type: int, data: bytearray) -> None:
        super().add_data(msg_type, data)
        message = self.buffers[msg_type]
        if msg_type != _HANDSHAKE or len(message) < _MESSAGE_HEADER:
            return
        limit = LARGEST_HELLO if message[0] == _CLIENT_HELLO else LARGEST_MESSAGE
        if int.from_bytes(message[1:_MESSAGE_HEADER]) > limit:
            raise TooMuch(_TOO_MUCH)


class HandshakeRecords:
    """Takes the place of tlslite-ng's RecordSocket, which would take in SSL 2, and has no bounds.

    incoming: what was received; the records that are read are taken out of it, and nothing beyond
    them. `outgoing`: what is to be sent.
    """

    def __init__(self, incoming: bytearray) -> None:
        self.incoming = incoming
        self.outgoing = bytearray()
        # Set by tlslite-ng's record layer.
        self.version = (0, 0)
        self.tls13record = False
        self.recv_record_limit = 2**14
        self._taken = 0
        self._records = 0

    def recv(self) -> Generator[int | tuple[Any, bytearray]]:
        """The next record: its header, and what is in it; zeros as long as it is not there."""
        incoming = self.incoming
        while len(incoming) < _HEADER:
            self._check_beginning()
            yield 0
        self._check_beginning()
        header = tlslite.messages.RecordHeader3().create(
            (incoming[1], incoming[2]), incoming[0], int.from_bytes(incoming[3:_HEADER])
        )
        limit = self.recv_record_limit + (256 if self.tls13record else 2048)
        if header.length > limit:
            raise tlslite.errors.TLSRecordOverflow
        size = _HEADER + header.length
        self._taken += size
        self._records += 1
        if self._taken > LARGEST_HANDSHAKE or self._records > MOST_RECORDS:
            raise TooMuch(_TOO_MUCH)
        while len(incoming) < size:
            yield 0
        payload = incoming[_HEADER:size]
        del incoming[:size]
        yield header, payload

    def send(self, message: Any, padding: int = 0) -> Iterator[int]:
        """Put a record to what is to be sent. Nothing is to wait for."""
        del padding
        data = message.write()
        self.outgoing += bytes((message.contentType, *self.version)) + len(data).to_bytes(2)
        self.outgoing += data
        return iter(())

    def _check_beginning(self) -> None:
        """See whether it is the beginning of a record, as soon as there is one byte of it."""
        beginning = bytes(self.incoming[:_HEADER])
        if not beginning or (beginning[0] in _TYPES and beginning[1:2] in (b"", b"\x03")):
            return
        if (
            not self._records
            and len(beginning) < 4
            and any(method.startswith(beginning) for method in _METHODS)
        ):
            return
        raise NoTLS(_HTTP if not self._records and beginning.startswith(_METHODS) else _NO_TLS)
