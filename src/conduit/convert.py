"""From one kind of address to another: `endp_of_flow`, `endp_to_client`, `endp_to_server`."""

from __future__ import annotations

from . import client, endp, flow, server
from .context import Context, default_ctx
from .errors import AddressError, ResolutionError


def endp_of_flow(connection: flow.Flow) -> endp.Endp:
    """The endpoint that a flow came from.

    connection: the flow, from `connect` or as a handler was given it. If it was made here, the
    result is what was asked for; if it was accepted, the peer (of a Unix socket, which has no name
    for its peer, the socket it came to).
    """
    if connection.origin is not None:
        return connection.origin
    return _endp_of_fields(connection)


def _endp_of_fields(connection: flow.Flow) -> endp.Endp:
    """For a flow that was made by hand."""
    match connection:
        case flow.TCP(_, ip, port):
            return endp.TCP(ip, port)
        case flow.DomainSocket(_, path):
            return endp.UnixDomainSocket(path) if path else endp.Unknown("an unnamed Unix socket")
        case flow.Vchan(domid, port):
            return endp.VchanDirect(domid, port)
        case flow.Vsock(cid, port):
            return endp.Vsock(cid, port)
        case flow.Tunnel(hostname, ic, oc):
            return endp.TLSTunnel(hostname, ic, oc)


def endp_to_client(target: endp.Endp, *, ctx: Context | None = None) -> client.Client:
    """How to connect to an endpoint.

    target: where to connect. ctx: for what is decided by a context (default: `default_ctx()`).

    Raises ResolutionError for `endp.Unknown`, with its reason.
    """
    match target:
        case endp.TCP(ip, port):
            return client.TCP(ip, port)
        case endp.Host(name, port):
            return client.Host(name, port)
        case endp.UnixDomainSocket(path):
            return client.UnixDomainSocket(path)
        case endp.VchanDirect(domid, port):
            return client.VchanDirect(domid, port)
        case endp.VchanDomainSocket(name, port):
            return client.VchanDomainSocket(name, port)
        case endp.Vsock(cid, port):
            return client.Vsock(cid, port)
        case endp.TLS(host, endp.TCP(ip, port)):
            return client.TLS(host, ip, port)
        case endp.TLS(host, inner):
            return client.TLSOver(host, endp_to_client(inner, ctx=ctx))
        case endp.TLSTunnel(host, ic, oc):
            return client.TLSTunnel(host, ic, oc)
        case endp.Unknown(reason):
            raise ResolutionError(f"nowhere to connect to: {reason}")
        case _:
            raise AddressError(f"{target!r} is no endpoint: use a value of conduit.endp")


def endp_to_server(target: endp.Endp, *, ctx: Context | None = None) -> server.Mode:
    """How to be reached at an endpoint.

    target: where clients shall connect. ctx: its `tls_own_key` names the files of a TLS server
    (default: `default_ctx()`).

    Raises AddressError for what nothing can listen on, and for `endp.TLS` without an own key;
    ResolutionError for `endp.Unknown`, with its reason.
    """
    match target:
        case endp.TCP(ip, port):
            return server.TCP(port, ip=ip)
        case endp.UnixDomainSocket(path):
            return server.UnixDomainSocket(path)
        case endp.VchanDirect(domid, port):
            return server.VchanDirect(domid, port)
        case endp.VchanDomainSocket(name, port):
            return server.VchanDomainSocket(name, port)
        case endp.Vsock(cid, port):
            return server.Vsock(cid, port)
        case endp.TLS(_, inner):
            key = (ctx or default_ctx()).tls_own_key
            if key is None:
                raise AddressError(
                    f"{target}: a TLS server needs a certificate: "
                    "give tls_own_key=OwnKey(crt_file, key_file) to conduit.init"
                )
            files = key.crt_file, key.key_file, key.password
            if isinstance(inner, endp.TCP):
                return server.TLS(*files, inner.port, ip=inner.ip)
            return server.TLSOver(endp_to_server(inner, ctx=ctx), *files)
        case endp.Host(name, _):
            raise AddressError(f"{target}: a server listens on IP addresses; {name!r} is a name")
        case endp.TLSTunnel():
            raise AddressError(f"{target!r}: nothing can listen on a connection; see start_tls")
        case endp.Unknown(reason):
            raise ResolutionError(f"nowhere to listen: {reason}")
        case _:
            raise AddressError(f"{target!r} is no endpoint: use a value of conduit.endp")
