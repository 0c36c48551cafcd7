"""Where our own certificate and key are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import _fields as kind
from .._fields import Password, Path, Record, check

__all__ = ["OwnKey"]


@dataclass(frozen=True, slots=True, repr=False)
class OwnKey(Record):
    """A certificate of our own and its key; the files are read when it is used, not here.

    crt_file: the PEM file of the certificate and those that signed it: a str or a path.
    key_file: the PEM file of its key: a str or a path.
    password: None (the default), or a function of one bool that returns the key's password as
        a str, called in a thread. Neither it nor what it returns is ever printed.

    Raises AddressError for a part that cannot be.
    """

    crt_file: str
    key_file: str
    password: Password | None = None

    if TYPE_CHECKING:

        def __init__(
            self, crt_file: Path, key_file: Path, password: Password | None = None
        ) -> None: ...

    def __post_init__(self) -> None:
        check(self, crt_file=kind.file, key_file=kind.file, password=kind.password)
