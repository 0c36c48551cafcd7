"""The services and hosts of the operating system."""

import socket

import pytest

import conduit
from conduit import _lookup, endp, resolver
from conduit.resolver import Service, system_service

LOOPBACK = [endp.TCP("127.0.0.1", 80), endp.TCP("::1", 80)]


def answer(monkeypatch, *infos):
    """Let every name have these addresses."""
    asked = []

    async def getaddrinfo(host, port, **options):
        asked.append((host, port))
        return [(socket.AF_INET6 if len(a) == 4 else socket.AF_INET, 1, 6, "", a) for a in infos]

    monkeypatch.setattr(_lookup, "getaddrinfo", getaddrinfo)
    return asked


async def test_localhost():
    found = await resolver.system().resolve_all("http://localhost/")
    assert found
    assert all(one in LOOPBACK for one in found)
    assert await resolver.system().resolve_uri("http://LOCALHOST") == found[0]


async def test_all_addresses_in_the_order_of_the_system(monkeypatch):
    answer(
        monkeypatch,
        ("2001:db8::1", 443, 0, 0),
        ("192.0.2.1", 443),
        ("192.0.2.1", 443),
        ("fe80::1", 443, 0, 1),
    )
    found = await resolver.system().resolve_all("https://h")
    assert found == [
        endp.TLS("h", endp.TCP("2001:db8::1", 443)),
        endp.TLS("h", endp.TCP("192.0.2.1", 443)),
        endp.TLS("h", endp.TCP("fe80::1%lo", 443)),
    ]


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("http://Example.COM", "example.com"),
        ("http://example.com.", "example.com."),
        ("http://faß.example.", "xn--fa-hia.example."),
    ],
)
async def test_name_that_dns_is_asked_for(monkeypatch, uri, name):
    asked = answer(monkeypatch, ("192.0.2.1", 80))
    await resolver.system().resolve_uri(uri)
    assert asked == [(name, 80)]


async def test_address_is_not_looked_up(monkeypatch):
    asked = answer(monkeypatch)
    r = resolver.system()
    assert await r.resolve_uri("http://192.0.2.1") == endp.TCP("192.0.2.1", 80)
    assert await r.resolve_uri("http://[fe80::1%25eth0]") == endp.TCP("fe80::1%eth0", 80)
    assert await r.resolve_uri("tcp://[::1]:5") == endp.TCP("::1", 5)
    assert not asked


@pytest.mark.parametrize(
    "error",
    [socket.gaierror(socket.EAI_NONAME, "gone"), UnicodeError("gone")],
    ids=["system", "codec"],
)
async def test_failure_is_the_reason(monkeypatch, error):
    async def getaddrinfo(host, port, **options):
        raise error

    monkeypatch.setattr(_lookup, "getaddrinfo", getaddrinfo)
    assert await resolver.system().resolve_all("https://db.example") == [
        endp.Unknown("cannot resolve 'db.example': gone")
    ]


async def test_name_without_addresses(monkeypatch):
    answer(monkeypatch)
    assert await resolver.system().resolve_uri("https://h") == endp.Unknown("'h' has no address")


async def test_name_that_never_resolves():
    """RFC 6761 keeps `.invalid` for that."""
    found = await resolver.system().resolve_uri("https://no-such-host.invalid")
    assert isinstance(found, endp.Unknown)
    assert "'no-such-host.invalid'" in found.reason


# Services -----------------------------------------------------------------------------------------


async def test_services_of_the_host():
    """Some of those that every /etc/services has."""
    assert await system_service("http") == Service("http", 80)
    assert await system_service("kerberos") == Service("kerberos", 88)
    assert await system_service("imaps") == Service("imaps", 993, True)
    assert await system_service("no-such-service") is None


async def test_scheme_that_only_the_host_knows():
    assert await resolver.system().resolve_uri("tacacs://127.0.0.1") == endp.TCP("127.0.0.1", 49)


@pytest.mark.parametrize(
    ("name", "tls"),
    [
        ("foos", True), ("foo-s", True), ("foo-tls", True), ("foo+ssl", True), ("https", True),
        ("https-tls", True), ("foo", False), ("bars", False), ("s", False), ("-tls", False),
    ],
)  # fmt: skip
async def test_service_called_as_the_secure_form_of_another_has_tls(monkeypatch, name, tls):
    known = {"foo", name}

    async def getaddrinfo(host, port, **options):
        if port not in known:
            raise socket.gaierror(socket.EAI_SERVICE, "Servname not supported")
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 4711))]

    monkeypatch.setattr(_lookup, "getaddrinfo", getaddrinfo)
    assert await system_service(name) == Service(name, 4711, tls)


async def test_each_call_makes_a_resolver_of_its_own():
    mine = resolver.system()
    mine.add_rewrite("localhost", lambda service, uri: endp.Vsock(2, 1))
    assert await mine.resolve_uri("http://localhost") == endp.Vsock(2, 1)
    assert await resolver.system().resolve_uri("http://localhost") in LOOPBACK
    assert isinstance(mine, conduit.resolver.Resolves)
