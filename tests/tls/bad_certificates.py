"""Bad certificates that both sides refuse, and what is to be said of each."""

from __future__ import annotations

import dataclasses
import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from conduit.testing import Authority, Issued, self_signed
from conduit.tls.der import Reader
from tests.tls.test_der import value

CA = Authority()
OTHER = Authority("other authority")
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


def with_more(issued: Issued, *more: Authority) -> Issued:
    """It, sent together with these authorities."""
    return dataclasses.replace(issued, crt_pem=issued.crt_pem + b"".join(m.pem for m in more))


def _expired(**more):
    return CA.issue("db.example", not_after=NOW - 3 * HOUR, **more), CA.pem


def _root_sent():
    return with_more(OTHER.issue("db.example"), OTHER), CA.pem


def _from(authority: Authority):
    return authority.issue("db.example"), authority.pem


def _below(authority: Authority, trusted: Authority = CA):
    return authority.issue("db.example"), trusted.pem


def _forged():
    """The last byte is that of the signature."""
    issued = CA.issue("db.example", key="ed25519")
    der = issued.der[:-1] + bytes([issued.der[-1] ^ 1])
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    return dataclasses.replace(issued, der=der, crt_pem=pem), CA.pem


def _authority_for_mail_only():
    authority = CA.intermediate("mail authority")
    kept = [
        e
        for e in authority.certificate.extensions
        if not isinstance(e.value, x509.ExtendedKeyUsage)
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(authority.certificate.subject)
        .issuer_name(CA.certificate.subject)
        .public_key(authority.private_key.public_key())
        .serial_number(5)
        .not_valid_before(NOW - HOUR)
        .not_valid_after(NOW + HOUR)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    )
    for extension in kept:
        made = made.add_extension(extension.value, extension.critical)
    authority.certificate = made.sign(CA.private_key, hashes.SHA256())
    return authority.issue("db.example"), CA.pem


Case = tuple[Callable[[], tuple[Issued, bytes]], str]

