"""Turns of several processes at one listening socket, so that each gets a fair share of clients.

All that wait at a socket are woken for each client, and who is quickest has it: of two idle workers
one may get two thirds, of four one next to nothing. So each counts the clients that it has had, in
memory that all see, and one that is ahead leaves the next to the others for a moment. When they do
not take it, since they are busy, it does, and then ever more before it looks again.
"""

from __future__ import annotations

import mmap
import os

# Clients that are taken without a look at others who were busy.
_MOST_AT_ONCE = 1024

# So many more than another a worker may have had. Less would make waiting frequent.
_LEAD = 8

# What a worker has had is counted from one, so that fresh memory says that nobody is here.
_NOT_HERE = 0


PAUSE_SECONDS = 0.001
"""For how long a client is left to the others."""


class Turns:
    """The counts of all workers, as one of them sees them.

    descriptor: of the shared memory; it can be closed. mine: which of the workers this is. count:
    how many there are.
    """

    def __init__(self, descriptor: int, mine: int, count: int) -> None:
        self._counts = memoryview(mmap.mmap(descriptor, size_of(count))).cast("q")
        self._mine = mine
        self._least = _NOT_HERE
        self._left = False
        self._step = 1
        self._free = 0
        self._joined = 0
        self._counts[mine] = _NOT_HERE

    def join(self) -> None:
        """Have a share from now on."""
        self._joined += 1
        if self._joined == 1:
            # As many as the others have had: who comes late does not get all.
            self._counts[self._mine] = max(1, *self._counts)

    def leave(self) -> None:
        """Have no share any more."""
        self._joined -= 1
        if not self._joined:
            self._counts[self._mine] = _NOT_HERE

    def took_one(self) -> None:
        """Count a client."""
        self._counts[self._mine] += 1

    def is_anothers(self) -> bool:
        """Whether the next client is left to another, for a pause."""
        counts = self._counts
        least = min(count for count in counts if count != _NOT_HERE)
        if counts[self._mine] - least < _LEAD:
            return False
        if least != self._least:
            # They do take what is left to them.
            self._least, self._step, self._free, self._left = least, 1, 0, False
        if self._free:
            self._free -= 1
            return False
        if self._left:
            # Nobody has taken it.
            self._left = False
            self._free = self._step - 1
            self._step = min(2 * self._step, _MOST_AT_ONCE)
            return False
        self._left = True
        return True


def size_of(count: int) -> int:
    """How many bytes of shared memory so many workers need."""
    return 8 * count


def forget(descriptor: int, worker: int) -> None:
    """A worker has gone, and may not have been able to say so."""
    os.pwrite(descriptor, bytes(8), 8 * worker)
