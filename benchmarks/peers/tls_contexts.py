"""The standard library's TLS contexts, the same for all peers that use them, and their sessions."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from .interface import Kind, WrongHandshake

AUTHORITY, OWN = "authority", "server"
"""The certificates are in AUTHORITY.crt and OWN.crt, the server's key in OWN.key."""

OPENSSL_SETTINGS = "openssl.cnf"
"""What every OpenSSL, whoever brings it along, is to be set up with."""

NAMES = "*.bench.example"
"""What the server's certificate is for."""

NAME = "one.bench.example"
"""The name by which all clients ask for it that do not need several."""


class Connection(Protocol):
    """What `ssl.SSLObject`, or something that stands before one, says of itself."""

    @property
    def session(self) -> ssl.SSLSession | None: ...

    @property
    def session_reused(self) -> bool | None: ...

    def version(self) -> str | None: ...


def file(directory: str, name: str) -> str:
    return str(Path(directory, name))


@cache
def server_context(directory: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(file(directory, f"{OWN}.crt"), file(directory, f"{OWN}.key"))
    return context


class Clients:
    """A client's context, which takes sessions up where the row asks for it."""

    def __init__(self, kind: Kind, directory: str) -> None:
        self._resumes = kind == "tls-resumed"
        self._session: ssl.SSLSession | None = None
        self._took_one = False
        self.context = ssl.create_default_context(cafile=file(directory, f"{AUTHORITY}.crt"))
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self._resumes:
            # Neither streams nor anyio nor trio have a place for a session in their interfaces,
            # but all make their connections this way. A subclass would be seen by anyio, which
            # then goes to a thread.
            self._wrap_bio = self.context.wrap_bio
            self.context.wrap_bio = self._resume  # type: ignore[method-assign]

    def _resume(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return self._wrap_bio(incoming, outgoing, server_side, server_hostname, self.take())

    def take(self) -> ssl.SSLSession | None:
        """The session of the connection before, if there is one and it is to be resumed.

        Each is used once, as Conduit does it and RFC 8446 advises.
        """
        session, self._session = self._session, None
        self._took_one = session is not None
        return session

    def talked(self, connection: object) -> None:
        """Keep the session of a connection on which the server has spoken; and look at it.

        Raises WrongHandshake when it has not come about in the way that is measured.
        """
        made = cast(Connection, connection)
        check(made.version(), bool(made.session_reused), self._took_one)
        if self._resumes:
            self._session = made.session


def check(version: str | None, resumed: bool, expected: bool) -> None:
    """Raise WrongHandshake unless it is TLS 1.3, and resumed if that is expected."""
    if version != "TLSv1.3":
        raise WrongHandshake(f"{version} was agreed on instead of TLS 1.3")
    if resumed != expected:
        raise WrongHandshake(
            "a session was not resumed" if expected else "a session was resumed unasked"
        )


@cache
def clients(kind: Kind, directory: str) -> Clients:
    """The one for a process; made once, for it reads files."""
    return Clients(kind, directory)
