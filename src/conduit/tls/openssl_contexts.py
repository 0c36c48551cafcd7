"""`ssl.SSLContext`s made from settings. Everything here may read files: call it in a thread."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path
from typing import Final, cast

from ..errors import TLSError
from .certificate import Certificate
from .engine import ClientSettings, ServerSettings
from .keys import OwnKey
from .trust import Source, Trust

logger = logging.getLogger("conduit")

_LONGEST_PASSWORD: Final = 1023  # what OpenSSL takes

# OpenSSL's own default list holds suites without forward secrecy, and CBC.
_CIPHERS_OF_TLS12 = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:@SECLEVEL=2"


def client_context(settings: ClientSettings, *, checks_name: bool) -> ssl.SSLContext:
    """A context for connecting.

    checks_name: whether the certificate must be for the name that is given with each connection.
    """
    context = _bare(ssl.PROTOCOL_TLS_CLIENT, settings.alpn, settings.key_log)
    trust = settings.trust or Trust("os")
    context.hostname_checks_common_name = False
    context.check_hostname = checks_name and trust.verifies
    context.verify_mode = ssl.CERT_REQUIRED if trust.verifies else ssl.CERT_NONE
    load_anchors(context, trust)
    if settings.own_key is not None:
        load_key(context, settings.own_key)
    return context


def server_context(settings: ServerSettings, key: OwnKey) -> ssl.SSLContext:
    """A context for serving with one certificate."""
    context = _bare(ssl.PROTOCOL_TLS_SERVER, settings.alpn, settings.key_log)
    # Clients speak every suite that is left; what the server likes best is the safest.
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if settings.client_auth != "none":
        assert settings.trust is not None, "checked by whoever made the settings"
        load_anchors(context, settings.trust)
        required = settings.client_auth == "required"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    load_key(context, key)
    return context


def _bare(protocol: int, alpn: tuple[str, ...], key_log: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(_CIPHERS_OF_TLS12)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if key_log is not None:
        log_keys(context, key_log)
    return context


def log_keys(context: ssl.SSLContext, file: str) -> None:
    """Let the secrets of sessions be appended to a file. Raises OSError if it cannot be written."""
    try:
        # OpenSSL would make it readable for all.
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        context.keylog_filename = file
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write TLS secrets to key_log={file}: {error.strerror}"
        ) from error
    logger.warning("the secrets of TLS sessions are written to %s", file)


# Keys ---------------------------------------------------------------------------------------------


def load_key(context: ssl.SSLContext, key: OwnKey) -> None:
    """Load a certificate and its key.

    Raises OSError for a file that cannot be read, TLSError for one that holds something else, for a
    key of another certificate, and for a password that is wrong, missing, or cannot be had.
    """
    for file in (key.crt_file, key.key_file):
        _check_readable(file)
    asked = False

    def password() -> str:
        nonlocal asked
        asked = True
        if key.password is None:
            # Otherwise OpenSSL would ask on the terminal, and the program would hang.
            raise TLSError(
                f"the key {key.key_file} is encrypted: give a function that returns its password"
            )
        return _password_of(key)

    try:
        context.load_cert_chain(key.crt_file, key.key_file, password)
    except ssl.SSLError as error:
        raise _key_error(key, error, asked) from error


def _password_of(key: OwnKey) -> str:
    assert key.password is not None
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


def _key_error(key: OwnKey, error: ssl.SSLError, asked: bool) -> TLSError:
    # The last is what it says of a key of another kind, having found no certificate for it.
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
        return TLSError(f"the key {key.key_file} is not that of the certificate {key.crt_file}")
    if asked:
        return TLSError(f"the password of the key {key.key_file} is wrong, or the file is damaged")
    if error.reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
        return TLSError(f"the certificate {key.crt_file} is too weak for TLS: {error.reason}")
    if not _holds(key.crt_file, b"CERTIFICATE-----"):
        return TLSError(f"{key.crt_file} holds no certificate in PEM")
    if not _holds(key.key_file, b"PRIVATE KEY-----"):
        return TLSError(f"{key.key_file} holds no private key in PEM")
    why = error.reason or "one of the two is damaged or was cut short"
    return TLSError(f"cannot use {key.crt_file} with {key.key_file}: {why}")


def _check_readable(file: str) -> None:
    """OpenSSL does not say which file it could not read."""
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot read {file}: {error.strerror}") from error


def _holds(file: str, mark: bytes) -> bool:
    return mark in Path(file).read_bytes()


# Anchors ------------------------------------------------------------------------------------------


def load_anchors(context: ssl.SSLContext, trust: Trust) -> None:
    """Load whom to trust.

    Raises OSError for a file that cannot be read, TLSError for one without a certificate.
    """
    if trust.anchors == "os":
        context.load_default_certs()
    elif trust.anchors is not None:
        # Whoever is named as trusted is, whether it is a root or not.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        for source in trust.anchors:
            _load_source(context, source)
    elif trust.verifies:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _load_source(context: ssl.SSLContext, source: Source) -> None:
    if isinstance(source, str):
        _check_readable(source)
        where, data = source, Path(source).read_bytes()
    else:
        where, data = "what was given to trust.ca", source
    try:
        if b"-----BEGIN" in data:
            context.load_verify_locations(cadata=data.decode("ascii", "ignore"))
        else:
            context.load_verify_locations(cadata=data)
    except (ssl.SSLError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise TLSError(f"{where}: no certificate of an authority in PEM or DER: {why}") from error


def names_of(key: OwnKey) -> tuple[str, ...]:
    """The names that a certificate of our own is for; none if it is in an odd form.

    OpenSSL, which has loaded it by now, is less strict than we are.
    """
    text = Path(key.crt_file).read_text("ascii", "ignore")
    start = text.find("-----BEGIN CERTIFICATE-----")
    end = text.find("-----END CERTIFICATE-----", start)
    try:
        der = ssl.PEM_cert_to_DER_cert(text[start : end + len("-----END CERTIFICATE-----")])
        return Certificate.read(der).names
    except ValueError:
        return ()
