"""Why a peer's certificate is refused, in words of use: which check failed, and what to do.

OpenSSL says a number, and Python a few words. The rest is in the certificates that the peer sent;
they are read here for the message alone, and nothing is decided by it. Every message is one line,
bounded, and shows no control character, whatever the certificates hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from ..errors import CertificateError
from .certificate import Certificate, DerError, Peer
from .x509_names import printable

__all__ = ["no_certificate", "refused", "wrong_fingerprint", "wrong_name"]

_HOSTNAME_MISMATCH = 62
_IP_MISMATCH = 64

# What a message may show: so many names, each of so many characters.
_MOST_NAMES = 5
_LONGEST_NAME = 80

# How many bytes of a chain are read for it. Real chains have a few thousand; whoever is not trusted
# must not keep the loop busy with 100 KiB, as OpenSSL would take in.
_MOST_BYTES = 32 * 1024

# Keys that OpenSSL takes at security level 2, which is Python's.
_SMALLEST = {"RSA": 2048, "DSA": 2048, "EC": 224}
_WEAK_SIGNATURES = ("MD2", "MD5", "SHA-1")


def refused(
    code: int,
    message: str,
    chain: Sequence[bytes],
    *,
    asked: str | None,
    peer: Peer,
    now: datetime | None = None,
) -> CertificateError:
    """The error for a certificate that OpenSSL refused.

    code, message: the `verify_code` and `verify_message` of ssl.SSLCertVerificationError, which are
    those of OpenSSL's X509_verify_cert_error_string. chain: what the peer sent, each in DER, its
    own first; it may be empty. asked: the DNS name or IP address that the peer was asked to be, or
    None. peer: which side the peer is. now: by default the time of the clock.

    Returns the error; its `chain` is what the peer sent.
    """
    case = _Case(code, message, _read(chain), asked, peer, now or datetime.now(UTC))
    explain = _EXPLAINED.get(code)
    text = explain(case) if explain is not None and case.chain else None
    return CertificateError(text or _in_other_words(case), chain=chain)


def wrong_name(chain: Sequence[bytes], *, asked: str) -> CertificateError:
    """The error for a server whose certificate is for another name, or for another address.

    chain: what it sent, as for `refused`. asked: the DNS name or IP address.
    """
    code = _IP_MISMATCH if _is_ip(asked) else _HOSTNAME_MISMATCH
    return refused(code, "certificate is for another name", chain, asked=asked, peer="server")


def wrong_fingerprint(chain: Sequence[bytes], *, peer: Peer) -> CertificateError:
    """The error for a peer whose certificate is none of those that are pinned.

    chain: what it sent, as for `refused`. peer: which side it is. The message has the fingerprint,
    which anybody may know, so that it can be compared with what it should be.
    """
    case = _Case(0, "", _read(chain), None, peer, datetime.now(UTC))
    if not case.chain:
        return CertificateError(f"the {peer} showed no certificate that can be read", chain=chain)
    sha256 = case.own.sha256
    return CertificateError(
        f"{case.who} is not among those whose fingerprints are accepted. Its SHA-256 is {sha256}: "
        f"if it was replaced on purpose, trust.fingerprint({sha256!r}) accepts it",
        chain=chain,
    )


def no_certificate() -> CertificateError:
    """The error for a client that showed no certificate, where one is required."""
    return CertificateError(
        "the client showed no certificate, and this server requires one (client_auth='required'): "
        "the client has to be given an own key"
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """What is known of a refusal; `chain` has what could be read."""

    code: int
    message: str
    chain: tuple[Certificate, ...]
    asked: str | None
    peer: Peer
    now: datetime

    @property
    def own(self) -> Certificate:
        """The peer's own certificate."""
        return self.chain[0]

    @property
    def authorities(self) -> tuple[Certificate, ...]:
        """Those that the peer sent besides its own."""
        return self.chain[1:]

    @property
    def who(self) -> str:
        """The peer's certificate, as the subject of a sentence."""
        if self.asked is not None:
            return f"the certificate of {_quoted(self.asked)}"
        if not self.chain:
            return f"the {self.peer}'s certificate"
        own = self.own
        label = own.subject or next(iter((*own.names, *own.uris, *own.emails)), "")
        return f"the {self.peer}'s certificate ({_quoted(label)})"

    @property
    def path(self) -> list[Certificate]:
        """From the peer's own certificate to its authorities, as far as they were sent."""
        path = [self.own]
        for one in self.authorities:
            if one.subject == path[-1].issuer and not path[-1].is_self_issued:
                path.append(one)
        return path

    @property
    def above(self) -> str:
        """The authority that the path leads to, quoted."""
        return _quoted(self.path[-1].issuer)

    def which(self, certificate: Certificate) -> str:
        """A certificate of the chain, as the subject of a sentence."""
        if certificate is self.own:
            return self.who
        authority = _quoted(certificate.subject)
        return f"the authority {authority} in the chain of {self.who}"


