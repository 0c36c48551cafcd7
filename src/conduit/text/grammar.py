"""The words of the grammar: schemes and options, and where each may stand."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Side: TypeAlias = Literal["client", "server", "endp"]
"""What a text is read as: where to connect, how to be reached, or neither."""

LONGEST = 1 << 16
"""How many characters a text may have."""

DEEPEST = 16
"""How many layers of TLS may lie over each other."""

MOST_DIGITS = 4300
"""How many digits a number may have: what Python prints, and reads in little time."""

ANY_CID = 0xFFFF_FFFF
"""The vsock context identifier that stands for any of a machine."""

_CONNECT = frozenset(("client", "endp"))
_CALL = frozenset(("client", "server"))
_SERVE = frozenset(("server",))
_ALL = _CONNECT | _SERVE


class Scheme(NamedTuple):
    """What may follow `NAME:`."""

    sides: frozenset[str] = _ALL
    authority: bool = False  # "//HOST:PORT" follows
    tls: bool = False


SCHEMES: dict[str, Scheme] = {
    "tcp": Scheme(authority=True),
    "tls": Scheme(authority=True, tls=True),
    "openssl": Scheme(_CALL, authority=True, tls=True),
    "tls-native": Scheme(_CALL, authority=True, tls=True),
    "unix": Scheme(),
    "vchan": Scheme(),
    "vchan-name": Scheme(),
    "vsock": Scheme(authority=True),
    "fd": Scheme(_SERVE),
    "tcp+fd": Scheme(_SERVE),
    "systemd": Scheme(_SERVE),
    "launchd": Scheme(_SERVE),
    "handover": Scheme(_SERVE),
    "unknown": Scheme(frozenset(("endp",))),
}

TCP_SCHEMES = frozenset(("tcp", "tls", "openssl", "tls-native"))
"""The schemes that are TCP to a host, with TLS or without."""

_INHERITED = frozenset(("fd", "tcp+fd", "systemd", "launchd", "handover"))


class Option(NamedTuple):
    """Where an option may stand."""

    sides: frozenset[str]
    schemes: frozenset[str] | None = None  # None: any
    tls: bool = False  # only with TLS, of whatever scheme
    in_call: bool = True  # it is about the call of connect or serve, not a part of the address


OPTIONS: dict[str, Option] = {
    "hostname": Option(_CONNECT, tls=True, in_call=False),
    "crt": Option(_SERVE, tls=True, in_call=False),
    "key": Option(_SERVE, tls=True, in_call=False),
    "password_env": Option(_SERVE, tls=True, in_call=False),
    "password_file": Option(_SERVE, tls=True, in_call=False),
    "otherwise": Option(_SERVE, frozenset(("handover",)), in_call=False),
    "src": Option(frozenset(("client",)), TCP_SCHEMES),
    "alpn": Option(_CALL, tls=True),
    "backlog": Option(_SERVE, TCP_SCHEMES | _INHERITED | {"unix", "vsock"}),
    "reuse_port": Option(_SERVE, TCP_SCHEMES | {"handover"}),
    "unix_mode": Option(_SERVE, frozenset(("unix", "handover"))),
    "timeout": Option(_CALL),
    "keepalive": Option(_CALL, TCP_SCHEMES | _INHERITED),
    "ca": Option(_CALL, tls=True),
    "fingerprint": Option(_CALL, tls=True),
}
