"""`endp_of_flow`, `endp_to_client` and `endp_to_server`.

data/convert.json holds what the OCaml library's own conversions say (conduit-lwt-unix 8.0.0): for
each case the value as a tree, and what came out as an s-expression, or why it was refused.
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

import conduit
from conduit import client, endp, flow, server

LOOPBACK = ip_address("127.0.0.1")


def ask(_encrypting: bool) -> str:
    return "secret"


KEY = conduit.OwnKey("c", "k", ask)


# endp_to_client -----------------------------------------------------------------------------------

TO_CLIENT = [
    (endp.TCP("127.0.0.1", 80), client.TCP("127.0.0.1", 80)),
    (endp.TCP("fe80::1%eth0", 80), client.TCP("fe80::1%eth0", 80)),
    (endp.Host("db.example", 5432), client.Host("db.example", 5432)),
    (endp.UnixDomainSocket("/run/x"), client.UnixDomainSocket("/run/x")),
    (endp.UnixDomainSocket("@x"), client.UnixDomainSocket("@x")),
    (endp.VchanDirect(3, "p"), client.VchanDirect(3, "p")),
    (endp.VchanDomainSocket("dom", "p"), client.VchanDomainSocket("dom", "p")),
    (endp.Vsock(2, 1024), client.Vsock(2, 1024)),
    (endp.TLS("h", endp.TCP("::1", 443)), client.TLS("h", "::1", 443)),
    (
        endp.TLS("h", endp.Host("db.example", 5432)),
        client.TLSOver("h", client.Host("db.example", 5432)),
    ),
    (
        endp.TLS("h", endp.UnixDomainSocket("/run/x")),
        client.TLSOver("h", client.UnixDomainSocket("/run/x")),
    ),
    (
        endp.TLS("h", endp.VchanDirect(3, "p")),
        client.TLSOver("h", client.VchanDirect(3, "p")),
    ),
    (
        endp.TLS("h", endp.TLS("i", endp.TCP("::1", 443))),
        client.TLSOver("h", client.TLS("i", "::1", 443)),
    ),
    (endp.TLSTunnel("h", "ic", "oc"), client.TLSTunnel("h", "ic", "oc")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("target", "expected"), TO_CLIENT, ids=repr)
def test_endp_to_client(target, expected):
    assert conduit.endp_to_client(target) == expected
    assert conduit.endp_to_client(target, ctx=conduit.Context(tls_own_key=KEY)) == expected


def test_channels_of_a_tunnel_are_handed_on_as_they_are():
    ic: Any = object()
    oc: Any = object()
    made = conduit.endp_to_client(endp.TLSTunnel("h", ic, oc))
    assert isinstance(made, client.TLSTunnel)
    assert made.ic is ic
    assert made.oc is oc


# endp_to_server -----------------------------------------------------------------------------------

TO_SERVER = [
    (endp.TCP("127.0.0.1", 80), server.TCP(80, ip="127.0.0.1")),
    (endp.TCP("fe80::1%eth0", 0), server.TCP(0, ip="fe80::1%eth0")),
    (endp.UnixDomainSocket("/run/x"), server.UnixDomainSocket("/run/x")),
    (endp.VchanDirect(3, "p"), server.VchanDirect(3, "p")),
    (endp.VchanDomainSocket("dom", "p"), server.VchanDomainSocket("dom", "p")),
    (endp.Vsock(2, 1024), server.Vsock(2, 1024)),
]

TO_TLS_SERVER = [
    (endp.TLS("h", endp.TCP("::1", 443)), server.TLS("c", "k", ask, 443, ip="::1")),
    (
        endp.TLS("h", endp.UnixDomainSocket("/run/x")),
        server.TLSOver(server.UnixDomainSocket("/run/x"), "c", "k", ask),
    ),
    (
        endp.TLS("h", endp.Vsock(2, 1024)),
        server.TLSOver(server.Vsock(2, 1024), "c", "k", ask),
    ),
    (
        endp.TLS("h", endp.TLS("i", endp.TCP("::1", 443))),
        server.TLSOver(server.TLS("c", "k", ask, 443, ip="::1"), "c", "k", ask),
    ),
]


@pytest.mark.parametrize(("target", "expected"), TO_SERVER, ids=repr)
def test_endp_to_server(target, expected):
    assert conduit.endp_to_server(target) == expected
    assert conduit.endp_to_server(target, ctx=conduit.Context(tls_own_key=KEY)) == expected


@pytest.mark.parametrize(("target", "expected"), TO_TLS_SERVER, ids=repr)
def test_endp_to_server_takes_the_files_of_the_own_key(target, expected):
    assert conduit.endp_to_server(target, ctx=conduit.Context(tls_own_key=KEY)) == expected


@pytest.mark.parametrize("target", [target for target, _ in TO_TLS_SERVER], ids=repr)
@pytest.mark.parametrize("ctx", [None, conduit.Context()], ids=["default", "without a key"])
def test_endp_to_server_without_an_own_key_says_what_to_give(target, ctx):
    with pytest.raises(conduit.AddressError, match=r"tls_own_key=OwnKey\(crt_file, key_file\)"):
        conduit.endp_to_server(target, ctx=ctx)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (endp.Host("db.example", 80), "'db.example' is a name"),
        (endp.TLSTunnel("h", "ic", "oc"), "nothing can listen on a connection"),  # type: ignore[arg-type]
        (endp.TLS("h", endp.Host("db.example", 80)), "'db.example' is a name"),
    ],
    ids=repr,
)
def test_what_nothing_can_listen_on(target, why):
    with pytest.raises(conduit.AddressError, match=re.escape(why)):
        conduit.endp_to_server(target, ctx=conduit.Context(tls_own_key=KEY))


# Both ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [conduit.endp_to_client, conduit.endp_to_server])
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_unknown_gives_its_reason(convert, layers):
    target: endp.Endp = endp.Unknown("no such service")
    for _ in range(layers):
        target = endp.TLS("h", target)
    with pytest.raises(conduit.ResolutionError, match=r"no such service$"):
        convert(target, ctx=conduit.Context(tls_own_key=KEY))


def test_every_endpoint_is_converted_or_refused():
    """A constructor that is added must be thought of here."""
    known = {type(target) for target, _ in TO_CLIENT} | {endp.Unknown}
    assert known == set(endp.Endp.__args__)
    known = {type(target) for target, _ in TO_SERVER + TO_TLS_SERVER}
    assert known | {endp.Unknown, endp.Host, endp.TLSTunnel} == set(endp.Endp.__args__)


@pytest.mark.parametrize("convert", [conduit.endp_to_client, conduit.endp_to_server])
@pytest.mark.parametrize(
    "target",
    [client.TCP("127.0.0.1", 80), server.TCP(80), flow.TCP(3, LOOPBACK, 80), "tcp://h:80", None],
    ids=repr,
)
def test_what_is_no_endpoint_is_refused(convert, target):
    with pytest.raises((TypeError, ValueError)):
        convert(target)


# endp_of_flow -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (flow.TCP(3, LOOPBACK, 80), endp.TCP("127.0.0.1", 80)),
        (flow.TCP(3, ip_address("fe80::1%eth0"), 80), endp.TCP("fe80::1%eth0", 80)),
        (flow.DomainSocket(3, "/run/x"), endp.UnixDomainSocket("/run/x")),
        (flow.DomainSocket(3, "@x"), endp.UnixDomainSocket("@x")),
        (flow.Vchan(3, "p"), endp.VchanDirect(3, "p")),
        (flow.Vsock(2, 1024), endp.Vsock(2, 1024)),
        (flow.Tunnel("h", "ic", "oc"), endp.TLSTunnel("h", "ic", "oc")),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_endp_of_flow_made_by_hand(connection, expected):
    assert conduit.endp_of_flow(connection) == expected


def test_endp_of_flow_of_a_nameless_unix_socket():
    assert isinstance(conduit.endp_of_flow(flow.DomainSocket(3, "")), endp.Unknown)


@pytest.mark.parametrize(
    "connection",
    [
        flow.TCP(3, LOOPBACK, 80, origin=endp.TLS("h", endp.Host("db.example", 80))),
        flow.TCP(3, LOOPBACK, 80, origin=endp.Host("db.example", 80)),
        flow.DomainSocket(3, "", origin=endp.UnixDomainSocket("/run/x")),
        flow.Vchan(3, "p", origin=endp.VchanDomainSocket("dom", "p")),
        flow.Tunnel("h", "ic", "oc", origin=endp.TLS("h", endp.TCP("::1", 443))),  # type: ignore[arg-type]
    ],
)
def test_endp_of_flow_is_where_it_came_from(connection):
    assert conduit.endp_of_flow(connection) is connection.origin


async def test_endp_of_flow_of_real_flows(socket_path):
    """Of a connection made here what was asked for; of one accepted, who came, or where to."""
    origins = []

    async def note(f, ic, oc):
        origins.append(conduit.endp_of_flow(f))

    modes: list[server.TCP | server.UnixDomainSocket] = [
        server.TCP(0, ip="127.0.0.1"),
        server.UnixDomainSocket(socket_path),
        server.UnixDomainSocket(f"@{socket_path}"),
    ]
    for mode in modes:
        async with conduit.listen(mode, note) as srv:
            [target] = srv.endps
            async with conduit.connect(target) as (f, ic, oc):
                assert conduit.endp_of_flow(f) == target
                assert await ic.read() == b""
                if isinstance(mode, server.TCP):
                    assert origins == [endp.TCP(*oc.get_extra_info("sockname"))]
                else:
                    assert origins == [endp.UnixDomainSocket(mode.file)]
        origins.clear()


async def test_endp_of_flow_can_be_connected_to_again(socket_path):
    async def greet(f, ic, oc):
        oc.write(b"hello")

    for mode in (server.TCP(0), server.UnixDomainSocket(socket_path)):
        async with conduit.listen(mode, greet) as srv:
            async with conduit.connect(srv.endps[0]) as (first, _, _):
                pass
            async with conduit.connect(conduit.endp_of_flow(first)) as (_, ic, _):
                assert await ic.read() == b"hello"


# What the reference says --------------------------------------------------------------------------

ROWS = json.loads((Path(__file__).parent / "data" / "convert.json").read_text("utf-8"))

# Where ours differs on purpose: the rows by name, each with what ours says and why.
TLS_OVER_ANYTHING = "the reference refuses TLS over anything but TCP"
ADDRESS_KEPT = "the reference drops the IP address, and listens on all"
NEEDS_A_KEY = "the reference refuses TLS over anything but TCP; ours, TLS without a certificate"

WITH_KEY = "ctx with key (Crt_file_path c, Key_file_path k, No_password)"
WITHOUT_KEY = "ctx without a key"

DIFFERENT: dict[tuple[str, str, str], tuple[str, object]] = {
    ("endp_to_client", '`TLS ("h", `TLS ("i", `TCP ((ip "127.0.0.1"), 1)))', ""): (
        TLS_OVER_ANYTHING,
        client.TLSOver("h", client.TLS("i", "127.0.0.1", 1)),
    ),
    ("endp_to_client", '`TLS ("h", `Vchan_direct (1, "p"))', ""): (
        TLS_OVER_ANYTHING,
        client.TLSOver("h", client.VchanDirect(1, "p")),
    ),
    ("endp_to_server", '`TCP ((ip "127.0.0.1"), 80)', WITH_KEY): (
        ADDRESS_KEPT,
        server.TCP(80, ip="127.0.0.1"),
    ),
    ("endp_to_server", '`TCP ((ip "127.0.0.1"), 80)', WITHOUT_KEY): (
        ADDRESS_KEPT,
        server.TCP(80, ip="127.0.0.1"),
    ),
    ("endp_to_server", '`TCP ((ip "::1"), 65535)', WITH_KEY): (
        ADDRESS_KEPT,
        server.TCP(65535, ip="::1"),
    ),
    ("endp_to_server", '`TCP ((ip "::1"), 65535)', WITHOUT_KEY): (
        ADDRESS_KEPT,
        server.TCP(65535, ip="::1"),
    ),
    ("endp_to_server", '`TLS ("h", `TCP ((ip "127.0.0.1"), 443))', WITH_KEY): (
        ADDRESS_KEPT,
        server.TLS("c", "k", None, 443, ip="127.0.0.1"),
    ),
    ("endp_to_server", '`TLS ("h", `TLS ("i", `TCP ((ip "127.0.0.1"), 1)))', WITH_KEY): (
        TLS_OVER_ANYTHING,
        server.TLSOver(server.TLS("c", "k", None, 1, ip="127.0.0.1"), "c", "k"),
    ),
    ("endp_to_server", '`TLS ("h", `Unix_domain_socket "/x")', WITH_KEY): (
        TLS_OVER_ANYTHING,
        server.TLSOver(server.UnixDomainSocket("/x"), "c", "k"),
    ),
    ("endp_to_server", '`TLS ("h", `Vchan_direct (1, "p"))', WITH_KEY): (
        TLS_OVER_ANYTHING,
        server.TLSOver(server.VchanDirect(1, "p"), "c", "k"),
    ),
    ("endp_to_server", '`TLS ("h", `Unix_domain_socket "/x")', WITHOUT_KEY): (
        NEEDS_A_KEY,
        conduit.AddressError,
    ),
    ("endp_to_server", '`TLS ("h", `Vchan_direct (1, "p"))', WITHOUT_KEY): (
        NEEDS_A_KEY,
        conduit.AddressError,
    ),
}

CONTEXTS = {
    "": conduit.Context(),
    WITHOUT_KEY: conduit.Context(),
    WITH_KEY: conduit.Context(tls_own_key=conduit.OwnKey("c", "k")),
}


def name_of(row) -> tuple[str, str, str]:
    return row["type"], row["input"], row["note"]


def endp_of_tree(tree) -> Any:
    """A value of the reference's, as ours."""
    match tree:
        case {"tag": "TCP", "args": [{"tuple": [{"ip": ip}, int(port)]}]}:
            return endp.TCP(ip, port)
        case {"tag": "Unix_domain_socket", "args": [{"s": path}]}:
            return endp.UnixDomainSocket(path)
        case {"tag": "Vchan_direct", "args": [{"tuple": [int(domid), {"s": port}]}]}:
            return endp.VchanDirect(domid, port)
        case {"tag": "Vchan_domain_socket", "args": [{"tuple": [{"s": name}, {"s": port}]}]}:
            return endp.VchanDomainSocket(name, port)
        case {"tag": "TLS", "args": [{"tuple": [{"s": host}, below]}]}:
            return endp.TLS(host, endp_of_tree(below))
        case {"tag": "TLS_tunnel", "args": [{"tuple": [{"s": host}, _, _]}]}:
            channel: Any = "a channel"
            return endp.TLSTunnel(host, channel, channel)
        case {"tag": "Unknown", "args": [{"s": reason}]}:
            return endp.Unknown(reason)
    raise AssertionError(f"no value of ours is {tree}")


