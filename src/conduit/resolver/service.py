"""What a scheme stands for."""

from __future__ import annotations

from dataclasses import dataclass

from .. import _fields as kind
from .._fields import Record, check

__all__ = ["Service"]


@dataclass(frozen=True, slots=True, repr=False)
class Service(Record):
    """What a scheme stands for.

    name: the scheme, such as "https". port: the TCP port, 0 to 65535. tls: whether TLS begins at
    once (default no).

    Raises AddressError for a part that cannot be.
    """

    name: str
    port: int
    tls: bool = False

    def __post_init__(self) -> None:
        check(self, name=kind.name, port=kind.port)
