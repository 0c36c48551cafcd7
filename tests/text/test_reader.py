"""Text to addresses: what is read, what is not, and what is said then."""

import re
import subprocess
import sys
import time

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from conduit import client, endp, server
from conduit.errors import AddressError
from conduit.text import (
    PasswordFromEnv,
    PasswordFromFile,
    ServerOptions,
    is_service,
    parse_client,
    parse_endp,
    parse_server,
    read_client,
    read_server,
    to_text,
)
from tests.text.addresses import CLIENTS, ENDPS, ODD, SERVERS, anything

READERS = {"client": parse_client, "server": parse_server, "endp": parse_endp}


def refused(text, read=parse_client):
    with pytest.raises(AddressError) as caught:
        read(text)
    return str(caught.value)


# Other ways to write it: what is read, and its canonical text -------------------------------------

ACCEPTED = {
    "TCP://h:80": (client.Host("h", 80), "tcp://h:80"),
    "tcp://DB.Example:80": (client.Host("db.example", 80), "tcp://db.example:80"),
    "tcp://d%42:80": (client.Host("dB", 80), "tcp://d%42:80"),
    "tcp://d%62:80": (client.Host("db", 80), "tcp://db:80"),
    "tcp://BÜCHER.example:80": (client.Host("bÜcher.example", 80), "tcp://bÜcher.example:80"),
    "tcp://b%C3%BCcher:80": (client.Host("bücher", 80), "tcp://bücher:80"),
    "tcp://h:0080": (client.Host("h", 80), "tcp://h:80"),
    "tcp://[2001:DB8:0::1]:80": (client.TCP("2001:db8::1", 80), "tcp://[2001:db8::1]:80"),
    "tcp://[::ffff:c000:201]:80": (
        client.TCP("::ffff:192.0.2.1", 80),
        "tcp://[::ffff:192.0.2.1]:80",
    ),
    "tcp://[fe80::1%eth0]:80": (client.TCP("fe80::1%eth0", 80), "tcp://[fe80::1%25eth0]:80"),
    "tcp://[fe80::1%25eth0]:80": (client.TCP("fe80::1%eth0", 80), "tcp://[fe80::1%25eth0]:80"),
    "tcp://[fe80::1%2525]:80": (client.TCP("fe80::1%25", 80), "tcp://[fe80::1%2525]:80"),
    "tcp://[fe80::1%e0]:80": (client.TCP("fe80::1%e0", 80), "tcp://[fe80::1%25e0]:80"),
    "TLS://_PG._TCP.DB.example:0?hostname=db.example": (
        client.TLSOver("db.example", client.Host("_pg._tcp.db.example", 0)),
        "tls://_pg._tcp.db.example",
    ),
    "tls+tcp://h:80": (client.TLSOver("h", client.Host("h", 80)), "tls://h:80"),
    "Tls+TLS+tcp://h:80": (
        client.TLSOver("h", client.TLSOver("h", client.Host("h", 80))),
        "tls+tls://h:80",
    ),
    "tls://h:80?hostname=h": (client.TLSOver("h", client.Host("h", 80)), "tls://h:80"),
    "tls://h:80?hostname=A": (client.TLSOver("a", client.Host("h", 80)), "tls://h:80?hostname=a"),
    "tls://h:80?hostname=a+b": (
        client.TLSOver("a+b", client.Host("h", 80)),
        "tls://h:80?hostname=a%2Bb",
    ),
    "unix:///run/x": (client.UnixDomainSocket("/run/x"), "unix:/run/x"),
    "unix:%40x": (client.UnixDomainSocket("@x"), "unix:@x"),
    "unix:/a@b:c": (client.UnixDomainSocket("/a@b:c"), "unix:/a@b:c"),
    "unix:/\udcff": (client.UnixDomainSocket("/\udcff"), "unix:/%FF"),
    "unix:/%c3%a9": (client.UnixDomainSocket("/é"), "unix:/é"),
    "unix:/%41": (client.UnixDomainSocket("/A"), "unix:/A"),
    "vchan:003/p": (client.VchanDirect(3, "p"), "vchan:3/p"),
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_other_ways_to_write_an_address(text):
    address, canonical = ACCEPTED[text]
    assert parse_client(text) == address
    assert to_text(parse_client(text)) == canonical


def test_server_takes_any_cid_as_a_star():
    assert parse_server("vsock://*:80") == server.Vsock(2**32 - 1, 80)


def test_order_of_options_means_nothing():
    assert parse_server("tls://*:443?key=k&password_file=p&crt=c") == server.TLS(
        "c", "k", PasswordFromFile("p"), 443
    )
    assert parse_server("tls://*:443?password_env=P&key=k&crt=c") == server.TLS(
        "c", "k", PasswordFromEnv("P"), 443
    )


def test_same_text_means_what_it_is_read_as():
    text = "tcp://127.0.0.1:80"
    assert parse_client(text) == client.TCP("127.0.0.1", 80)
    assert parse_endp(text) == endp.TCP("127.0.0.1", 80)
    assert parse_server(text) == server.TCP(80, ip="127.0.0.1")


# Mistakes: side, text, column, why, what was meant ------------------------------------------------

ANY, CONNECT = "client server endp", "client endp"
MISTAKES = [
    # proxies
    ("client", "socks5+tcp://p:1", 17, "to= is missing: for each proxy, the HOST:PORT", None),
    ("client", "tcp://p:1?to=a:1", 11, "to is for a proxy, as in socks5+tcp:", None),
    ("client", "socks5+tcp://p:1?to=a", 21, "a proxy is told HOST:PORT", None),
    ("client", "socks5+tcp://p:1?to=::1:1", 21, "an IPv6 address stands in brackets", None),
    ("client", "socks5+tcp://p:1?to=[a]:1", 21, "brackets are for IPv6 addresses", None),
    ("client", "socks5+tcp://p:1?to=a:1,b:2", 21, "to has 2 values for 1 proxies", None),
    ("client", "socks5+tcp://p:1?to=a:x", 23, "port 'x' is not a number", None),
    ("client", "socks5+tcp://p:1?to=[fe80::1%25eth0]:1", 21, "has a zone", None),
    ("client", "socks5+tcp://p:1?to=a:1&login_env=A&login_file=B", 48, "exclude each other", None),
    ("client", "tls+socks5+tcp://p:1?to=a:1&login_env=", 39, "login_env is empty", None),
    ("client", "tls+connect+tcp://p:1?to=a:1&hostname=a,b", 39, "2 hostnames for 1 layers", None),
    ("server", "connect+tcp://*:1", 1, "a server does not know by which proxy it is reached", None),
    ("endp", "tls+socks5+tcp://p:1?to=a:1", 5, "does not say by which proxy", None),
    (ANY, "", 1, "an address cannot be empty", None),
    # no scheme
    (ANY, "/run/x", 1, "an address starts with its scheme", "unix:/run/x"),
    (ANY, "./x", 1, "an address starts with its scheme", "unix:./x"),
    (ANY, "../a@b", 1, "an address starts with its scheme", "unix:../a@b"),
    (ANY, "@name", 1, "an address starts with its scheme", "unix:@name"),
    (CONNECT, "localhost:80", 1, "an address starts with its scheme", "tcp://localhost:80"),
    ("server", "localhost:80", 1, "an address starts with its scheme", "tcp://127.0.0.1:80"),
    ("server", "h.example:80", 1, "an address starts with its scheme", "tcp://*:80"),
    ("server", "127.0.0.1:80", 1, "an address starts with its scheme", "tcp://127.0.0.1:80"),
    ("server", "[::1]:80", 1, "an address starts with its scheme", "tcp://[::1]:80"),
    ("server", "*:80", 1, "an address starts with its scheme", "tcp://*:80"),
    ("server", "8080", 1, "an address starts with its scheme", "tcp://*:8080"),
    ("server", ":8080", 1, "an address starts with its scheme", "tcp://*:8080"),
    (CONNECT, "8080", 1, "an address starts with its scheme", "tcp://localhost:8080"),
    (CONNECT, ":8080", 1, "an address starts with its scheme", "tcp://localhost:8080"),
    (CONNECT, "//h:80", 1, "an address starts with its scheme", "tcp://h:80"),
    (ANY, "localhost", 1, "an address starts with its scheme", "tcp://localhost:PORT"),
    (ANY, "127.0.0.1", 1, "an address starts with its scheme", "tcp://127.0.0.1:PORT"),
    (ANY, "::1", 1, "an address starts with its scheme", "tcp://[::1]:PORT"),
    (ANY, "tcp", 1, "an address starts with its scheme", None),
    (ANY, "%", 1, "an address starts with its scheme", None),
    (ANY, "!:x", 1, "an address starts with its scheme", None),
    (ANY, "vsoc\u212a:x", 1, "an address starts with its scheme", None),
    # another scheme
    (CONNECT, "tpc://h:1", 1, "there is no scheme 'tpc'", "tcp://h:1"),
    (CONNECT, "tcpp://h:1", 1, "there is no scheme 'tcpp'", "tcp://h:1"),
    (CONNECT, "unx:/run/x", 1, "there is no scheme 'unx'", "unix:/run/x"),
    (CONNECT, "tcps://h:1", 1, "there is no scheme 'tcps'", "tls://h:1"),
    (CONNECT, "ssl://h:1", 1, "there is no scheme 'ssl'", "tls://h:1"),
    (CONNECT, "tcp6://[::1]:1", 1, "there is no scheme 'tcp6'", "tcp://[::1]:1"),
    (ANY, "unix-socket:/run/x", 1, "there is no scheme 'unix-socket'", "unix:/run/x"),
    (ANY, "abstract:x", 1, "there is no scheme 'abstract'", "unix:@x"),
    (ANY, "abstract://@x", 1, "there is no scheme 'abstract'", "unix:@x"),
    ("server", "systemb:x", 1, "there is no scheme 'systemb'", "systemd:x"),
    ("client", "tls+tpc://h:1", 5, "there is no scheme 'tpc'", "tls+tcp://h:1"),
    ("client", "unix+tls:/x?hostname=h", 1, "there is no scheme 'unix+tls'",
     "tls+unix:/x?hostname=h"),
    (ANY, "tls+https://h", 5, "there is no scheme 'https' to put TLS over", None),
    (ANY, "tls+:x", 5, "there is no scheme '' to put TLS over", None),
    (ANY, "https://example.com", 1,
     "'https' is a service, and no address until a resolver has found one", None),
    (ANY, "udp://h:1", 1, "udp: is for datagrams, and an address here is of a stream", None),
    (ANY, "file:///run/x", 1, "file: names a file, and an address a socket: that is unix:", None),
    # slashes
    (CONNECT, "tcp:h:1", 5, "'//' is missing after tcp:", "tcp://h:1"),
    (CONNECT, "tcp:/h:1", 5, "'//' is missing after tcp:", "tcp://h:1"),
    (CONNECT, "tls:h:1?hostname=x", 5, "'//' is missing after tls:", "tls://h:1?hostname=x"),
    (ANY, "vsock:2:80", 7, "'//' is missing after vsock:", "vsock://2:80"),
    (ANY, "unix://run/x", 6, "a path comes after unix:, with no host before it", "unix:/run/x"),
    ("server", "fd://3", 4, "no '//' comes after fd:", "fd:3"),
    (ANY, "vchan://3/p", 7, "no '//' comes after vchan:", "vchan:3/p"),
    # host and port
    ("client", "tcp://", 7, "the host is missing", None),
    ("client", "tcp://:80", 7, "the host is missing", "tcp://localhost:80"),
    ("server", "tcp://:80", 7, "the host is missing", "tcp://*:80"),
    (ANY, "tcp://h", 8, "the port is missing", None),
    (CONNECT, "tcp://_pg._tcp.db.example:", 27, "the port is missing", None),
    ("server", "tcp://_pg._tcp.db.example", 26, "the port is missing", None),
    (CONNECT, "tcp://_pg.db.example", 21, "the port is missing", None),
    (CONNECT, "tls://_pg._tcp", 15, "the port is missing", None),
    (ANY, "tcp://127.0.0.1:", 17, "the port is missing", None),
    (CONNECT, "tcp://[::1]", 12, "the port is missing", None),
    (CONNECT, "tls://h?hostname=x", 8, "the port is missing", None),
    (ANY, "tcp://127.0.0.1:99999", 17, "port 99999 is outside 0..65535", None),
    (CONNECT, "tcp://h:http", 9, "port 'http' is not a number", None),
    (CONNECT, "tcp://h:-1", 9, "port '-1' is not a number", None),
    (CONNECT, "tcp://h:+1", 9, "port '+1' is not a number", None),
    (CONNECT, "tcp://h:1_0", 9, "port '1_0' is not a number", None),
    (CONNECT, "tcp://h:٣", 9, "port '٣' is not a number", None),
    (CONNECT, "tcp://h:80/", 11, "no path comes after tcp://HOST:PORT", "tcp://h:80"),
    (ANY, "tcp://::1:80", 7, "an IPv6 address stands in brackets", "tcp://[::1]:80"),
    (ANY, "tcp://fe80::1", 7, "an IPv6 address stands in brackets", "tcp://[fe80::1]:PORT"),
    (ANY, "tcp://a:b:80", 7, "'a:b' is no host: it holds ':'", None),
    (ANY, "tcp://[127.0.0.1]:80", 7,
     "brackets are for IPv6 addresses, and '127.0.0.1' is none", "tcp://127.0.0.1:80"),
    (CONNECT, "tcp://[h]:80", 7, "brackets are for IPv6 addresses, and 'h' is none", "tcp://h:80"),
    (ANY, "tcp://[]:80", 8, "the host is missing", None),
    (ANY, "tcp://[::1:80", 7, "this '[' is never closed", None),
    (ANY, "tcp://[::1]80", 12, "after ']' comes ':' and the port, not '80'", None),
    (ANY, "tcp://[::g]:80", 8, "'::g' is not an IPv6 address", None),
    (ANY, "tcp://[fe80::1%25]:80", 18, "the zone is missing; zone 25 is written %2525", None),
    (ANY, "tcp://[fe80::1%]:80", 16, "the zone is missing; zone 25 is written %2525", None),
    (ANY, "tcp://127.1:80", 7, "'127.1' is not an IPv4 address, nor a name", None),
    (ANY, "tcp://256.0.0.1:80", 7, "'256.0.0.1' is not an IPv4 address, nor a name", None),
    (ANY, "tcp://127.0.0.01:80", 7, "'127.0.0.01' is not an IPv4 address, nor a name", None),
    (CONNECT, "tcp://*:80", 7, "'*' stands for all addresses of a server; to connect, name one",
     "tcp://localhost:80"),
    ("server", "tcp://localhost:80", 7,
     "a server listens on an address of its own, and 'localhost' is a name", "tcp://127.0.0.1:80"),
    ("server", "tcp://h.example:80", 7,
     "a server listens on an address of its own, and 'h.example' is a name", "tcp://*:80"),
    ("client", "openssl://h:80", 11,
     "openssl: takes an IP address, and 'h' is a name; use tls:", None),
    (CONNECT, "tcp://a%20b:80", 7, "name 'a b' holds ' ', which no host name has", None),
    (CONNECT, "tcp://a%2Fb:80", 7, "name 'a/b' holds '/'; give the name alone", None),
    (CONNECT, "tcp://a%00:80", 7, r"name 'a\x00' holds a NUL", None),
    # user and password
    (CONNECT, "tcp://me@h:80", 7, "an address has no user and no password", "tcp://h:80"),
    ("server", "tcp://me@h:80", 7, "an address has no user and no password", None),
    (CONNECT, "tcp://@h:80", 7, "an address has no user and no password", "tcp://h:80"),
    ("server", "tcp://@h:80", 7, "an address has no user and no password", None),
    # characters
    (ANY, "unix:/a b", 8, "' ' stands here; in an address it is %20", None),
    (ANY, " unix:/a", 1, "' ' stands here; in an address it is %20", "unix:/a"),
    (ANY, "unix:/a\n", 8, r"'\n' stands here; in an address it is %0A", "unix:/a"),
    (ANY, "unix:/\u202ea", 7, r"'\u202e' stands here; in an address it is %E2%80%AE", None),
    (ANY, "\ufeffunix:/a", 1, r"'\ufeff' stands here; in an address it is %EF%BB%BF", None),
    (ANY, "unix:/a%", 8, "after '%' come two hex digits; '%' itself is %25", None),
    (ANY, "unix:/a%4", 8, "after '%' come two hex digits; '%' itself is %25", None),
    (ANY, "unix:/%41%zz", 10, "after '%' come two hex digits; '%' itself is %25", None),
    (CONNECT, "tls://h:1?hostname=a,%zz", 22,
     "after '%' come two hex digits; '%' itself is %25", None),
    (ANY, "unix:/a#b", 8, "'#' has no meaning in an address; as a character it is %23", None),
    (ANY, "unix:/a%00", 6, r"holds a NUL", None),
    # numbers and pairs
    ("server", "fd:", 4, "the descriptor is missing", None),
    ("server", "fd:x", 4, "descriptor 'x' is not a number", None),
    ("server", "tcp+fd:-1", 8, "descriptor '-1' is not a number", None),
    (ANY, "vchan:3", 8, "the port is missing: write vchan:DOMID/PORT", None),
    (ANY, "vchan:/p", 7, "the domid is missing", None),
    (ANY, "vchan:x/p", 7, "domid 'x' is not a number", None),
    (ANY, "vchan-name:d", 13, "the port is missing: write vchan-name:NAME/PORT", None),
    (ANY, "vsock://2", 10, "the port is missing: write vsock://CID:PORT", None),
    (ANY, "vsock://2:", 11, "the port is missing", None),
    (CONNECT, "vsock://*:1", 9, "cid '*' is not a number", None),
    (ANY, "vsock://4294967296:1", 9, "cid 4294967296 is outside 0..4294967295", None),
    (ANY, "vsock://2:1/x", 11, "port '1/x' is not a number", None),
    ("server", "systemd:a%3Ab", 9, "is no FileDescriptorName", None),
    # sides
    ("client", "fd:3", 1, "fd: is a way to serve, not an address to connect to", None),
    ("endp", "systemd:", 1, "systemd: is a way to serve, not an endpoint", None),
    ("client", "tls+launchd:x", 5,
     "launchd: is a way to serve, not an address to connect to", None),
    ("endp", "openssl://::1", 1,
     "an endpoint does not say which TLS stack to use, as openssl: does; use tls:", None),
    ("client server", "unknown:x", 1,
     "unknown: is what an unresolved name becomes; there is nothing to connect to or serve", None),
    # options of addresses
    (ANY, "unix:/x?", 8, "no option follows the '?'", "unix:/x"),
    (CONNECT, "tls://h:1?&hostname=a", 11, "an option is missing before or after '&'", None),
    (CONNECT, "tls://h:1?hostname=a&", 22, "an option is missing before or after '&'", None),
    (CONNECT, "tls://h:1?hostname", 11,
     "the option hostname has no value: write hostname=VALUE", None),
    (CONNECT, "tls://h:1?hostname=a&hostname=a", 22, "the option hostname is repeated", None),
    (CONNECT, "tls://h:1?hostname=", 20, "a hostname is empty or holds a NUL", None),
    (CONNECT, "tls://h:1?hostname=%00", 20, "a hostname is empty or holds a NUL", None),
    (CONNECT, "tls+tls://h:1?hostname=a,,b", 26, "a hostname is empty or holds a NUL", None),
    (CONNECT, "tls://h:1?hostname=a,b", 20, "there are 2 hostnames for 1 layers of TLS", None),
    (CONNECT, "tls+unix:/x", 12,
     "hostname= is missing: for each layer of TLS, what the peer's certificate is for", None),
    (CONNECT, "tcp://h:1?hostname=a", 11, "hostname is for TLS, and tcp: has none", None),
    ("server", "tls://*:1?hostname=a", 11,
     "hostname is for connecting; a server's names are those of its certificate", None),
    ("client", "tls://h:1?crt=a", 11,
     "crt is for serving, and this is an address to connect to", None),
    ("endp", "tls://h:1?key=a", 11, "an endpoint has no key: it is for a server", None),
    ("server", "tcp://*:1?crt=a", 11, "crt is for TLS, and tcp: has none", None),
    ("server", "tls://*:1", 10,
     "crt= is missing: a TLS server needs the files crt= and key=", None),
    ("server", "tls://*:1?crt=a", 16,
     "key= is missing: a TLS server needs the files crt= and key=", None),
    ("server", "tls://*:1?crt=a,b&key=c", 15, "crt has 2 values for 1 layers of TLS", None),
    ("server", "tls://*:1?crt=%00&key=c", 15, "crt must be the path of a file", None),
    ("server", "tls://*:1?crt=a&key=b&password_env=A&password_file=B", 52,
     "password_env and password_file exclude each other", None),
    ("server", "tls://*:1?crt=a&key=b&password_env=", 36, "password_env is empty", None),
    ("server", "tls://*:1?crt=a&key=b&password_env=A%3DB", 36,
     "name holds '=', which no variable's name has", None),
]  # fmt: skip


@pytest.mark.parametrize(("sides", "text", "column", "why", "meant"), MISTAKES)
def test_mistake_is_explained(sides, text, column, why, meant):
    for side in sides.split():
        message = refused(text, READERS[side])
        shown = text.replace("//me@", "//***@")
        assert message.startswith(f"{shown!r} at column {column}: ")
        assert why in message
        if meant is not None:
            assert message.endswith(f"; did you mean {meant!r}?")
            if "PORT" not in meant:
                READERS[side](meant)
        else:
            assert "did you mean" not in message or "@h" in text


@pytest.mark.parametrize("value", [None, b"tcp://h:1", 80, client.Host("h", 1)])
def test_text_is_a_str(value):
    for read in (*READERS.values(), read_client, read_server):
        assert refused(value, read).startswith("an address as text must be a str, not ")


def test_longest_text():
    assert refused("unix:" + "x" * 65532).endswith(
        "... (65537 characters) at column 65537: it has 65537 characters, and may have 65536"
    )
    assert parse_client("unix:" + "x" * 65531) == client.UnixDomainSocket("x" * 65531)


def test_deepest_text():
    text = "tls+" * 15 + "tls://h:1"
    assert to_text(parse_client(text)) == text
    for deep in ("tls+" * 16 + "tls://h:1", "tls+" * 17 + "tcp://h:1"):
        assert "there are 17 layers of TLS, and may be 16" in refused(deep)
    assert "16000 layers" in refused("tls+" * 16000 + "tcp://h:1")


def test_number_that_python_refuses_to_read():
    assert parse_server(f"fd:{'9' * 4300}") == server.ListeningSocket(10**4300 - 1)
    assert "descriptor has 4301 digits" in refused(f"fd:{'9' * 4301}", parse_server)
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(700)
    try:
        assert "descriptor has 800 digits" in refused(f"fd:{'9' * 800}", parse_server)
        sys.set_int_max_str_digits(0)  # no limit: it would take long
        assert "descriptor has 4301 digits" in refused(f"fd:{'9' * 4301}", parse_server)
    finally:
        sys.set_int_max_str_digits(limit)


@settings(deadline=None)
@given(st.integers(65536) | st.integers(65536, 10**6))
def test_every_port_out_of_range_is_refused(port):
    message = refused(f"tcp://h:{port}")
    assert " at column 9: port " in message
    assert "is outside 0..65535" in message or "digits" in message


# Secrets ------------------------------------------------------------------------------------------

SEPARATORS = [
    "",
    "/",
    "?",
    "#",
    ":",
    "@",
    "&",
    "=",
    "?a=",
    "?correcthorse=",
    "://",
    "%",
    "%40",
    " ",
    ",",
    "]",
    "[",
]
WITH_SECRET = [
    "tcp://me:{}@h:80",
    "tls+tls://me:{}@h:80?hostname=h",
    "tcp:me:{}@h:80",
    "vsock://{}@2:80",
    "tpc://me:{}@h:80",
    "redis://:{}@h",
    "postgresql://me:{}@h/db?sslmode=off",
    "me:{}@h:80",
    "{}@h",
    "unix:/x?password={}",
    "tls://*:443?crt=a&key=b&password={}&timeout=5",
    "tls://*:443?crt=a&key=b&passwort={}",
    "tcp://h:80?token={}",
]


@settings(deadline=None)
@given(st.sampled_from(WITH_SECRET), st.sampled_from(SEPARATORS), st.sampled_from(sorted(READERS)))
def test_secret_is_not_shown(template, separator, side):
    text = template.format(f"hunter2{separator}correcthorse")
    assume(not text.startswith("hunter2://"))  # that is a scheme
    with pytest.raises(AddressError) as caught:
        READERS[side](text)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        assert "correcthorse" not in str(error)
        error = error.__cause__ or error.__context__


def test_key_given_for_its_file_is_not_shown():
    for name in ("crt", "key", "password_file"):
        text = f"tls://*:443?crt=a&key=a&{name}=-----BEGIN+KEY-----%0Ahunter2="
        text = text.replace(f"{name}=a&", "")
        message = refused(text, parse_server)
        assert f"{name} must be the path of a file" in message
        assert "hunter2" not in message


def test_what_is_no_secret_is_shown():
    assert refused("tcp://me:hunter2@h:80?hostname=a@b").startswith("'tcp://***@h:80?hostname=a@b'")
    assert refused("unix:/a@b?timeout=x", read_client).startswith("'unix:/a@b?timeout=x'")
    assert refused("tls://h:1?hostname=a@b&hostname=c").startswith(
        "'tls://h:1?hostname=a@b&hostname=c'"
    )
    assert refused("tcp://h:1?color=red").startswith("'tcp://h:1?color=***' at column 11: there")


# Options that are none ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["insecure", "verify", "no_verify", "skip-verify", "check_hostname", "sslmode", "Verify"],
)
@pytest.mark.parametrize("value", ["0", "no", "1", "true"])
def test_nothing_loosens_verification(name, value):
    for read in (read_client, parse_client):
        message = refused(f"tls://h:1?{name}={value}", read)
        assert f"{name}: no text may change that TLS verifies the peer" in message
        assert "ca= and fingerprint=" in message


