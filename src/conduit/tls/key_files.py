"""What both stacks do with the files of our own keys, and say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final, cast

from ..errors import TLSError
from .keys import OwnKey

__all__ = [
    "check_readable",
    "encrypted",
    "mismatched",
    "password_of",
    "too_weak",
    "unusable",
    "wrong_password",
]

_LONGEST_PASSWORD: Final = 1023  # what OpenSSL takes


def check_readable(file: str) -> None:
    """Raise OSError, saying which file it is, if it cannot be read."""
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot read {file}: {error.strerror}") from error


def password_of(key: OwnKey) -> str:
    """The password of a key whose file is encrypted.

    Raises TLSError if none was given, if the function that was given fails, and for what it
    returns if it is no password.
    """
    if key.password is None:
        raise encrypted(key)
    try:
        password = cast("object", key.password(False))
    except Exception as error:
        raise TLSError(
            f"the password of {key.key_file} could not be had: {error or type(error).__name__}"
        ) from error
    if not isinstance(password, str):
        kind = type(password).__name__
        raise TLSError(f"the password function of {key.key_file} returned {kind}, not a str")
    if len(password.encode()) > _LONGEST_PASSWORD:
        raise TLSError(f"the password of {key.key_file} is longer than {_LONGEST_PASSWORD} bytes")
    return password


def encrypted(key: OwnKey) -> TLSError:
    """The error for a key without the password that it needs."""
    return TLSError(
        f"the key {key.key_file} is encrypted: give a function that returns its password"
    )


def mismatched(key: OwnKey) -> TLSError:
    """The error for two files that do not belong together."""
    return TLSError(f"the key {key.key_file} is not that of the certificate {key.crt_file}")


def wrong_password(key: OwnKey) -> TLSError:
    """The error for a key that the password does not open."""
    return TLSError(f"the password of the key {key.key_file} is wrong, or the file is damaged")


def too_weak(key: OwnKey, why: str) -> TLSError:
    """The error for a certificate that nobody should trust."""
    return TLSError(f"the certificate {key.crt_file} is too weak for TLS: {why}")


def unusable(key: OwnKey, why: str | None = None) -> TLSError:
    """The error for files of which one holds something else, or is damaged."""
    if b"CERTIFICATE-----" not in Path(key.crt_file).read_bytes():
        return TLSError(f"{key.crt_file} holds no certificate in PEM")
    if b"PRIVATE KEY-----" not in Path(key.key_file).read_bytes():
        return TLSError(f"{key.key_file} holds no private key in PEM")
    why = why or "one of the two is damaged or was cut short"
    return TLSError(f"cannot use {key.crt_file} with {key.key_file}: {why}")
