"""For tests of programs and of transports: flows without a network, faults, and a checker.

- `memory_pair` is two flows connected in memory, `Memory` an address there to connect to and to
  serve, `memory_transports` the same for asyncio protocols of your own.
- `Faulty` puts `Faults` (delays, short and slow reads, cuts) below the flows of any address, and
  `add_faults` below a flow that is open.
- `Authority` issues certificates, good ones and bad ones; so does `self_signed`. They need the
  package cryptography (`pip install "conduit-net[testing]"`).
- `check_channels` holds a transport's channels against every promise in `CHECKS`.
"""

from __future__ import annotations

from .ca import Authority, Issued, self_signed
from .check import CHECKS, check_channels
from .faulty import Faulty, add_faults
from .line import Faults
from .memory import Memory, MemoryFlow, memory_pair, memory_transports

__all__ = [
    "CHECKS",
    "Authority",
    "Faults",
    "Faulty",
    "Issued",
    "Memory",
    "MemoryFlow",
    "add_faults",
    "check_channels",
    "memory_pair",
    "memory_transports",
    "self_signed",
]
