"""Names of hosts in the form that DNS and certificates have."""

import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conduit._hostnames import ascii_host, certified_name, is_ip, srv_domain
from conduit.errors import AddressError
from tests.text.addresses import names

FORMS = {
    "example.com": "example.com",
    "EXAMPLE.Com": "example.com",
    "example.com.": "example.com",
    "localhost": "localhost",
    "_sip._tcp.example": "_sip._tcp.example",
    "a_b": "a_b",
    "3com.example": "3com.example",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "bücher.example": "xn--bcher-kva.example",
    "BÜCHER.Example.": "xn--bcher-kva.example",
    "bu\u0308cher.example": "xn--bcher-kva.example",
    "faß.example": "xn--fa-hia.example",  # IDNA 2003 made "fass" of it
    "_x.bücher.example": "_x.xn--bcher-kva.example",
    "bücher\u3002example\uff0e": "xn--bcher-kva.example",
    "例え.テスト": "xn--r8jz45g.xn--zckzah",
    "192.0.2.1": "192.0.2.1",
    "2001:DB8:0::1": "2001:db8::1",
    "fe80::1%eth0": "fe80::1%eth0",
    f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}.": f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}",
}


@pytest.mark.parametrize("name", FORMS)
def test_form(name):
    found = ascii_host(name)
    assert found == FORMS[name]
    assert ascii_host(found) == found


def test_dot_at_the_end_is_kept_for_dns():
    assert ascii_host("Example.com.", keep_dot=True) == "example.com."
    assert ascii_host("Example.com", keep_dot=True) == "example.com"
    assert ascii_host("bücher\u3002", keep_dot=True) == "xn--bcher-kva."


REFUSED = {
    "": "it is empty",
    ".": "it is empty",
    "a..b": "between two dots is empty",
    ".a": "between two dots is empty",
    "a..": "between two dots is empty",
    "a b": "it holds ' '",
    "a/b": "it holds '/'",
    "user@host": "it holds '@'",
    "a:80": "it holds ':'",
    "a\0b": r"it holds '\x00'",
    "a\nb": r"it holds '\n'",
    "*": "it holds '*'",
    "a" * 64: "more than 63 characters",
    "ü" * 63: "Label too long",
    ".".join(["abcdefg"] * 33): "it has 263 characters, and may have 253",
    "a" * 70000: "it has 70000 characters",
    "127.1": "it ends in a number",
    "2130706433": "it ends in a number",
    "0x7f000001": "it ends in a number",
    "0x7f.1": "it ends in a number",
    "example.0x": "it ends in a number",
    "1.2.3.4.": "it ends in a number",
    "256.1.1.1": "it ends in a number",
    # What looks like another host or an address only when it has been mapped.
    "evil.example\uff0fx": "it holds '/'",
    "\uff11\uff12\uff17.0.0.1": "it ends in a number",
    "a\u2100b": "it holds '/'",
    "\ud800.example": "",
    "☃.example": "",
    "a\u200db": "",
    "fe80::1%a/b": "it holds ':'",
}


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: ascii(name[:20]))
def test_what_is_no_name(name):
    with pytest.raises(AddressError) as caught:
        ascii_host(name)
    assert "is no name of a host: " in str(caught.value)
    assert REFUSED[name] in str(caught.value)
    assert len(str(caught.value)) < 400


@settings(deadline=None)
@given(names | st.text(st.characters(min_codepoint=0xA1), max_size=40))
@example("\ufb00\u2100\u3002\uff11")
def test_any_text_is_a_name_or_an_address_error(name):
    try:
        found = ascii_host(name)
    except AddressError:
        return
    assert ascii_host(found) == found
    if not is_ip(name):
        assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
        assert not is_ip(found)


def test_package_for_other_letters_is_imported_for_them_alone():
    program = (
        "import sys; from conduit._hostnames import ascii_host; ascii_host('a.example'); "
        "assert 'idna' not in sys.modules; ascii_host('ü.example'); assert 'idna' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("_postgresql._tcp.example", "example"),
        ("_db._primary.service.consul", "service.consul"),
        ("_a._b.c.", "c."),
        ("_a._b", None),
        ("_a._b.", None),
        ("_a._b..c", None),
        ("_._b.c", None),
        ("_a._.c", None),
        ("_a.b.c", None),
        ("a._tcp.c", None),
        ("", None),
    ],
)
def test_domain_of_a_name_of_dns_srv(name, domain):
    assert srv_domain(name) == domain
    assert certified_name(name) == (domain or name)
