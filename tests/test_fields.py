"""What every address has in common, whichever module it is of."""

import copy
import dataclasses
import inspect
import pickle
from functools import partial
from ipaddress import IPv4Interface, IPv6Address, ip_address
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from conduit import client, endp, flow, server
from conduit.errors import AddressError
from conduit.text import to_text
from conduit.tls.keys import OwnKey

FILES = ("a.crt", "a.key")

# One of each class, as a user writes it: also what it prints.
PLAIN = [
    "client.TCP('127.0.0.1', 80)",
    "client.TCP('fe80::1%eth0', 80)",
    "client.Host('db.example', 5432)",
    "client.TLSConfig('h', '::1', 443)",
    "client.TLS('h', '::1', 443)",
    "client.TLSNative('h', '192.0.2.1', 443)",
    "client.OpenSSL('192.0.2.1', '192.0.2.1', 443)",
    "client.TLSOver('h', client.UnixDomainSocket('/run/x'))",
    "client.UnixDomainSocket('@name')",
    "client.VchanDirect(3, 'p')",
    "client.VchanDomainSocket('dom', 'p')",
    "client.Vsock(2, 4294967295)",
    "endp.TCP('::1', 80)",
    "endp.Host('db.example', 5432)",
    "endp.TLS('h', endp.TLS('i', endp.Host('h', 443)))",
    "endp.UnixDomainSocket('/run/x')",
    "endp.Unknown('no such host')",
    "endp.VchanDirect(0, 'p')",
    "endp.VchanDomainSocket('dom', 'p')",
    "endp.Vsock(1, 80)",
    "server.Port(80)",
    "server.Socket(3)",
    "server.TCP(8080)",
    "server.TCP(8080, ip='127.0.0.1')",
    "server.TCP(server.Socket(3))",
    "server.TLSConfig('a.crt', 'a.key', password=None, port=443)",
    "server.TLS('a.crt', 'a.key', password=None, port=443)",
    "server.TLSNative('a.crt', 'a.key', password=None, port=443)",
    "server.OpenSSL('a.crt', 'a.key', password=None, port=443, ip='::1')",
    "server.TLSOver(server.TCP(443), 'a.crt', 'a.key', password=None)",
    "server.UnixDomainSocket('/run/x')",
    "server.VchanDirect(1, 'p')",
    "server.VchanDomainSocket('dom', 'p')",
    "server.Vsock(4294967295, 80)",
    "server.Launchd('Listeners')",
    "server.Systemd('http')",
    "server.Systemd(None)",
    "server.Handover('/run/x', None)",
    "server.Handover('@x', server.TCP(8080, ip='::1'))",
    "server.ListeningSocket(3)",
    "flow.TCP(5, '127.0.0.1', 80)",
    "flow.DomainSocket(-1, '')",
    "flow.Vchan(1, 'p')",
    "flow.Vsock(2, 80)",
    "OwnKey('a.crt', 'a.key', password=None)",
]
WITH_CHANNELS = [client.TLSTunnel, endp.TLSTunnel, flow.Tunnel]


def read(text):
    value = eval(text)
    if isinstance(value, flow.TCP):  # flows convert nothing, so the address is a str still
        return dataclasses.replace(value, ip=ip_address(str(value.ip)))
    return value


def example(cls):
    return next(v for v in map(read, PLAIN) if type(v) is cls)


@pytest.fixture(params=PLAIN)
def text(request):
    return request.param


def test_every_class_is_covered_here():
    classes = {type(read(text)) for text in PLAIN} | set(WITH_CHANNELS)
    parts = {client.TLSConfig, server.Port, server.Socket, server.TLSConfig, OwnKey}
    unions = [client.Client, endp.Endp, server.Mode, flow.Flow]
    assert classes - parts == {cls for union in unions for cls in get_args(union)}


def test_prints_as_it_is_written(text):
    assert repr(read(text)) == text


def test_str_is_the_text_or_else_the_repr(text):
    value = read(text)
    parts = (client.TLSConfig, server.Port, server.Socket, server.TLSConfig, OwnKey)
    if isinstance(value, (*parts, *get_args(flow.Flow))):
        assert str(value) == text
    else:
        assert str(value) == to_text(value) != text


def deep(over, below):
    for _ in range(5000):
        below = over("h", below)
    return below


UNPRINTABLE = [
    client.VchanDirect(10**5000, "p"),
    deep(client.TLSOver, client.Vsock(1, 1)),
    deep(endp.TLS, endp.Vsock(1, 1)),
]


