"""Options of the call, which are read beside the address."""

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit import client, server
from conduit.errors import AddressError
from conduit.text import ClientOptions, ServerOptions, parse_client, read_client, read_server

HEX = "0123456789abcdef" * 4


def test_without_options_all_are_none():
    text = read_client("tcp://h:1")
    assert text.address == client.Host("h", 1)
    assert text.options == ClientOptions()
    assert set(dict_of(text.options).values()) == {None}
    assert read_server("tcp://*:1").options == ServerOptions()


def dict_of(options):
    return {name: getattr(options, name) for name in options.__dataclass_fields__}


def test_all_options_of_a_client():
    text = read_client(
        "tls://192.0.2.1:443?src=192.0.2.9,::1&hostname=db.example&alpn=h2,http/1.1&timeout=2.5"
        f"&keepalive=60&ca=/etc/a.pem,b%2Cc.pem&fingerprint={HEX}"
    )
    assert text.address == client.TLS("db.example", "192.0.2.1", 443)
    assert text.options == ClientOptions(
        src=(ip_address("192.0.2.9"), ip_address("::1")),
        alpn=("h2", "http/1.1"),
        timeout=2.5,
        keepalive=60,
        ca=("/etc/a.pem", "b,c.pem"),
        fingerprint=(HEX,),
    )


def test_all_options_of_a_server():
    text = read_server(
        "tls://*:443?crt=c&key=k&alpn=h2&backlog=64&reuse_port=true&timeout=60&keepalive=30"
        f"&ca=ca.pem&fingerprint={HEX}"
    )
    assert text.address == server.TLS("c", "k", None, 443)
    assert text.options == ServerOptions(
        alpn=("h2",),
        backlog=64,
        reuse_port=True,
        timeout=60.0,
        keepalive=30,
        ca=("ca.pem",),
        fingerprint=(HEX,),
    )
    assert read_server("unix:/x?unix_mode=660").options == ServerOptions(unix_mode=0o660)


