"""How each type is written in OCaml: a new constructor is a line here.

After the names of OCaml's types come, in each variant, the constructors that OCaml does not have;
docs/s-expressions.md lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import client, endp, flow, server
from .._fields import IPAddress
from ..errors import AddressError
from ..resolver.service import Service
from ..tls.keys import OwnKey
from ..tls.library import TLSLibrary
from .node import Node
from .scalars import BOOL, INT, IP, OPAQUE, TEXT, Shape, ip_text
from .shapes import Fields, Labelled, Nested, Optional, Password, Record
from .value import List, Sexp
from .variants import Case, Variant

if TYPE_CHECKING:
    from ..context import Context

_HOSTNAME = Labelled("Hostname", TEXT)
_IP = Labelled("IP", IP)
_PORT = Labelled("Port", INT)
_FILE = Labelled("File", TEXT)
_KEY = Labelled("Crt_file_path", TEXT), Labelled("Key_file_path", TEXT), Password()

# Endpoints ----------------------------------------------------------------------------------------

_ENDP: Nested[endp.Endp] = Nested(lambda: CONDUIT_ENDP, lambda: ENDP)

CONDUIT_ENDP: Variant[endp.Endp] = Variant(
    "endp",
    Case("TCP", Fields(endp.TCP, IP, INT)),
    Case("Unix_domain_socket", Fields(endp.UnixDomainSocket, TEXT)),
    Case("Vchan_direct", Fields(endp.VchanDirect, INT, TEXT)),
    Case("Vchan_domain_socket", Fields(endp.VchanDomainSocket, TEXT, TEXT)),
    Case("TLS", Fields(endp.TLS, TEXT, _ENDP)),
    Case("Unknown", Fields(endp.Unknown, TEXT)),
    Case("Host", Fields(endp.Host, TEXT, INT)),
    Case("Vsock", Fields(endp.Vsock, INT, INT)),
)
ENDP: Variant[endp.Endp] = Variant(
    "endp",
    *CONDUIT_ENDP.cases,
    Case("TLS_tunnel", Fields(endp.TLSTunnel, TEXT, OPAQUE, OPAQUE)),
)

# Where to connect ---------------------------------------------------------------------------------

_PEER = _HOSTNAME, _IP, _PORT
_CLIENT: Nested[client.Client] = Nested(lambda: CLIENT, lambda: CLIENT)

CLIENT_TLS_CONFIG = Fields(client.TLSConfig, *_PEER)
CLIENT: Variant[client.Client] = Variant(
    "client",
    Case("TLS", Fields(client.TLS, *_PEER)),
    Case("TLS_tunnel", Fields(client.TLSTunnel, _HOSTNAME, OPAQUE, OPAQUE)),
    Case("TLS_native", Fields(client.TLSNative, *_PEER)),
    Case("OpenSSL", Fields(client.OpenSSL, *_PEER)),
    Case("TCP", Fields(client.TCP, _IP, _PORT)),
    Case("Unix_domain_socket", Fields(client.UnixDomainSocket, _FILE)),
    Case(
        "Vchan_direct", Fields(client.VchanDirect, Labelled("Domid", INT), Labelled("Port", TEXT))
    ),
    Case(
        "Vchan_domain_socket",
        Fields(client.VchanDomainSocket, Labelled("Domain_name", TEXT), Labelled("Port", TEXT)),
    ),
    Case("TLS_over", Fields(client.TLSOver, _HOSTNAME, _CLIENT)),
    Case("Host", Fields(client.Host, Labelled("Name", TEXT), _PORT)),
    Case("Vsock", Fields(client.Vsock, Labelled("Cid", INT), _PORT)),
)

# How to be reached --------------------------------------------------------------------------------


class _ServerTCP(Shape[server.TCP]):
    """A tcp_config; or, of one address, `((IP ...)(Port ...))`, which no tcp_config is."""

    cls = server.TCP

    def to_sexp(self, value: server.TCP) -> Sexp:
        if value.ip is None or not isinstance(value.config, server.Port):
            return TCP_CONFIG.to_sexp(value.config)
        return List((_IP.to_sexp(value.ip), _PORT.to_sexp(value.config.port)))

    def of_sexp(self, node: Node) -> server.TCP:
        match node.sexp:
            case [["IP", *_], _]:
                ip, port = _IP.of_sexp(node.item(0)), _PORT.of_sexp(node.item(1))
                try:
                    return server.TCP(port, ip=ip)
                except AddressError as error:
                    raise _PORT.value_in(node.item(1)).refused(str(error)) from None
            case _:
                return server.TCP(TCP_CONFIG.of_sexp(node))


_MODE: Nested[server.Mode] = Nested(lambda: SERVER, lambda: SERVER)

SERVER_TLS_CONFIG = Fields(server.TLSConfig, *_KEY, _PORT)
TCP_CONFIG: Variant[server.Port | server.Socket] = Variant(
    "tcp_config",
    Case("Port", Fields(server.Port, INT)),
    Case("Socket", Fields(server.Socket, OPAQUE)),
)
SERVER: Variant[server.Mode] = Variant(
    "server",
    Case("TLS", Fields(server.TLS, *_KEY, _PORT, optional=("ip", _IP))),
    Case("OpenSSL", Fields(server.OpenSSL, *_KEY, _PORT, optional=("ip", _IP))),
    Case("TLS_native", Fields(server.TLSNative, *_KEY, _PORT, optional=("ip", _IP))),
    Case("TCP", _ServerTCP()),
    Case("Unix_domain_socket", Fields(server.UnixDomainSocket, _FILE)),
    Case("Vchan_direct", Fields(server.VchanDirect, INT, TEXT)),
    Case("Vchan_domain_socket", Fields(server.VchanDomainSocket, TEXT, TEXT)),
    Case("Launchd", Fields(server.Launchd, TEXT)),
    Case("TLS_over", Fields(server.TLSOver, _MODE, *_KEY)),
    Case("Vsock", Fields(server.Vsock, INT, INT)),
    Case("Systemd", None, server.Systemd()),
    Case("Systemd", Fields(server.Systemd, TEXT)),
    Case("Handover", Fields(server.Handover, _FILE, Optional(_MODE))),
    Case("Listening_socket", Fields(server.ListeningSocket, INT)),
)

TLS_OWN_KEY: Variant[OwnKey | None] = Variant(
    "tls_own_key", Case("None", None, None), Case("TLS", Fields(OwnKey, *_KEY))
)

# What a program meets -----------------------------------------------------------------------------

TCP_FLOW = Record(flow.TCP, fd=OPAQUE, ip=IP, port=INT)
DOMAIN_FLOW = Record(flow.DomainSocket, fd=OPAQUE, path=TEXT)
VCHAN_FLOW = Record(flow.Vchan, domid=INT, port=TEXT)
FLOW: Variant[flow.Flow] = Variant(
    "flow",
    Case("TCP", TCP_FLOW),
    Case("Tunnel", Fields(flow.Tunnel, TEXT, OPAQUE, OPAQUE), spread=True),
    Case("Domain_socket", DOMAIN_FLOW),
    Case("Vchan", VCHAN_FLOW),
    Case("Vsock", Record(flow.Vsock, cid=INT, port=INT)),
    any_case=True,
)
TLS_LIB: Variant[TLSLibrary] = Variant(
    "tls_lib",
    Case("OpenSSL", None, TLSLibrary.OPENSSL),
    Case("Native", None, TLSLibrary.NATIVE),
    Case("No_tls", None, TLSLibrary.NO_TLS),
    any_case=True,
)
SERVICE = Record(Service, name=TEXT, port=INT, tls=BOOL)


class _Ctx(Shape["Context"]):
    """The pair of the source addresses and the own key; it says too little to be read."""

    def to_sexp(self, value: Context) -> Sexp:
        return List((List(map(_source, value.src)), TLS_OWN_KEY.to_sexp(value.tls_own_key)))

    def of_sexp(self, node: Node) -> Any:
        raise node.refused("a ctx cannot be read: whom it trusts, for one, is not in the text")


def _source(address: IPAddress) -> str:
    return f"ADDR_INET({ip_text(address)},0)"


CTX = _Ctx()
