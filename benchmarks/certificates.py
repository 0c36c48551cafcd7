"""The throwaway certificates of a run: an authority, an intermediate, and a server's own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from .peers.tls_contexts import AUTHORITY, NAMES, OPENSSL_SETTINGS, OWN

_SETTINGS = """\
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = every_context
[every_context]
Groups = X25519
"""
"""Twisted comes with an OpenSSL of its own, and each OpenSSL prefers another key exchange: those of
the newest cost more than all that a program adds to a handshake."""


def can_be_made() -> bool:
    """Whether the package that makes them is installed."""
    return find_spec("cryptography") is not None


def make(directory: Path) -> None:
    """Write what the peers look for, all with keys on P-256, into a directory."""
    from conduit.testing import Authority

    authority = Authority()
    authority.write(directory, AUTHORITY)
    authority.intermediate().issue(NAMES).write(directory, OWN)
    (directory / OPENSSL_SETTINGS).write_text(_SETTINGS)
