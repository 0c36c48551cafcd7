"""Two ends of a vchan in this process, as libxenvchan behaves: rings, and who asked to be told.

Without Xen it shows whether the transport asks, waits and gives up as it must.
"""

from __future__ import annotations

import os
from threading import Lock

# An end is closed in another thread.
_lock = Lock()

RING = 64 * 1024


class RingEnd:
    """One end. It is told of what the other does only after it has asked for more, or for room."""

    peer: RingEnd

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.incoming = bytearray()
        self.wants_data = True
        self.wants_room = False
        self.closed = False

    def take_event(self) -> None:
        os.eventfd_read(self.fd)

    def read(self) -> bytes | None:
        size = RING
        if len(self.incoming) < size:
            self.wants_data = True
        data = bytes(self.incoming[:size])
        if not data:
            return None if self.peer.closed else b""
        del self.incoming[:size]
        self._tell("wants_room")
        return data

    def write(self, data: bytes) -> int:
        if self.peer.closed:
            return -1
        room = RING - len(self.peer.incoming)
        if room < len(data):
            self.wants_room = True
        sent = data[:room]
        if sent:
            self.peer.incoming += sent
            self._tell("wants_data")
        return len(sent)

    def close(self) -> None:
        if not self.closed:
            with _lock:
                # In this order, as the library has it: the peer looks when it is told.
                self.closed = True
                if not self.peer.closed:
                    os.eventfd_write(self.peer.fd, 1)
                os.close(self.fd)

    def _tell(self, wish: str) -> None:
        with _lock:
            if getattr(self.peer, wish) and not self.peer.closed:
                setattr(self.peer, wish, False)
                os.eventfd_write(self.peer.fd, 1)


def ring_pair() -> tuple[RingEnd, RingEnd]:
    left, right = RingEnd(), RingEnd()
    left.peer, right.peer = right, left
    return left, right
