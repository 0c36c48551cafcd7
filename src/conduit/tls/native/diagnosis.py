"""Why a chain of certificates is refused, by OpenSSL's numbers.

`cryptography` says that there is no way from a certificate to an anchor, in words that tell of each
way that it tried. What a user wants to know is what is wrong with the one that was meant. So the
way is gone once more here, as OpenSSL goes it; nothing is let in by what is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from ..certificate import Certificate, Peer

__all__ = ["UNREADABLE", "Finding", "unfit", "weak_key", "why_refused"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong: OpenSSL's number for it (X509_V_ERR_...), words, and the alert by number."""

    code: int
    words: str
    alert: int


UNREADABLE: Final = Finding(0, "it cannot be read", 42)
_UNKNOWN_ISSUER: Final = Finding(20, "unable to get local issuer certificate", 48)
_SELF_SIGNED: Final = Finding(18, "self-signed certificate", 48)
_UNTRUSTED_ROOT: Final = Finding(19, "self-signed certificate in certificate chain", 48)
_FORGED: Final = Finding(7, "certificate signature failure", 51)
_NOT_YET: Final = Finding(9, "certificate is not yet valid", 42)
_EXPIRED: Final = Finding(10, "certificate has expired", 45)
_PATH_LENGTH: Final = Finding(25, "path length constraint exceeded", 48)
_WRONG_USE: Final = Finding(26, "unsuitable certificate purpose", 43)
_NOT_PERMITTED: Final = Finding(47, "permitted subtree violation", 42)
_EXCLUDED: Final = Finding(48, "excluded subtree violation", 42)
_WEAK: Final = Finding(66, "EE certificate key too weak", 42)
_WEAK_AUTHORITY: Final = Finding(67, "CA certificate key too weak", 42)
_WEAK_SIGNATURE: Final = Finding(68, "CA signature digest algorithm too weak", 42)
_NO_AUTHORITY: Final = Finding(79, "invalid CA certificate", 48)

# What OpenSSL takes at security level 2, which is Python's.
_SMALLEST: Final = {"RSA": 2048, "DSA": 2048, "EC": 224}
_WEAK_HASHES: Final = ("MD2", "MD5", "SHA-1")

_LONGEST: Final = 20

Pair: TypeAlias = tuple[Certificate, x509.Certificate]
Issuers: TypeAlias = Mapping[bytes, Sequence[x509.Certificate]]


def unfit(own: Certificate, peer: Peer, now: datetime) -> Finding | None:
    """What is wrong with a peer's own certificate, whoever signed it."""
    if not own.is_for(peer):
        return _WRONG_USE
    if _is_weak(own):
        return _WEAK
    return _dates(own, now)


def weak_key(authorities: Iterable[Certificate], now: datetime) -> Finding | None:
    """What is wrong with the authorities of a chain that leads to an anchor, the last of them."""
    for one in authorities:
        finding = _WEAK_AUTHORITY if _is_weak(one) else _dates(one, now)
        if finding is not None:
            return finding
    return None


def why_refused(
    shown: Sequence[Pair], anchors: Issuers, peer: Peer, now: datetime, error: Exception
) -> Finding:
    """What is wrong with a chain that leads to no anchor.

    shown: what the peer sent, its own first. error: by which it was refused. now: the time.
    """
    path, anchored = _way(shown, anchors)
    own = path[0][0]
    if not anchored:
        if not path[-1][0].is_self_issued:
            return _UNKNOWN_ISSUER
        return _SELF_SIGNED if len(path) == 1 else _UNTRUSTED_ROOT
    return (
        _extensions(path, peer)
        or _strength(path)
        or _signatures_and_dates(path, now)
        or _constraints(path)
        or unfit(own, peer, now)
        or Finding(1, f"its chain does not hold ({error})", 46)
    )


def _way(shown: Sequence[Pair], anchors: Issuers) -> tuple[list[Pair], bool]:
    """From the peer's own certificate upwards, and whether it leads to an anchor."""
    path = [shown[0]]
    while len(path) < _LONGEST:
        last = path[-1][1]
        found = _issuer(last, anchors.get(last.issuer.public_bytes(), ()))
        if found is not None:
            return [*path, (_read(found), found)], True
        if path[-1][0].is_self_issued:
            break
        sent = [pair for pair in shown if pair not in path]
        above = _issuer(last, [one for _, one in sent])
        if above is None:
            break
        path.append(next(pair for pair in sent if pair[1] is above))
    return path, False


def _read(certificate: x509.Certificate) -> Certificate:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Certificate.read(certificate.public_bytes(Encoding.DER))


def _issuer(
    certificate: x509.Certificate, candidates: Iterable[x509.Certificate]
) -> x509.Certificate | None:
    """Who signed a certificate, by name and, where both have it, by the key's identifier."""
    wanted = _key_identifier(certificate, x509.AuthorityKeyIdentifier)
    for one in candidates:
        if one.subject != certificate.issuer:
            continue
        has = _key_identifier(one, x509.SubjectKeyIdentifier)
        if wanted is None or has is None or wanted == has:
            return one
    return None


def _key_identifier(
    certificate: x509.Certificate,
    kind: type[x509.AuthorityKeyIdentifier] | type[x509.SubjectKeyIdentifier],
) -> bytes | None:
    try:
        value = certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    return value.key_identifier


# What may be wrong, in the order in which OpenSSL looks -------------------------------------------


def _extensions(path: Sequence[Pair], peer: Peer) -> Finding | None:
    needed = "serverAuth" if peer == "server" else "clientAuth"
    below = 0
    for place, (one, _) in enumerate(path):
        if place and not (
            one.is_authority and (not one.key_usages or "keyCertSign" in one.key_usages)
        ):
            return _NO_AUTHORITY
        usages = one.usages
        if usages and needed not in usages and "anyExtendedKeyUsage" not in usages:
            return _WRONG_USE
        if not place and not one.is_for(peer):
            return _WRONG_USE
        if place and one.path_length is not None and below > one.path_length:
            return _PATH_LENGTH
        if place and not one.is_self_issued:
            below += 1
    return None


def _strength(path: Sequence[Pair]) -> Finding | None:
    for place, (one, _) in enumerate(path):
        if _is_weak(one):
            return _WEAK_AUTHORITY if place else _WEAK
    for one, _ in path[:-1]:
        if one.signature.startswith(_WEAK_HASHES):
            return _WEAK_SIGNATURE
    return None


def _signatures_and_dates(path: Sequence[Pair], now: datetime) -> Finding | None:
    """From the anchor downwards."""
    for place in range(len(path) - 1, -1, -1):
        if place < len(path) - 1:
            try:
                path[place][1].verify_directly_issued_by(path[place + 1][1])
            except (InvalidSignature, ValueError, TypeError):
                return _FORGED
        finding = _dates(path[place][0], now)
        if finding is not None:
            return finding
    return None


def _constraints(path: Sequence[Pair]) -> Finding | None:
    """Which kind of constraint there is; that one is broken is what is left."""
    authorities = [one for one, _ in path[1:]]
    if any(one.permitted for one in authorities):
        return _NOT_PERMITTED
    if any(one.excluded for one in authorities):
        return _EXCLUDED
    return None


def _dates(one: Certificate, now: datetime) -> Finding | None:
    if now < one.not_before:
        return _NOT_YET
    return _EXPIRED if now > one.not_after else None


def _is_weak(one: Certificate) -> bool:
    return one.key.bits < _SMALLEST.get(one.key.kind, 0)