Explanation = Callable[[_Case], str | None]


def _read(chain: Sequence[bytes]) -> tuple[Certificate, ...]:
    """What can be read of a chain; nothing without the peer's own."""
    found: list[Certificate] = []
    left = _MOST_BYTES
    for number, der in enumerate(chain):
        left -= len(der)
        if left < 0:
            break
        try:
            found.append(Certificate.read(der))
        except DerError:
            if number == 0:
                break
    return tuple(found)


def _in_other_words(case: _Case) -> str:
    """OpenSSL's own words, where there are none here."""
    words = _bounded(printable(case.message.strip().rstrip(".")), 200)
    return f"{case.who} is refused: {words or f'error {case.code}'}"


# Dates --------------------------------------------------------------------------------------------


def _expired(case: _Case) -> str:
    for one in case.chain:
        if one.not_after < case.now:
            return (
                f"{case.which(one)} expired on {_moment(one.not_after)}, "
                f"{_span(case.now - one.not_after)} ago: the {case.peer} needs a new one"
            )
    return (
        f"the authority {case.above} that {case.who} leads to has expired: its successor has to be "
        "trusted instead"
    )


def _not_yet_valid(case: _Case) -> str:
    for one in case.chain:
        if one.not_before > case.now:
            return (
                f"{case.which(one)} is not valid before {_moment(one.not_before)}, "
                f"{_span(one.not_before - case.now)} from now: is the clock of this host right?"
            )
    return (
        f"the authority {case.above} that {case.who} leads to is not valid yet: is the clock of "
        "this host right?"
    )


# Names --------------------------------------------------------------------------------------------


def _wrong_host(case: _Case) -> str | None:
    own, asked = case.own, case.asked
    if asked is None:
        return None
    start = f"the server's certificate is not for {_quoted(asked)}"
    if not own.names:
        lack = "subjectAltName" if not (own.uris or own.emails) else "DNS name"
        if own.common_name is None:
            return f"{start}: it has no {lack}"
        return (
            f"{start}: it has no {lack}, and a common name ({_quoted(own.common_name)}) does not "
            "count: the server needs a certificate with the name in its subjectAltName"
        )
    text = f"{start}: it is for {_listed(own.names)}"
    for name in own.dns_names:
        if name.startswith("*.") and f".{asked}".lower().endswith(name[1:].lower()):
            return f"{text}; {_quoted(name)} {_wildcard_rule(name)}"
    return f"{text}; connect by one of these names, or see who answers there"


def _wildcard_rule(name: str) -> str:
    if "." not in name[2:]:
        return "is too wide to count"
    return "stands for exactly one label before the rest"


def _wrong_ip(case: _Case) -> str | None:
    own, asked = case.own, case.asked
    if asked is None:
        return None
    start = f"the server's certificate is not for the IP address {_quoted(asked)}"
    if own.ip_addresses:
        return f"{start}: it is for {_listed(own.names)}"
    if asked in own.dns_names or not own.names:
        where = "DNS name" if asked in own.dns_names else "common name"
        return f"{start}: it has no IP address, and a {where} does not count for one"
    return f"{start}: it has no IP address; it is for {_listed(own.names)}, so connect by name"


def _constrained(case: _Case) -> str:
    names = (*case.own.names, *case.own.emails, *case.own.uris)
    text = f"{case.who} is for {_listed(names or (case.own.subject,))}"
    why = "(name constraints)"
    for one in case.authorities:
        which = f"{text}, but its authority {_quoted(one.subject)} may"
        if case.code == _NOT_PERMITTED and one.permitted:
            return f"{which} speak for {_listed(one.permitted)} only {why}"
        if case.code == _EXCLUDED and one.excluded:
            return f"{which} not speak for {_listed(one.excluded)} {why}"
    return (
        f"{text}, but an authority above it, {case.above} or higher, may not speak for that {why}"
    )


# Authorities --------------------------------------------------------------------------------------


def _unknown_issuer(case: _Case) -> str:
    verb = "was issued by" if case.path[-1] is case.own else "leads to the authority"
    return (
        f"{case.who} {verb} {case.above}, which is not among the authorities trusted here: "
        f"trust it by trust.ca(file); or the {case.peer} may have left out an intermediate "
        "certificate, and has to send it"
    )


def _self_signed(case: _Case) -> str:
    return (
        f"{case.who} is self-signed and not itself trusted: if it is the one that you expect, "
        f"trust.ca(file) with it, or trust.fingerprint({case.own.sha256!r}), trusts it"
    )


def _untrusted_root(case: _Case) -> str:
    root = next((one for one in reversed(case.chain) if one.is_self_issued), case.chain[-1])
    return (
        f"{case.who} leads to the authority {_quoted(root.subject)}, which the {case.peer} sent "
        "along, but which is not among those that are trusted: trust.ca(file) trusts it"
    )


