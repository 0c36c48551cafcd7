"""What a source of addresses is to a `Rule`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .. import endp


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a service.

    endp: where it is: TCP at an IP address or at a name, and nothing else. priority: those with
    the lowest number are tried first (default 0). weight: what share it shall have of the
    connections, among those of its priority (default 1; 0 is next to nothing).
    """

    endp: endp.TCP | endp.Host
    priority: int = 0
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """What a source knows of a name.

    addresses: where it is; none if there is no such name. ttl: seconds for which this is good,
    also that there is none; 0: ask again each time. why: if there are none, the reason in words.
    """

    addresses: tuple[Address, ...]
    ttl: float
    why: str = ""


@runtime_checkable
class Discovers(Protocol):
    """A source of addresses; any object with this method is one."""

    async def resolve(self, name: str, /) -> Found:
        """Find where a service is.

        name: as the `Rule` that asks makes it.

        Raises OSError or a ConduitError if that cannot be known now. Several tasks may ask at once.
        """
        ...
