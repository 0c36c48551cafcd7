"""Whom to trust: what a `tls_authenticator` is made of.

    ctx = await conduit.init(tls_authenticator=conduit.trust.ca("/etc/ours.pem"))

The values are plain data that any stack can follow, for servers' certificates and for clients'.
Without one, servers are checked against the operating system's anchors, and clients are not asked.
"""

from __future__ import annotations

import os as _os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import TLSError

__all__ = ["Source", "Trust", "ca", "fingerprint", "insecure_no_verification", "os"]

Source: TypeAlias = str | bytes
"""Where anchors are: the path of a PEM file, or certificates in PEM or DER."""

Anchors: TypeAlias = Literal["os"] | tuple[Source, ...] | None


@dataclass(frozen=True, slots=True)
class Trust:
    """Who is trusted; made by the functions of this module, and combined by `&`.

    anchors: "os", or the sources of the authorities that a chain must lead to; None checks no
    chain. pins: each is a set of SHA-256 digests, and the peer's own certificate must be in every
    one of them. verifies: False only for `insecure_no_verification`.

    `a & b` trusts a peer that both of them trust. Raises TLSError for two with different anchors,
    which no stack can check in one go.
    """

    anchors: Anchors
    pins: tuple[frozenset[bytes], ...] = ()
    verifies: bool = True

    def __and__(self, other: Trust) -> Trust:
        if not self.verifies or not other.verifies:
            return other if not self.verifies else self
        if self.anchors is not None and other.anchors is not None and self.anchors != other.anchors:
            raise TLSError(f"{self!r} and {other!r} cannot be combined: each has its own anchors")
        anchors = other.anchors if self.anchors is None else self.anchors
        return Trust(anchors, (*self.pins, *(pin for pin in other.pins if pin not in self.pins)))

    def __repr__(self) -> str:
        if not self.verifies:
            return "trust.insecure_no_verification()"
        parts: list[str] = []
        if self.anchors == "os":
            parts.append("trust.os()")
        elif self.anchors is not None:
            shown = [
                repr(one) if isinstance(one, str) else f"<{len(one)} bytes>" for one in self.anchors
            ]
            listed = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
            parts.append(f"trust.ca({listed})")
        parts += [
            f"trust.fingerprint({', '.join(sorted(repr(p.hex()) for p in pin))})"
            for pin in self.pins
        ]
        return " & ".join(parts)

    def accepts(self, digest: bytes) -> bool:
        """Whether no pin speaks against a certificate.

        digest: the SHA-256 of its DER.
        """
        return all(digest in pin for pin in self.pins)


def os() -> Trust:
    """Trust the authorities that the operating system trusts, for servers' certificates.

    They never authenticate clients: anybody can have a certificate from one of them.
    """
    return Trust("os")


def ca(files_or_bytes: Source | _os.PathLike[str] | Iterable[Source | _os.PathLike[str]]) -> Trust:
    """Trust what is signed by these authorities, and no others.

    files_or_bytes: the path of a PEM file, or certificates as bytes in PEM or DER, or several of
    either. Files are read when they are first needed, in a thread; one that cannot be read or holds
    no certificate is a TLSError then.

    Raises TLSError for none at all, TypeError for anything else.
    """
    given = (
        [files_or_bytes]
        if isinstance(files_or_bytes, str | bytes | _os.PathLike)
        else list(files_or_bytes)
    )
    sources = tuple(one if isinstance(one, bytes) else _os.fspath(one) for one in given)
    if not sources or not all(sources):
        raise TLSError("trust.ca: there is no authority in nothing; give a file or certificates")
    return Trust(sources)


def fingerprint(*sha256: str | bytes) -> Trust:
    """Trust the peer whose own certificate has one of these fingerprints, whoever signed it.

    sha256: the SHA-256 of the certificate in DER, as 32 bytes, or in hexadecimal with colons or
    without. The certificate's dates, its purpose and, of a server, its names are checked all the
    same. Combined with `ca` or `os` by `&`, the chain is checked as well.

    Raises TLSError for what is no SHA-256, or for none at all.
    """
    if not sha256:
        raise TLSError("trust.fingerprint: give at least one SHA-256 of a certificate")
    return Trust(None, (frozenset(map(_digest, sha256)),))


def insecure_no_verification() -> Trust:
    """Trust anybody. The connection is encrypted, but whoever is on the way can read and change it.

    For connecting only: a server that is told to ask for clients' certificates refuses it.
    """
    return Trust(None, verifies=False)


def _digest(given: str | bytes) -> bytes:
    digest = given
    if isinstance(digest, str):
        text = digest.replace(":", "").strip()
        try:
            digest = bytes.fromhex(text) if text.isascii() and not text.count(" ") else b""
        except ValueError:
            digest = b""
    if len(digest) != 32:
        raise TLSError(
            f"trust.fingerprint: {given!r} is no SHA-256: 64 hexadecimal digits, or 32 bytes"
        )
    return digest
