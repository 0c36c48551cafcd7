"""Every address that has a text, and odd ones before all, for property tests."""

from ipaddress import IPv6Address
from typing import Any

from hypothesis import strategies as st

from conduit import client, endp, server
from conduit.errors import AddressError
from conduit.text import PasswordFromEnv, PasswordFromFile

# All that separates or hides something in a text, next to letters that look alike.
ODD = [
    *"%?#&=/@:+,;[]*\\\"'<>^`{|}~!$() .-_",
    *"\n\t\r\x7f\x85\xa0\u2028\u3000\u200b\u200d\u202e\ufeff",
    *"aZéÄßİ\u017f\u212a\uff11\u3002ü\u0301😀",
    *"\ud800\udc00\udcff\udcc3\udca4\U000e0001\U0010ffff",
    "%41",
    "%zz",
    "%25",
    "//",
    "..",
    "tcp:",
    "\udced\udcb3\udcbf",
]

anything = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=8)
names = (
    st.lists(st.sampled_from(ODD) | st.characters(), max_size=8)
    .map("".join)
    .map(lambda text: text.replace("\0", ""))
    | anything
)
some_name = names.filter(bool)

IPS_AS_NAMES = ["127.0.0.1", "0.0.0.0", "::1", "fe80::1%eth0", "fe80::1%25", "1.2.3.4"]
NUMBERS_AS_NAMES = ["127.1", "8080", "1.2.3.4.", "...", "256.1.1.1", "0", "1.2.3.04"]
USUAL_NAMES = ["localhost", "db.example", "DB.Example", "bücher.example", "a_b", "xn--p1ai"]
SRV_NAMES = ["_pg._tcp.db.example", "_Pg._tag.É", "_a._b.1", "_a._b..", "_._b.c", "_a._b."]


def is_host(name: str) -> bool:
    try:
        client.Host(name, 1)
    except AddressError:
        return False
    return True


hosts = (
    st.sampled_from(USUAL_NAMES + IPS_AS_NAMES + NUMBERS_AS_NAMES + SRV_NAMES)
    | names.filter(is_host)
    | st.from_regex(r"[0-9.]{1,16}", fullmatch=True).filter(is_host)
)
tls_names = (
    st.sampled_from(
        [*USUAL_NAMES, "_pg._tcp.db.example", "db.example", *IPS_AS_NAMES, "a b", "a,b", ","]
    )
    | some_name
)


def is_zone(zone: str) -> bool:
    try:
        IPv6Address(f"fe80::1%{zone}")
    except ValueError:
        return False
    return True


zones = st.sampled_from(["eth0", "25", "25x", "ETH", "a]b", "a b", "é"]) | names.filter(is_zone)
ips = (
    st.ip_addresses()
    | st.ip_addresses(v=4).map(lambda ip: IPv6Address(f"::ffff:{ip}"))
    | zones.map(lambda zone: IPv6Address(f"fe80::1%{zone}"))
)
ports = st.just(0) | st.integers(0, 65535)
wide = st.sampled_from([0, 1, 2**32 - 1]) | st.integers(0, 2**32 - 1)
big = st.integers(0) | st.just(10**4000)
files = st.sampled_from(["/etc/a.crt", "a,b", ""]) | names
passwords = (
    st.none()
    | some_name.filter(lambda name: "=" not in name).map(PasswordFromEnv)
    | some_name.map(PasswordFromFile)
)


# One strategy for each class; those over another take what is below.

