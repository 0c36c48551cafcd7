"""Twisted's TLS: what its endpoints are wrapped with, and the sessions of its clients."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer  # type: ignore[import-untyped]

from .interface import Kind
from .tls_contexts import AUTHORITY, NAME, OWN, check, file

_END = b"-----END CERTIFICATE-----\n"


@implementer(IOpenSSLClientConnectionCreator)
class Clients:
    """Makes a client's connections, and takes sessions up where the row asks for it."""

    def __init__(self, kind: Kind, directory: str) -> None:
        authority = ssl.Certificate.loadPEM(_read(directory, f"{AUTHORITY}.crt"))
        self._resumes = kind == "tls-resumed"
        self._session: SSL.Session | None = None
        self._took_one = False
        self._options = ssl.optionsForClientTLS(
            NAME,
            trustRoot=ssl.trustRootFromCertificates([authority]),
            extraCertificateOptions={
                "raiseMinimumTo": ssl.TLSVersion.TLSv1_3,
                "enableSessionTickets": self._resumes,
            },
        )

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        connection = self._options.clientConnectionForTLS(protocol)
        session, self._session = self._session, None
        self._took_one = session is not None
        if session is not None:
            connection.set_session(session)
        return connection

    def talked(self, connection: SSL.Connection) -> None:
        """Keep the session of a connection on which the server has spoken; and look at it."""
        # pyOpenSSL has no public name for this.
        resumed = bool(SSL._lib.SSL_session_reused(connection._ssl))
        check(connection.get_protocol_version_name(), resumed, self._took_one)
        if self._resumes:
            self._session = connection.get_session()


@cache
def clients(kind: Kind, directory: str) -> Clients:
    """The one for a process; made once, for it reads files."""
    return Clients(kind, directory)


def server_options(kind: Kind, directory: str) -> ssl.CertificateOptions:
    own, *above = [
        ssl.Certificate.loadPEM(one + _END).original
        for one in _read(directory, f"{OWN}.crt").split(_END)[:-1]
    ]
    key = ssl.KeyPair.load(_read(directory, f"{OWN}.key"), crypto.FILETYPE_PEM)
    return ssl.CertificateOptions(
        key.original,
        own,
        extraCertChain=above,
        raiseMinimumTo=ssl.TLSVersion.TLSv1_3,
        enableSessionTickets=kind == "tls-resumed",
    )


def _read(directory: str, name: str) -> bytes:
    return Path(file(directory, name)).read_bytes()