@pytest.mark.parametrize("name", ["password", "passphrase", "pass", "Password", "token"])
def test_secret_option_is_told_of_its_safe_forms(name):
    message = refused(f"tls://*:1?crt=c&key=k&{name}=x", parse_server)
    assert "password_env=VARIABLE and password_file=PATH" in message


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("hostnam", "hostname"), ("HOSTNAME", "hostname"), ("sni", "hostname"),
        ("timout", "timeout"), ("keep-alive", "keepalive"), ("unix-mode", "unix_mode"),
        ("mode", "unix_mode"), ("cert", "crt"), ("cafile", "ca"), ("source", "src"),
        ("fingerprnt", "fingerprint"), ("bcklog", "backlog"), ("kye", "key"),
    ],
)  # fmt: skip
def test_misspelt_option_is_guessed(name, meant):
    message = refused(f"tls://h:1?{name}=x", read_client)
    assert message.endswith(f" at column 11: there is no option {name!r}; did you mean {meant}?")


def test_unknown_option_is_told_of_all():
    message = refused("tcp://h:1?colour=red", read_client)
    assert "there is no option 'colour': there are hostname, crt, key, " in message
    assert "hostname=" in refused("tls://h:1?ip=192.0.2.1", read_client)
    assert "this is no option: one is written NAME=VALUE" in refused(
        "tcp://h:1?a b=c".replace(" ", "!")
    )


