"""What a text says of each layer: the name for TLS, and where a proxy is to connect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .._fields import Password
from .grammar import TLS
from .mistakes import part
from .parts import Parts
from .passwords import PasswordFromEnv, PasswordFromFile
from .percent import HOST, VALUE, encode, small
from .query import Raw, coded, listed


class Far(NamedTuple):
    """Where a proxy is to connect, what it is told, and where that stands in the text."""

    host: str
    port: int
    login: Password | None
    at: int


def far_text(host: str, port: int) -> str:
    """Write where a proxy is to connect, as a value of `to=`."""
    shown = f"[{encode(host, VALUE)}]" if ":" in host else encode(host, HOST | VALUE)
    return f"{shown}:{port}"


def fars(parts: Parts) -> list[Far]:
    """Read them for each proxy, the outermost first."""
    count = len(parts.layers) - parts.layers.count(TLS)
    if not count:
        return []
    raw = parts.options.get("to")
    if raw is None:
        why = "to= is missing: for each proxy, the HOST:PORT that it shall connect to"
        raise parts.mistake(len(parts.text), why)
    places = _raw_list(raw)
    if len(places) != count:
        raise parts.mistake(raw.at, f"to has {len(places)} values for {count} proxies")
    logins = _logins(parts, count)
    return [
        Far(*_host_and_port(parts, place), login, place.at)
        for place, login in zip(places, logins, strict=True)
    ]


def names_of(parts: Parts, host: str | None, far: Sequence[Far] = ()) -> list[str]:
    """The name for each layer of TLS, the outermost first.

    host: that of the scheme, if it has one. far: of the proxies. Where the text gives no name, it
    is that of the host below, or where the next proxy below connects to.
    """
    names: list[str] = []
    raw = parts.options.get("hostname")
    if raw is not None:
        for name, at in listed(parts.text, Raw(small(raw.value), raw.at)):
            if not name or "\0" in name:
                raise parts.mistake(at, "a hostname is empty or holds a NUL")
            names.append(name)
    usual = usual_names(parts.layers, [one.host for one in far], host)
    if len(names) > len(usual) and raw is not None:
        why = f"there are {len(names)} hostnames for {len(usual)} layers of TLS"
        raise parts.mistake(raw.at, why)
    for one in usual[len(names) :]:
        if one is None:
            raise parts.mistake(
                len(parts.text),
                "hostname= is missing: for each layer of TLS, what the peer's certificate is for",
            )
        names.append(one)
    return names


def usual_names(layers: Sequence[str], hosts: Sequence[str], host: str | None) -> list[str | None]:
    """The name that each layer of TLS has when the text gives none, the outermost first.

    hosts: where each proxy connects to, the outermost first. host: what is below all.
    """
    found: list[str | None] = []
    below = host
    left = list(hosts)
    for layer in reversed(layers):
        if layer == TLS:
            found.append(below)
        else:
            below = left.pop()
    return found[::-1]


def _raw_list(raw: Raw) -> list[Raw]:
    """Take a list apart at its commas, and leave its codes."""
    found: list[Raw] = []
    at = raw.at
    for one in raw.value.split(","):
        found.append(Raw(one, at))
        at += len(one) + 1
    return found


def _host_and_port(parts: Parts, place: Raw) -> tuple[str, int]:
    host, colon, port = place.value.rpartition(":")
    start = place.at
    if not colon or not host or not port:
        raise parts.mistake(start, "a proxy is told HOST:PORT")
    if host.startswith("[") and host.endswith("]"):
        host = coded(parts.text, host[1:-1], start + 1)
        if ":" not in host:
            raise parts.mistake(start, "brackets are for IPv6 addresses")
    elif ":" in host:
        raise parts.mistake(start, f"{part(host)} holds ':'; an IPv6 address stands in brackets")
    else:
        host = coded(parts.text, small(host), start)
    number = parts.number("port", Raw(port, start + len(place.value) - len(port)), 0xFFFF)
    return host, number


def _logins(parts: Parts, count: int) -> list[Password | None]:
    logins: list[Password | None] = [None] * count
    makers: dict[str, Callable[[str], Password]] = {
        "login_env": PasswordFromEnv,
        "login_file": PasswordFromFile,
    }
    for name, make in makers.items():
        raw = parts.options.get(name)
        if raw is None:
            continue
        values = listed(parts.text, raw)
        if len(values) != count:
            raise parts.mistake(raw.at, f"{name} has {len(values)} values for {count} proxies")
        if not any(value for value, _ in values):
            raise parts.mistake(raw.at, f"{name} is empty")
        for at, (value, where) in enumerate(values):
            if not value:
                continue
            if logins[at] is not None:
                raise parts.mistake(where, "login_env and login_file exclude each other")
            logins[at] = parts.made(where, make, value)
    return logins
