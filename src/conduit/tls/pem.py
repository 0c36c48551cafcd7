"""Files in PEM (RFC 7468), as the native stack reads them."""

from __future__ import annotations

import binascii
import re
from pathlib import Path

__all__ = ["certificates", "private_key", "read"]

_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([^-]*)-----END [A-Z0-9 ]*-----"
)
_KEY = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)


def read(file: str) -> bytes:
    """All of a file. Raises OSError, saying which file it was."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise OSError(error.errno, f"cannot read {file}: {error.strerror}") from error


def certificates(data: bytes) -> list[bytes]:
    """The certificates in a file, each in DER. Raises ValueError for one that is no base 64."""
    return [
        binascii.a2b_base64(found[1], strict_mode=False) for found in _CERTIFICATE.finditer(data)
    ]


def private_key(data: bytes) -> bytes | None:
    """The first private key in a file, in PEM; None if there is none."""
    found = _KEY.search(data)
    return None if found is None else found[0]