@pytest.mark.parametrize("text", ["tcp://h:1?timeout=5", "tcp://h:1?src=::1&keepalive=9"])
def test_address_alone_has_no_options_of_the_call(text):
    message = refused(text, parse_client)
    assert " at column 11: " in message
    assert "conduit.connect" in message
    assert "conduit.text.read_client" in message
    assert "the text given to connect or serve" in refused(text.replace("src=::1&", ""), parse_endp)


def test_address_of_a_server_alone_has_no_options_of_the_call():
    message = refused("unix:/x?unix_mode=660", parse_server)
    assert "conduit.serve" in message
    assert "conduit.text.read_server" in message


# Services -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com", "redis://cache", "postgresql://me:pw@db/x", "HTTP://h", "svn+ssh://h",
        "ftp://h", "ntp://h", "tds://h", "socks://h", "nats://h", "sftp://h", "h2://h", "x://",
    ],
)  # fmt: skip
def test_any_other_scheme_is_a_service(text):
    assert is_service(text)
    for read in READERS.values():
        assert "is a service" in refused(text, read)


@pytest.mark.parametrize(
    "text",
    [
        "", "tcp://h:1", "TLS://h:1", "unix:/x", "fd:3", "tls+https://h", "tpc://h:1", "ssl://h:1",
        "localhost:80", "mailto:me", "//h", "://h", "1a://h", "é://h", "a b://h", "udp://h",
        "/run/x", "unx:///run/x", "file:///x",
    ],
)  # fmt: skip
def test_what_is_no_service(text):
    assert not is_service(text)


