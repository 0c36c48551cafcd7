"""How the certificates of `ca` are put together; needs the package cryptography."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TypeAlias

from .._fields import IPAddress

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:
    raise ImportError(
        "the authority of conduit.testing needs the package cryptography: "
        'pip install "conduit-net[testing]"',
        name="cryptography",
    ) from error

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

# Long enough for a test that stands still in a debugger, and too short to come to rely on.
_LIFE = timedelta(days=7)
_EARLIER = timedelta(days=1)

_LONGEST_COMMON_NAME = 64

_USAGES = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code_signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email": ExtendedKeyUsageOID.EMAIL_PROTECTION,
}


@dataclass(frozen=True, slots=True)
class Signing:
    """How a certificate is signed, and when it is valid.

    issuer: who signs it and with which key; None for itself. not_before, not_after: aware
    datetimes, or None for the usual.
    """

    issuer: tuple[x509.Certificate, PrivateKey] | None
    not_before: datetime | None
    not_after: datetime | None


def new_key(kind: str, bits: int) -> PrivateKey:
    """Make a key. bits: of an RSA key."""
    match kind:
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "rsa":
            return rsa.generate_private_key(65537, bits)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            raise ValueError(f"key is {kind!r}: it is 'ec', 'rsa' or 'ed25519'")


def authority(
    name: str,
    key: PrivateKey,
    signing: Signing,
    *,
    path_length: int | None,
    permitted: Iterable[str],
    excluded: Iterable[str],
    can_sign: bool,
) -> x509.Certificate:
    """The certificate of an authority; the arguments are those of `ca.Authority`."""
    builder = _begin(name, key, signing)
    basic = x509.BasicConstraints(can_sign, path_length if can_sign else None)
    builder = builder.add_extension(basic, critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=can_sign), critical=True)
    allowed, barred = list(map(_subtree, permitted)), list(map(_subtree, excluded))
    if allowed or barred:
        constraints = x509.NameConstraints(allowed or None, barred or None)
        builder = builder.add_extension(constraints, critical=True)
    return _sign(builder, key, signing)


def own(
    names: Sequence[str | IPAddress],
    key: PrivateKey,
    signing: Signing,
    *,
    common_name: str | None,
    alternative_names: bool,
    usages: Iterable[str],
) -> x509.Certificate:
    """The certificate of a server or a client; the arguments are those of `ca.Authority.issue`."""
    alternative = list(map(_general_name, names))
    if common_name is None:
        # Not an address: OpenSSL would hold it against the name constraints of an authority.
        dns = (name.value for name in alternative if isinstance(name, x509.DNSName))
        common_name = next(dns, "conduit test certificate")[:_LONGEST_COMMON_NAME]
    builder = _begin(common_name, key, signing)
    builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
    deciphers = isinstance(key, rsa.RSAPrivateKey)
    builder = builder.add_extension(_key_usage(deciphers=deciphers), critical=True)
    purposes = list(map(_purpose, usages))
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if alternative and alternative_names:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return _sign(builder, key, signing)


def to_pem(certificate: x509.Certificate) -> bytes:
    """A certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def to_der(certificate: x509.Certificate) -> bytes:
    """A certificate in DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def key_to_pem(key: PrivateKey, password: str | None) -> bytes:
    """A key in PEM (PKCS#8), encrypted if there is a password."""
    secret: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        secret = serialization.BestAvailableEncryption(password.encode("utf-8"))
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)


# Parts --------------------------------------------------------------------------------------------


def _begin(name: str, key: PrivateKey, signing: Signing) -> x509.CertificateBuilder:
    """What every certificate has."""
    public = key.public_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    since, until = _life(signing.not_before, signing.not_after)
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(identifier, critical=False)
    )
    if signing.issuer is None:
        return builder.issuer_name(subject)
    above, _ = signing.issuer
    theirs = above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return builder.issuer_name(above.subject).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(theirs), critical=False
    )


def _sign(builder: x509.CertificateBuilder, key: PrivateKey, signing: Signing) -> x509.Certificate:
    signer = key if signing.issuer is None else signing.issuer[1]
    return builder.sign(
        signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    )


def _life(not_before: datetime | None, not_after: datetime | None) -> tuple[datetime, datetime]:
    for what, moment in (("not_before", not_before), ("not_after", not_after)):
        if moment is not None and moment.tzinfo is None:
            raise ValueError(
                f"{what} is {moment}, without a time zone: say datetime(..., tzinfo=UTC)"
            )
    now = datetime.now(UTC)
    # Earlier than now, since clocks differ.
    since = not_before or min(now, not_after or now) - _EARLIER
    return since, not_after or max(now, since) + _LIFE


def _key_usage(*, signs_certificates: bool = False, deciphers: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=deciphers,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _purpose(usage: str) -> x509.ObjectIdentifier:
    try:
        return _USAGES[usage]
    except KeyError:
        raise ValueError(f"{usage!r} is no usage: they are {', '.join(_USAGES)}") from None


def _general_name(name: str | IPAddress) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    text = str(name)
    if not text or not text.isascii():
        raise ValueError(f"{text!r} is no DNS name: a certificate has it in ASCII, as 'xn--...'")
    return x509.DNSName(text)


def _subtree(name: str) -> x509.GeneralName:
    """What a name constraint speaks of: a DNS name with all below it, or a network."""
    try:
        return x509.IPAddress(ip_network(name))
    except ValueError:
        return x509.DNSName(name)
