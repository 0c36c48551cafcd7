"""The authorities that are trusted, read from where a `Trust` says they are."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509

from ...errors import TLSError
from .. import pem
from ..trust import Source, Trust
from .judging import Anchors

__all__ = ["load_anchors"]

# Where systems have what OpenSSL would look at, for a Python without it: Debian, Red Hat, SUSE,
# BSD and macOS, Alpine.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
)


def load_anchors(trust: Trust) -> Anchors | None:
    """Load whom to trust; None where no chain is to be checked.

    Raises OSError for a file that cannot be read, TLSError for one without a certificate.
    """
    if trust.anchors is None:
        return None
    if trust.anchors == "os":
        return Anchors(_readable(_of_system()))
    return Anchors([one for source in trust.anchors for one in _of_source(source)])


def _of_source(source: Source) -> list[x509.Certificate]:
    if isinstance(source, str):
        where, data = source, pem.read(source)
    else:
        where, data = "what was given to trust.ca", source
    try:
        ders = pem.certificates(data) if b"-----BEGIN" in data else [data]
        found = [_load(der) for der in ders]
    except ValueError as error:
        raise TLSError(f"{where}: no certificate of an authority in PEM or DER: {error}") from error
    if not found:
        raise TLSError(f"{where}: no certificate of an authority in PEM or DER")
    return found


def _of_system() -> Iterable[bytes]:
    """What the operating system trusts, each in DER."""
    file = os.environ.get("SSL_CERT_FILE")
    directory = os.environ.get("SSL_CERT_DIR")
    if not file and not directory:
        file = next((one for one in _BUNDLES if Path(one).is_file()), None)
        if file is None:
            return _of_openssl()
    found: list[bytes] = []
    files = [Path(file)] if file else []
    if directory:
        for one in directory.split(os.pathsep):
            files += sorted(Path(one).iterdir()) if Path(one).is_dir() else []
    for path in files:
        try:
            found += pem.certificates(path.read_bytes())
        except (OSError, ValueError):
            # As OpenSSL does: what is not there trusts nobody.
            continue
    return found


def _of_openssl() -> Iterable[bytes]:
    """Where Windows keeps them, for a start."""
    try:
        import ssl
    except ImportError:
        return ()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context.get_ca_certs(binary_form=True)


def _readable(ders: Iterable[bytes]) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    for der in ders:
        try:
            found.append(_load(der))
        except ValueError:
            # One that is odd is not trusted, and the others are.
            continue
    return found


def _load(der: bytes) -> x509.Certificate:
    with warnings.catch_warnings():
        # Some roots of old have a number that is none, and are good for all else.
        warnings.simplefilter("ignore")
        return x509.load_der_x509_certificate(der)
