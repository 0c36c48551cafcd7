"""What a way to reach a peer has to offer.

A transport is a module with two functions, `connect` and `listen`; `Transport` says what they take
and give. Nothing here knows of sockets: a TLS layer, a tunnel or a shared-memory ring fits as well.

A server drives a listener like this:

    listener.watch(ready)         call ready() on the loop whenever a connection may be waiting
    arrival = listener.accept()   take it, or raise BlockingIOError
    await arrival.open(closed)    in a task of its own: handshakes, then flow, ic, oc
    listener.unpublish()          no new client finds the way here; those that wait are accepted
    listener.close()
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from ..channels import Input, Output
from ..context import Context
from ..endp import Endp
from ..errors import UnsupportedTransport
from ..flow import Flow
from ..tls.keys import OwnKey


class Triple(NamedTuple):
    """An established connection: what it is, what comes in, what goes out."""

    flow: Flow
    ic: Input
    oc: Output


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOptions:
    """How to listen, as far as the mode does not say; a transport uses what it knows of.

    backlog: how many connections may wait to be accepted. reuse_port: share the port with other
    processes. unix_mode: permission bits of a Unix socket's file; None leaves them to the umask.
    client_auth: what a TLS client must show: "none", "optional" or "required". certificates: more
    than the one of the mode, for clients that ask for their names.
    """

    backlog: int = 1024
    reuse_port: bool = False
    unix_mode: int | None = None
    client_auth: str = "none"
    certificates: tuple[OwnKey, ...] = ()


class Arrival(ABC):
    """A connection that was accepted and is not yet established."""

    __slots__ = ()

    handshakes = False
    """Whether `open` waits for the peer to say something, so that it needs a deadline."""

    @abstractmethod
    async def open(self, on_closed: Callable[[], None]) -> Triple:
        """Make channels of it.

        on_closed: called when the flow is closed and has given back what it held; not when this
        raises. Raises what a handshake raises; then, and when it is cancelled, all is closed, or
        will be when `finish` returns.
        """

    async def finish(self) -> None:
        """Wait for the end of what `open` has begun to close when it raised.

        So an error can be told at once, though the peer may take its time to hear of it. Cancelled,
        it closes what is left at once.
        """
        return

    @abstractmethod
    def discard(self) -> None:
        """Close it unopened. Not called after `open`."""


class Reloadable(ABC):
    """Something that a listener has read from files, and can read again while it is used."""

    @property
    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """The paths it is read from."""

    @abstractmethod
    async def reload(self) -> None:
        """Read it again, for clients that arrive from now on.

        Raises OSError or a ConduitError if that fails; then all stays as it was.
        """


class Shared(NamedTuple):
    """A listening socket that another process may serve, too.

    fd: its descriptor. file: the absolute path of a Unix socket that its server unlinks in the end,
    and `identity` its device and inode; None for all others.
    """

    fd: int
    file: str | None = None
    identity: tuple[int, int] | None = None


class Listener(ABC):
    """Where clients arrive. Open when it is made; `close` gives back all that it holds."""

    __slots__ = ("endp",)

    endp: Endp
    """How to reach it, with the real port."""

    @property
    def reloads(self) -> tuple[Reloadable, ...]:
        """What it has read from files; a plain listener nothing."""
        return ()

    @abstractmethod
    def watch(self, ready: Callable[[], None]) -> None:
        """Call `ready` on the loop whenever a connection may be waiting, until unwatched."""

    @abstractmethod
    def unwatch(self) -> None:
        """Stop calling. Does nothing when nobody watches."""

    @abstractmethod
    def accept(self) -> Arrival:
        """Take one waiting connection. Raises BlockingIOError for none, OSError as accept(2)."""

    def unpublish(self) -> None:
        """Take away the name by which clients come here, if it is ours, before the last accepts."""
        return

    def served(self, succeeded: Callable[[], None]) -> None:
        """The server accepts from now on.

        succeeded: to be called, once, when another process serves instead; the server ends then.
        """
        return

    def share(self) -> Shared:
        """What another process needs to serve it as well. Raises UnsupportedTransport for none."""
        raise UnsupportedTransport(f"{self.endp} is no socket, which could be handed over")

    def lend(self, lent: bool) -> None:
        """Another process may own the name by which clients come here: leave it, if `lent`."""
        return

    @abstractmethod
    def close(self) -> None:
        """Stop listening. A second call does nothing."""


Attempts: TypeAlias = list[tuple[object, BaseException]]
"""The addresses that were tried in vain, each with its failure, in order."""


class Transport(Protocol):
    """The two functions of a transport's module."""

    async def connect(self, target: Any, ctx: Context, attempts: Attempts) -> Triple:
        """Connect to `target`, a client address of this transport.

        attempts: a transport that tries several addresses adds those that failed, and when it is
        cancelled those that have not answered, so that the caller, who holds the deadline, can tell
        of them. Raises OSError for what fails below (the
        last of several), or a ConduitError that says more. Leaks nothing when it fails or is
        cancelled.
        """
        ...

    async def listen(self, mode: Any, ctx: Context, options: ListenOptions) -> list[Listener]:
        """Listen as `mode` says, a server address of this transport.

        Raises OSError, with the address in its text, when that cannot be.
        """
        ...
