"""Whether a peer is trusted, by the certificates that it shows (RFC 5280, RFC 9525).

Chains are built and checked by `cryptography.x509.verification`, with its policy for the web
relaxed where private authorities are different. What it does not look at is checked here: the size
of keys, the dates of the authority that is trusted, fingerprints, and names, which go by the same
code as everywhere. Why somebody is refused is found out afterwards, for the message and the alert.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from ..certificate import Certificate, DerError, Peer
from ..refusal import no_certificate, refused, wrong_fingerprint, wrong_name
from ..trust import Trust
from .connection import Refusal
from .diagnosis import UNREADABLE, Finding, unfit, weak_key, why_refused
from .failures import BAD_CERTIFICATE, CERTIFICATE_REQUIRED

__all__ = ["Anchors", "ChainJudge"]

# More than any chain of use has. What is tried grows with their number.
_MOST_AUTHORITIES: Final = 16

Issuers = dict[bytes, list[x509.Certificate]]


class Anchors:
    """Whom a chain must lead to.

    certificates: of authorities, or of peers themselves.
    """

    def __init__(self, certificates: Iterable[x509.Certificate]) -> None:
        found = {one.public_bytes(Encoding.DER): one for one in certificates}
        self.by_subject: Issuers = {}
        for one in found.values():
            self.by_subject.setdefault(one.subject.public_bytes(), []).append(one)
        self._own = found
        self._read: dict[bytes, Certificate] = {}
        self._policies: dict[Peer, PolicyBuilder] = {}
        self._store = Store(list(found.values())) if found else None

    def __contains__(self, der: bytes) -> bool:
        return der in self._own

    def path(
        self, own: x509.Certificate, others: list[x509.Certificate], peer: Peer, now: datetime
    ) -> list[x509.Certificate]:
        """From a certificate to an anchor. Raises VerificationError if there is no way."""
        if self._store is None:
            raise VerificationError("nobody is trusted")
        policy = self._policies.get(peer)
        if policy is None:
            policy = self._policies[peer] = (
                PolicyBuilder()
                .store(self._store)
                .max_chain_depth(_MOST_AUTHORITIES)
                .extension_policies(ca_policy=_authorities(peer), ee_policy=_holders(peer))
            )
        return list(policy.time(now).build_client_verifier().verify(own, others).chain)

    def read(self, der: bytes) -> Certificate:
        """What a certificate on a path says; those that are trusted are read once."""
        known = self._read.get(der)
        if known is None:
            known = Certificate.read(der)
            if der in self._own:
                self._read[der] = known
        return known


class ChainJudge:
    """Decides on peers of one role.

    trust: whom to trust. anchors: loaded from it; None for none, with fingerprints alone. peer: the
    role of whom is judged. required: whether a client must show a certificate. asked: the name, or
    the IP address, that it must be for; None where that is not to be checked; shown_as: what it is
    called in errors.
    """

    __slots__ = ("_anchors", "_asked", "_peer", "_required", "_shown_as", "_trust")

    def __init__(
        self,
        trust: Trust,
        anchors: Anchors | None,
        *,
        peer: Peer,
        required: bool = True,
        asked: str | None = None,
        shown_as: str | None = None,
    ) -> None:
        self._trust = trust
        self._anchors = anchors
        self._peer: Peer = peer
        self._required = required
        self._asked = asked
        self._shown_as = shown_as

    def __call__(self, shown: Sequence[bytes]) -> Refusal | None:
        """Decide. shown: what the peer has shown, in DER, its own first."""
        trust = self._trust
        if not trust.verifies:
            return None
        if not shown:
            return Refusal(no_certificate(), CERTIFICATE_REQUIRED) if self._required else None
        if not trust.accepts(hashlib.sha256(shown[0]).digest()):
            return Refusal(wrong_fingerprint(shown, peer=self._peer), BAD_CERTIFICATE)
        try:
            read = [Certificate.read(der) for der in shown[: _MOST_AUTHORITIES + 1]]
            finding = self._look_at(read, datetime.now(UTC))
        except (DerError, ValueError):
            read, finding = [], UNREADABLE
        if finding is not None:
            error = refused(
                finding.code, finding.words, shown, asked=self._shown_as, peer=self._peer
            )
            return Refusal(error, finding.alert)
        if self._asked is not None and not read[0].matches(self._asked):
            return Refusal(wrong_name(shown, asked=self._asked), BAD_CERTIFICATE)
        return None

    def _look_at(self, read: Sequence[Certificate], now: datetime) -> Finding | None:
        """What is wrong with a chain, but for names. Raises ValueError for what cannot be read."""
        loaded = [x509.load_der_x509_certificate(one.der) for one in read]
        own = read[0]
        anchors = self._anchors
        if anchors is None or own.der in anchors:
            # Whoever is named as trusted is, whoever signed it.
            return unfit(own, self._peer, now)
        try:
            path = anchors.path(loaded[0], _distinct(loaded[1:]), self._peer, now)
        except (VerificationError, ValueError) as error:
            return why_refused(
                list(zip(read, loaded, strict=True)), anchors.by_subject, self._peer, now, error
            )
        authorities = [anchors.read(one.public_bytes(Encoding.DER)) for one in path[1:]]
        return unfit(own, self._peer, now) or weak_key(authorities, now)


def _distinct(certificates: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """Without those that lead nowhere else, of which there could be so many ways through them."""
    found: dict[tuple[bytes, bytes, bytes], x509.Certificate] = {}
    for one in certificates:
        key = _spki(one)
        found.setdefault((one.subject.public_bytes(), one.issuer.public_bytes(), key), one)
    return list(found.values())


def _spki(certificate: x509.Certificate) -> bytes:
    try:
        key = certificate.public_key()
    except Exception:
        # Of a kind that is not known: it signs nothing that is believed.
        return certificate.signature
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# The policy ---------------------------------------------------------------------------------------


def _use(peer: Peer) -> x509.ObjectIdentifier:
    known = ExtendedKeyUsageOID
    return known.SERVER_AUTH if peer == "server" else known.CLIENT_AUTH


def _check_use(peer: Peer, usages: x509.ExtensionType | None) -> None:
    if usages is None:
        return
    assert isinstance(usages, x509.ExtendedKeyUsage)
    if _use(peer) not in usages and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usages:
        raise ValueError("the extended key usage is another")


def _authorities(peer: Peer) -> ExtensionPolicy:
    """Those who sign: the key usage may be left out, as `openssl req -x509` does."""

    def use(_: Policy, __: x509.Certificate, usages: x509.ExtendedKeyUsage | None) -> None:
        _check_use(peer, usages)

    def signs(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
        if usage is not None and not usage.key_cert_sign:
            raise ValueError("the key usage does not allow signing certificates")

    either = Criticality.AGNOSTIC
    return (
        ExtensionPolicy.webpki_defaults_ca()
        .may_be_present(x509.KeyUsage, either, signs)
        .may_be_present(x509.AuthorityKeyIdentifier, either, None)
        .may_be_present(x509.SubjectKeyIdentifier, either, None)
        .may_be_present(x509.ExtendedKeyUsage, either, use)
    )


def _holders(peer: Peer) -> ExtensionPolicy:
    """Those who are certified: names are checked by us, and clients need not have any."""

    def use(_: Policy, __: x509.Certificate, usages: x509.ExtendedKeyUsage | None) -> None:
        _check_use(peer, usages)

    either = Criticality.AGNOSTIC
    return (
        ExtensionPolicy.webpki_defaults_ee()
        .may_be_present(x509.BasicConstraints, either, None)
        .may_be_present(x509.KeyUsage, either, None)
        .may_be_present(x509.AuthorityKeyIdentifier, either, None)
        .may_be_present(x509.SubjectAlternativeName, either, None)
        .may_be_present(x509.ExtendedKeyUsage, either, use)
    )