def lists_of_sexp(text: str) -> Any:
    """An s-expression as lists of strings."""
    tokens = re.findall(r'[()]|"[^"\\]*"|[^\s()"]+', text)
    assert "".join(tokens).replace(" ", "") == text.replace(" ", "")
    stack: list[list[Any]] = [[]]
    for token in tokens:
        if token == "(":
            stack.append([])
        elif token == ")":
            closed = stack.pop()
            stack[-1].append(closed)
        else:
            stack[-1].append(token.strip('"'))
    [[read]] = stack
    return read


def lists_of(address) -> Any:
    """One of our addresses as the reference's s-expression of it says it."""
    match address:
        case client.TLS(hostname, ip, port):
            return ["TLS", [["Hostname", hostname], ["IP", str(ip)], ["Port", str(port)]]]
        case client.TLSTunnel(hostname, _, _):
            return ["TLS_tunnel", [["Hostname", hostname], "<opaque>", "<opaque>"]]
        case client.UnixDomainSocket(file):
            return ["Unix_domain_socket", ["File", file]]
        case client.VchanDirect(domid, port):
            return ["Vchan_direct", [["Domid", str(domid)], ["Port", port]]]
        case server.VchanDirect(domid, port):
            return ["Vchan_direct", [str(domid), port]]
        case server.VchanDomainSocket(domain, port):
            return ["Vchan_domain_socket", [domain, port]]
    raise AssertionError(f"the reference has no {address}")


def converted(row) -> Any:
    convert = getattr(conduit, row["type"])
    return convert(endp_of_tree(row["value"]), ctx=CONTEXTS[row["note"]])


SAME = [row for row in ROWS if name_of(row) not in DIFFERENT]


def test_every_difference_is_of_a_row():
    assert DIFFERENT.keys() <= {name_of(row) for row in ROWS}
    assert len({name_of(row) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", SAME, ids=lambda row: " ".join(name_of(row)))
def test_conversion_says_what_the_references_says(row):
    if "output" in row:
        assert lists_of(converted(row)) == lists_of_sexp(row["output"])
    else:
        # "resolution failed: " and the reason
        _, _, reason = row["error_msg"].partition(": ")
        with pytest.raises(conduit.ResolutionError, match=f": {re.escape(reason)}$"):
            converted(row)


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if name_of(row) in DIFFERENT],
    ids=lambda row: " ".join(name_of(row)),
)
def test_conversion_has_not_the_references_defects(row):
    why, expected = DIFFERENT[name_of(row)]
    if isinstance(expected, type):
        with pytest.raises(expected):
            converted(row)
    else:
        assert converted(row) == expected, why
