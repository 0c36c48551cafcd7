"""A whole TLS connection without sockets and without a loop: two engines, and the bytes between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from conduit import TLSError
from conduit.tls.engine import (
    ClientAuth,
    ClientCredentials,
    ClientSettings,
    Engine,
    ServerCredentials,
    ServerSettings,
)
from conduit.tls.keys import OwnKey
from conduit.tls.trust import Trust
from tests.tls.engines import Stack, Version

# More turns than any handshake has.
_TURNS = 20


class End:
    """One end: an engine, driven as the layer drives it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.done = False
        self.got = bytearray()
        self.failure: TLSError | None = None

    @property
    def ended(self) -> bool:
        """Whether the peer has said goodbye."""
        return self.engine.ended

    def take(self, data: bytes) -> None:
        """Go on with what the peer sent; nothing is no news."""
        if self.failure is not None or self.ended:
            return
        self.engine.receive(data)
        try:
            if not self.done:
                self.done = self.engine.handshake()
            if self.done:
                self.got += self.engine.read()
                if self.engine.failure is not None:
                    raise self.engine.failure
        except TLSError as error:
            self.failure = error

    def say(self, data: bytes) -> None:
        """As `Engine.write`."""
        self.engine.write(data)

    def read(self) -> bytes:
        """All that has come since this was asked."""
        got = bytes(self.got)
        self.got.clear()
        return got


@dataclass
class Session:
    """A client and a server, and what each has sent.

    on_the_way: called with what is sent, and gives what arrives.
    """

    client: End
    server: End
    from_client: bytearray = field(default_factory=bytearray)
    from_server: bytearray = field(default_factory=bytearray)
    on_the_way: Callable[[bytes], bytes] = bytes

    def run(self) -> Session:
        """Let them speak until neither has anything to say."""
        self.client.take(b"")
        for _ in range(_TURNS):
            up = self.client.engine.to_send()
            self.from_client += up
            if up:
                self.server.take(self.on_the_way(up))
            down = self.server.engine.to_send()
            self.from_server += down
            if down:
                self.client.take(self.on_the_way(down))
            if not up and not down:
                return self
        raise AssertionError("they go on speaking")


@dataclass
class Loaded:
    """What two stacks have loaded, for any number of sessions."""

    client: ClientCredentials
    server: ServerCredentials

    def session(self, hostname: str = "db.example", peer: object = None) -> Session:
        """A session that has not begun. peer: as for `ClientCredentials.engine`."""
        return Session(End(self.client.engine(hostname, peer)), End(self.server.engine()))


def load(
    stacks: tuple[Stack, Stack],
    version: Version | None,
    own: OwnKey,
    trust: Trust,
    *,
    more_keys: tuple[OwnKey, ...] = (),
    client_key: OwnKey | None = None,
    client_auth: ClientAuth = "none",
    offered: tuple[str, ...] = (),
    alpn: tuple[str, ...] = (),
) -> Loaded:
    """Load a server that shows `own`, and a client that trusts `trust`; the server does, too.

    stacks: the client's and the server's. version: of the server; None for all that it speaks.
    offered: the client's ALPN, and alpn: the server's.
    """
    near, far = stacks
    client_settings = ClientSettings(trust=trust, own_key=client_key, alpn=offered)
    server_settings = ServerSettings(
        keys=(own, *more_keys), trust=trust, alpn=alpn, client_auth=client_auth
    )
    if version is None:
        server = far.loader.load_server(server_settings)
    else:
        with far.only(version):
            server = far.loader.load_server(server_settings)
    return Loaded(near.loader.load_client(client_settings), server)
