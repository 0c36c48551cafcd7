"""What gRPC is given to encrypt a connection to etcd: our trust and our own key, as PEM."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

from ..errors import TLSError, UnsupportedTransport
from ..tls import key_files
from ..tls.keys import OwnKey
from ..tls.openssl_contexts import load_anchors, load_key
from ..tls.trust import Source, Trust


class Papers(NamedTuple):
    """Three texts in PEM: whom to trust, and our own key and certificate, None for none."""

    anchors: bytes
    key: bytes | None
    crt: bytes | None


def check_trust(trust: object, own_key: object) -> None:
    """Refuse what gRPC cannot check, which is all but anchors.

    Raises TLSError for fingerprints, for trust in anybody, and for an own key without trust;
    TypeError for what is neither.
    """
    if own_key is not None and not isinstance(own_key, OwnKey):
        raise TypeError(f"Etcd: own_key must be a conduit.OwnKey, not {own_key!r}")
    if trust is None:
        if own_key is not None:
            raise TLSError(
                "Etcd: an own_key is shown over TLS alone: say whom to trust, as in "
                "trust=conduit.trust.ca('/etc/ours.pem')"
            )
        return
    if not isinstance(trust, Trust):
        raise TypeError(f"Etcd: trust is made by conduit.trust, as trust.ca, not {trust!r}")
    if trust.pins or not trust.verifies:
        raise TLSError(
            f"Etcd: gRPC, which carries etcd, cannot follow {trust!r}: it checks who has signed a "
            "certificate, and its name; use conduit.trust.ca or conduit.trust.os"
        )


def read_papers(trust: Trust, own_key: OwnKey | None) -> Papers:
    """Read the files; to be called in a thread.

    Raises OSError for a file that cannot be read, TLSError for one that holds something else and
    for a password that is wrong or missing, UnsupportedTransport if the key is encrypted and the
    package cryptography is not there.
    """
    # OpenSSL looks at all first, since gRPC does not say what it dislikes.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_anchors(context, trust)
    anchors = b"".join(map(_pem_of, _sources(trust)))
    if own_key is None:
        return Papers(anchors, None, None)
    load_key(context, own_key)
    key = Path(own_key.key_file).read_bytes()
    return Papers(anchors, _opened(own_key, key), Path(own_key.crt_file).read_bytes())


def _sources(trust: Trust) -> tuple[Source, ...]:
    if trust.anchors != "os":
        return trust.anchors or ()
    file = cast("str | None", ssl.get_default_verify_paths().cafile)
    if file is None:
        raise TLSError(
            "Etcd: the anchors of this system are not in one file, which gRPC needs: name one by "
            "conduit.trust.ca"
        )
    return (file,)


def _pem_of(source: Source) -> bytes:
    data = Path(source).read_bytes() if isinstance(source, str) else source
    if b"-----BEGIN" in data:
        return data.rstrip() + b"\n"
    return ssl.DER_cert_to_PEM_cert(data).encode()


def _opened(own_key: OwnKey, data: bytes) -> bytes:
    """The key without its password, for gRPC takes none."""
    if b"ENCRYPTED" not in data:
        return data
    try:
        reading: Any = import_module("cryptography.hazmat.primitives.serialization")
    except ImportError:
        raise UnsupportedTransport(
            f"{own_key.key_file} is encrypted, and to open it for gRPC takes the package "
            "cryptography: pip install cryptography"
        ) from None
    password = key_files.password_of(own_key).encode()
    key = reading.load_pem_private_key(data, password)
    write = cast("Callable[..., bytes]", key.private_bytes)
    return write(reading.Encoding.PEM, reading.PrivateFormat.PKCS8, reading.NoEncryption())