@pytest.mark.parametrize("value", UNPRINTABLE, ids=["long", "deep", "deep endp"])
def test_str_never_raises(value):
    assert str(value).startswith(f"{type(value).__module__.rpartition('.')[2]}.")
    assert len(str(value)) < 100


def test_str_of_what_has_no_text():
    channels: Any = "a", "b"
    assert str(client.TLSTunnel("h", *channels)) == "client.TLSTunnel('h', 'a', 'b')"
    secret = server.TLS("c", "k", partial(str, "s3cret"), 1)
    assert str(secret) == "server.TLS('c', 'k', password=<function>, port=1)"


def test_equal_by_value_and_usable_as_a_key(text):
    assert read(text) == read(text)
    assert {read(text): 1}[read(text)] == 1


def test_copies_are_equal(text):
    value = read(text)
    for again in (
        copy.copy(value),
        copy.deepcopy(value),
        dataclasses.replace(value),
        *(pickle.loads(pickle.dumps(value, p)) for p in range(2, pickle.HIGHEST_PROTOCOL + 1)),
    ):
        assert again == value
        assert type(again) is type(value)
        assert repr(again) == text


def test_cannot_be_changed(text):
    value = read(text)
    for field in dataclasses.fields(value):
        with pytest.raises(AttributeError):
            setattr(value, field.name, 1)
        with pytest.raises(AttributeError):
            delattr(value, field.name)
    with pytest.raises((AttributeError, TypeError)):
        value.other = 1
    assert not hasattr(value, "__dict__")
    assert read(text) == value


def test_fields_are_the_parameters(text):
    cls = type(read(text))
    assert [f.name for f in dataclasses.fields(cls)] == list(inspect.signature(cls).parameters)


def test_matches_by_position(text):
    cls = type(read(text))
    assert cls.__match_args__ == tuple(f.name for f in dataclasses.fields(cls) if not f.kw_only)


@pytest.mark.parametrize("cls", WITH_CHANNELS)
def test_tunnels_compare_their_channels_by_identity(cls):
    ic, oc = object(), object()
    tunnel = cls("h", ic, oc)
    assert tunnel == cls("h", ic, oc)
    assert tunnel != cls("h", object(), oc)
    assert hash(tunnel) == hash(cls("h", ic, oc))
    assert (tunnel.ic, tunnel.oc) == (ic, oc)
    assert repr(tunnel) == f"{cls.__module__.split('.')[-1]}.{cls.__name__}('h', {ic!r}, {oc!r})"


def test_same_words_in_two_modules_are_not_equal():
    addresses: list[object] = [client.TCP("::1", 80), endp.TCP("::1", 80)]
    assert addresses[0] != addresses[1]


def test_same_parts_for_two_stacks_are_not_equal():
    addresses: list[object] = [cls("h", "::1", 80) for cls in (client.TLS, client.OpenSSL)]
    assert addresses[0] != addresses[1]


def test_subclass_of_an_address_works():
    class Mine(client.TCP):
        pass

    assert Mine("::1", 80).port == 80
    with pytest.raises(AddressError, match=r"Mine: port -1 "):
        Mine("::1", -1)


# Each kind of field, in every constructor that has it ---------------------------------------------

TCP_PORTS = [
    partial(client.TCP, "::1"),
    partial(client.Host, "h"),
    partial(client.TLSConfig, "h", "::1"),
    partial(client.TLS, "h", "::1"),
    partial(client.TLSNative, "h", "::1"),
    partial(client.OpenSSL, "h", "::1"),
    partial(endp.TCP, "::1"),
    partial(endp.Host, "h"),
    server.Port,
    server.TCP,
    partial(server.TLSConfig, *FILES, None),
    partial(server.TLS, *FILES, None),
    partial(server.TLSNative, *FILES, None),
    partial(server.OpenSSL, *FILES, None),
]


def name_of(make):
    cls = getattr(make, "func", make)
    module = cls.__module__.removeprefix("conduit.")
    return cls.__name__ if "." in module else f"{module}.{cls.__name__}"


def each(makers):
    return pytest.mark.parametrize("make", makers, ids=name_of)


def refused(make, *args):
    """Return why; it starts with the constructor's name."""
    with pytest.raises(AddressError) as caught:
        make(*args)
    start = f"{name_of(make)}: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def port_of(address):
    return getattr(address, "config", address).port


