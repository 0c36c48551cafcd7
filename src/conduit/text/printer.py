"""Addresses to text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

from .. import client, endp, server
from .._fields import Record, name_of
from .._hostnames import certified_name
from ..errors import AddressError
from .far import far_text, usual_names
from .grammar import ANY_CID, DEEPEST, LONGEST, MOST_DIGITS, TLS
from .hosts import host_text, name_and_port_text, name_of_ip
from .passwords import PasswordFromEnv, PasswordFromFile
from .percent import HOSTNAME, PATH, SEGMENT, VALUE, encode

Address: TypeAlias = client.Client | server.Mode | endp.Endp
"""What may have a text."""


def to_text(address: Address) -> str:
    """Write an address as text, in one way for each: what `parse_...` makes equal of it again.

    address: a value of `conduit.client`, `conduit.server` or `conduit.endp`.

    Raises AddressError for what has no text: an address that holds channels, a socket object or a
    password function other than `PasswordFromEnv` and `PasswordFromFile`, one of another package,
    one whose text would be longer or nested deeper than what is read, and what is no address. The
    message holds no secret.
    """
    below: object = address
    layers: list[str] = []  # of TLS and proxies, the outermost first; so all that follows
    names: list[str] = []
    proxies: list[_Proxied] = []
    keys: list[server.TLSOver | _ServerTLS] = []
    while True:
        # By the very class: what a subclass adds would be lost.
        if type(below) is client.TLSOver:
            names.append(below.hostname)
            below = below.client
        elif type(below) is endp.TLS:
            names.append(below.host)
            below = below.endp
        elif type(below) is server.TLSOver:
            keys.append(below)
            below = below.mode
        elif type(below) is client.SOCKS5 or type(below) is client.HTTPConnect:
            proxies.append(below)
            layers.append("socks5" if type(below) is client.SOCKS5 else "connect")
            below = below.proxy
            continue
        else:
            break
        layers.append(TLS)
        if len(layers) > DEEPEST:
            raise _no_text(address, f"has more than {DEEPEST} layers of TLS")
    write = _WRITERS.get(type(below))
    if write is None:
        raise _no_text(address, _why_not(below))
    text = write(below)
    own_name = None
    written = list(layers)
    if isinstance(below, _CLIENT_TLS):
        names.append(below.hostname)
        layers.append(TLS)
        own_name = name_of_ip(below.ip)
    elif isinstance(below, _ServerTLS):
        keys.append(below)
        layers.append(TLS)
    elif isinstance(below, client.TCP | endp.TCP):
        own_name = name_of_ip(below.ip)
    elif isinstance(below, client.Host | endp.Host):
        own_name = certified_name(below.name)
    if len(layers) > DEEPEST:
        what = "TLS and proxies" if proxies else "TLS"
        raise _no_text(address, f"has more than {DEEPEST} layers of {what}")
    if written[-1:] == [TLS] and isinstance(below, client.Host | endp.Host | endp.TCP):
        text = f"tls{text.removeprefix('tcp')}"
        written.pop()
    usual = usual_names(layers, [one.host for one in proxies], own_name)
    before = "".join(f"{layer}+" for layer in written)
    otherwise = below.otherwise if isinstance(below, server.Handover) else None
    first = [] if otherwise is None else [encode(to_text(otherwise), VALUE)]
    text = f"{before}{text}{_options(address, names, usual, keys, proxies, first)}"
    if len(text) > LONGEST:
        raise _no_text(address, f"would have a text of {len(text)} characters, over {LONGEST}")
    return text


def text_or_repr(record: Record) -> str:
    """What `str` of an address, a flow or a key is: its text, else its repr."""
    try:
        return to_text(cast("Address", record))
    except AddressError:
        return repr(record)


_CLIENT_TLS = client.TLS | client.TLSNative | client.OpenSSL
_Proxied: TypeAlias = client.SOCKS5 | client.HTTPConnect
_ServerTLS: TypeAlias = server.TLS | server.TLSNative | server.OpenSSL


def _options(
    address: object,
    names: list[str],
    usual: list[str | None],
    keys: list[server.TLSOver | _ServerTLS],
    proxies: list[_Proxied],
    otherwise: list[str],
) -> str:
    # What follows from the hosts is left out.
    while names and names[-1] == usual[len(names) - 1]:
        names.pop()
    variables, files = _passwords(address, "password", [key.password for key in keys])
    login_variables, login_files = _passwords(address, "login", [one.login for one in proxies])
    lists = {
        "otherwise": otherwise,
        "hostname": [encode(name, HOSTNAME) for name in names],
        "crt": [encode(key.crt_file, VALUE) for key in keys],
        "key": [encode(key.key_file, VALUE) for key in keys],
        "password_env": variables if any(variables) else [],
        "password_file": files if any(files) else [],
        "to": [far_text(one.host, one.port) for one in proxies],
        "login_env": login_variables if any(login_variables) else [],
        "login_file": login_files if any(login_files) else [],
    }
    options = "&".join(f"{name}={','.join(values)}" for name, values in lists.items() if values)
    return options and f"?{options}"


def _passwords(
    address: object, what: str, functions: Sequence[object]
) -> tuple[list[str], list[str]]:
    """The variables and the files where they are, each empty for none."""
    found = [_password(address, what, function) for function in functions]
    return [variable for variable, _ in found], [file for _, file in found]


def _password(address: object, what: str, password: object) -> tuple[str, str]:
    """The variable and the file where it is; empty for none."""
    if password is None:
        return "", ""
    if type(password) is PasswordFromEnv:
        return encode(password.name, VALUE), ""
    if type(password) is PasswordFromFile:
        return "", encode(password.path, VALUE)
    # Not shown, since its repr may hold the secret.
    raise _no_text(
        address,
        f"holds a function for its {what}; conduit.text has PasswordFromEnv and PasswordFromFile",
    )


# One for each address that is not TLS over another ------------------------------------------------


def _tcp(address: Any) -> str:
    return f"tcp://{host_text(address.ip)}:{address.port}"


def _host(address: Any) -> str:
    return f"tcp://{name_and_port_text(address.name, address.port)}"


def _server_tcp(address: server.TCP) -> str:
    config = address.config
    if isinstance(config, server.Port):
        return f"tcp://{host_text(address.ip)}:{config.port}"
    if isinstance(config.sock_or_fd, int):
        return f"tcp+fd:{_digits(address, config.sock_or_fd)}"
    raise _no_text(address, "holds a socket object; server.Socket(sock.detach()) has a text")


def _tls(scheme: str) -> Callable[[Any], str]:
    return lambda address: f"{scheme}://{host_text(address.ip)}:{address.port}"


def _opaque(scheme: str, value: str) -> str:
    body = encode(value, PATH)
    # Two slashes at the start would stand before a host.
    return f"{scheme}:/%2F{body[2:]}" if body.startswith("//") else f"{scheme}:{body}"


def _vchan(address: Any) -> str:
    return f"vchan:{_digits(address, address.domid)}/{encode(address.port, PATH)}"


def _vchan_name(scheme_name: str, port: str) -> str:
    body = f"{encode(scheme_name, SEGMENT)}/{encode(port, PATH)}"
    return f"vchan-name:/%2F{body[2:]}" if body.startswith("//") else f"vchan-name:{body}"


def _vsock(address: Any) -> str:
    return f"vsock://{address.cid}:{address.port}"


def _server_vsock(address: server.Vsock) -> str:
    return f"vsock://{'*' if address.cid == ANY_CID else address.cid}:{address.port}"


_WRITERS: dict[type, Callable[[Any], str]] = {
    client.TCP: _tcp,
    endp.TCP: _tcp,
    server.TCP: _server_tcp,
    client.Host: _host,
    endp.Host: _host,
    client.TLS: _tls("tls"),
    server.TLS: _tls("tls"),
    client.OpenSSL: _tls("openssl"),
    server.OpenSSL: _tls("openssl"),
    client.TLSNative: _tls("tls-native"),
    server.TLSNative: _tls("tls-native"),
    client.UnixDomainSocket: lambda address: _opaque("unix", address.file),
    endp.UnixDomainSocket: lambda address: _opaque("unix", address.path),
    server.UnixDomainSocket: lambda address: _opaque("unix", address.file),
    client.VchanDirect: _vchan,
    endp.VchanDirect: _vchan,
    server.VchanDirect: _vchan,
    client.VchanDomainSocket: lambda address: _vchan_name(address.domain_name, address.port),
    endp.VchanDomainSocket: lambda address: _vchan_name(address.name, address.port),
    server.VchanDomainSocket: lambda address: _vchan_name(address.domain, address.port),
    client.Vsock: _vsock,
    endp.Vsock: _vsock,
    server.Vsock: _server_vsock,
    endp.Unknown: lambda address: _opaque("unknown", address.reason),
    server.ListeningSocket: lambda address: f"fd:{_digits(address, address.fd)}",
    server.Systemd: lambda address: _opaque("systemd", address.name or ""),
    server.Handover: lambda address: _opaque("handover", address.path),
    server.Launchd: lambda address: _opaque("launchd", address.name),
}


def _digits(address: object, number: int) -> str:
    try:
        digits = str(number)
    except ValueError:
        digits = ""  # Python prints none that is so long
    if not 0 < len(digits) <= MOST_DIGITS:
        raise _no_text(address, f"holds a number of more than {MOST_DIGITS} digits")
    return digits


def _why_not(address: object) -> str:
    if isinstance(address, client.TLSTunnel | endp.TLSTunnel):
        return "holds channels"
    return "is no address of conduit.client, conduit.server or conduit.endp"


def _no_text(address: object, why: str) -> AddressError:
    cls = type(address)
    name = name_of(cls) if isinstance(address, Record) else cls.__qualname__
    return AddressError(f"{name}: has no text, for it {why}")
