"""All that was said in a handshake, for hashing."""

from __future__ import annotations

import hashlib

__all__ = ["Transcript"]


class Transcript:
    """Takes the place of tlslite-ng's HandshakeHashes.

    It keeps the messages, of which a handshake has a few thousand bytes, and hashes them when a
    digest is asked for: the hash is known only when the suite is.
    """

    __slots__ = ("_said",)

    def __init__(self, said: bytes | bytearray = b"") -> None:
        self._said = bytearray(said)

    def update(self, data: bytes | bytearray) -> None:
        """Add a message."""
        self._said += data

    def digest(self, digest: str | None = None) -> bytearray:
        """The hash of all of it, by name ("sha256"); "intrinsic" for the messages themselves."""
        if digest == "intrinsic":
            return self._said
        if digest not in ("sha256", "sha384", "sha512"):
            raise ValueError(f"no hash of TLS 1.2 or 1.3: {digest}")
        return bytearray(hashlib.new(digest, self._said).digest())

    def copy(self) -> Transcript:
        """One that goes its own way from here on."""
        return Transcript(self._said)
