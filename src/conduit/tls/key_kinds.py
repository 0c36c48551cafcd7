"""The kinds of public keys and of signatures in certificates, by name."""

from __future__ import annotations

from dataclasses import dataclass

from . import der
from .der import DerError, Reader

_RSA = ("1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10")
_EC = "1.2.840.10045.2.1"
_DSA = "1.2.840.10040.4.1"

_CURVES = {
    "1.2.840.10045.3.1.1": ("P-192", 192),
    "1.3.132.0.33": ("P-224", 224),
    "1.2.840.10045.3.1.7": ("P-256", 256),
    "1.3.132.0.34": ("P-384", 384),
    "1.3.132.0.35": ("P-521", 521),
    "1.3.132.0.10": ("secp256k1", 256),
    "1.3.36.3.3.2.8.1.1.7": ("brainpoolP256r1", 256),
    "1.3.36.3.3.2.8.1.1.11": ("brainpoolP384r1", 384),
    "1.3.36.3.3.2.8.1.1.13": ("brainpoolP512r1", 512),
}

_OTHERS = {
    "1.3.101.110": ("X25519", 256),
    "1.3.101.111": ("X448", 448),
    "1.3.101.112": ("Ed25519", 256),
    "1.3.101.113": ("Ed448", 456),
    "2.16.840.1.101.3.4.3.17": ("ML-DSA-44", 0),
    "2.16.840.1.101.3.4.3.18": ("ML-DSA-65", 0),
    "2.16.840.1.101.3.4.3.19": ("ML-DSA-87", 0),
}

_SIGNATURES = {
    "1.2.840.113549.1.1.2": "MD2 with RSA",
    "1.2.840.113549.1.1.4": "MD5 with RSA",
    "1.2.840.113549.1.1.5": "SHA-1 with RSA",
    "1.2.840.113549.1.1.10": "RSA-PSS",
    "1.2.840.113549.1.1.11": "SHA-256 with RSA",
    "1.2.840.113549.1.1.12": "SHA-384 with RSA",
    "1.2.840.113549.1.1.13": "SHA-512 with RSA",
    "1.2.840.113549.1.1.14": "SHA-224 with RSA",
    "1.2.840.10040.4.3": "SHA-1 with DSA",
    "2.16.840.1.101.3.4.3.2": "SHA-256 with DSA",
    "1.2.840.10045.4.1": "SHA-1 with ECDSA",
    "1.2.840.10045.4.3.1": "SHA-224 with ECDSA",
    "1.2.840.10045.4.3.2": "SHA-256 with ECDSA",
    "1.2.840.10045.4.3.3": "SHA-384 with ECDSA",
    "1.2.840.10045.4.3.4": "SHA-512 with ECDSA",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A public key.

    kind: "RSA", "EC", "Ed25519"..., or its object identifier in dots. bits: its size, 0 where that
    is not known or says nothing. curve: of an EC key ("P-256", or in dots), else None.
    """

    kind: str
    bits: int = 0
    curve: str | None = None

    def __str__(self) -> str:
        if self.curve is not None:
            return f"{self.kind} {self.curve}"
        return f"{self.kind} {self.bits}" if self.kind in ("RSA", "DSA") else self.kind


def public_key(inside: Reader) -> Key:
    """Read a SubjectPublicKeyInfo. Raises DerError."""
    algorithm = inside.read(der.SEQUENCE)
    key = der.bits(inside.read(der.BIT_STRING))
    inside.finish()
    kind = der.oid(algorithm.read(der.OID))
    if kind in _RSA:
        return Key("RSA", _bits(Reader(key).read(der.SEQUENCE)))
    if kind == _DSA:
        parameters = algorithm.optional(der.SEQUENCE)
        return Key("DSA", 0 if parameters is None else _bits(parameters))
    if kind == _EC:
        named = algorithm.optional(der.OID)
        curve = "of its own" if named is None else der.oid(named)
        name, bits = _CURVES.get(curve, (curve, 0))
        return Key("EC", bits, name)
    return Key(*_OTHERS.get(kind, (kind, 0)))


def signature(inside: Reader) -> str:
    """Read an AlgorithmIdentifier of a signature: its name, or in dots. Raises DerError."""
    kind = der.oid(inside.read(der.OID))
    return _SIGNATURES.get(kind, kind)


def _bits(numbers: Reader) -> int:
    """How many bits the first of some INTEGERs has."""
    digits = numbers.read(der.INTEGER).rest
    if not digits or digits[0] & 0x80:
        raise DerError("a key whose modulus is no positive number")
    return int.from_bytes(digits, "big").bit_length()