def _bad_signature(case: _Case) -> str:
    return (
        f"a signature in the chain of {case.who} is wrong: it was forged or damaged, or an "
        "authority of the same name has another key"
    )


def _no_authority(case: _Case) -> str:
    for one in case.path[1:]:
        if not one.is_authority:
            return f"{case.who} was signed by {_quoted(one.subject)}, which is no authority"
    return f"{case.who} was signed by {case.above}, which is no authority"


def _path_too_long(case: _Case) -> str:
    for below, one in enumerate(case.path[1:]):
        if one.path_length is not None and one.path_length < below:
            return (
                f"the authority {_quoted(one.subject)} allows {one.path_length} others below it, "
                f"and there are {below} in the chain of {case.who}"
            )
    return (
        f"the chain of {case.who} has more authorities than the one above it, {case.above} or "
        "higher, allows below it"
    )


def _chain_too_long(case: _Case) -> str:
    return f"the chain of {case.who} is too long: it has {len(case.chain)} certificates or more"


def _revoked(case: _Case) -> str:
    issuer = _quoted(case.own.issuer)
    return (
        f"{case.who}, or one in its chain, was revoked by its authority ({issuer}): get a new one"
    )


def _no_revocation_list(case: _Case) -> str:
    issuer = _quoted(case.own.issuer)
    return (
        f"whether {case.who} was revoked cannot be known: the revocation list of {issuer}, which "
        "the ssl_ctx asks for, is not there"
    )


# Use and strength ---------------------------------------------------------------------------------


def _wrong_use(case: _Case) -> str:
    needed = "serverAuth" if case.peer == "server" else "clientAuth"
    for one in case.chain:
        if one.usages and needed not in one.usages:
            usages = _listed(one.usages)
            return f"{case.which(one)} is for {usages} only, and not for a TLS {case.peer}"
    usages = _listed(case.own.key_usages) if case.own.key_usages else "something else"
    return f"{case.who} is for {usages}, and not for a TLS {case.peer}"


def _weak_key(case: _Case) -> str:
    return f"{case.who} has a key that is too weak, {case.own.key}: the {case.peer} needs a new one"


def _weak_authority(case: _Case) -> str:
    for one in case.authorities:
        if one.key.bits < _SMALLEST.get(one.key.kind, 0):
            return f"{case.which(one)} has a key that is too weak, {one.key}"
    return f"the authority {case.above} above {case.who} has a key that is too weak"


def _weak_signature(case: _Case) -> str:
    for one in case.chain:
        if one.signature.startswith(_WEAK_SIGNATURES):
            return (
                f"{case.which(one)} is signed by {one.signature}, which is too weak: "
                f"the {case.peer} needs a new one"
            )
    return f"{case.who}, or one in its chain, is signed in a way that is too weak"


_NOT_PERMITTED = 47
_EXCLUDED = 48

# By the numbers of OpenSSL's x509_vfy.h, X509_V_ERR_...
_EXPLAINED: dict[int, Explanation] = {
    2: _unknown_issuer,  # UNABLE_TO_GET_ISSUER_CERT
    3: _no_revocation_list,  # UNABLE_TO_GET_CRL
    7: _bad_signature,  # CERT_SIGNATURE_FAILURE
    9: _not_yet_valid,  # CERT_NOT_YET_VALID
    10: _expired,  # CERT_HAS_EXPIRED
    18: _self_signed,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: _untrusted_root,  # SELF_SIGNED_CERT_IN_CHAIN
    20: _unknown_issuer,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: _unknown_issuer,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    22: _chain_too_long,  # CERT_CHAIN_TOO_LONG
    23: _revoked,  # CERT_REVOKED
    25: _path_too_long,  # PATH_LENGTH_EXCEEDED
    26: _wrong_use,  # INVALID_PURPOSE
    _NOT_PERMITTED: _constrained,  # PERMITTED_VIOLATION
    _EXCLUDED: _constrained,  # EXCLUDED_VIOLATION
    _HOSTNAME_MISMATCH: _wrong_host,  # HOSTNAME_MISMATCH
    _IP_MISMATCH: _wrong_ip,  # IP_ADDRESS_MISMATCH
    66: _weak_key,  # EE_KEY_TOO_SMALL
    67: _weak_authority,  # CA_KEY_TOO_SMALL
    68: _weak_signature,  # CA_MD_TOO_WEAK
    79: _no_authority,  # INVALID_CA
}


# Words --------------------------------------------------------------------------------------------


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _span(span: timedelta) -> str:
    """How long it is, in its largest unit."""
    seconds = int(span.total_seconds())
    for unit, size in (("year", 31_557_600), ("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size or (seconds >= size and unit != "year"):
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    shown = [_quoted(name) for name in names[:_MOST_NAMES]]
    more = len(names) - len(shown)
    if more:
        shown.append(f"{more} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _quoted(name: str) -> str:
    return f"'{_bounded(printable(name), _LONGEST_NAME)}'" if name else "(no name)"


def _bounded(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _is_ip(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