@each(TCP_PORTS)
def test_port_has_16_bits(make):
    assert [port_of(make(port)) for port in (0, 80, 65535)] == [0, 80, 65535]
    for port in (-1, 65536):
        assert refused(make, port) == f"port {port} is outside 0..65535"


@given(make=st.sampled_from(TCP_PORTS), port=st.integers(0, 65535))
def test_every_port_is_taken(make, port):
    assert port_of(make(port)) == port


@given(make=st.sampled_from(TCP_PORTS), port=st.integers())
def test_no_other_port_is(make, port):
    assume(not 0 <= port <= 65535)
    assert refused(make, port).endswith("is outside 0..65535")


@each(TCP_PORTS)
@pytest.mark.parametrize("port", [True, "80", 80.0, None, b"80"])
def test_port_is_an_int(make, port):
    assert refused(make, port).startswith("port must be an int, not ")


def test_port_is_named_with_its_value():
    assert refused(client.TCP, "::1", 70000) == "port 70000 is outside 0..65535"
    assert refused(client.TCP, "::1", True) == "port must be an int, not True"
    assert refused(client.TCP, "::1", b"80") == "port must be an int, not an object of type bytes"


def test_number_too_long_to_print_is_refused_like_any_other():
    assert refused(client.TCP, "::1", 10**5000) == "port an int of 16610 bits is outside 0..65535"


class Colour(int):
    def __repr__(self):
        return "red"


class Label(str):
    __slots__ = ()

    def __repr__(self):
        return "label"


def test_special_numbers_and_strings_become_plain():
    assert repr(client.Host(Label("h"), Colour(80))) == "client.Host('h', 80)"
    assert repr(client.UnixDomainSocket(Label("/x"))) == "client.UnixDomainSocket('/x')"


IPS = [
    partial(client.TCP, port=80),
    partial(client.TLSConfig, "h", port=80),
    partial(client.TLS, "h", port=80),
    partial(client.TLSNative, "h", port=80),
    partial(client.OpenSSL, "h", port=80),
    partial(endp.TCP, port=80),
]
LISTENING_IPS = [
    partial(server.TCP, 80),
    partial(server.TLS, *FILES, None, 80),
    partial(server.TLSNative, *FILES, None, 80),
    partial(server.OpenSSL, *FILES, None, 80),
]


@each(IPS + LISTENING_IPS)
def test_ip_may_be_given_as_text(make):
    for text in ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"):
        assert make(ip=text).ip == make(ip=ip_address(text)).ip == ip_address(text)


@given(make=st.sampled_from(IPS + LISTENING_IPS), ip=st.ip_addresses())
def test_every_ip_is_taken(make, ip):
    assert make(ip=ip).ip == ip
    assert make(ip=str(ip)).ip == ip


@given(make=st.sampled_from(IPS + LISTENING_IPS), value=st.text() | st.from_regex(r"[0-9a-f:.%]+"))
def test_text_is_an_ip_or_refused(make, value):
    try:
        expected = ip_address(value)
        assume("%" not in value)  # the zone is tested below
    except ValueError:
        with pytest.raises(AddressError, match="is not an IP address"):
            make(ip=value)
    else:
        assert make(ip=value).ip == expected


@each(IPS)
def test_zone_is_kept(make):
    ip = make(ip="fe80::1%eth0").ip
    assert isinstance(ip, IPv6Address)
    assert ip.scope_id == "eth0"


@each(IPS + LISTENING_IPS)
@pytest.mark.parametrize("zone", ["a b", "a\0b", "", "a]", "\n", "a/b"])
def test_zone_that_no_interface_has_is_refused(make, zone):
    with pytest.raises(AddressError):
        make(ip=f"fe80::1%{zone}")


@each(IPS + LISTENING_IPS)
@pytest.mark.parametrize(
    "value", [2130706433, b"\x7f\0\0\1", object(), IPv4Interface("127.0.0.1/8")]
)
def test_ip_is_an_address_or_text(make, value):
    with pytest.raises(AddressError, match="ip must be an IP address, not "):
        make(ip=value)


@each(IPS + LISTENING_IPS)
def test_brackets_are_explained(make):
    with pytest.raises(AddressError, match=r"ip '\[::1\]' .* write '::1', without brackets"):
        make(ip="[::1]")


@each(IPS)
def test_name_for_an_ip_is_told_of_host(make):
    module = name_of(make).split(".")[0]
    with pytest.raises(AddressError, match=rf"'db\.example'.* {module}\.Host\(name, port\)"):
        make(ip="db.example")


