"""Every operation on keys, by `cryptography`, in the forms that tlslite-ng asks for.

Nothing here computes with a secret in Python: what is secret goes into OpenSSL's library of ciphers
(not its TLS), or into `hmac`, and comes out as bytes.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import cached_property
from typing import Any, Literal, NoReturn, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = [
    "AEAD",
    "HKDF_expand_label",
    "KeyExchange",
    "OwnCertificate",
    "PeerCertificate",
    "PrivateKey",
    "Signer",
    "aes_gcm",
    "chacha20",
    "derive_secret",
    "is_server_name",
    "key_kind",
    "secureHMAC",
    "unavailable",
]

Octets: TypeAlias = bytes | bytearray
PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def unavailable(*_: object, **__: object) -> NoReturn:
    """Stand in for what is never to be used."""
    raise ValueError("what is not offered was asked for")


# Records ------------------------------------------------------------------------------------------


class AEAD:
    """A cipher with a key, as tlslite-ng's record layer wants it.

    cipher: of `cryptography`. name: by which tlslite-ng tells how nonces are made.
    """

    isBlockCipher = False
    isAEAD = True
    nonceLength = 12
    tagLength = 16
    implementation = "cryptography"

    __slots__ = ("cipher", "name")

    def __init__(self, cipher: AESGCM | ChaCha20Poly1305, name: str) -> None:
        self.cipher = cipher
        self.name = name

    def seal(self, nonce: Octets, plaintext: Octets, data: Octets) -> bytearray:
        """Encrypt."""
        return bytearray(self.cipher.encrypt(bytes(nonce), plaintext, data))

    def open(self, nonce: Octets, ciphertext: Octets, data: Octets) -> bytearray | None:
        """Decrypt; None for what was forged."""
        try:
            return bytearray(self.cipher.decrypt(bytes(nonce), ciphertext, data))
        except InvalidTag:
            return None


def aes_gcm(key: Octets, _implementations: object = None) -> AEAD:
    """Make an AES-GCM of a key of 16 or 32 bytes."""
    return AEAD(AESGCM(bytes(key)), f"aes{len(key) * 8}gcm")


def chacha20(key: Octets, _implementations: object = None) -> AEAD:
    """Make a ChaCha20-Poly1305."""
    return AEAD(ChaCha20Poly1305(bytes(key)), "chacha20-poly1305")


# Key exchange -------------------------------------------------------------------------------------

_X25519 = 29
_CURVES: dict[int, ec.EllipticCurve] = {23: ec.SECP256R1(), 24: ec.SECP384R1(), 25: ec.SECP521R1()}

Ephemeral: TypeAlias = x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey


class KeyExchange:
    """A key exchange in one of the groups that are offered: X25519, or a curve of NIST.

    group: its number (RFC 8446, 4.2.7).
    """

    invalid: type[Exception] = ValueError
    """What is raised for a share that is none."""

    def __init__(self, group: int, version: object) -> None:
        del version
        if group != _X25519 and group not in _CURVES:
            raise self.invalid("a group that was not offered")
        self._group = group

    def get_random_private_key(self) -> Ephemeral:
        """A new private key."""
        if self._group == _X25519:
            return x25519.X25519PrivateKey.generate()
        return ec.generate_private_key(_CURVES[self._group])

    def calc_public_value(self, private: Ephemeral, point_format: object = None) -> bytearray:
        """The share to send."""
        del point_format
        if isinstance(private, x25519.X25519PrivateKey):
            return bytearray(private.public_key().public_bytes_raw())
        point = PublicFormat.UncompressedPoint
        return bytearray(private.public_key().public_bytes(Encoding.X962, point))

    def calc_shared_key(
        self, private: Ephemeral, peer_share: Octets, valid_point_formats: object = None
    ) -> bytearray:
        """The secret that both sides know, of our private key and the peer's share."""
        del valid_point_formats
        share = bytes(peer_share)
        try:
            if isinstance(private, x25519.X25519PrivateKey):
                # It refuses a share that makes the secret known to all (RFC 7748, 6.1).
                theirs = x25519.X25519PublicKey.from_public_bytes(share)
                return bytearray(private.exchange(theirs))
            if share[:1] != b"\x04":
                raise ValueError("a point in another form than the uncompressed one")
            point = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[self._group], share)
            return bytearray(private.exchange(ec.ECDH(), point))
        except ValueError as error:
            raise self.invalid("the peer's key share is no point of its group") from error


