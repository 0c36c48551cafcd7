"""Addresses to text and back."""

import re
import socket
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conduit import client, endp, flow, server
from conduit.errors import AddressError
from conduit.text import (
    PasswordFromEnv,
    PasswordFromFile,
    parse_client,
    parse_endp,
    parse_server,
    to_text,
)
from tests.text.addresses import CLIENTS, ENDPS, SERVERS

# What may stand in the text of an address: RFC 3987, with brackets for IPv6 alone.
VISIBLE = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-F]{2}|[^\x00-\xa0])+")


def parser_of(address):
    modules = {
        client.__name__: parse_client,
        server.__name__: parse_server,
        endp.__name__: parse_endp,
    }
    return modules[type(address).__module__]


def check_lossless(address):
    text = to_text(address)
    again = parser_of(address)(text)
    assert again == address
    assert repr(again) == repr(address)
    assert to_text(again) == text
    assert str(address) == f"{address}" == text
    assert VISIBLE.fullmatch(text)
    assert text.isprintable()


def test_every_class_that_can_have_a_text_is_tried():
    without = {client.TLSTunnel, endp.TLSTunnel}
    for union, tried in ((client.Client, CLIENTS), (endp.Endp, ENDPS), (server.Mode, SERVERS)):
        assert set(get_args(union)) - without == tried.keys()


STRATEGIES = [*CLIENTS.items(), *ENDPS.items(), *SERVERS.items()]


@pytest.mark.parametrize(
    "strategy",
    [strategy for _, strategy in STRATEGIES],
    ids=[f"{cls.__module__}.{cls.__name__}".removeprefix("conduit.") for cls, _ in STRATEGIES],
)
@settings(deadline=None, max_examples=20)
@given(st.data())
def test_lossless(strategy, data):
    check_lossless(data.draw(strategy))


# One text for each value --------------------------------------------------------------------------

