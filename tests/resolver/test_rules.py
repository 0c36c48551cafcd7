"""Which rule is for a host."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.errors import AddressError
from conduit.resolver.rules import Rules
from conduit.resolver.uri import parse_uri


def rules(*hosts):
    return Rules().adding((host, named(host)) for host in hosts)


def named(host):
    def rewrite(service, uri):
        raise AssertionError("only looked for")

    rewrite.__name__ = host
    return rewrite


def found(known, host):
    rule = known.find(parse_uri(f"http://{host}"))
    return None if rule is None else rule.rewrite.__name__


MATCHES = [
    (["foo.xen"], "foo.xen", "foo.xen"),
    (["foo.xen"], "a.b.foo.xen", "foo.xen"),
    (["foo.xen"], "foobar.xen", None),
    (["foo.xen"], "barfoo.xen", None),
    (["foo.xen"], "xen", None),
    (["xen", "foo.xen", "a.foo.xen"], "b.foo.xen", "foo.xen"),
    (["a.foo.xen", "xen", "foo.xen"], "b.a.foo.xen", "a.foo.xen"),
    (["", "xen"], "xen", "xen"),
    (["", "xen"], "other", ""),
    (["."], "other", "."),
    ([".xen"], "a.xen", ".xen"),
    (["xen."], "a.xen", "xen."),
    (["Foo.XEN"], "A.foo.Xen.", "Foo.XEN"),
    (["bücher.example"], "www.xn--bcher-kva.example", "bücher.example"),
    (["xn--bcher-kva.example"], "BÜCHER.example", "xn--bcher-kva.example"),
    (["192.0.2.1", ""], "192.0.2.1", "192.0.2.1"),
    (["192.0.2.1"], "192.0.2.2", None),
    (["192.0.2.1", ""], "192.0.2.2", ""),
    (["::1"], "[::1]", "::1"),
    ([], "foo", None),
]


@pytest.mark.parametrize(("hosts", "host", "rule"), MATCHES)
def test_longest_part_of_whole_labels(hosts, host, rule):
    assert found(rules(*hosts), host) == rule


def test_rule_of_an_address_in_another_form():
    assert found(rules("2001:DB8:0::1"), "[2001:db8::1]") == "2001:DB8:0::1"


label = st.from_regex(r"[a-c]{1,2}", fullmatch=True)
host = st.lists(label, min_size=1, max_size=4).map(".".join)


@given(st.lists(host, max_size=6), host)
def test_found_as_one_would_by_trying_all(hosts, asked):
    fitting = [one for one in hosts if f".{asked}".endswith(f".{one}")]
    assert found(rules(*hosts), asked) == max(fitting, key=len, default=None)


def test_same_host_twice_is_replaced():
    known = rules("foo.xen").adding([("FOO.xen.", named("new"))])
    assert found(known, "foo.xen") == "new"
    assert len(known) == 1


def test_adding_leaves_the_others_alone():
    old = rules("a")
    new = old.adding([("b", named("b"))])
    assert (found(old, "b"), found(new, "b"), found(new, "a")) == (None, "b", "a")


@pytest.mark.parametrize("host", ["a..b", "a b", "*.example", "http://x", "..", "127.1", "x:80"])
def test_rule_for_what_is_no_host(host):
    with pytest.raises(AddressError, match="is no name of a host"):
        rules(host)


def test_rule_is_a_function():
    wrong: Any = "10.0.0.1"
    with pytest.raises(TypeError, match=r"the rewrite of 'a' must be a function, not '10\.0"):
        Rules().adding([("a", wrong)])