@settings(deadline=None)
@given(anything)
def test_service_is_never_an_address(text):
    for candidate in (text, f"{text}://h:1", f"http:{text}"):
        if is_service(candidate):
            for read in READERS.values():
                refused(candidate, read)


# Any text at all ----------------------------------------------------------------------------------

TOKENS = [
    *ODD, "tcp://", "tls://", "tls+", "unix:", "vchan:", "vchan-name:", "vsock://", "fd:",
    "tcp+fd:",
    "systemd:", "launchd:", "unknown:", "openssl://", "tls-native://", "127.0.0.1", "[::1]", "h",
    ":80", "1", "/", "?", "&", "hostname=", "crt=", "key=", "password_env=", "password_file=",
    "src=", "alpn=", "timeout=", "ca=", "fingerprint=", "unix_mode=", "backlog=", "x",
]  # fmt: skip
scraps = st.lists(st.sampled_from(TOKENS), max_size=12).map("".join)


def attempt(read, text):
    """The address, or else the message of the error."""
    try:
        return read(text), ""
    except AddressError as error:
        return None, str(error)


@pytest.mark.parametrize("side", READERS)
@settings(max_examples=300, deadline=None)
@given(text=st.text() | anything | scraps)
@example("tls+tls+tls+")
@example("tcp://[%")
@example("tcp://[fe80::1%25%25]:80")
@example("tls://h:1?hostname=,")
def test_any_text_is_an_address_or_an_address_error(side, text):
    read = READERS[side]
    address, message = attempt(read, text)
    if address is None:
        assert re.search(r" at column \d+: ", message)
        assert len(message) < 1000
        return
    canonical = to_text(address)
    assert read(canonical) == address
    assert to_text(read(canonical)) == canonical


