"""A certificate authority for tests: certificates, good ones and bad ones, in a millisecond each.

    ca = conduit.testing.Authority()
    ctx = await conduit.init(tls_authenticator=conduit.trust.ca(ca.pem))
    with ca.issue("db.example", "127.0.0.1").files() as key:
        mode = conduit.server.TLS(key.crt_file, key.key_file, key.password, 0)

For tests and demonstrations only. Its keys are unencrypted in the memory of the process, and those
it issues also in files; it keeps no record, so nothing can be revoked; and a certificate says
whatever it is told to say, mistakes included. Nothing that matters may trust such an authority.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from .._fields import IPAddress, Path
from ..tls.keys import OwnKey

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from .x509 import PrivateKey

__all__ = ["Authority", "Issued", "self_signed"]

KeyKind: TypeAlias = Literal["ec", "rsa", "ed25519"]
"""A kind of key: on the curve P-256, RSA, or Ed25519."""

Usage: TypeAlias = Literal["server", "client", "code_signing", "email"]
"""What a certificate says that it is for."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, in memory; `files` and `write` put them where a server reads them.

    crt_pem: the certificate and the intermediates that lead to its authority, in PEM. key_pem: its
    key in PEM (PKCS#8). der: the certificate alone, in DER. password: what the key is encrypted
    with, or None.
    """

    crt_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    der: bytes = field(repr=False)
    password: str | None = field(default=None, repr=False)

    def write(self, directory: Path, name: str = "own") -> OwnKey:
        """Write NAME.crt and NAME.key, over what is there; only the owner may read the key.

        directory: one that exists. name: by default "own".

        Returns where they are, with a function that gives the password if the key has one. It
        writes at once, in the calling thread. Raises OSError.
        """
        password = self.password
        return OwnKey(
            _write(directory, f"{name}.crt", self.crt_pem),
            _write(directory, f"{name}.key", self.key_pem),
            None if password is None else lambda again: password,
        )

    @contextmanager
    def files(self) -> Generator[OwnKey]:
        """Write the files to a directory of their own, which is gone when the block is left."""
        with tempfile.TemporaryDirectory(prefix="conduit-") as directory:
            yield self.write(directory)


class Authority:
    """A certificate authority that lives as long as a test. For tests only.

    name: its common name. key, bits: as for `issue`. not_before, not_after: when it is valid, as
    aware datetimes; by default from yesterday for eight days. path_length: how many intermediates
    may follow below it; None (the default) for any. permitted, excluded: name constraints, each a
    DNS name with all below it ("example") or an IP network ("10.0.0.0/8"). can_sign: False for one
    whose certificate does not say that it is an authority, so that nobody should believe what it
    signs.

    `certificate` and `private_key` are objects of the package cryptography, to make with it what
    `issue` cannot.

    Raises ImportError without that package, ValueError for what a certificate cannot say.
    """

    certificate: Certificate
    private_key: PrivateKey

    def __init__(
        self,
        name: str = "conduit test authority",
        *,
        key: KeyKind = "ec",
        bits: int = 2048,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        path_length: int | None = None,
        permitted: Iterable[str] = (),
        excluded: Iterable[str] = (),
        can_sign: bool = True,
        _above: Authority | None = None,
    ) -> None:
        from . import x509

        issuer = None if _above is None else (_above.certificate, _above.private_key)
        self._above = _above
        self.private_key = x509.new_key(key, bits)
        self.certificate = x509.authority(
            name,
            self.private_key,
            x509.Signing(issuer, not_before, not_after),
            path_length=path_length,
            permitted=permitted,
            excluded=excluded,
            can_sign=can_sign,
        )

    def __repr__(self) -> str:
        return f"<conduit.testing.Authority {self.certificate.subject.rfc4514_string()}>"

    @property
    def pem(self) -> bytes:
        """Its certificate in PEM, for `trust.ca`."""
        from . import x509

        return x509.to_pem(self.certificate)

    @property
    def der(self) -> bytes:
        """Its certificate in DER."""
        from . import x509

        return x509.to_der(self.certificate)

    @property
    def chain(self) -> bytes:
        """In PEM, what goes to a peer besides a certificate it issued: the intermediates."""
        return b"" if self._above is None else self.pem + self._above.chain

    def write(self, directory: Path, name: str = "ca") -> str:
        """Write its certificate to NAME.crt in a directory, for programs that want a file.

        Returns the path. Raises OSError.
        """
        return _write(directory, f"{name}.crt", self.pem)

    def intermediate(
        self,
        name: str = "conduit test intermediate",
        *,
        key: KeyKind = "ec",
        bits: int = 2048,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        path_length: int | None = None,
        permitted: Iterable[str] = (),
        excluded: Iterable[str] = (),
        can_sign: bool = True,
    ) -> Authority:
        """An authority below this one; its arguments are those of `Authority`."""
        return Authority(
            name,
            key=key,
            bits=bits,
            not_before=not_before,
            not_after=not_after,
            path_length=path_length,
            permitted=permitted,
            excluded=excluded,
            can_sign=can_sign,
            _above=self,
        )

    def issue(
        self,
        *names: str | IPAddress,
        common_name: str | None = None,
        alternative_names: bool = True,
        usages: Iterable[Usage] = ("server", "client"),
        key: KeyKind = "ec",
        bits: int = 2048,
        password: str | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        leave_out_chain: bool = False,
    ) -> Issued:
        """A certificate with a new key.

        names: DNS names ("*.db.example" is a wildcard) and IP addresses, for the subjectAltName.
        common_name: by default the first DNS name. alternative_names: False leaves the
        subjectAltName out, so that there is only the common name, which does not count. usages:
        what it is for, by default for servers and clients; with none it does not say, and is for
        anything. key: "ec" (P-256, the default), "rsa" or "ed25519". bits: of an RSA key (default
        2048); 1024 is too weak for most. password: encrypts the key. not_before, not_after: when it
        is valid, as aware datetimes; by default from yesterday for eight days. leave_out_chain:
        whether `crt_pem` lacks the intermediates, as badly configured servers do.

        Raises ValueError for what a certificate cannot say.
        """
        from . import x509

        private = x509.new_key(key, bits)
        signing = x509.Signing((self.certificate, self.private_key), not_before, not_after)
        certificate = x509.own(
            names,
            private,
            signing,
            common_name=common_name,
            alternative_names=alternative_names,
            usages=usages,
        )
        return _issued(certificate, private, password, b"" if leave_out_chain else self.chain)


def self_signed(
    *names: str | IPAddress,
    common_name: str | None = None,
    usages: Iterable[Usage] = ("server", "client"),
    key: KeyKind = "ec",
    bits: int = 2048,
    password: str | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Issued:
    """A certificate that nobody but itself signed; its arguments are those of `Authority.issue`.

    Raises ImportError without the package cryptography, ValueError for what a certificate cannot
    say.
    """
    from . import x509

    private = x509.new_key(key, bits)
    certificate = x509.own(
        names,
        private,
        x509.Signing(None, not_before, not_after),
        common_name=common_name,
        alternative_names=True,
        usages=usages,
    )
    return _issued(certificate, private, password, b"")


def _issued(
    certificate: Certificate, key: PrivateKey, password: str | None, chain: bytes
) -> Issued:
    from . import x509

    return Issued(
        crt_pem=x509.to_pem(certificate) + chain,
        key_pem=x509.key_to_pem(key, password),
        der=x509.to_der(certificate),
        password=password,
    )


def _write(directory: Path, name: str, data: bytes) -> str:
    path = os.path.join(directory, name)
    # Readable by the owner alone from the first moment, as befits a key.
    with open(path, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(data)
    return path