# Signatures ---------------------------------------------------------------------------------------

Kind: TypeAlias = Literal["rsa", "ecdsa", "Ed25519"]

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_BY_SIZE = {one.digest_size: one for one in _HASHES.values()}

# By python-ecdsa's names, which tlslite-ng goes by.
_CURVE_NAMES = {"secp256r1": "NIST256p", "secp384r1": "NIST384p", "secp521r1": "NIST521p"}

# Before the digest in a signature of PKCS #1 1.5: tlslite-ng puts it there itself for a client's
# CertificateVerify of TLS 1.2, and `cryptography` does.
_PREFIX_SIZE = 19


def key_kind(key: object) -> Kind | None:
    """What tlslite-ng calls a kind of key; None for one that TLS is not spoken with here."""
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return "rsa"
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        return "ecdsa" if key.curve.name in _CURVE_NAMES else None
    if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        return "Ed25519"
    return None


class _Curve:
    """What tlslite-ng looks at to cut a digest; `cryptography` cuts it itself."""

    baselen = 1 << 16


class _OnCurve:
    curve = _Curve()


class _Key:
    """What tlslite-ng asks of any key."""

    def __init__(self, key: Any) -> None:
        kind = key_kind(key)
        if kind is None:
            raise ValueError("a kind of key that TLS is not spoken with here")
        self._key = key
        self.key_type: Kind = kind
        self.public_key = self.private_key = _OnCurve()

    def __len__(self) -> int:
        return 256 if self.key_type == "Ed25519" else int(self._key.key_size)

    @property
    def curve_name(self) -> str:
        """Which curve an EC key is on."""
        return _CURVE_NAMES[self._key.curve.name]

    @property
    def n(self) -> int:
        """A number of the size of an RSA key's modulus, which is all that is looked at."""
        return 1 << (len(self) - 1)

    def hasPrivateKey(self) -> bool:
        return isinstance(self, Signer)


def _padding(
    scheme: str | None, digest: Octets, algorithm: str | None
) -> tuple[padding.AsymmetricPadding, Prehashed, bytes]:
    """How an RSA signature is made: padding, hash, and what is signed."""
    data = bytes(digest)
    if scheme == "pss":
        chosen = _HASHES[algorithm or ""]
        pss = padding.PSS(padding.MGF1(chosen), chosen.digest_size)
        return pss, Prehashed(chosen), data
    if algorithm is None:
        data = data[_PREFIX_SIZE:]
        chosen = _BY_SIZE[len(data)]
    else:
        chosen = _HASHES[algorithm]
    return padding.PKCS1v15(), Prehashed(chosen), data


class Signer(_Key):
    """Our own private key."""

    def sign(
        self,
        bytes: Octets,
        padding: str | None = None,
        hashAlg: str | None = None,
        saltLen: object = None,
    ) -> bytearray:
        del saltLen
        if self.key_type == "ecdsa":
            algorithm = ec.ECDSA(Prehashed(_BY_SIZE[len(bytes)]))
            return bytearray(self._key.sign(_octets(bytes), algorithm))
        scheme, prehashed, data = _padding(padding, bytes, hashAlg)
        return bytearray(self._key.sign(data, scheme, prehashed))

    def hashAndSign(self, data: Octets, *_: object) -> bytearray:
        return bytearray(self._key.sign(bytes(data)))

    def verify(self, *_: object, **__: object) -> bool:
        """tlslite-ng checks its own arithmetic; OpenSSL has done that."""
        return True

    hashAndVerify = verify