TEXTS: dict[str, Any] = {
    "tcp://127.0.0.1:80": client.TCP("127.0.0.1", 80),
    "tcp://[::1]:80": endp.TCP("::1", 80),
    "tcp://[fe80::1%25eth0]:80": client.TCP("fe80::1%eth0", 80),
    "tcp://[::ffff:192.0.2.1]:80": client.TCP("::ffff:c000:201", 80),
    "tcp://db.example:5432": client.Host("db.example", 5432),
    "tcp://bücher.example:80": client.Host("bücher.example", 80),
    "tcp://%44%42.example:80": client.Host("DB.example", 80),
    "tcp://127.0.0%2E1:80": client.Host("127.0.0.1", 80),
    "tcp://%3A%3A1:80": client.Host("::1", 80),
    "tls://192.0.2.1:443": client.TLS("192.0.2.1", "192.0.2.1", 443),
    "tls://[fe80::1%25eth0]:443": client.TLS("fe80::1", "fe80::1%eth0", 443),
    "tls://192.0.2.1:443?hostname=db.example": client.TLS("db.example", "192.0.2.1", 443),
    "openssl://192.0.2.1:443?hostname=a": client.OpenSSL("a", "192.0.2.1", 443),
    "tls-native://192.0.2.1:443?hostname=a": client.TLSNative("a", "192.0.2.1", 443),
    "tls://db.example:5432": client.TLSOver("db.example", client.Host("db.example", 5432)),
    "tcp://_pg._tcp.db.example": client.Host("_pg._tcp.db.example", 0),
    "tcp://_pg._tcp.db.example:80": client.Host("_pg._tcp.db.example", 80),
    "tls://_pg._tcp.db.example": client.TLSOver(
        "db.example", client.Host("_pg._tcp.db.example", 0)
    ),
    "tls://_pg._tcp.db.example:443": endp.TLS("db.example", endp.Host("_pg._tcp.db.example", 443)),
    "tls://_pg._tcp.db.example?hostname=_pg._tcp.db.example": endp.TLS(
        "_pg._tcp.db.example", endp.Host("_pg._tcp.db.example", 0)
    ),
    "tcp://_pg.db.example:0": client.Host("_pg.db.example", 0),
    "tcp://_pg._tcp:0": client.Host("_pg._tcp", 0),
    "connect+tls://_proxy._tcp.example?to=_pg._tcp.db.example:0": client.HTTPConnect(
        "_pg._tcp.db.example",
        0,
        client.TLSOver("example", client.Host("_proxy._tcp.example", 0)),
    ),
    "tls://db:5432?hostname=db.example": endp.TLS("db.example", endp.Host("db", 5432)),
    "tls://192.0.2.1:443?hostname=a": endp.TLS("a", endp.TCP("192.0.2.1", 443)),
    "tls+tcp://192.0.2.1:443": client.TLSOver("192.0.2.1", client.TCP("192.0.2.1", 443)),
    "tls+unix:/run/x?hostname=db.example": client.TLSOver(
        "db.example", client.UnixDomainSocket("/run/x")
    ),
    "tls+tls://proxy:443?hostname=db.example": client.TLSOver(
        "db.example", client.TLSOver("proxy", client.Host("proxy", 443))
    ),
    "socks5+tcp://proxy:1080?to=db.example:5432": client.SOCKS5(
        "db.example", 5432, client.Host("proxy", 1080)
    ),
    "tls+connect+tls://proxy:443?to=db.example:5432&login_env=LOGIN": client.TLSOver(
        "db.example",
        client.HTTPConnect(
            "db.example",
            5432,
            client.TLSOver("proxy", client.Host("proxy", 443)),
            PasswordFromEnv("LOGIN"),
        ),
    ),
    "connect+socks5+unix:/run/p?to=[::1]:1,a:2&login_file=,/etc/b%2Cc": client.HTTPConnect(
        "::1",
        1,
        client.SOCKS5("a", 2, client.UnixDomainSocket("/run/p"), PasswordFromFile("/etc/b,c")),
    ),
    "tls+tls://[::1]:443?hostname=a,b": client.TLSOver("a", client.TLS("b", "::1", 443)),
    "tls+tls://p:443?hostname=p,b": endp.TLS("p", endp.TLS("b", endp.Host("p", 443))),
    "tls+tls+unix:/x?hostname=a,b%2Cc": endp.TLS("a", endp.TLS("b,c", endp.UnixDomainSocket("/x"))),
    "unix:/run/x": server.UnixDomainSocket("/run/x"),
    "unix:@name": client.UnixDomainSocket("@name"),
    "unix:./@name": client.UnixDomainSocket("./@name"),
    "unix:rel/path": endp.UnixDomainSocket("rel/path"),
    "unix:/a%20b%0A%3F%23%25": client.UnixDomainSocket("/a b\n?#%"),
    "unix:/%FF": client.UnixDomainSocket("/\udcff"),
    "unix:/%2Fhost/x": client.UnixDomainSocket("//host/x"),
    "unix:": client.UnixDomainSocket(""),
    "vchan:3/port": server.VchanDirect(3, "port"),
    "vchan:3/": client.VchanDirect(3, ""),
    "vchan:3/a/b": client.VchanDirect(3, "a/b"),
    "vchan-name:dom/port": server.VchanDomainSocket("dom", "port"),
    "vchan-name:a%2Fb/c/d": endp.VchanDomainSocket("a/b", "c/d"),
    "vchan-name:/%2Fx": client.VchanDomainSocket("", "/x"),
    "vsock://2:80": client.Vsock(2, 80),
    "vsock://*:80": server.Vsock(2**32 - 1, 80),
    "vsock://4294967295:80": endp.Vsock(2**32 - 1, 80),
    "unknown:no%20such%20host": endp.Unknown("no such host"),
    "tls+unknown:?hostname=h": endp.TLS("h", endp.Unknown("")),
    "tcp://*:8080": server.TCP(8080),
    "tcp://[::]:8080": server.TCP(8080, ip="::"),
    "tcp+fd:3": server.TCP(server.Socket(3)),
    "fd:3": server.ListeningSocket(3),
    "systemd:": server.Systemd(),
    "systemd:http": server.Systemd("http"),
    "handover:/run/x": server.Handover("/run/x"),
    "handover:@x?otherwise=tcp://*:80": server.Handover("@x", server.TCP(80)),
    "tls+handover:x?otherwise=unix:/a%26b%2Cc%253F&crt=c&key=k": server.TLSOver(
        server.Handover("x", server.UnixDomainSocket("/a&b,c?")), "c", "k"
    ),
    "launchd:Listeners": server.Launchd("Listeners"),
    "tls://*:443?crt=/a.crt&key=/a.key": server.TLS("/a.crt", "/a.key", None, 443),
    "openssl://127.0.0.1:443?crt=c&key=k&password_env=PASS": server.OpenSSL(
        "c", "k", PasswordFromEnv("PASS"), 443, ip="127.0.0.1"
    ),
    "tls-native://*:443?crt=c&key=k&password_file=/run/p": server.TLSNative(
        "c", "k", PasswordFromFile("/run/p"), 443
    ),
    "tls+tcp://*:443?crt=c&key=k": server.TLSOver(server.TCP(443), "c", "k"),
    "tls+tls://*:443?crt=a,b%2C&key=c,d&password_env=,P": server.TLSOver(
        server.TLS("b,", "d", PasswordFromEnv("P"), 443), "a", "c"
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_canonical_text(text):
    assert to_text(TEXTS[text]) == text
    check_lossless(TEXTS[text])


@settings(deadline=None)
@given(st.sampled_from(["unix", "launchd"]), st.lists(st.sampled_from(["/", "//", "a", "%2F"])))
def test_slashes_at_the_start_of_a_path(scheme, parts):
    value = "".join(parts)
    make = server.UnixDomainSocket if scheme == "unix" else server.Launchd
    check_lossless(make(value))


@settings(deadline=None)
@given(st.integers(0, 0x110000 - 1).filter(bool).map(chr))
@example("\ud800")
@example("\udcff")
def test_each_character_survives_in_a_path_and_in_an_option(char):
    check_lossless(client.UnixDomainSocket(f"/{char}"))
    check_lossless(client.TLSOver(char, client.UnixDomainSocket("x")))


# What has no text ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Carrier:
    """An address of another package."""

    pigeon: str


class Mine(client.TCP):
    pass


FOREIGN: Any = Carrier("grey")


def refused(address):
    with pytest.raises(AddressError) as caught:
        to_text(address)
    return str(caught.value)


CHANNELS: Any = object(), object()


@pytest.mark.parametrize(
    "address",
    [
        client.TLSTunnel("h", *CHANNELS),
        client.TLSOver("h", client.TLSTunnel("h", *CHANNELS)),
        endp.TLSTunnel("h", *CHANNELS),
        endp.TLS("h", endp.TLSTunnel("h", *CHANNELS)),
    ],
)
def test_channels_have_no_text(address):
    assert refused(address).endswith("has no text, for it holds channels")


def test_socket_object_has_no_text():
    with socket.socket() as sock:
        address = server.TCP(server.Socket(sock))
        assert refused(address).endswith(
            "holds a socket object; server.Socket(sock.detach()) has a text"
        )


@pytest.mark.parametrize("function", [partial(str.format, "hunter2"), lambda _: "hunter2"])
@pytest.mark.parametrize(
    "make",
    [
        lambda password: server.TLS("c", "k", password, 443),
        lambda password: server.TLSOver(server.TCP(443), "c", "k", password),
    ],
)
def test_password_function_has_no_text_and_is_not_shown(make, function):
    message = refused(make(function))
    assert "function for its password" in message
    assert "PasswordFromEnv" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "value",
    [
        flow.TCP(1, ip_address("::1"), 80),
        client.TLSConfig("h", "::1", 443),
        server.Port(80),
        FOREIGN,
        client.TLSOver("h", FOREIGN),
        Mine(ip_address("::1"), 80),
        "tcp://h:1",
        None,
    ],
)
def test_what_is_no_address_of_ours_has_no_text(value):
    assert refused(value).endswith(
        "is no address of conduit.client, conduit.server or conduit.endp"
    )


def test_number_too_long_to_print_has_no_text():
    assert "more than 4300 digits" in refused(server.ListeningSocket(10**4300))
    assert "more than 4300 digits" in refused(client.VchanDirect(10**6000, "p"))
    check_lossless(server.ListeningSocket(10**4300 - 1))


def test_text_too_long_to_read_is_not_written():
    longest = client.UnixDomainSocket("x" * (65536 - len("unix:")))
    check_lossless(longest)
    assert "65537 characters" in refused(client.UnixDomainSocket(longest.file + "x"))


def nested(layers, over, below):
    address = below
    for _ in range(layers):
        address = over(address)
    return address


@pytest.mark.parametrize(
    ("over", "below", "most"),
    [
        (lambda below: client.TLSOver("h", below), client.Host("h", 1), 16),
        (lambda below: client.TLSOver("h", below), client.TLS("h", "::1", 1), 15),
        (lambda below: endp.TLS("h", below), endp.TCP("::1", 1), 16),
        (lambda below: server.TLSOver(below, "c", "k"), server.TCP(1), 16),
        (lambda below: server.TLSOver(below, "c", "k"), server.TLS("c", "k", None, 1), 15),
    ],
)
def test_nested_deeper_than_what_is_read_has_no_text(over, below, most):
    check_lossless(nested(most, over, below))
    assert "more than 16 layers" in refused(nested(most + 1, over, below))
    assert "more than 16 layers" in refused(nested(5000, over, below))