@pytest.mark.parametrize(
    ("read", "strategy"),
    [
        (parse_client, st.one_of(*CLIENTS.values())),
        (parse_server, st.one_of(*SERVERS.values())),
        (parse_endp, st.one_of(*ENDPS.values())),
    ],
    ids=["client", "server", "endp"],
)
@settings(deadline=None)
@given(data=st.data())
def test_address_that_was_damaged(read, strategy, data):
    text = to_text(data.draw(strategy))[:300]
    at = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 3))
    damaged = text[:at] + data.draw(st.sampled_from(["", *TOKENS])) + text[at + length :]
    address, message = attempt(read, damaged)
    if address is None:
        column = re.search(r" at column (\d+): ", message)
        assert column is not None
        assert 1 <= int(column[1]) <= len(damaged) + 1
    else:
        assert read(to_text(address)) == address


# Time ---------------------------------------------------------------------------------------------

LONG = {
    "percent signs": ("unix:", "%"),
    "codes": ("unix:", "%41"),
    "codes of half pairs": ("unix:", "%FF"),
    "codes between letters": ("unix:", "%FFa"),
    "half pairs": ("unix:", "\udcff"),
    "layers": ("", "tls+"),
    "letters": ("", "a"),
    "scheme": ("", "a+"),
    "scheme of a service": ("", "a."),
    "colons": ("tcp://", ":"),
    "brackets": ("tcp://", "["),
    "at signs": ("tcp://", "@"),
    "host": ("tcp://", "a"),
    "capitals": ("tcp://", "Ä"),
    "dots": ("tcp://", "1."),
    "port": ("tcp://h:", "9"),
    "zone": ("tcp://[::1%25", "%41"),
    "slashes": ("unix:", "/"),
    "options": ("tcp://h:1?", "a&"),
    "questions": ("tcp://h:1?", "?"),
    "one option": ("tcp://h:1?timeout=", "1"),
    "list": ("tcp://h:1?src=", "1,"),
    "list of protocols": ("tls://h:1?alpn=", "h2,"),
    "names": ("tls://h:1?hostname=", "a,"),
    "name": ("tls://h:1?hostname=", "%41"),
    "blanks": ("", " "),
    "not seen": ("", "\ufeff"),
    "not assigned": ("unix:", "\U000e0100"),
}


