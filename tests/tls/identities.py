"""Who takes part in the tests: an authority, servers and clients, with their files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from conduit import OwnKey, trust
from conduit.testing import Authority
from conduit.testing.ca import KeyKind
from conduit.tls.trust import Trust

KINDS: tuple[KeyKind, ...] = ("ec", "rsa", "ed25519")

NAMES = ("db.example", "*.wild.example", "localhost", "127.0.0.1", "::1")
"""What every server's certificate here is for."""


@dataclass
class Identities:
    """Certificates by one authority. Made where blocking is allowed: in a fixture, not in a test.

    directory: where the files are.
    """

    authority: Authority
    directory: Path
    _made: dict[tuple[str, ...], OwnKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in KINDS:
            self.server(kind)
            self.client(kind)

    @property
    def trust(self) -> Trust:
        """Trust in all of them."""
        return trust.ca(self.authority.pem)

    def server(self, kind: KeyKind = "ec") -> OwnKey:
        """A server's, for all of `NAMES`."""
        return self._issued("server", kind, *NAMES)

    def client(self, kind: KeyKind = "ec") -> OwnKey:
        """A client's."""
        return self._issued("client", kind, "client.example")

    def _issued(self, who: str, kind: KeyKind, *names: str) -> OwnKey:
        made = self._made.get((who, kind))
        if made is None:
            issued = self.authority.issue(*names, key=kind)
            made = self._made[(who, kind)] = issued.write(self.directory, f"{who}-{kind}")
        return made