VALUES = [
    ("src", "192.0.2.1", (ip_address("192.0.2.1"),)),
    ("src", "::1,192.0.2.1", (ip_address("::1"), ip_address("192.0.2.1"))),
    ("src", "fe80::1%25eth0", (ip_address("fe80::1%eth0"),)),
    ("alpn", "h2", ("h2",)),
    ("alpn", "a%2Cb,c%20d", ("a,b", "c d")),
    ("timeout", "5", 5.0),
    ("timeout", "0.25", 0.25),
    ("timeout", ".5", 0.5),
    ("timeout", "000000000000001", 1.0),
    ("keepalive", "1", 1),
    ("keepalive", "32767", 32767),
    ("ca", "a", ("a",)),
    ("ca", "/a/b.pem,c", ("/a/b.pem", "c")),
    ("fingerprint", HEX.upper(), (HEX,)),
    ("fingerprint", ":".join(HEX[i : i + 2] for i in range(0, 64, 2)), (HEX,)),
    ("fingerprint", f"{HEX},{HEX}", (HEX, HEX)),
    ("backlog", "1", 1),
    ("backlog", "2147483647", 2147483647),
    ("reuse_port", "true", True),
    ("reuse_port", "false", False),
    ("unix_mode", "660", 0o660),
    ("unix_mode", "0660", 0o660),
    ("unix_mode", "0o600", 0o600),
    ("unix_mode", "0", 0),
    ("unix_mode", "777", 0o777),
]
WRONG = [
    ("src", "", "src '' is not an IP address", 0),
    ("src", "h", "src 'h' is not an IP address", 0),
    ("src", "[::1]", "src '[::1]' is not an IP address", 0),
    ("src", "::1,", "src '' is not an IP address", 4),
    ("src", "192.0.2.1,h", "src 'h' is not an IP address", 10),
    ("src", "::1,::2", "src has an IPv6 address already", 4),
    ("src", "::1%eth0", "after '%' come two hex digits", 3),
    ("alpn", "", "alpn '' is no protocol", 0),
    ("alpn", "h2,", "alpn '' is no protocol", 3),
    ("alpn", "h2,é", "alpn 'é' is no protocol", 3),
    ("alpn", "h2,h2", "alpn names 'h2' twice", 3),
    ("alpn", "a" * 256, "is no protocol: 1 to 255 printable", 0),
    ("alpn", "a%0Ab", "is no protocol: 1 to 255 printable", 0),
    *(
        ("timeout", value, f"timeout {value!r} is no number of seconds, such as 5 or 0.5", 0)
        for value in ("", "5s", "-1", "+1", "1e3", "inf", "nan", "none", "5.", ".", "1_0", "٣")
    ),
    ("timeout", "9" * 16, "is no number of seconds", 0),
    ("timeout", "0", "timeout must be more than 0", 0),
    ("timeout", "0.000", "timeout must be more than 0", 0),
    ("keepalive", "0", "keepalive 0 is outside 1..32767", 0),
    ("keepalive", "32768", "keepalive 32768 is outside 1..32767", 0),
    ("keepalive", "1.5", "keepalive '1.5' is no whole number", 0),
    ("keepalive", "true", "keepalive 'true' is no whole number", 0),
    ("ca", "", "ca must be the path of a file", 0),
    ("ca", "a,", "ca must be the path of a file", 2),
    ("ca", "a%00", "ca must be the path of a file", 0),
    ("fingerprint", "", "fingerprint '' is no SHA-256: 64 hex digits", 0),
    ("fingerprint", HEX[:40], "is no SHA-256: 64 hex digits", 0),
    ("fingerprint", HEX[:-1] + "g", "is no SHA-256: 64 hex digits", 0),
    ("fingerprint", HEX[:2] + ":" + HEX[2:], "is no SHA-256: 64 hex digits", 0),
    ("fingerprint", f"{HEX},{HEX[1:]}", "is no SHA-256: 64 hex digits", 65),
    ("backlog", "0", "backlog 0 is outside 1..2147483647", 0),
    ("backlog", "2147483648", "backlog 2147483648 is outside 1..2147483647", 0),
    ("backlog", "-1", "backlog '-1' is no whole number", 0),
    *(
        ("reuse_port", value, f"reuse_port is true or false, not {value!r}", 0)
        for value in ("", "1", "yes", "True", "on")
    ),
    *(
        ("unix_mode", value, f"unix_mode {value!r} is no file mode: octal, 0 to 777", 0)
        for value in ("", "888", "1777", "rw", "-1", "0x1ff", "0o")
    ),
]


def places(name):
    """Texts that may have the option, and what reads them."""
    hosts = {
        "src": [("tcp://h:1", read_client), ("tls://h:1", read_client)],
        "timeout": [("unix:/x", read_client), ("vchan:1/p", read_server)],
        "keepalive": [("tcp://h:1", read_client), ("tcp://*:1", read_server)],
        "backlog": [("tcp://*:1", read_server), ("fd:3", read_server)],
        "reuse_port": [("tcp://*:1", read_server)],
        "unix_mode": [("unix:/x", read_server)],
    }
    tls = [("tls://h:1", read_client), ("tls+unix:/x?crt=c&key=k", read_server)]
    return hosts.get(name, tls)


def with_option(text, name, value):
    return f"{text}{'&' if '?' in text else '?'}{name}={value}"


@pytest.mark.parametrize(("name", "value", "meaning"), VALUES)
def test_value(name, value, meaning):
    for text, read in places(name):
        found = getattr(read(with_option(text, name, value)).options, name)
        assert found == meaning
        assert type(found) is type(meaning)


@pytest.mark.parametrize(("name", "value", "why", "offset"), WRONG)
def test_wrong_value(name, value, why, offset):
    for text, read in places(name):
        whole = with_option(text, name, value)
        with pytest.raises(AddressError) as caught:
            read(whole)
        assert why in str(caught.value)
        column = len(whole) - len(value) + offset + 1
        assert f" at column {column}: " in str(caught.value)


@settings(deadline=None)
@given(st.floats(1e-3, 1e6))
def test_seconds(seconds):
    text = f"{seconds:.6f}"
    assert read_client(f"tcp://h:1?timeout={text}").options.timeout == float(text)


# Where an option means something ------------------------------------------------------------------