class _Verifier(_Key):
    """A peer's public key."""

    def verify(
        self,
        sigBytes: Octets,
        bytes: Octets,
        padding: str | None = None,
        hashAlg: str | None = None,
        saltLen: object = None,
    ) -> bool:
        del saltLen
        signature = _octets(sigBytes)
        try:
            if self.key_type == "ecdsa":
                algorithm = ec.ECDSA(Prehashed(_BY_SIZE[len(bytes)]))
                self._key.verify(signature, _octets(bytes), algorithm)
            elif self.key_type == "rsa":
                scheme, prehashed, data = _padding(padding, bytes, hashAlg)
                self._key.verify(signature, data, scheme, prehashed)
            else:
                return False
        except (InvalidSignature, KeyError, ValueError):
            return False
        return True

    def hashAndVerify(self, sig_bytes: Octets, data: Octets, *_: object) -> bool:
        if self.key_type != "Ed25519":
            return False
        try:
            self._key.verify(bytes(sig_bytes), bytes(data))
        except InvalidSignature:
            return False
        return True


def _octets(data: Octets) -> bytes:
    # In methods one of whose arguments is called as the type is.
    return bytes(data)


# Certificates -------------------------------------------------------------------------------------


class PeerCertificate:
    """A certificate that a peer shows; nothing of it is read before it is asked for."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def parseBinary(self, data: Octets) -> None:
        self.bytes = bytearray(data)

    def writeBytes(self) -> bytearray:
        return self.bytes

    @cached_property
    def publicKey(self) -> _Verifier:
        """Its key. Raises ValueError for one that is none, or not of a kind that is offered."""
        return _Verifier(x509.load_der_x509_certificate(bytes(self.bytes)).public_key())

    @property
    def certAlg(self) -> Kind:
        """The kind of its key."""
        return self.publicKey.key_type


class OwnCertificate(PeerCertificate):
    """A certificate of our own."""

    # tlslite-ng looks whether a client takes the signatures in the chain, to choose among several:
    # there is one to choose from here.
    issuer = subject = b""
    sigalg = None


# Derivation of keys -------------------------------------------------------------------------------


def secureHMAC(key: Octets, data: Octets, algorithm: str) -> bytearray:
    """HMAC (RFC 2104)."""
    return bytearray(hmac.digest(key, data, algorithm))


def HKDF_expand_label(
    secret: Octets, label: Octets, context: Octets, length: int, algorithm: str
) -> bytearray:
    """HKDF-Expand-Label (RFC 8446, 7.1), of no more than one block."""
    info = b"".join(
        (
            length.to_bytes(2),
            bytes((6 + len(label),)),
            b"tls13 ",
            label,
            bytes((len(context),)),
            context,
            b"\x01",
        )
    )
    block = hmac.digest(secret, info, algorithm)
    assert length <= len(block), "no key of TLS is longer than a hash"
    return bytearray(block[:length])


def derive_secret(secret: Octets, label: Octets, transcript: Any, algorithm: str) -> bytearray:
    """Derive-Secret (RFC 8446, 7.1). transcript: None for an empty one."""
    digest: Octets
    if transcript is None:
        digest = hashlib.new(algorithm).digest()
    else:
        digest = transcript.digest(algorithm)
    return HKDF_expand_label(secret, label, digest, len(digest), algorithm)


# Names --------------------------------------------------------------------------------------------


def is_server_name(name: str | Octets) -> bool:
    """Whether it can be a name in SNI: ASCII without a zero. Who is meant is for others to say."""
    octets = name.encode("utf-8", "replace") if isinstance(name, str) else bytes(name)
    return 0 < len(octets) <= 255 and octets.isascii() and 0 not in octets