PLAIN_CLIENTS = {
    client.TCP: st.builds(client.TCP, ips, ports),
    client.Host: st.builds(client.Host, hosts, ports),
    client.TLS: st.builds(client.TLS, tls_names, ips, ports),
    client.TLSNative: st.builds(client.TLSNative, tls_names, ips, ports),
    client.OpenSSL: st.builds(client.OpenSSL, tls_names, ips, ports),
    client.UnixDomainSocket: st.builds(client.UnixDomainSocket, files),
    client.VchanDirect: st.builds(client.VchanDirect, big, names),
    client.VchanDomainSocket: st.builds(client.VchanDomainSocket, names, names),
    client.Vsock: st.builds(client.Vsock, wide, wide),
}
PLAIN_ENDPS = {
    endp.TCP: st.builds(endp.TCP, ips, ports),
    endp.Host: st.builds(endp.Host, hosts, ports),
    endp.UnixDomainSocket: st.builds(endp.UnixDomainSocket, files),
    endp.VchanDirect: st.builds(endp.VchanDirect, big, names),
    endp.VchanDomainSocket: st.builds(endp.VchanDomainSocket, names, names),
    endp.Vsock: st.builds(endp.Vsock, wide, wide),
    endp.Unknown: st.builds(endp.Unknown, names),
}
optional_ips = st.none() | ips
SYSTEMD_NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=8)
PLAIN_SERVERS = {
    server.TCP: st.builds(server.TCP, ports, ip=optional_ips)
    | st.builds(lambda fd: server.TCP(server.Socket(fd)), big),
    server.TLS: st.builds(server.TLS, files, files, passwords, ports, ip=optional_ips),
    server.TLSNative: st.builds(server.TLSNative, files, files, passwords, ports, ip=optional_ips),
    server.OpenSSL: st.builds(server.OpenSSL, files, files, passwords, ports, ip=optional_ips),
    server.UnixDomainSocket: st.builds(server.UnixDomainSocket, files),
    server.VchanDirect: st.builds(server.VchanDirect, big, names),
    server.VchanDomainSocket: st.builds(server.VchanDomainSocket, names, names),
    server.Vsock: st.builds(server.Vsock, wide, wide),
    server.Launchd: st.builds(server.Launchd, names),
    server.Systemd: st.builds(
        server.Systemd, st.none() | SYSTEMD_NAMES.filter(lambda name: ":" not in name)
    ),
    server.ListeningSocket: st.builds(server.ListeningSocket, big),
}

PLAIN_SERVERS[server.Handover] = st.builds(
    server.Handover,
    names,
    st.none()
    | st.one_of(
        *(
            strategy
            for kind, strategy in PLAIN_SERVERS.items()
            if kind in (server.TCP, server.UnixDomainSocket, server.Vsock, server.Systemd)
        )
    ),
)

plain_clients = st.one_of(*PLAIN_CLIENTS.values())
plain_endps = st.one_of(*PLAIN_ENDPS.values())
plain_servers = st.one_of(*PLAIN_SERVERS.values())


def layers_of(parts):
    return st.lists(parts, min_size=1, max_size=6)


@st.composite
def clients_over(draw):
    address = draw(plain_clients)
    for name in draw(layers_of(tls_names)):
        address = client.TLSOver(name, address)
    return address


def is_far(host: str) -> bool:
    return is_host(host) and "%" not in host


@st.composite
def clients_by_proxy(draw, kind):
    """A proxy, with layers of TLS and other proxies below it and over it."""
    address: Any = draw(plain_clients)
    layers = draw(st.lists(st.sampled_from([client.TLSOver, *PROXIES]), max_size=5))
    layers.insert(draw(st.integers(0, len(layers))), kind)
    for layer in layers:
        if layer is client.TLSOver:
            # Often the name that it would have anyhow.
            usual = [address.host] if isinstance(address, PROXIES) else []
            address = layer(draw(st.sampled_from([*usual, "h"]) | tls_names), address)
        else:
            address = layer(draw(hosts.filter(is_far)), draw(ports), address, draw(passwords))
    return address


@st.composite
def endps_over(draw):
    address = draw(plain_endps)
    for name in draw(layers_of(tls_names)):
        address = endp.TLS(name, address)
    return address


@st.composite
def servers_over(draw):
    address = draw(plain_servers)
    for crt, key, password in draw(layers_of(st.tuples(files, files, passwords))):
        address = server.TLSOver(address, crt, key, password)
    return address


PROXIES = (client.SOCKS5, client.HTTPConnect)
CLIENTS: dict = {
    **PLAIN_CLIENTS,
    client.TLSOver: clients_over(),
    **{kind: clients_by_proxy(kind) for kind in PROXIES},
}
ENDPS = {**PLAIN_ENDPS, endp.TLS: endps_over()}
SERVERS = {**PLAIN_SERVERS, server.TLSOver: servers_over()}
