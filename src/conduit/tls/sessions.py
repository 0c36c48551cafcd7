"""Sessions to take up again: a bounded memory of what servers gave."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

S = TypeVar("S")

MOST_SESSIONS = 128


class Sessions(Generic[S]):
    """The latest session of each peer; the peer that was met longest ago is forgotten first.

    Each session is given out once, as RFC 8446 (appendix C.4) advises: whoever watches the network
    cannot tell by it that two connections are of the same client.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, S] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, peer: Hashable) -> S | None:
        """The session of a peer, which is forgotten here; None if there is none."""
        return self._kept.pop(peer, None)

    def keep(self, peer: Hashable, session: S) -> None:
        """Remember a session, in the place of the one before."""
        self._kept[peer] = session
        self._kept.move_to_end(peer)
        while len(self._kept) > MOST_SESSIONS:
            self._kept.popitem(last=False)
