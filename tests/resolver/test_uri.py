"""The URI of a service: what of it says where to connect."""

import pickle
import time
from ipaddress import ip_address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conduit.errors import AddressError
from conduit.resolver.uri import parse_uri
from tests.text.addresses import ODD

PARTS = {
    "https://example.com": ("https", "example.com", None),
    "HTTPS://Example.COM:8443/Path?q#f": ("https", "example.com", 8443),
    "http://example.com:": ("http", "example.com", None),
    "http://example.com:0080/": ("http", "example.com", 80),
    "http://example.com?x=1:2": ("http", "example.com", None),
    "http://example.com#:80": ("http", "example.com", None),
    "http://example.com/@me": ("http", "example.com", None),
    "http://example.com/a%zz": ("http", "example.com", None),
    "http://ex%61mple.com": ("http", "example.com", None),
    "http://b%C3%BCcher.example": ("http", "xn--bcher-kva.example", None),
    "http://bücher.example": ("http", "xn--bcher-kva.example", None),
    "http://example.com.:1": ("http", "example.com", 1),
    "svn+ssh://h": ("svn+ssh", "h", None),
    "http://192.0.2.1:81": ("http", "192.0.2.1", 81),
    "http://[2001:DB8::1]": ("http", "2001:db8::1", None),
    "http://[fe80::1%25eth0]:80": ("http", "fe80::1%eth0", 80),
    "http://[fe80::1%eth0]:80": ("http", "fe80::1%eth0", 80),
}


@pytest.mark.parametrize("text", PARTS)
def test_parts(text):
    uri = parse_uri(text)
    assert (uri.scheme, uri.host, uri.port) == PARTS[text]
    assert uri == text
    assert isinstance(uri, str)


def test_dot_at_the_end_is_for_dns_alone():
    uri = parse_uri("http://Example.com./")
    assert (uri.host, uri.dns_name) == ("example.com", "example.com.")
    assert parse_uri("http://example.com/").dns_name == "example.com"


def test_host_that_is_an_address():
    assert parse_uri("http://192.0.2.1").ip == ip_address("192.0.2.1")
    assert parse_uri("http://[::1]").ip == ip_address("::1")
    assert parse_uri("http://h").ip is None


def test_what_is_shown_has_no_path_and_no_query():
    assert parse_uri("https://Example.com/T0/secret?token=x#y").shown == "https://example.com"
    assert parse_uri("https://[::1]:8443/x").shown == "https://[::1]:8443"


def test_copies_are_whole():
    uri = parse_uri("https://example.com:1/x")
    again = pickle.loads(pickle.dumps(uri))
    assert (again, again.host, again.port) == (uri, uri.host, uri.port)


REFUSED = {
    "example.com": (1, "a service is written SCHEME://HOST"),
    "": (1, "SCHEME://HOST"),
    "://h": (1, "SCHEME://HOST"),
    "1a://h": (1, "SCHEME://HOST"),
    "http://": (8, "the host is missing"),
    "http:///path": (8, "the host is missing"),
    "http://:80": (8, "the host is missing"),
    "http://h:x": (10, "the port is no number from 0 to 65535"),
    "http://h:65536/": (10, "the port is no number"),
    "http://h:-1": (10, "the port is no number"),
    "http://h:\uff18\uff10": (10, "the port is no number"),
    "http://h:" + "9" * 9999: (10, "the port is no number"),
    "http://::1/": (8, "the port is no number|the host is missing"),
    "http://[::1": (8, "never closed"),
    "http://[::1]80": (13, "after ']' comes ':'"),
    "http://[h]": (9, "no IPv6 address"),
    "http://[127.0.0.1]": (9, "no IPv6 address"),
    "http://[fe80::1%25a%2Fb]": (9, "no IPv6 address"),
    "http://[]": (9, "no IPv6 address"),
    "http://a%zz": (9, "two hex digits"),
    "http://a%2Fb": (8, "it holds '/'"),
    "http://a%00b": (8, "it holds"),
    "http://a%3A80": (8, "stands in brackets"),
    "http://a\\b": (8, r"it holds '\\'"),
    "http://127.1": (8, "ends in a number"),
    "http://0x7f.0.0.1": (8, "ends in a number"),
    "http://a b": (9, "a blank"),
    "http://h/a b": (11, "a blank"),
    "http://h/\r\nX: y": (10, "cannot be seen"),
    " http://h": (1, "SCHEME://HOST"),
    "http://*": (8, "it holds '*'"),
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:24]))
def test_what_is_no_uri(text):
    column, why = REFUSED[text]
    with pytest.raises(AddressError) as caught:
        parse_uri(text)
    message = str(caught.value)
    assert f" at column {column}: " in message
    assert any(words in message for words in why.split("|"))
    assert len(message) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "https://me:s3cret@example.com/",
        "https://s3cret@example.com",
        "https://me:s3cret@[::1",
        "https://me:s3cret/more@example.com",
        "https://me:s3cret?more@example.com",
        "https://s3cret s3cret/more@example.com",
        "https://[s3cret/@example.com",
        "https://%s3cret/@example.com",
        "https://me:80/s3cret word",
        "https://h:x/s3cret",
        "https://h:x?token=s3cret",
        "https://h:x#s3cret",
        "https://@s3cret@h",
    ],
)
def test_secret_is_not_shown(text):
    with pytest.raises(AddressError) as caught:
        parse_uri(text)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_user_and_password_are_refused():
    with pytest.raises(AddressError, match=r"^'https://\*\*\*@' at column 9: .* no user and no "):
        parse_uri("https://me@example.com")


def test_longest():
    start = "http://h/"
    assert parse_uri(start + "a" * (65536 - len(start)))
    with pytest.raises(AddressError, match="it has 65537 characters, and may have 65536"):
        parse_uri(start + "a" * (65537 - len(start)))


scraps = st.lists(
    st.sampled_from([*ODD, "http", "://", "h", ".", ":80", "[", "]", "::1", "127.0.0.1", "xn--"]),
    max_size=10,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(scraps | st.text() | scraps.map(lambda rest: f"http://{rest}"))
@example("http://xn--/")
@example("http://\udcff/")
def test_any_text_is_a_uri_or_an_address_error(text):
    try:
        uri = parse_uri(text)
    except AddressError:
        return
    assert uri == text
    assert uri.host == uri.host.lower() or uri.ip is not None
    assert uri.shown.isprintable()
    again = parse_uri(uri.shown)
    assert (again.scheme, again.host, again.port) == (uri.scheme, uri.host, uri.port)


LONG = {
    "dots": ("http://", "a."),
    "letters": ("http://", "ü"),
    "codes": ("http://", "%41"),
    "colons": ("http://", ":"),
    "digits": ("http://h:", "0"),
    "brackets": ("http://", "["),
    "zone": ("http://[::1%25", "a"),
    "path": ("http://h/", "/"),
    "at signs": ("http://h/", "@"),
    "scheme": ("", "a+"),
    "not seen": ("http://h/", "\ufeff"),
}


@pytest.mark.alone
@pytest.mark.parametrize("kind", LONG)
def test_time_is_linear(kind):
    """Four times the length takes about four times as long; were it quadratic, sixteen times."""
    start, unit = LONG[kind]

    def seconds(length):
        text = (start + unit * (length // len(unit)))[:length]

        def once():
            begun = time.process_time()
            try:
                parse_uri(text)
            except AddressError:
                pass
            return time.process_time() - begun

        return min(once() for _ in range(3))

    assert seconds(64_000) < 9 * seconds(16_000) + 0.002
