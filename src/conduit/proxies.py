"""The proxy that the environment names, for programs that ask for it; `connect` itself never does.

await conduit.connect(conduit.proxies.of_environment("https://example.com"))
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from . import client, text
from ._hostnames import ascii_host, is_ip
from .errors import AddressError
from .resolver.uri import parse_uri
from .resolver.well_known import WELL_KNOWN
from .text import PasswordFromEnv

__all__ = ["of_environment"]

_PROXY = re.compile(
    r"(?:(?P<scheme>[a-z0-9]+)://)?(?P<login>[^/?#]*@)?(?P<host>\[[0-9a-f:.]+\]|[^@/?#:\[\]]+)"
    r"(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE,
)

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


def of_environment(
    target: client.Client | str, environ: Mapping[str, str] | None = None
) -> client.Client:
    """How to connect to a host by the proxy that the environment names for it, if it names one.

    target: an address (a value of `conduit.client` or its text), or the URI of a well-known
        service, such as "https://example.com", whose name the proxy looks up.
    environ: the variables (default: `os.environ`).

    Of a service it is the variable with its name (`https_proxy`), of TLS to a host `https_proxy`,
    and else `all_proxy`; in small letters before capitals. `HTTP_PROXY` in capitals counts for
    nothing in a CGI program, where a client can set it. Hosts in `no_proxy`, and what is no TCP to
    a host, come back as they are. The value is a URL: `http://` and `https://` (by CONNECT),
    `socks5://` and `socks5h://`. A login in it stays there: the address refers to the variable.

    Returns an address for `connect`. Raises AddressError for a target that is no address and no
    well-known service, and for a variable that names no proxy; the message does not show its value.
    """
    variables = os.environ if environ is None else environ
    scheme, address = _address(target)
    far = _host_of(address)
    if far is None:
        return address
    name = _variable(scheme, variables)
    if name is None or _is_excepted(far, variables):
        return address
    proxy = _proxy_to(far, name, variables[name])
    return _over(address, proxy)


def _address(target: client.Client | str) -> tuple[str, client.Client]:
    """What is asked for, and by which service."""
    if not isinstance(target, str):
        return ("https" if isinstance(target, _WITH_TLS) else ""), target
    if not text.is_service(target):
        return _address(text.parse_client(target))
    uri = parse_uri(target)
    service = WELL_KNOWN.get(uri.scheme)
    if service is None:
        raise AddressError(f"{uri.shown}: there is no well-known service {uri.scheme!r}")
    where = client.Host(uri.host, service.port if uri.port is None else uri.port)
    return uri.scheme, client.TLSOver(uri.host, where) if service.tls else where


_WITH_TLS = client.TLS | client.TLSNative | client.OpenSSL | client.TLSOver


def _host_of(address: client.Client) -> tuple[str, int] | None:
    """Where TCP leads to; None for what is no TCP to a host, or has its proxy already."""
    match address:
        case client.Host(host, port):
            return host, port
        case client.TCP(ip, port) | client.TLS(_, ip, port):
            return str(ip), port
        case client.TLSOver(_, below):
            return _host_of(below)
        case _:
            return None


def _over(address: client.Client, proxied: client.Client) -> client.Client:
    match address:
        case client.TLSOver(hostname, below):
            return client.TLSOver(hostname, _over(below, proxied))
        case client.TLS(hostname, _, _):
            return client.TLSOver(hostname, proxied)
        case _:
            return proxied


def _variable(scheme: str, variables: Mapping[str, str]) -> str | None:
    names = [f"{scheme}_proxy", f"{scheme}_proxy".upper()] if scheme else []
    if "REQUEST_METHOD" in variables and "HTTP_PROXY" in names:
        names.remove("HTTP_PROXY")
    return next((name for name in (*names, "all_proxy", "ALL_PROXY") if variables.get(name)), None)


def _is_excepted(far: tuple[str, int], variables: Mapping[str, str]) -> bool:
    listed = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
    host = ascii_host(far[0])
    for one in re.split(r"[,\s]+", listed.lower()):
        if one == "*" or (one and _is_meant(one, host, far[1])):
            return True
    return False


def _is_meant(one: str, host: str, port: int) -> bool:
    if is_ip(host):
        try:
            return ip_address(host) in ip_network(one.strip("[]"), strict=False)
        except ValueError:
            pass
    name, colon, number = one.rpartition(":")
    if colon and number.isdecimal():
        if number != str(port):
            return False
        one = name.strip("[]")
    one = one.removeprefix("*").strip(".")
    return bool(one) and (host == one or (not is_ip(host) and host.endswith(f".{one}")))


def _proxy_to(far: tuple[str, int], name: str, value: str) -> client.Client:
    found = _PROXY.fullmatch(value)
    scheme = "http" if found is None else (found["scheme"] or "http").lower()
    if found is None or scheme not in _PORTS:
        # Not shown, for it may hold a password.
        raise AddressError(
            f"the variable {name} names no proxy: it is written http://HOST:PORT, "
            "https://HOST:PORT or socks5://HOST:PORT"
        )
    host = found["host"].strip("[]")
    port = int(found["port"]) if found["port"] else _PORTS[scheme]
    where = client.TCP(host, port) if is_ip(host) else client.Host(host, port)
    # Without a scheme it is no URL, in which a login would be found.
    login = PasswordFromEnv(name) if found["login"] and found["scheme"] else None
    if scheme.startswith("socks5"):
        return client.SOCKS5(*far, where, login)
    if scheme == "https":
        return client.HTTPConnect(*far, client.TLSOver(host, where), login)
    return client.HTTPConnect(*far, where, login)
