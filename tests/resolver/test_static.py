"""Hosts that are given."""

from ipaddress import ip_address
from typing import Any

import pytest

import conduit
from conduit import endp, resolver

UNIX = endp.UnixDomainSocket("/run/x")

ONE = endp.TCP("192.0.2.1", 80)

PLACES: dict[str, tuple[resolver.Place, list[endp.Endp]]] = {
    "an IP address as text": ("192.0.2.1", [endp.TCP("192.0.2.1", 80)]),
    "an IP address": (ip_address("::1"), [endp.TCP("::1", 80)]),
    "an endpoint": (UNIX, [UNIX]),
    "a text": ("vsock://2:9", [endp.Vsock(2, 9)]),
    "a list": (["192.0.2.1", UNIX, "tcp://o:1"], [ONE, UNIX, endp.Host("o", 1)]),
    "a function": (lambda port: endp.VchanDirect(1, str(port)), [endp.VchanDirect(1, "80")]),
    "a function of several": (
        lambda port: (f"192.0.2.{port}", UNIX),
        [endp.TCP("192.0.2.80", 80), UNIX],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLACES)
async def test_where_a_host_is(kind):
    place, found = PLACES[kind]
    r = resolver.static({"other": "192.0.2.99", "Db.Example.": place})
    assert await r.resolve_all("http://db.example/x") == found
    assert await r.resolve_all("https://DB.example:80") == [
        endp.TLS("db.example", one) for one in found
    ]


async def test_port_of_the_uri_counts():
    r = resolver.static({"db": "192.0.2.1", "f": lambda port: endp.Vsock(2, port)})
    assert await r.resolve_uri("http://db:8080") == endp.TCP("192.0.2.1", 8080)
    assert await r.resolve_uri("https://f:8443") == endp.TLS("f", endp.Vsock(2, 8443))
    assert await r.resolve_uri("tcp://db:1") == endp.TCP("192.0.2.1", 1)


@pytest.mark.parametrize("host", ["other", "a.db", "d", "localhost"])
async def test_others_are_unknown(host):
    r = resolver.static({"db": "192.0.2.1"})
    assert await r.resolve_uri(f"https://{host}") == endp.Unknown(
        f"the host {host!r} is not among those that are given"
    )


async def test_address_needs_no_host():
    r = resolver.static({"192.0.2.2": UNIX})
    assert await r.resolve_uri("http://192.0.2.1") == endp.TCP("192.0.2.1", 80)
    assert await r.resolve_uri("http://192.0.2.2") == UNIX


async def test_mapping_is_copied():
    hosts = {"db": "192.0.2.1"}
    r = resolver.static(hosts)
    hosts["db"] = "192.0.2.2"
    assert await r.resolve_uri("http://db") == endp.TCP("192.0.2.1", 80)


async def test_rules_may_be_added():
    r = resolver.static({"db": "192.0.2.1"})
    r.add_rewrite("example", lambda service, uri: UNIX)
    assert await r.resolve_uri("http://a.example") == UNIX


@pytest.mark.parametrize(
    ("hosts", "error"),
    [
        ({"a..b": "192.0.2.1"}, conduit.AddressError),
        ({"a": "db.example"}, conduit.AddressError),
        ({"a": ["192.0.2.1", "unix"]}, conduit.AddressError),
        ({"a": 80}, TypeError),
        ({"a": conduit.client.TCP("::1", 1)}, TypeError),
    ],
)
def test_what_is_no_host_and_no_place(hosts, error):
    with pytest.raises(error):
        resolver.static(hosts)


async def test_function_that_gives_no_place():
    def nowhere(port: int) -> Any:
        return None

    with pytest.raises(TypeError, match="must be an endpoint, its text or an IP, not None"):
        await resolver.static({"a": nowhere}).resolve_uri("http://a")
