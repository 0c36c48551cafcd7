"""Texts without a scheme of ours: services, misspelt schemes, and what people write for short."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address

from ..errors import AddressError
from .grammar import SCHEMES, Side, layers_of
from .mistakes import closest, has_user, is_scheme, mistake, part

_OTHERS_SAY = {
    "ssl": "tls:", "tcps": "tls:", "tcp+tls": "tls:", "tcp+ssl": "tls:", "tls+ssl": "tls:",
    "tcp4": "tcp:", "tcp6": "tcp:", "inet": "tcp:", "inet6": "tcp:",
    "native": "tls-native:", "native-tls": "tls-native:", "tls_native": "tls-native:",
    "unix-socket": "unix:", "unix_socket": "unix:", "unixsocket": "unix:", "unix-stream": "unix:",
    "uds": "unix:", "abstract": "unix:@", "unix-abstract": "unix:@", "abstract-unix": "unix:@",
    "unix+tls": "tls+unix:", "vsock+tls": "tls+vsock:", "vchan+tls": "tls+vchan:",
    "vchan_name": "vchan-name:", "vchan+name": "vchan-name:", "sd": "systemd:",
    "fd+tcp": "tcp+fd:", "tcp-fd": "tcp+fd:",
}  # fmt: skip
"""Schemes that are none, and what they mean."""


_NO_STREAM = {
    "udp": "udp: is for datagrams, and an address here is of a stream",
    "file": "file: names a file, and an address a socket: that is unix:",
}


def is_service(text: str) -> bool:
    """As the function of the package."""
    scheme, slashes, _ = text.partition("://")
    scheme = scheme.lower()
    return (
        bool(slashes)
        and is_scheme(scheme)
        and not layers_of(scheme)[0]
        and scheme not in SCHEMES
        and scheme not in _NO_STREAM
        and _meant(scheme) is None
    )


def unreadable(text: str, side: Side) -> AddressError:
    """The error for a text that has no scheme of an address."""
    if not text:
        return mistake(text, 0, "an address cannot be empty")
    if is_service(text):
        scheme = text.partition(":")[0]
        why = f"{part(scheme)} is a service, and no address until a resolver has found one"
        return mistake(text, 0, why)
    if has_user(text):
        return mistake(text, 0, "this is no address, which has no user and no password either")
    start, why, meant = _guess(text, side)
    return mistake(text, start, why, meant)


def _guess(text: str, side: Side) -> tuple[int, str, str | None]:
    """Where it is wrong, why, and what was meant."""
    missing = "an address starts with its scheme"
    if text.startswith("//"):
        return 0, missing, f"tcp:{text}"
    if text.startswith(("/", "./", "../", "@")):
        return 0, missing, f"unix:{text}"
    if text.startswith("["):
        return 0, missing, f"tcp://{text}"
    anywhere = "*" if side == "server" else "localhost"
    if _is_number(text):
        return 0, missing, f"tcp://{anywhere}:{text}"
    head, colon, rest = text.partition(":")
    if colon and _is_number(rest.partition("?")[0]):
        if side == "server" and head and not _is_number(head.replace(".", "0")):
            head = "127.0.0.1" if head == "localhost" else anywhere
        return 0, missing, f"tcp://{head or anywhere}:{rest}"
    if _is_ipv6(text):
        return 0, missing, f"tcp://[{text}]:PORT"
    if not colon:
        plausible = is_scheme(f"a{text}") and text not in SCHEMES
        return 0, missing, f"tcp://{text}:PORT" if plausible else None
    if not is_scheme(head):
        return 0, missing, None
    word = head.lower()
    layers, below = layers_of(word)
    at = len(word) - len(below)
    if below in _NO_STREAM:
        return at, _NO_STREAM[below], None
    meant = _meant(below)
    if meant is not None:
        if meant.endswith("@"):
            rest = rest.lstrip("/@")
        return at, f"there is no scheme {part(below)}", f"{text[:at]}{meant}{rest}"
    if at:
        over = "TLS over" if layers[-1] == "tls" else "after the +"
        return at, f"there is no scheme {part(below)} to put {over}", None
    return 0, f"there is no scheme {part(below)}: there are {', '.join(SCHEMES)}", None


def _meant(scheme: str) -> str | None:
    """What stands for a scheme that is none, with its colon."""
    meant = _OTHERS_SAY.get(scheme)
    if meant is None and len(scheme) <= 20:
        meant = _near(scheme)
    return meant


@lru_cache(maxsize=256)  # programs ask for the same few services again and again
def _near(scheme: str) -> str | None:
    near = closest(scheme, SCHEMES)
    return None if near is None else f"{near}:"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_ipv6(text: str) -> bool:
    if len(text) > 80:
        return False
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