# How each is made, with whom to trust, and a pattern of what is said of it: WHO stands for the
# certificate, PEER for the role of the one that shows it. The CA issues what the others show.
BAD: dict[str, Case] = {
    "expired": (_expired, r"^WHO expired on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, 3 hours ago: "),
    "authority expired": (
        lambda: _from(Authority("old", not_after=NOW - HOUR)),
        r"^the authority 'CN=old' that WHO leads to has expired",
    ),
    "intermediate expired": (
        lambda: _below(CA.intermediate("middle", not_after=NOW - 50 * HOUR)),
        r"^the authority 'CN=middle' in the chain of WHO expired on .* UTC, 2 days ago",
    ),
    "not yet valid": (
        lambda: (CA.issue("db.example", not_before=NOW + 49 * HOUR), CA.pem),
        r"^WHO is not valid before .* UTC, 2 days from now: is the clock of this host right",
    ),
    "authority not yet valid": (
        lambda: _from(Authority("young", not_before=NOW + HOUR)),
        r"^the authority 'CN=young' that WHO leads to is not valid yet: is the clock",
    ),
    "wrong usage": (
        lambda: (CA.issue("db.example", usages=["code_signing", "email"]), CA.pem),
        r"^WHO is for 'codeSigning' and 'emailProtection' only, and not for a TLS PEER$",
    ),
    "authority for another usage": (
        _authority_for_mail_only,
        r"^the authority 'CN=mail authority' in .* WHO is for 'emailProtection' only, and not for",
    ),
    "unknown authority": (
        lambda: (OTHER.issue("db.example"), CA.pem),
        r"^WHO was issued by 'CN=other authority', which is not among .* trust it by trust.ca\(",
    ),
    "another authority of the same name": (
        lambda: _below(Authority()),
        r"^WHO was issued by 'CN=conduit test authority', which is not among",
    ),
    "unknown authority, with an intermediate": (
        lambda: _below(OTHER.intermediate("middle")),
        r"^WHO leads to the authority 'CN=other authority', which is not among the authorities",
    ),
    "missing intermediate": (
        lambda: (CA.intermediate("middle").issue("db.example", leave_out_chain=True), CA.pem),
        r"^WHO was issued by 'CN=middle', .* or the PEER may have left out an intermediate cert",
    ),
    "self-signed": (
        lambda: (self_signed("db.example"), CA.pem),
        r"^WHO is self-signed and not itself trusted: .*trust\.fingerprint\('[0-9a-f]{64}'\)",
    ),
    "untrusted root sent along": (
        _root_sent,
        r"^WHO leads to the authority 'CN=other authority', .* which is not among those that are t",
    ),
    "weak key": (
        lambda: (CA.issue("db.example", key="rsa", bits=1024), CA.pem),
        r"^WHO has a key that is too weak, RSA 1024: the PEER needs a new one$",
    ),
    "weak key of the authority": (
        lambda: _from(Authority("weak", key="rsa", bits=1024)),
        r"^the authority 'CN=weak' above WHO has a key that is too weak$",
    ),
    "weak key of the intermediate": (
        lambda: _below(CA.intermediate("weak", key="rsa", bits=1024)),
        r"^the authority 'CN=weak' in the chain of WHO has a key that is too weak, RSA 1024$",
    ),
    "name that is not permitted": (
        lambda: _from(Authority("narrow", permitted=["test"])),
        (
            r"^WHO is for 'db.example', but an authority above it, 'CN=narrow' or higher, may not "
            r"speak for that \(name constraints\)$"
        ),
    ),
    "name that is not permitted, by who is sent along": (
        lambda: _below(CA.intermediate("narrow", permitted=["test", "10.0.0.0/8"])),
        (
            r"^WHO is for 'db.example', but its authority 'CN=narrow' may speak for 'test' and "
            r"'10.0.0.0/8' only"
        ),
    ),
    "name that is excluded": (
        lambda: _from(Authority("narrow", excluded=["example"])),
        r"^WHO is for 'db.example', but an authority above it, 'CN=narrow' or higher, may not",
    ),
    "name that is excluded, by who is sent along": (
        lambda: _below(CA.intermediate("narrow", excluded=["example"])),
        r"^WHO is for 'db.example', but its authority 'CN=narrow' may not speak for 'example' \(",
    ),
    "signed by no authority": (
        lambda: _below(CA.intermediate("nobody", can_sign=False)),
        r"^WHO was signed by 'CN=nobody', which is no authority$",
    ),
    "too many authorities": (
        lambda: _below(*(lambda root: (root.intermediate(), root))(Authority("r", path_length=0))),
        r"^the chain of WHO has more authorities than the one above it, 'CN=r' or higher, allows",
    ),
    "too many authorities below one that is sent along": (
        lambda: _below(CA.intermediate("first", path_length=0).intermediate("second")),
        r"^the authority 'CN=first' allows 0 others below it, and there are 1 in the chain of WHO$",
    ),
    "forged": (_forged, r"^a signature in the chain of WHO is wrong: it was forged or damaged"),
}


def pattern(text: str, who: str, peer: str) -> str:
    """What is to be said, of a certificate that is called so."""
    return text.replace("WHO", re.escape(who)).replace("PEER", peer)


def sent_by(issued: Issued) -> tuple[bytes, ...]:
    """What whoever has it sends, each in DER."""
    found = re.findall(
        "-----BEGIN.*?-----END CERTIFICATE-----\n", issued.crt_pem.decode(), re.DOTALL
    )
    return tuple(map(ssl.PEM_cert_to_DER_cert, found))


def unreadable(name: str) -> Issued:
    """A self-signed certificate that OpenSSL takes for a good one, and our reader does not.

    Its serial number is far longer than the standard allows.
    """
    issued = self_signed(name, key="ed25519")
    body, algorithm, _ = elements(issued.der)
    _version, serial, *_ = elements(body)
    inside = b"".join(elements(body)).replace(serial, value(0x02, b"\x01" * 100), 1)
    signed = value(0x30, inside)
    key = serialization.load_pem_private_key(issued.key_pem, None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    signature = value(0x03, b"\0" + key.sign(signed))
    der = value(0x30, signed + algorithm + signature)
    return dataclasses.replace(issued, der=der, crt_pem=ssl.DER_cert_to_PEM_cert(der).encode())


def elements(der: bytes) -> list[bytes]:
    """What is in a SEQUENCE."""
    inside = Reader(der).read(0x30)
    found = []
    while not inside.at_end:
        found.append(inside.element())
    return found
