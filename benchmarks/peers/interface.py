"""What a peer must be able to do, so that every one of them does exactly the same work.

A peer is a server and a client. A runtime is what drives them: an event loop, or for the
floor nothing at all. The measuring code knows only these protocols.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Kind = Literal["tcp", "unix", "tls", "tls-resumed", "tls-in-tls"]
"""What to listen on. All kinds of TLS are over TCP; `tls-resumed` is one whose clients take up,
with each connection, the session that the one before it was given."""

TLS_KINDS: tuple[Kind, ...] = ("tls", "tls-resumed", "tls-in-tls")

Connected = Callable[[], None]

MESSAGE = b"conduit!" * 8
"""What a connection that is made for one exchange sends and gets back: 64 bytes."""

READ_SIZE = 65536
"""How many bytes every peer asks for at once, where its interface lets it ask."""

BACKLOG = 1024


class WrongEcho(Exception):
    """What came back is not as much as was sent."""


class WrongHandshake(Exception):
    """A TLS connection is not of the version or of the kind that was to be measured."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens.

    port: of all kinds but `unix`. path: of `unix`; of TLS, the directory of the certificates.
    """

    kind: Kind
    port: int = 0
    path: str = ""

    @property
    def layers(self) -> int:
        """How many times TLS is over TCP."""
        return 0 if self.kind not in TLS_KINDS else 2 if self.kind == "tls-in-tls" else 1


class Peer(Protocol):
    """The same four pieces of work, written the way the peer's own documentation would.

    `connected`, where there is one, is called when the connection is there, its handshakes
    included: only then the clock starts.
    """

    def serving(self, kind: Kind, path: str) -> AbstractAsyncContextManager[Place]:
        """Listen on 127.0.0.1 (a port of the kernel's choice) or on `path`, and echo.

        A server of TLS finds its certificate in the directory `path`, under the names in
        `tls_contexts.py`, and so do its clients their authority.

        What is received is sent back with the peer's own back-pressure; at the end of the
        input the connection is closed.
        """
        ...

    async def exchange(self, place: Place, count: int) -> None:
        """`count` times, one after another: connect, send MESSAGE, receive it, close.

        Closing includes waiting until closed, as far as the peer's interface lets one wait.
        """
        ...

    async def ping_pong(self, place: Place, count: int, size: int, connected: Connected) -> None:
        """Over one connection, `count` times: send `size` bytes, wait for all of them."""
        ...

    async def bulk(self, place: Place, count: int, size: int, connected: Connected) -> None:
        """Over one connection: send `count` pieces of `size` bytes while receiving them back.

        Each goes out when the last one was taken; WrongEcho if the amounts differ.
        """
        ...

    async def hold(self, place: Place, count: int) -> object:
        """Open `count` connections, do one exchange on each, and leave them open.

        They stay so for as long as the returned object lives.
        """
        ...


class Talkative(Peer, Protocol):
    """A peer whose held connections can be made to talk: those of whom growth is measured."""

    async def hold(self, place: Place, count: int) -> list[Any]:
        """As every peer; a list of the connections."""
        ...

    async def talk(self, one: Any, count: int, size: int) -> None:
        """Over one of them, `count` times: send `size` bytes, wait for all of them."""
        ...


class Runtime(Protocol):
    """What makes a peer's coroutines run."""

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run to the end and return."""
        ...

    async def together(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        """Run all the jobs at the same time and wait for all of them."""
        ...

    def rest(self, seconds: float) -> Awaitable[None]:
        """Let the other tasks run for a while."""
        ...


def check_amount(expected: int, received: int) -> None:
    """Raise WrongEcho unless the two are the same."""
    if expected != received:
        raise WrongEcho(f"{expected} bytes were sent, {received} came back")