def seconds(read, text):
    def once():
        start = time.process_time()
        try:
            read(text)
        except AddressError:
            pass
        is_service(text)
        return time.process_time() - start

    return min(once() for _ in range(3))


@pytest.mark.alone
@pytest.mark.parametrize("kind", LONG)
def test_time_is_linear(kind):
    """Four times the length takes about four times as long; were it quadratic, sixteen times."""
    start, unit = LONG[kind]
    short, long = (start + unit * (length // len(unit)) for length in (16_000, 64_000))
    for read in (read_client, read_server, parse_endp):
        assert seconds(read, long) < 9 * seconds(read, short) + 0.002


@pytest.mark.alone
def test_reading_costs_little_more_than_making():
    def cost(function, *arguments):
        start = time.process_time()
        for _ in range(2000):
            function(*arguments)
        return time.process_time() - start

    pairs = [
        (cost(parse_client, "tcp://127.0.0.1:80"), cost(client.TCP, "127.0.0.1", 80))
        for _ in range(15)
    ]
    assert min(reading / making for reading, making in pairs) < 8


def test_importing_brings_nothing_heavy():
    program = (
        "import sys, conduit.client, conduit.server, conduit.endp; before = set(sys.modules); "
        "import conduit.text; conduit.text.parse_client('tcp://h:1'); "
        "print(*set(sys.modules) - before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    light = "conduit.text", "conduit._hostnames"
    assert all(module.startswith(light) for module in result.stdout.split())


# A text in a text ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("handover:/x?otherwise=", "at column 23: otherwise is empty"),
        ("handover:/x?otherwise=handover:/y", "at column 23: otherwise= is for when nothing is"),
        ("handover:/x?otherwise=tls://*:1%3Fcrt=a%26key=b", "at column 23: otherwise has TLS"),
        ("handover:/x?otherwise=vchan:1/p", "at column 23: otherwise must listen on sockets"),
        ("handover:/x?otherwise=tcp://a:80", "'tcp://a:80' at column 7: a server listens on an"),
        ("handover:/x?otherwise=bogus", "'bogus' at column 1"),
        ("handover:/x?otherwise=%zz", "at column 23: after '%' come two hex digits"),
        ("handover:/x?otherwise=tcp://*:1%3Fbacklog=5", "backlog is no part of an address"),
        ("tcp://*:80?otherwise=tcp://*:1", "at column 12: otherwise means nothing to tcp:"),
        ("handover://x", "no '//' comes after handover:; did you mean 'handover:x'?"),
    ],
)
def test_otherwise_that_cannot_be(text, words):
    with pytest.raises(AddressError) as caught:
        parse_server(text)
    assert words in str(caught.value)


def test_otherwise_in_otherwise_is_refused_however_deep():
    text = "handover:/x"
    for _ in range(60):
        text = f"handover:/x?otherwise={text.replace('%', '%25').replace('?', '%3F')}"
    with pytest.raises(AddressError, match="is for when nothing is handed over"):
        parse_server(text)


def test_options_of_the_call_stand_beside_otherwise():
    read = read_server("handover:/x?otherwise=unix:/y&unix_mode=660&backlog=5&reuse_port=true")
    assert read.address == server.Handover("/x", server.UnixDomainSocket("/y"))
    assert read.options == ServerOptions(unix_mode=0o660, backlog=5, reuse_port=True)
