"""Where the password of a key is, said without saying the password."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import _fields as kind
from .._fields import Path, Record, check
from ..errors import AddressError


@dataclass(frozen=True, slots=True, repr=False)
class PasswordFromEnv(Record):
    """A password function that reads an environment variable; `password_env=NAME` in text.

    name: of the variable. It is read when the key is.

    Raises AddressError for a name that no variable can have.
    """

    name: str

    def __post_init__(self) -> None:
        check(self, name=_variable)

    def __call__(self, encrypting: bool = False) -> str:
        """Read the password. Raises AddressError if there is no such variable."""
        try:
            return os.environ[self.name]
        except (KeyError, UnicodeEncodeError):
            reason = f"password_env: the environment has no variable {self.name!r}"
        raise AddressError(reason)


@dataclass(frozen=True, slots=True, repr=False)
class PasswordFromFile(Record):
    """A password function that reads a file; `password_file=PATH` in text.

    path: a str or a path. The file holds the password in UTF-8, and perhaps the end of the line. It
        is read when the key is.

    Raises AddressError for a path that cannot be.
    """

    path: str

    if TYPE_CHECKING:

        def __init__(self, path: Path) -> None: ...

    def __post_init__(self) -> None:
        check(self, path=_file)

    def __call__(self, encrypting: bool = False) -> str:
        """Read the password. Raises OSError for a file that cannot be read."""
        with open(self.path, "rb") as file:
            line = file.read()
        end = b"\r\n" if line.endswith(b"\r\n") else b"\n"
        try:
            return line.removesuffix(end).decode()
        except UnicodeDecodeError:
            pass
        # Not raised where the other could be seen: that one holds the password.
        raise AddressError(f"password_file: {self.path!r} is not UTF-8")


def _variable(value: object, where: kind.Where) -> str:
    value = kind.hostname(value, where)  # a str that is not empty and has no NUL
    if "=" in value:
        # Not shown: what follows may be the secret.
        raise kind.refusal(where, "holds '=', which no variable's name has")
    return value


def _file(value: object, where: kind.Where) -> str:
    value = kind.file(value, where)
    if not value:
        raise kind.refusal(where, "is empty")
    return value