@each(LISTENING_IPS)
def test_server_is_not_sent_to_a_host_that_it_has_not(make):
    with pytest.raises(AddressError, match="a server listens on the address itself"):
        make(ip="db.example")


TLS_NAMES = [
    lambda name: client.TLSConfig(name, "::1", 443),
    lambda name: client.TLS(name, "::1", 443),
    lambda name: client.TLSNative(name, "::1", 443),
    lambda name: client.OpenSSL(name, "::1", 443),
    lambda name: client.TLSTunnel(name, None, None),  # type: ignore[arg-type]
    lambda name: client.TLSOver(name, client.Host("h", 443)),
    lambda name: endp.TLS(name, endp.Unknown("x")),
    lambda name: endp.TLSTunnel(name, None, None),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("make", TLS_NAMES)
def test_tls_name(make):
    for name in ("db.example", "192.0.2.1", "::1", "bücher.example"):
        assert name in repr(make(name))
    with pytest.raises(AddressError, match=r"host(name)? is empty"):
        make("")
    with pytest.raises(AddressError, match=r"host(name)? 'a\\x00b' holds a NUL"):
        make("a\0b")
    for value in (None, b"db.example", 1, ip_address("::1")):
        with pytest.raises(AddressError, match=r"host(name)? must be a str, not "):
            make(value)


HOSTS = [client.Host, endp.Host]


@each(HOSTS)
@pytest.mark.parametrize(
    "name", ["db", "db.example", "db.example.", "_a._tcp", "bücher.example", "::1", "fe80::1%eth0"]
)
def test_host_takes_names_and_addresses(make, name):
    assert make(name, 80).name == name


@each(HOSTS)
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "name is empty"),
        ("a b", "name 'a b' holds ' ', which no host name has"),
        ("a\nb", r"name 'a\nb' holds '\n', which no host name has"),
        ("a\0b", r"name 'a\x00b' holds a NUL"),
        ("a\udcff", r"name 'a\udcff' holds '\udcff', which no host name has"),
        ("db:80", "name 'db:80' holds ':'; give the name alone"),
        ("http://db", "name 'http://db' holds ':'; give the name alone"),
        ("me@db", "name 'me@db' holds '@'; give the name alone"),
        ("*", "name '*' holds '*'; give the name alone"),
        ("[::1]", "name '[::1]' has brackets: write '::1'"),
        ("a" * 256, f"name '{'a' * 59}... (258 characters) is longer than a DNS name can be"),
        (None, "name must be a str, not None"),
    ],
)
def test_host_refuses_what_is_no_name(make, name, why):
    assert refused(make, name, 80) == why


PATHS = [client.UnixDomainSocket, endp.UnixDomainSocket, server.UnixDomainSocket]


@each(PATHS)
def test_path(make, tmp_path):
    part = dataclasses.fields(make)[0].name
    assert getattr(make(tmp_path / "x"), part) == str(tmp_path / "x")
    for path in ("/run/x", "@abstract", "./@file", "a b", "/\udcff"):
        assert getattr(make(path), part) == path
    assert refused(make, "/a\0b") == rf"{part} '/a\x00b' holds a NUL"
    assert refused(make, "\0name").endswith("write an abstract name as '@NAME'")
    assert (
        refused(make, b"/run/x") == f"{part} must be a str or a path, not an object of type bytes"
    )
    assert refused(make, None) == f"{part} must be a str or a path, not None"


class BytesPath:
    def __fspath__(self):
        return b"/run/x"


@each(PATHS)
def test_path_of_bytes_is_refused(make):
    assert refused(make, BytesPath()).endswith("must be a str, not an object of type bytes")


DOMIDS = [client.VchanDirect, endp.VchanDirect, server.VchanDirect]


@each(DOMIDS)
def test_vchan_domain_number(make):
    for domid in (0, 0x7FF4, 2**62 - 1):
        assert make(domid, "p").domid == domid
    assert refused(make, -1, "p") == "domid -1 is negative"
    assert refused(make, True, "p") == "domid must be an int, not True"
    assert refused(make, "1", "p") == "domid must be an int, not '1'"


VCHAN_PORTS = [
    partial(client.VchanDirect, 1),
    partial(client.VchanDomainSocket, "d"),
    partial(endp.VchanDirect, 1),
    partial(endp.VchanDomainSocket, "d"),
    partial(server.VchanDirect, 1),
    partial(server.VchanDomainSocket, "d"),
]


