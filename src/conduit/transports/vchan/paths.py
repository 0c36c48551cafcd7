"""Where the two sides of a vchan meet in xenstore: the paths, and what may stand in them.

    /local/domain/<server>/data/vchan/<client>/<port>/{ring-ref,event-channel}     a vchan
    /conduit/<name>                                 the domain of a server that is found by name
    /conduit/<name>/<client's name>/<port>          a client's wish to be served

The first is what libxenvchan's own programs and MirageOS use, the others are MirageOS's.
"""

from __future__ import annotations

import re

from ...errors import AddressError

NAMES = "/conduit"
KEYS = ("ring-ref", "event-channel")

# DOMID_FIRST_RESERVED of Xen's public headers; the numbers from there on are no domains.
_DOMAINS = 0x7FF0

# libxenvchan prints PATH/event-channel into char buf[64]. What is longer is cut off, so that both
# keys get the same name, and it does not tell.
_LONGEST = 63 - len("/event-channel")

_WORD = re.compile(r"[A-Za-z0-9_-]+")

# XENSTORE_ABS_PATH_MAX is far beyond this; a name is a part of a path with two more in it.
_LONGEST_NAME = 256


def check_domid(domid: int, what: str) -> None:
    """Raise AddressError for a number that no domain has. what: the address, for the error."""
    if not 0 <= domid < _DOMAINS:
        raise AddressError(f"{what}: there is no domain {domid}, they go from 0 to {_DOMAINS - 1}")


def check_port(port: str, what: str) -> None:
    """Raise AddressError for a port that cannot be a part of a path in xenstore."""
    _check_word(port, "port", what)


def check_name(name: str, what: str) -> None:
    """Raise AddressError for the name of a domain that cannot be a part of a path in xenstore."""
    _check_word(name, "name", what)
    if len(name) > _LONGEST_NAME:
        raise AddressError(f"{what}: a name of {len(name)} characters; {_LONGEST_NAME} are allowed")


def direct(server: int, client: int, port: str, what: str) -> str:
    """The path of a vchan. Raises AddressError for one that libxenvchan would cut off."""
    check_domid(server, what)
    check_domid(client, what)
    check_port(port, what)
    before = f"/local/domain/{server}/data/vchan/{client}/"
    room = _LONGEST - len(before)
    if len(port) > room:
        raise AddressError(
            f"{what}: the port has {len(port)} characters, and between domains {server} and "
            f"{client} libxenvchan takes {room}: it keeps the path {before}PORT in 64 bytes"
        )
    return before + port


def check_direct(domid: int, port: str, what: str) -> None:
    """As `direct`, as far as can be said before it is known which domain this is."""
    direct(0, domid, port, what)


def _check_word(word: str, part: str, what: str) -> None:
    if _WORD.fullmatch(word):
        return
    if not word:
        raise AddressError(f"{what}: the {part} is empty")
    odd = next(char for char in word if not _WORD.fullmatch(char))
    raise AddressError(
        f"{what}: the {part} {word!r} holds {odd!r}; a vchan's is made of A-Z, a-z, 0-9, '_', '-'"
    )
