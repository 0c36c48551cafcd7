"""The records of a connection whose handshake is done (RFC 8446, 5; RFC 5246, 6).

One `Protection` for each way: a cipher with its key, and the number of the next record. tlslite-ng
has given the keys; it is not asked any more, since what it does with a record takes five times as
long as the encryption.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from .primitives import HKDF_expand_label as expand

__all__ = [
    "ALERT",
    "CHANGE_CIPHER_SPEC",
    "DATA",
    "HANDSHAKE",
    "LARGEST",
    "Protection",
    "forged",
    "updates",
]

Buffer: TypeAlias = bytes | bytearray | memoryview
Cipher: TypeAlias = AESGCM | ChaCha20Poly1305

CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
DATA: Final = 23

LARGEST: Final = 2**14
"""Bytes in the clear of the largest record."""

_TAG: Final = 16

MOST_RECORDS: Final = 2**23
"""After so many TLS 1.3 changes its key: half of what AES-GCM is safe for (RFC 8446, 5.5)."""

forged = InvalidTag
"""What `open` raises for a record that was not sealed with the same key."""


class Protection:
    """One way of a connection.

    cipher: with its key. nonce: what the numbers of records are combined with: of 12 bytes, or of
    4 for AES-GCM in TLS 1.2, where 8 more are in each record. number: of the next record. renewed:
    of TLS 1.3, makes the one that follows an update of keys (RFC 8446, 7.2).
    """

    __slots__ = ("_cipher", "_is_explicit", "_nonce", "_tls13", "number", "renewed")

    def __init__(
        self,
        cipher: Cipher,
        nonce: bytes,
        *,
        number: int = 0,
        renewed: Callable[[], Protection] | None = None,
    ) -> None:
        self._cipher = cipher
        self._is_explicit = len(nonce) == 4
        self._nonce = int.from_bytes(nonce) << (64 if self._is_explicit else 0)
        self._tls13 = renewed is not None
        self.number = number
        self.renewed = renewed

    @property
    def is_worn_out(self) -> bool:
        """Whether it is time for a new key."""
        return self._tls13 and self.number >= MOST_RECORDS

    @property
    def overhead(self) -> int:
        """How much longer a sealed record may be than what is in it, without its header."""
        # RFC 8446 allows padding in its place; RFC 5246, compression.
        return 256 if self._tls13 else 2048

    def seal(self, kind: int, data: Buffer) -> bytes:
        """Make a record. data: of no more than `LARGEST` bytes."""
        number = self.number
        self.number = number + 1
        nonce = (self._nonce ^ number).to_bytes(12)
        if self._tls13:
            header = b"\x17\x03\x03" + (len(data) + 1 + _TAG).to_bytes(2)
            inner = b"".join((data, bytes((kind,))))
            return header + self._cipher.encrypt(nonce, inner, header)
        start = bytes((kind, 3, 3))
        about = number.to_bytes(8) + start + len(data).to_bytes(2)
        sealed = self._cipher.encrypt(nonce, data, about)
        if self._is_explicit:
            sealed = nonce[4:] + sealed
        return start + len(sealed).to_bytes(2) + sealed

    def open(self, header: bytes, sealed: Buffer) -> tuple[int, bytes]:
        """Take a record apart: its type, and what is in it.

        Raises `forged`, or ValueError for what is too long, too short, or of no type.
        """
        number = self.number
        self.number = number + 1
        if self._tls13:
            inner = self._cipher.decrypt((self._nonce ^ number).to_bytes(12), sealed, header)
            if len(inner) > LARGEST + 1:
                raise ValueError("longer than a record may be")
            if inner[-1:] == b"\0":
                inner = inner.rstrip(b"\0")
            if not inner:
                raise ValueError("of no type")
            return inner[-1], inner[:-1]
        if self._is_explicit:
            nonce = self._nonce.to_bytes(12)[:4] + bytes(sealed[:8])
            sealed = sealed[8:]
        else:
            nonce = (self._nonce ^ number).to_bytes(12)
        size = len(sealed) - _TAG
        if size < 0:
            raise forged
        about = number.to_bytes(8) + header[:3] + size.to_bytes(2)
        data = self._cipher.decrypt(nonce, sealed, about)
        if len(data) > LARGEST:
            raise ValueError("longer than a record may be")
        return header[0], data


Maker: TypeAlias = type[AESGCM] | type[ChaCha20Poly1305]


def updates(secret: bytes, algorithm: str, make: Maker, size: int) -> Callable[[], Protection]:
    """What makes the next `Protection` of one way of TLS 1.3, from its traffic secret.

    algorithm: the hash of the suite. make: its cipher, and size: the bytes of its key.
    """

    def renewed() -> Protection:
        following = bytes(expand(secret, b"traffic upd", b"", len(secret), algorithm))
        return Protection(
            make(bytes(expand(following, b"key", b"", size, algorithm))),
            bytes(expand(following, b"iv", b"", 12, algorithm)),
            renewed=updates(following, algorithm, make, size),
        )

    return renewed
