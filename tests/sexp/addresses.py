"""Values of every type, for property tests; only those that can be read back."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import strategies as st

from conduit import OwnKey, client, endp, flow, server
from conduit.resolver.service import Service
from conduit.sexp import List, Sexp
from conduit.tls.library import TLSLibrary

# What separates, quotes or comments in an s-expression, next to what looks alike.
ODD = [*"()\";#|\\ \n\t\r\b\f\v\x7f'`aé\udcff\udcc3", "#|", "|#", "#;", "\\n", "\\065", "<opaque>"]

atoms = st.lists(st.sampled_from(ODD), max_size=8).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=12
)
# Half surrogate pairs that together are the bytes of a character are that character.
texts = atoms.map(
    lambda text: text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
)
sexps: st.SearchStrategy[Sexp] = st.recursive(
    texts, lambda inner: st.lists(inner, max_size=5).map(List), max_leaves=20
)

names = texts.map(lambda text: text.replace("\0", ""))
hostnames = names.filter(bool)
paths = names
dns_names = st.sampled_from(["localhost", "db.example", "a_b", "127.0.0.1", "bücher.example"])
ports = st.integers(0, 0xFFFF)
numbers = st.integers(0, 0xFFFF_FFFF)
domids = st.integers(0, (1 << 62) - 1)
zones = st.sampled_from(["fe80::1%eth0", "::ffff:1.2.3.4%1"]).map(IPv6Address)
v6 = st.lists(st.sampled_from([0, 0, 1, 0xFFFF]), min_size=8, max_size=8).map(
    lambda groups: IPv6Address(sum(group << 16 * at for at, group in enumerate(groups)))
)
ips = st.ip_addresses() | v6 | zones | st.just(IPv4Address("0.0.0.0"))

keys: st.SearchStrategy[Any] = st.tuples(paths, paths, st.none())

clients: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.one_of(
            *(st.builds(cls, hostnames, ips, ports) for cls in (client.TLS, client.OpenSSL)),
            st.builds(client.TLSNative, hostnames, ips, ports),
            st.builds(client.TCP, ips, ports),
            st.builds(client.Host, dns_names, ports),
            st.builds(client.UnixDomainSocket, paths),
            st.builds(client.VchanDirect, domids, names),
            st.builds(client.VchanDomainSocket, names, names),
            st.builds(client.Vsock, numbers, numbers),
        )
        | st.builds(client.TLSOver, hostnames, clients)
    )
)
endps: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.one_of(
            st.builds(endp.TCP, ips, ports),
            st.builds(endp.Host, dns_names, ports),
            st.builds(endp.UnixDomainSocket, paths),
            st.builds(endp.VchanDirect, domids, names),
            st.builds(endp.VchanDomainSocket, names, names),
            st.builds(endp.Vsock, numbers, numbers),
            st.builds(endp.Unknown, names),
        )
        | st.builds(endp.TLS, hostnames, endps)
    )
)


def _tls(cls: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(lambda key, port, ip: cls(*key, port, ip=ip), keys, ports, st.none() | ips)


modes: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.one_of(
            *map(_tls, (server.TLS, server.OpenSSL, server.TLSNative)),
            st.builds(server.TCP, ports, ip=st.none() | ips),
            st.builds(server.UnixDomainSocket, paths),
            st.builds(server.VchanDirect, domids, names),
            st.builds(server.VchanDomainSocket, names, names),
            st.builds(server.Vsock, numbers, numbers),
            st.builds(server.Launchd, names),
            st.builds(server.Systemd, st.sampled_from([None, "web", "a b"])),
            st.builds(server.ListeningSocket, domids),
            st.builds(
                server.Handover,
                paths,
                st.none()
                | st.builds(server.TCP, ports)
                | st.builds(server.Vsock, numbers, numbers),
            ),
        )
        | st.builds(lambda mode, key: server.TLSOver(mode, *key), modes, keys)
    )
)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "client": clients,
    "client_tls_config": st.builds(client.TLSConfig, hostnames, ips, ports),
    "server": modes,
    "server_tls_config": st.builds(server.TLSConfig, paths, paths, st.none(), ports),
    "tcp_config": st.builds(server.Port, ports),
    "tls_own_key": st.none() | keys.map(lambda key: OwnKey(*key)),
    "tls_server_key": st.none() | keys.map(lambda key: OwnKey(*key)),
    "flow": st.builds(flow.Vchan, st.integers(-5, 5), texts)
    | st.builds(flow.Vsock, numbers, numbers),
    "vchan_flow": st.builds(flow.Vchan, st.integers(-5, 5), texts),
    "endp": endps,
    "conduit_endp": endps,
    "tls_lib": st.sampled_from(TLSLibrary),
    "service": st.builds(Service, names, ports, st.booleans()),
}