CLIENT_TEXTS = {
    "tcp": "tcp://127.0.0.1:1",
    "tls": "tls://127.0.0.1:1",
    "openssl": "openssl://127.0.0.1:1",
    "tls-native": "tls-native://127.0.0.1:1",
    "unix": "unix:/x",
    "vchan": "vchan:1/p",
    "vchan-name": "vchan-name:d/p",
    "vsock": "vsock://2:1",
    "tls+unix": "tls+unix:/x?hostname=h",
    "tls+tcp": "tls+tcp://127.0.0.1:1",
}
FILES = "?crt=c&key=k"
SERVER_TEXTS = {
    **CLIENT_TEXTS,
    "tls": f"tls://127.0.0.1:1{FILES}",
    "openssl": f"openssl://*:1{FILES}",
    "tls-native": f"tls-native://*:1{FILES}",
    "tls+unix": f"tls+unix:/x{FILES}",
    "tls+tcp": f"tls+tcp://*:1{FILES}",
    "unix@": "unix:@x",
    "fd": "fd:3",
    "tls+fd": f"tls+fd:3{FILES}",
    "tcp+fd": "tcp+fd:3",
    "systemd": "systemd:",
    "launchd": "launchd:x",
}
OVER_TLS = "tls openssl tls-native tls+unix tls+tcp"
OVER_TCP = "tcp tls openssl tls-native tls+tcp"
INHERITED = "fd tls+fd tcp+fd systemd launchd"
CLIENT_PLACES = {
    "src": OVER_TCP,
    "alpn": OVER_TLS,
    "timeout": " ".join(CLIENT_TEXTS),
    "keepalive": OVER_TCP,
    "ca": OVER_TLS,
    "fingerprint": OVER_TLS,
}
SERVER_PLACES = {
    "alpn": f"{OVER_TLS} tls+fd",
    "backlog": f"{OVER_TCP} {INHERITED} unix unix@ tls+unix vsock",
    "reuse_port": OVER_TCP,
    "unix_mode": "unix tls+unix",
    "timeout": " ".join(SERVER_TEXTS),
    "keepalive": f"{OVER_TCP} {INHERITED}",
    "ca": f"{OVER_TLS} tls+fd",
    "fingerprint": f"{OVER_TLS} tls+fd",
}
EXAMPLE = {name: value for name, value, _ in reversed(VALUES)}


@pytest.mark.parametrize("name", sorted(CLIENT_PLACES.keys() | SERVER_PLACES.keys()))
def test_option_stands_only_where_it_means_something(name):
    for texts, allowed, read in (
        (CLIENT_TEXTS, CLIENT_PLACES, read_client),
        (SERVER_TEXTS, SERVER_PLACES, read_server),
    ):
        for kind, text in texts.items():
            whole = with_option(text, name, EXAMPLE[name])
            if kind in allowed.get(name, "").split():
                assert getattr(read(whole).options, name) is not None
            else:
                with pytest.raises(AddressError) as caught:
                    read(whole)
                assert f" at column {whole.index(name) + 1}: {name} " in str(caught.value)


def test_each_option_has_a_field_and_the_other_way_round():
    assert set(dict_of(ClientOptions())) == CLIENT_PLACES.keys()
    assert set(dict_of(ServerOptions())) == SERVER_PLACES.keys()


@pytest.mark.parametrize(
    ("text", "read", "why"),
    [
        (
            "tcp://*:1?src=::1",
            read_server,
            "src is for connecting; a server listens on the address",
        ),
        ("tcp://h:1?backlog=3", read_client, "backlog is for serving"),
        ("tcp://h:1?alpn=h2", read_client, "alpn is for TLS, and tcp: has none"),
        ("tcp://*:1?unix_mode=660", read_server, "unix_mode means nothing to tcp:"),
        ("unix:@x?unix_mode=660", read_server, "unix_mode means nothing to an abstract name"),
        ("unix:%40x?unix_mode=660", read_server, "unix_mode means nothing to an abstract name"),
    ],
)
def test_why_it_means_nothing(text, read, why):
    with pytest.raises(AddressError) as caught:
        read(text)
    assert why in str(caught.value)


def test_options_are_not_part_of_the_address():
    assert read_client("tcp://h:1?timeout=5").address == parse_client("tcp://h:1")
