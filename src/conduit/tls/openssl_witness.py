"""Seeing the certificates of a handshake before OpenSSL judges them.

OpenSSL forgets what a client showed if it is refused, and Python gives no say in what is trusted
while a handshake runs. Two things need it: an error that shows the chain of a refused client, and
trust in a certificate by its fingerprint. So the messages are watched (by the callback that Python
has for debugging), and a certificate whose fingerprint is pinned becomes an anchor of its context.
It is checked for its dates, its purpose and its names like any other, and whether it was really the
peer's own is looked at again when the handshake is done.
"""

from __future__ import annotations

import _ssl
import hashlib
import ssl
import weakref
from collections.abc import Iterable
from typing import Any, cast

from .trust import Trust

_CERTIFICATE = 11
_HANDSHAKE = 22
_TLS13 = 0x0304

# More than any chain of use has; OpenSSL's own bound on the message is 100 KiB.
_MOST_CERTIFICATES = 32


def witness(context: ssl.SSLContext, trust: Trust | None) -> None:
    """Note the chain that each peer of `context` shows, for `shown_to`; let pinned ones in."""
    pins = trust if trust is not None and trust.pins and trust.anchors is None else None
    known: set[bytes] = set()
    # The context holds the callback, and a circle would be for the garbage collector.
    itself = weakref.ref(context)

    def watch(
        conn: Any, direction: str, version: int, content: int, kind: int, data: bytes
    ) -> None:
        if kind != _CERTIFICATE or content != _HANDSHAKE or direction != "read":
            return
        chain = certificates_of(data, version == _TLS13)
        conn.shown = chain
        if pins is not None and chain:
            digest = hashlib.sha256(chain[0]).digest()
            judge = itself()
            if digest not in known and judge is not None and pins.accepts(digest):
                known.add(digest)
                judge.load_verify_locations(cadata=chain[0])

    # Not by SSLContext's property of that name, which makes enums of all numbers for each message.
    _ssl._SSLContext._msg_callback.__set__(context, watch)  # type: ignore[attr-defined]


def shown_to(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates that the peer of a connection has shown, each in DER, its own first."""
    shown: tuple[bytes, ...] | None = getattr(connection, "shown", None)
    if shown is not None:
        return shown
    inner = cast("Any", connection)._sslobj  # public from Python 3.13 on
    chain: Iterable[Any] = inner.get_unverified_chain() or ()
    return tuple(bytes(one.public_bytes(_ssl.ENCODING_DER)) for one in chain)


def certificates_of(message: bytes, tls13: bool) -> tuple[bytes, ...]:
    """The certificates in a Certificate message (RFC 8446, 4.4.2; RFC 5246, 7.4.2), in DER.

    message: with its header of four bytes. What is malformed is left out: OpenSSL refuses it.
    """
    at = 4
    if tls13:
        at += 1 + (message[at] if len(message) > at else 0)
    end = at + 3 + int.from_bytes(message[at : at + 3])
    at += 3
    found: list[bytes] = []
    while at + 3 <= min(end, len(message)) and len(found) < _MOST_CERTIFICATES:
        size = int.from_bytes(message[at : at + 3])
        found.append(message[at + 3 : at + 3 + size])
        at += 3 + size
        if tls13:
            at += 2 + int.from_bytes(message[at : at + 2])
    return tuple(found)
