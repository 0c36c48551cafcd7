"""Text to addresses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .. import client, endp, server
from .._fields import Password
from .._hostnames import certified_name
from . import guesses
from .far import Far, fars, names_of
from .grammar import ANY_CID, TCP_SCHEMES, TLS
from .hosts import ANY, host_and_port
from .mistakes import part
from .options import ClientOptions, ServerOptions, client_options, server_options
from .parts import Parts, take_apart
from .passwords import PasswordFromEnv, PasswordFromFile
from .query import Raw, coded, listed


@dataclass(frozen=True, slots=True)
class ClientText:
    """Where a text says to connect, and how.

    address: where. options: what the text says of the call.
    """

    address: client.Client
    options: ClientOptions


@dataclass(frozen=True, slots=True)
class ServerText:
    """How a text says to be reached.

    address: where to listen. options: what the text says of the call.
    """

    address: server.Mode
    options: ServerOptions


def read_client(text: str) -> ClientText:
    """Read where to connect, with options of the call.

    text: for instance "tls://db.example:5432?timeout=5&src=192.0.2.1".

    Raises AddressError, which names the column, for what is no such text; also for a service
    (`is_service`), whose address is not in the text.
    """
    parts = take_apart(text, "client")
    options = client_options(text, parts.options) if parts.options else _NO_CLIENT_OPTIONS
    return ClientText(_client(parts), options)


def read_server(text: str) -> ServerText:
    """Read how to be reached, with options of the call.

    text: for instance "unix:/run/app.sock?unix_mode=660&backlog=64".

    Raises AddressError, which names the column, for what is no such text.
    """
    parts = take_apart(text, "server")
    options = server_options(text, parts.options) if parts.options else _NO_SERVER_OPTIONS
    return ServerText(_server(parts), options)


def parse_client(text: str) -> client.Client:
    """Read where to connect: an address alone.

    text: for instance "tcp://db.example:5432".

    Raises AddressError, which names the column, for what is no such text, and for an option that is
    about the call of `connect`, not the address.
    """
    return _client(take_apart(text, "client", alone=True))


def parse_server(text: str) -> server.Mode:
    """Read how to be reached: an address alone.

    text: for instance "tcp://*:8080".

    Raises AddressError, which names the column, for what is no such text, and for an option that is
    about the call of `serve`, not the address.
    """
    return _server(take_apart(text, "server", alone=True))


def parse_endp(text: str) -> endp.Endp:
    """Read an endpoint.

    text: for instance "tls://db.example:5432".

    Raises AddressError, which names the column, for what is no such text.
    """
    return _endp(take_apart(text, "endp", alone=True))


def is_service(text: str) -> bool:
    """Whether a text names a service, such as "https://example.com", and no address.

    text: any. It is a service if it has a scheme and "//" after it, and the scheme is none of an
    address nor likely to be a misspelt one.
    """
    return guesses.is_service(text)


# The three kinds ----------------------------------------------------------------------------------

_NO_CLIENT_OPTIONS = ClientOptions()
_NO_SERVER_OPTIONS = ServerOptions()
_PROXIES: dict[str, Callable[..., client.Client]] = {
    "socks5": client.SOCKS5,
    "connect": client.HTTPConnect,
}
_CLIENT_TLS: dict[str, type[client.TLS | client.TLSNative | client.OpenSSL]] = {
    "tls": client.TLS,
    "openssl": client.OpenSSL,
    "tls-native": client.TLSNative,
}
_SERVER_TLS: dict[str, type[server.TLS | server.TLSNative | server.OpenSSL]] = {
    "tls": server.TLS,
    "openssl": server.OpenSSL,
    "tls-native": server.TLSNative,
}


def _client(parts: Parts) -> client.Client:
    scheme = parts.scheme
    address: client.Client
    far = fars(parts)
    if scheme in TCP_SCHEMES:
        host, ip, port = host_and_port(parts)
        names = names_of(parts, certified_name(host) if ip is None else host, far)
        if ip is not None:
            tls = _CLIENT_TLS.get(scheme)
            address = client.TCP(ip, port) if tls is None else tls(names.pop(), ip, port)
        elif scheme in ("tcp", "tls"):
            address = parts.made(parts.at + 2, client.Host, host, port)
        else:
            why = f"{scheme}: takes an IP address, and {part(host)} is a name; use tls:"
            raise parts.mistake(parts.at + 2, why)
    else:
        names = names_of(parts, None, far)
        address = _other(parts, client)
    return _over(parts, address, names, far)


def _over(parts: Parts, address: client.Client, names: list[str], far: list[Far]) -> client.Client:
    """Put TLS and proxies over an address. names: of the TLS that it has not itself."""
    layers = list(parts.layers)
    if layers.count(TLS) > len(names):
        layers.pop()  # its own
    for layer in reversed(layers):
        if layer == TLS:
            address = client.TLSOver(names.pop(), address)
        else:
            host, port, login, at = far.pop()
            address = parts.made(at, _PROXIES[layer], host, port, address, login)
    return address


def _endp(parts: Parts) -> endp.Endp:
    address: endp.Endp
    if parts.scheme in TCP_SCHEMES:
        host, ip, port = host_and_port(parts)
        names = names_of(parts, certified_name(host) if ip is None else host)
        if ip is not None:
            address = endp.TCP(ip, port)
        else:
            address = parts.made(parts.at + 2, endp.Host, host, port)
    else:
        names = names_of(parts, None)
        address = _other(parts, endp)
    for name in reversed(names):
        address = endp.TLS(name, address)
    return address


def _server(parts: Parts) -> server.Mode:
    keys = _keys(parts)
    address: server.Mode
    if parts.scheme in TCP_SCHEMES:
        host, ip, port = host_and_port(parts)
        if ip is None and host != ANY:
            here = "127.0.0.1" if host == "localhost" else ANY
            why = f"a server listens on an address of its own, and {part(host)} is a name"
            raise parts.mistake(parts.at + 2, why, f"//{here}:{port}")
        tls = _SERVER_TLS.get(parts.scheme)
        address = server.TCP(port, ip=ip) if tls is None else tls(*keys.pop(), port, ip=ip)
    else:
        address = _other(parts, server)
    for key in reversed(keys):
        address = server.TLSOver(address, *key)
    return address


def _other(parts: Parts, module: ModuleType) -> Any:
    """An address of one of the three modules, of a scheme that is not TCP to a host."""
    match parts.scheme:
        case "unix":
            path = parts.value()
            mode = parts.options.get("unix_mode")
            if mode is not None and path.startswith("@"):
                why = "unix_mode means nothing to an abstract name, which has no file"
                raise parts.mistake(mode.at - len("unix_mode="), why)
            return parts.made(parts.at, module.UnixDomainSocket, path)
        case "vchan":
            domid, name = parts.pair("DOMID/PORT")
            number = parts.number("domid", domid)
            return parts.made(parts.at, module.VchanDirect, number, name)
        case "vchan-name":
            domain, name = parts.pair("NAME/PORT")
            domain_name = coded(parts.text, *domain)
            return parts.made(parts.at, module.VchanDomainSocket, domain_name, name)
        case "vsock":
            return module.Vsock(*_cid_and_port(parts))
        case "unknown":
            return parts.made(parts.at, endp.Unknown, parts.value())
        case "fd":
            return server.ListeningSocket(_descriptor(parts))
        case "tcp+fd":
            return server.TCP(server.Socket(_descriptor(parts)))
        case "systemd":
            return parts.made(parts.at, server.Systemd, parts.value() or None)
        case "handover":
            return _handover(parts)
        case _:
            return parts.made(parts.at, server.Launchd, parts.value())


def _handover(parts: Parts) -> server.Handover:
    raw = parts.options.get("otherwise")
    if raw is None:
        return parts.made(parts.at, server.Handover, parts.value())
    if not raw.value:
        raise parts.mistake(raw.at, "otherwise is empty: leave it out, or say how to be reached")
    # A text in a text, whose mistakes are told of itself.
    inner = take_apart(coded(parts.text, *raw), "server", alone=True)
    if inner.scheme == "handover":
        raise parts.mistake(raw.at, "otherwise= is for when nothing is handed over")
    return parts.made(raw.at, server.Handover, parts.value(), _server(inner))


def _descriptor(parts: Parts) -> int:
    return parts.number("descriptor", Raw(parts.body, parts.at))


def _cid_and_port(parts: Parts) -> tuple[int, int]:
    cid, colon, port = parts.body[2:].partition(":")
    at = parts.at + 2
    if not colon:
        raise parts.mistake(at + len(cid), "the port is missing: write vsock://CID:PORT")
    any_cid = parts.side == "server" and cid == ANY
    return (
        ANY_CID if any_cid else parts.number("cid", Raw(cid, at), 0xFFFF_FFFF),
        parts.number("port", Raw(port, at + len(cid) + 1), 0xFFFF_FFFF),
    )


# TLS ----------------------------------------------------------------------------------------------


def _keys(parts: Parts) -> list[tuple[str, str, Password | None]]:
    """Certificate, key and password for each layer of TLS, the outermost first."""
    if not parts.layers:
        return []
    files = [_per_layer(parts, name) for name in ("crt", "key")]
    passwords: list[Password | None] = [None] * len(parts.layers)
    makers: dict[str, Callable[[str], Password]] = {
        "password_env": PasswordFromEnv,
        "password_file": PasswordFromFile,
    }
    for name, make in makers.items():
        if name not in parts.options:
            continue
        values = _per_layer(parts, name)
        if not any(value for value, _ in values):
            raise parts.mistake(values[0].at, f"{name} is empty")
        for layer, (value, at) in enumerate(values):
            if not value:
                continue
            if passwords[layer] is not None:
                why = "password_env and password_file exclude each other"
                raise parts.mistake(at, why)
            passwords[layer] = parts.made(at, make, value)
    return [
        (crt.value, key.value, password)
        for crt, key, password in zip(*files, passwords, strict=True)
    ]


def _per_layer(parts: Parts, name: str) -> list[Raw]:
    """The values of a list that names something for each layer of TLS."""
    raw = parts.options.get(name)
    if raw is None:
        why = f"{name}= is missing: a TLS server needs the files crt= and key="
        raise parts.mistake(len(parts.text), why)
    values = listed(parts.text, raw)
    if len(values) != len(parts.layers):
        why = f"{name} has {len(values)} values for {len(parts.layers)} layers of TLS"
        raise parts.mistake(raw.at, why)
    for value, at in values:
        if "\0" in value or "-----BEGIN" in value:
            raise parts.mistake(at, f"{name} must be the path of a file")
    return values
