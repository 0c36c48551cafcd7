"""What a proxy is told to know who asks: found where the address says, and held by nobody."""

from __future__ import annotations

import asyncio
import re
from typing import cast
from urllib.parse import unquote

from .. import client
from ..errors import AddressError

_URL = re.compile(
    r"(?:https?|socks5h?)://(?:(?P<login>[^/?#]*)@)?[^@/?#]*(?:[/?#].*)?", re.IGNORECASE
)


class Login:
    """A user and a password. Nothing that is printed shows them.

    what: the address that it is for, for errors.
    """

    __slots__ = ("_password", "_user", "_what")

    def __init__(self, what: str, user: str, password: str) -> None:
        self._what = what
        self._user = user
        self._password = password

    def for_socks5(self) -> tuple[str, str]:
        """The two as RFC 1929 can say them. Raises AddressError if it cannot."""
        for part, what in ((self._user, "user"), (self._password, "password")):
            # That it is UTF-8 is said nowhere, so python-socks sends ASCII.
            if not part.isascii() or not 1 <= len(part) <= 255:
                raise AddressError(
                    f"{self._what}: the {what} of its login is not 1 to 255 characters of ASCII, "
                    "as SOCKS5 has them"
                )
        return self._user, self._password

    def for_http(self) -> tuple[str, str]:
        """The two as RFC 7617 can say them. Raises AddressError if it cannot."""
        both = f"{self._user}{self._password}"
        if not self._user or not all(" " <= char <= "\xff" and char != "\x7f" for char in both):
            raise AddressError(
                f"{self._what}: its login has no user, or characters that are not of Latin-1, in "
                "which Basic authentication is sent"
            )
        return self._user, self._password


async def login_of(target: client.SOCKS5 | client.HTTPConnect) -> Login | None:
    """Ask for the login of an address: in a thread, since it may be in a file.

    Of a URL, as variables such as `https_proxy` hold them, it is what stands before the "@"; None
    if there is nothing.

    Raises AddressError for what is no login, and what the function raises.
    """
    assert target.login is not None
    given = cast("object", await asyncio.to_thread(target.login, False))
    what = str(target)
    if not isinstance(given, str):
        kind = type(given).__name__
        raise AddressError(f"{what}: its login must be a str, and the function returned a {kind}")
    url = _URL.fullmatch(given)
    found: str | None = given if url is None else url["login"]
    if found is None:
        return None
    user, colon, password = found.partition(":")
    if not colon:
        # Not shown, whatever it is.
        raise AddressError(f"{what}: its login has no ':'; it is written USER:PASSWORD")
    if url is not None:
        user, password = unquote(user), unquote(password)
    return Login(what, user, password)