@each(VCHAN_PORTS)
def test_vchan_port_is_a_name(make):
    assert make("a b").port == "a b"
    assert refused(make, 80) == "port must be a str, not 80"
    assert refused(make, "a\0") == r"port 'a\x00' holds a NUL"


@each([client.VchanDomainSocket, endp.VchanDomainSocket, server.VchanDomainSocket])
def test_vchan_domain_name(make):
    part = dataclasses.fields(make)[0].name
    assert refused(make, 1, "p") == f"{part} must be a str, not 1"
    assert refused(make, "\0", "p") == rf"{part} '\x00' holds a NUL"


VSOCKS = [client.Vsock, endp.Vsock, server.Vsock]


@each(VSOCKS)
def test_vsock_numbers_have_32_bits(make):
    assert make(2**32 - 1, 2**32 - 1).cid == 2**32 - 1
    for bad in (-1, 2**32):
        assert refused(make, bad, 1) == f"cid {bad} is outside 0..4294967295"
        assert refused(make, 1, bad) == f"port {bad} is outside 0..4294967295"


PASSWORDS = [
    lambda password: server.TLSConfig(*FILES, password, 443),
    lambda password: server.TLS(*FILES, password, 443),
    lambda password: server.TLSNative(*FILES, password, 443),
    lambda password: server.OpenSSL(*FILES, password, 443),
    lambda password: server.TLSOver(server.TCP(443), *FILES, password),
    lambda password: OwnKey(*FILES, password),
]


@pytest.mark.parametrize("make", PASSWORDS)
@pytest.mark.parametrize("secret", ["hunter2", b"hunter2", ["hunter2"]])
def test_secret_given_for_a_function_is_not_shown(make, secret):
    with pytest.raises(AddressError, match="password must be None or a function") as caught:
        make(secret)
    assert "hunter2" not in str(caught.value)


def ask(_encrypting):
    return "hunter2"


@pytest.mark.parametrize("make", PASSWORDS)
def test_password_function_is_kept_compared_and_not_shown(make):
    guarded = partial(str.format, "hunter2")
    for function in (ask, guarded, lambda _: "hunter2"):
        value = make(function)
        assert value.password is function
        assert value == make(function)
        assert hash(value) == hash(make(function))
        assert "password=<function>" in repr(value)
        assert "hunter2" not in repr(value)
    assert make(ask) != make(guarded)
    assert make(ask) != make(None)


KEY_FILES = [
    lambda key: server.TLSConfig("a.crt", key, None, 443),
    lambda key: server.TLS("a.crt", key, None, 443),
    lambda key: server.TLSOver(server.TCP(443), "a.crt", key),
    lambda key: OwnKey("a.crt", key),
]


@pytest.mark.parametrize("make", KEY_FILES)
def test_key_itself_given_for_its_file_is_refused_and_not_shown(make, tmp_path):
    assert make(tmp_path).key_file == str(tmp_path)
    pem = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    for value in (pem, pem.encode()):
        with pytest.raises(AddressError, match="key_file ") as caught:
            make(value)
        assert "c2VjcmV0" not in str(caught.value)
    with pytest.raises(AddressError, match=r"key_file .* holds a NUL"):
        make("a\0")


@dataclasses.dataclass(frozen=True)
class Carrier:
    """An address of another package."""

    pigeon: str


@pytest.mark.parametrize("inside", [Carrier("grey")])
def test_foreign_address_may_stand_inside_ours(inside):
    kept = [
        client.TLSOver("h", inside).client,
        endp.TLS("h", inside).endp,
        server.TLSOver(inside, *FILES).mode,
    ]
    assert kept == [inside] * 3


@pytest.mark.parametrize("value", ["tcp://h:1", None, 8080, client.TCP])
def test_what_is_no_address_may_not(value):
    assert refused(client.TLSOver, "h", value).startswith("client must be an address of ")
    assert refused(endp.TLS, "h", value).startswith("endp must be an address of conduit.endp")
    assert refused(server.TLSOver, value, *FILES).startswith("mode must be an address of ")


def test_address_of_another_module_may_not():
    why = "must be an address of conduit"
    assert refused(endp.TLS, "h", client.Host("h", 1)) == f"endp {why}.endp, not client.Host"
    assert refused(client.TLSOver, "h", example(client.TLSConfig)) == (
        f"client {why}.client, not client.TLSConfig"
    )
    assert refused(server.TLSOver, server.Port(1), *FILES) == f"mode {why}.server, not server.Port"
