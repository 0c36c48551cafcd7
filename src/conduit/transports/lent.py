"""Where a worker of several processes gets its listening sockets: its parent lends them.

A worker of `conduit.run_workers` binds nothing itself: where the transports of sockets would, they
ask `lender`, which has a line to the parent. So all workers serve the same port or path, and what
a worker has not accepted when it dies is there for the one that takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import UnsupportedTransport

if TYPE_CHECKING:
    from .lender import Lender


class Wanted(NamedTuple):
    """A place to listen at.

    kind: "tcp", "unix" or "vsock". where: the port, the path, or CID and port. addresses: of TCP,
    as text; none for all.
    """

    kind: str
    where: int | str | tuple[int, int]
    addresses: tuple[str, ...] = ()


lender: Lender | None = None
"""That of this process; None where it is no worker."""


def refuse(what: str) -> None:
    """Raise UnsupportedTransport in a worker."""
    if lender is not None:
        raise UnsupportedTransport(
            f"{what}: not in a worker of conduit.run_workers, whose sockets are its parent's; to "
            "restart without losing a client, run under systemd and serve server.Systemd(name)"
        )
