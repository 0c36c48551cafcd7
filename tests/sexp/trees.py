"""From the trees in which golden rows hold values to our values.

A tree is {"tag", "args"}, {"tuple"}, {"record"}, {"s"} (a string), {"hex"} (bytes), {"ip"},
{"opaque"}, {"some"}, None, a number or a truth value.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import conduit
from conduit import client, endp, flow, server
from conduit.resolver.service import Service
from conduit.tls.library import TLSLibrary

Tree = Any


def ask(_encrypting: bool) -> str:
    return "secret"


OPAQUE: dict[str, Any] = {"fd": 3, "ic": object(), "oc": object(), "fun": ask}


def plain(tree: Tree) -> Any:
    """A tree that is no variant, tuple or record."""
    match tree:
        case {"s": text}:
            return text
        case {"hex": digits}:
            return os.fsdecode(bytes.fromhex(digits))
        case {"ip": text}:
            return text
        case {"opaque": name}:
            return OPAQUE[name]
        case {"some": inner}:
            return plain(inner)
        case {"args": [inner]}:  # a label, such as `Port 80
            return plain(inner)
        case {"args": [], "tag": "No_password"}:
            return None
        case None | int():
            return tree
    raise AssertionError(tree)


def parts(tree: Tree) -> list[Any]:
    """The parts of a tuple, or what is alone."""
    match tree:
        case {"tuple": inner}:
            return [plain(part) for part in inner]
        case _:
            return [plain(tree)]


def variant(**constructors: Callable[..., Any]) -> Callable[[Tree], Any]:
    def build(tree: Tree) -> Any:
        given = [part for argument in tree["args"] for part in parts(argument)]
        return constructors[tree["tag"]](*given)

    return build


def record(cls: Callable[..., Any]) -> Callable[[Tree], Any]:
    return lambda tree: cls(**{name: plain(value) for name, value in tree["record"]})


_build_conduit_endp = variant(
    TCP=endp.TCP,
    Unix_domain_socket=endp.UnixDomainSocket,
    Vchan_direct=endp.VchanDirect,
    Vchan_domain_socket=endp.VchanDomainSocket,
    TLS_tunnel=endp.TLSTunnel,
    Unknown=endp.Unknown,
)


def build_endp(tree: Tree) -> Any:
    if tree["tag"] == "TLS":
        host, inner = tree["args"][0]["tuple"]
        return endp.TLS(plain(host), build_endp(inner))
    return _build_conduit_endp(tree)


build_tcp_config = variant(Port=server.Port, Socket=server.Socket)
_build_server = variant(
    TLS=server.TLS,
    OpenSSL=server.OpenSSL,
    TLS_native=server.TLSNative,
    Unix_domain_socket=server.UnixDomainSocket,
    Vchan_direct=server.VchanDirect,
    Vchan_domain_socket=server.VchanDomainSocket,
    Launchd=server.Launchd,
)


def build_server(tree: Tree) -> Any:
    if tree["tag"] == "TCP":
        return server.TCP(build_tcp_config(tree["args"][0]))
    return _build_server(tree)


_KEY: dict[str, Callable[..., Any]] = {"None": lambda: None, "TLS": conduit.OwnKey}
build_key = variant(**_KEY)


def build_ctx(tree: Tree) -> conduit.Context:
    fields = dict(tree["record"])
    src = plain(fields["src"])
    where = () if src is None else (client.TCP(src, 0).ip,)
    return conduit.Context(src=where, tls_own_key=build_key(fields["tls_own_key"]))


def build_flow(tree: Tree) -> Any:
    match tree["tag"]:
        case "Tunnel":
            return flow.Tunnel(*map(plain, tree["args"]))
        case tag:
            return BUILD[f"{tag.lower()}_flow" if tag != "Domain_socket" else "domain_flow"](
                tree["args"][0]
            )


def build_tcp_flow(tree: Tree) -> flow.TCP:
    fields = {name: plain(value) for name, value in tree["record"]}
    return flow.TCP(fields["fd"], client.TCP(fields["ip"], 0).ip, fields["port"])


BUILD: dict[str, Callable[[Tree], Any]] = {
    "client": variant(
        TLS=client.TLS,
        TLS_tunnel=client.TLSTunnel,
        TLS_native=client.TLSNative,
        OpenSSL=client.OpenSSL,
        TCP=client.TCP,
        Unix_domain_socket=client.UnixDomainSocket,
        Vchan_direct=client.VchanDirect,
        Vchan_domain_socket=client.VchanDomainSocket,
    ),
    "client_tls_config": lambda tree: client.TLSConfig(*parts(tree)),
    "server": build_server,
    "server_tls_config": lambda tree: server.TLSConfig(*parts(tree)),
    "tcp_config": build_tcp_config,
    "tls_own_key": build_key,
    "tls_server_key": build_key,
    "flow": build_flow,
    "tcp_flow": build_tcp_flow,
    "domain_flow": record(flow.DomainSocket),
    "vchan_flow": record(flow.Vchan),
    "ctx": build_ctx,
    "endp": build_endp,
    "conduit_endp": build_endp,
    "tls_lib": variant(
        OpenSSL=lambda: TLSLibrary.OPENSSL,
        Native=lambda: TLSLibrary.NATIVE,
        No_tls=lambda: TLSLibrary.NO_TLS,
    ),
    "service": record(Service),
}

# The types whose names are others in the rows.
OUR_NAME = {
    "Conduit.endp": "conduit_endp",
    "Conduit_lwt_unix.endp": "endp",
    "Resolver.service": "service",
    "flow(live)": "flow",
}


def build(type_: str, tree: Tree) -> Any:
    """Our value of a tree. type_: the type as a golden row names it."""
    return BUILD[OUR_NAME.get(type_, type_)](tree)
