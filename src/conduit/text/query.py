"""What follows the "?" of a text: telling options apart, and refusing what is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .grammar import OPTIONS, PROXIES, TLS, Side
from .mistakes import closest, is_word, mistake, part
from .percent import decode, malformed


class Raw(NamedTuple):
    """An option as it is written, and where its value starts in the text."""

    value: str
    at: int


def split(text: str, at: int) -> dict[str, Raw]:
    """Tell the options apart; each is known and stands there once.

    at: where the first of them starts, after the "?".
    """
    if at == len(text):
        raise mistake(text, at - 1, "no option follows the '?'", text[: at - 1])
    found: dict[str, Raw] = {}
    for pair in text[at:].split("&"):
        name, equals, value = pair.partition("=")
        if name not in OPTIONS:
            raise mistake(text, at, _unknown(pair, name, "@" in text[at:]))
        if name in found:
            raise mistake(text, at, f"the option {name} is repeated")
        if not equals:
            raise mistake(text, at, f"the option {name} has no value: write {name}=VALUE")
        found[name] = Raw(value, at + len(name) + 1)
        at += len(pair) + 1
    return found


def check_places(
    text: str, options: dict[str, Raw], side: Side, scheme: str, layers: Sequence[str]
) -> None:
    """Refuse an option where it would mean nothing. layers: of TLS and of proxies."""
    for name, raw in options.items():
        option = OPTIONS[name]
        why = None
        if side not in option.sides:
            why = _wrong_side(name, side)
        elif option.tls and TLS not in layers:
            why = f"{name} is for TLS, and {scheme}: has none"
        elif option.proxy and not any(layer in PROXIES for layer in layers):
            why = f"{name} is for a proxy, as in socks5+{scheme}:, and here is none"
        elif option.schemes is not None and scheme not in option.schemes:
            why = f"{name} means nothing to {scheme}:"
        if why is not None:
            raise mistake(text, raw.at - len(name) - 1, why)


def refuse_call_options(text: str, options: dict[str, Raw], side: Side) -> None:
    """Refuse what is not a part of the address."""
    for name, raw in options.items():
        if OPTIONS[name].in_call:
            call, read = (
                ("serve", "read_server") if side == "server" else ("connect", "read_client")
            )
            raise mistake(
                text,
                raw.at - len(name) - 1,
                f"{name} is no part of an address but of a call: it may stand in the text given "
                f"to conduit.{call}, or to conduit.text.{read}",
            )


def coded(text: str, raw: str, at: int) -> str:
    """Read the codes in a part of a text that starts at `at`."""
    wrong = malformed(raw)
    if wrong is not None:
        raise mistake(text, at + wrong, "after '%' come two hex digits; '%' itself is %25")
    return decode(raw)


def listed(text: str, raw: Raw) -> list[Raw]:
    """Take a list apart at its commas."""
    found: list[Raw] = []
    at = raw.at
    for one in raw.value.split(","):
        found.append(Raw(coded(text, one, at), at))
        at += len(one) + 1
    return found


# What is no option --------------------------------------------------------------------------------

_SECRET = frozenset(
    ("password", "passwd", "pass", "pwd", "passphrase", "key_password", "secret", "token")
)
_LOOSENING = frozenset(
    (
        "insecure", "allow_insecure", "insecure_skip_verify", "skip_verify", "no_verify",
        "noverify", "verify", "verify_mode", "verify_peer", "verify_hostname", "check_hostname",
        "ssl_verify", "tls_verify", "ssl_mode", "sslmode", "cert_reqs", "validate", "trust",
    )
)  # fmt: skip
_OTHERS_SAY = {
    "cert": "crt", "certificate": "crt", "certfile": "crt", "crt_file": "crt", "cert_file": "crt",
    "keyfile": "key", "key_file": "key", "private_key": "key",
    "cafile": "ca", "ca_file": "ca", "cacert": "ca", "root": "ca",
    "sni": "hostname", "server_name": "hostname", "servername": "hostname", "host": "hostname",
    "name": "hostname", "mode": "unix_mode", "bind": "src", "source": "src", "local": "src",
    "connect_timeout": "timeout", "keep_alive": "keepalive", "so_keepalive": "keepalive",
    "so_reuseport": "reuse_port", "pin": "fingerprint", "sha256": "fingerprint",
    "protocols": "alpn",
}  # fmt: skip


def _unknown(pair: str, name: str, in_doubt: bool) -> str:
    if not pair:
        return "an option is missing before or after '&'"
    nothing = "this is no option: one is written NAME=VALUE"
    if not is_word(name):
        return nothing  # not shown: it may be anything
    word = name.lower().replace("-", "_")
    if word in _SECRET:
        return (
            f"{name}: a text never holds a secret; for a key's password there are "
            "password_env=VARIABLE and password_file=PATH, for a proxy login_env= and login_file="
        )
    if word in _LOOSENING:
        return (
            f"{name}: no text may change that TLS verifies the peer; to trust other "
            "certificates than the system does, there are ca= and fingerprint="
        )
    if word == "ip":
        return "ip: write the IP address as the host, and the name as hostname="
    meant = word if word in OPTIONS else _OTHERS_SAY.get(word) or closest(word, OPTIONS)
    if meant is None and in_doubt:
        return nothing  # not shown: it may be a part of a password, which ends at the "@"
    guess = f"; did you mean {meant}?" if meant else f": there are {', '.join(OPTIONS)}"
    return f"there is no option {part(name)}{guess}"


def _wrong_side(name: str, side: Side) -> str:
    if side == "endp" and OPTIONS[name].in_call:
        return f"an endpoint has no {name}: it is for the text given to connect or serve"
    if name == "src":
        return "src is for connecting; a server listens on the address that it has for a host"
    if name == "hostname":
        return "hostname is for connecting; a server's names are those of its certificate"
    if side == "client":
        return f"{name} is for serving, and this is an address to connect to"
    return f"an endpoint has no {name}: it is for a server"
