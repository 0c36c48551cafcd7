"""Connecting to names and services by a resolver."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

import conduit
from conduit import client, endp, events, resolver, server, transports
from conduit._resolve import client_of
from conduit.testing import Authority
from conduit.transports.several import Several
from tests.endpoints import port_of

ONE, TWO = endp.TCP("192.0.2.1", 443), endp.TCP("2001:db8::1", 443)
UNIX = endp.UnixDomainSocket("/run/x")


async def greet(f, ic, oc):
    oc.write(b"hello")


async def context(hosts):
    return await conduit.init(resolver=resolver.static(hosts))


def refused_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# Services -----------------------------------------------------------------------------------------


async def test_service_is_looked_up_by_the_system_where_no_resolver_is_given():
    async with conduit.listen("tcp://*:0", greet) as srv:
        async with conduit.connect(f"http://LocalHost:{port_of(srv)}/any/path?q=1#f") as (f, ic, _):
            assert await ic.read() == b"hello"
            assert isinstance(f.origin, endp.TCP)
            assert f.origin.port == port_of(srv)


async def test_service_is_looked_up_by_the_resolver_of_the_context(socket_path):
    ctx = await context({"db.xen": f"unix:{socket_path}"})
    async with conduit.listen(f"unix:{socket_path}", greet):
        async with conduit.connect("http://db.xen/", ctx=ctx) as (f, ic, _):
            assert await ic.read() == b"hello"
            assert f.origin == endp.UnixDomainSocket(socket_path)


async def test_another_packages_resolver_will_do():
    class Mine:
        async def resolve_all(self, uri: str, /) -> list[endp.Endp]:
            asked.append(uri)
            return [endp.Unknown("a first try"), srv.endps[0]]

    asked: list[str] = []
    ctx = await conduit.init(resolver=Mine())
    async with conduit.listen(server.TCP(0, ip="127.0.0.1"), greet) as srv:
        for target in ("https://example.com/path", "tcp://db.example:1", client.Host("db", 2)):
            async with conduit.connect(target, ctx=ctx) as (_, ic, _):
                assert await ic.read() == b"hello"
    assert asked == ["https://example.com/path", "tcp://db.example:1", "tcp://db:2"]


async def test_what_is_no_resolver():
    ctx = await conduit.init(resolver="system")  # type: ignore[arg-type]
    for target in ("http://h", "tcp://h:1"):
        with pytest.raises(TypeError, match=r"ctx\.resolver is 'system': a resolver has"):
            await conduit.connect(target, ctx=ctx)
    with pytest.raises(conduit.ConnectError):  # needs none
        await conduit.connect(client.TCP("127.0.0.1", refused_port()), ctx=ctx)


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "client", "endp"])
async def test_name_is_looked_up_by_the_resolver_of_the_context(form):
    async with conduit.listen(server.TCP(0, ip="127.0.0.1"), greet) as srv:
        port = port_of(srv)
        targets: dict[str, client.Client | endp.Endp | str] = {
            "text": f"tcp://DB.example:{port}",
            "client": client.Host("db.example", port),
            "endp": endp.Host("db.example", port),
        }
        ctx = await context({"db.example": "127.0.0.1"})
        async with conduit.connect(targets[form], ctx=ctx) as (f, ic, _):
            assert await ic.read() == b"hello"
            # What was asked for, not what was found.
            assert f.origin == endp.Host("db.example", port)
            assert conduit.endp_of_flow(f) == f.origin


async def test_several_addresses_of_a_name_are_tried(socket_path):
    refused = f"tcp://127.0.0.1:{refused_port()}"
    ctx = await context({"db": [refused, "unix:/nobody/here", f"unix:{socket_path}"]})
    async with conduit.listen(f"unix:{socket_path}", greet):
        for target in ("redis://db", "tcp://db:1"):
            async with conduit.connect(target, ctx=ctx) as (_, ic, _):
                assert await ic.read() == b"hello"


async def test_error_names_each_address():
    first, second = (f"tcp://127.0.0.1:{refused_port()}" for _ in range(2))
    ctx = await context({"db": [first, second, "unix:/nobody/here"]})
    for target, shown in (("redis://db/0?s3cret", "redis://db"), ("tcp://db:1", "tcp://db:1")):
        with pytest.raises(conduit.ConnectError) as caught:
            await conduit.connect(target, ctx=ctx)
        lines = str(caught.value).splitlines()
        assert lines[0] == f"cannot connect to {shown}:"
        assert [line.split(": ")[0] for line in lines[1:]] == [
            f"  {first}", f"  {second}", "  unix:/nobody/here",
        ]  # fmt: skip


async def test_error_of_a_single_address():
    port = refused_port()
    ctx = await context({"db": "127.0.0.1"})
    with pytest.raises(conduit.ConnectError) as caught:
        await conduit.connect(f"http://db:{port}/s3cret?s3cret", ctx=ctx)
    assert str(caught.value) == (
        f"cannot connect to http://db:{port}: tcp://127.0.0.1:{port}: {caught.value.__cause__}"
    )
    [(address, _)] = caught.value.attempts
    assert address == client.TCP("127.0.0.1", port)


async def test_addresses_are_not_looked_up():
    ctx = await context({"127.0.0.1": "unix:/nobody/here"})
    async with conduit.listen(server.TCP(0, ip="127.0.0.1"), greet) as srv:
        async with conduit.connect(srv.endps[0], ctx=ctx) as (_, ic, _):
            assert await ic.read() == b"hello"


# What cannot be found -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("https://nobody.example/s3cret", "https://nobody.example"),
        ("tcp://nobody.example:1", "tcp://nobody.example:1"),
        ("tls://nobody.example:1", "tls://nobody.example:1"),
    ],
)
async def test_unknown_host_is_a_resolution_error_with_the_reason(target, shown):
    with pytest.raises(conduit.ResolutionError) as caught:
        await conduit.connect(target, ctx=await context({}))
    assert str(caught.value) == (
        f"cannot connect to {shown}: the host 'nobody.example' is not among those that are given"
    )


async def test_unknown_service():
    with pytest.raises(
        conduit.ResolutionError,
        match=r"^cannot connect to nosuch://h: there is no service 'nosuch'$",
    ):
        await conduit.connect("nosuch://h")


async def test_unknown_host_of_the_system():
    with pytest.raises(
        conduit.ResolutionError, match=r"^cannot connect to .*: cannot resolve 'no-such\.invalid': "
    ):
        await conduit.connect("https://no-such.invalid")


async def test_mistake_of_a_rewrite_function_is_passed_on():
    def broken(service, uri):
        raise KeyError("a mistake")

    ctx = await conduit.init(resolver=resolver.Resolver(rewrites=[("", broken)]))
    with pytest.raises(KeyError, match="a mistake"):
        await conduit.connect("https://h", ctx=ctx)


async def test_timeout_covers_resolving():
    async def slow(service, uri):
        await asyncio.Event().wait()

    ctx = await conduit.init(resolver=resolver.Resolver(rewrites=[("", slow)]))
    with pytest.raises(conduit.ConnectTimeout, match=r" to https://h within 0\.02 s$"):
        await conduit.connect("https://h/s3cret", ctx=ctx, timeout=0.02)


# What several endpoints become --------------------------------------------------------------------


def over(*endps):
    return [endp.TLS("h", one) for one in endps]


BECOMES = [
    ([ONE], client.TCP("192.0.2.1", 443)),
    ([ONE, TWO], Several((ONE, TWO))),
    (over(ONE), client.TLS("h", "192.0.2.1", 443)),
    (over(UNIX), client.TLSOver("h", client.UnixDomainSocket("/run/x"))),
    (over(*over(ONE, TWO)), client.TLSOver("h", client.TLSOver("h", Several((ONE, TWO))))),  # type: ignore[arg-type]
    (over(ONE, UNIX), client.TLSOver("h", Several((ONE, UNIX)))),  # type: ignore[arg-type]
    ([*over(ONE), TWO], Several((*over(ONE), TWO))),
    ([*over(ONE), endp.TLS("other", TWO)], Several((*over(ONE), endp.TLS("other", TWO)))),
]


@pytest.mark.parametrize(("endps", "address"), BECOMES, ids=[str(n) for n in range(len(BECOMES))])
def test_race_is_below_the_tls_that_all_share(endps, address):
    assert client_of(endps, conduit.default_ctx()) == address


async def test_name_below_tls_is_looked_up(monkeypatch):
    """The certificate is checked for the name that was written; a rule may put TLS itself."""
    seen = []

    async def refuse(address, ctx, attempts):
        seen.append(address)
        raise conduit.AddressError("seen")

    monkeypatch.setattr(transports, "connect", refuse)
    places: dict[str, resolver.Place] = {
        "db.example": ["192.0.2.1", "2001:db8::1"],
        "own.example": "tls+unix:/run/x?hostname=rule.example",
    }
    ctx = await context(places)
    for target in (
        "tls://DB.example.:443",
        client.TLSOver("cert.example", client.Host("db.example", 443)),
        "https://db.example",
        "tls://own.example:1",
        "tls+tls://db.example:443?hostname=a",
    ):
        with pytest.raises(conduit.AddressError, match="seen"):
            await conduit.connect(target, ctx=ctx)
    both = Several((ONE, TWO))
    below = client.TLSOver("db.example", both)  # type: ignore[arg-type]
    assert seen == [
        client.TLSOver("db.example.", both),  # type: ignore[arg-type]
        client.TLSOver("cert.example", both),  # type: ignore[arg-type]
        below,
        client.TLSOver("rule.example", client.UnixDomainSocket("/run/x")),
        client.TLSOver("a", below),
    ]


# TLS over what was found -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def files(authority, tmp_path):
    """The texts of a TLS server's files, and of its authority."""
    names = ("db.example", "xn--bcher-kva.example", "xn--strae-oqa.example")
    own = authority.issue(*names).write(tmp_path)
    return f"crt={own.crt_file}&key={own.key_file}", authority.write(tmp_path)


def port_below(srv) -> int:
    [where] = srv.endps
    assert isinstance(where, endp.TLS)
    assert isinstance(where.endp, endp.TCP)
    return where.endp.port


HOSTS: dict[str, resolver.Place] = {
    "db.example": ["127.0.0.2", "127.0.0.1"],
    "bücher.example": "127.0.0.1",
    "straße.example": "127.0.0.1",  # the older IDNA takes it for strasse.example
    "other.example": ["127.0.0.2", "127.0.0.1"],
}


async def test_certificate_is_checked_for_the_name_that_was_written(files):
    own, ca = files
    async with conduit.listen(f"tls://127.0.0.1:0?{own}", greet) as srv:
        port = port_below(srv)
        plain = await context(HOSTS)
        ours = await conduit.init(resolver=plain.resolver, tls_authenticator=conduit.trust.ca(ca))
        for target, ctx in (
            (f"https://db.example:{port}/path", ours),
            (f"https://Bücher.Example.:{port}", ours),
            (f"https://straße.example:{port}", ours),
            (f"tls://straße.example:{port}?ca={ca}", plain),
            (f"tls://DB.example.:{port}?ca={ca}", plain),
            (f"tls://other.example:{port}?ca={ca}&hostname=db.example", plain),
        ):
            async with conduit.connect(target, ctx=ctx) as (_, ic, _):
                assert await ic.read() == b"hello"
        for target, ctx in (
            (f"https://other.example:{port}", ours),
            (f"tls://other.example:{port}?ca={ca}", plain),
            (f"https://db.example:{port}", plain),
            (f"tls://db.example:{port}?ca={ca}&fingerprint={'11' * 32}", plain),
        ):
            # Not that another address had refused, although that is so.
            with pytest.raises(conduit.CertificateError, match=rf"^tls://127\.0\.0\.1:{port}\?"):
                await conduit.connect(target, ctx=ctx)


@pytest.fixture
def client_key(authority, tmp_path):
    return authority.issue("client", usages=["client"]).write(tmp_path, "client")


async def test_server_that_is_told_whom_to_trust_wants_a_certificate(files, client_key):
    own, ca = files
    async with conduit.listen(
        f"tls://127.0.0.1:0?{own}&ca={ca}", greet, on_exn=lambda error: None
    ) as srv:
        target = f"tls://127.0.0.1:{port_below(srv)}?hostname=db.example&ca={ca}"
        with pytest.raises(conduit.TLSError):
            async with conduit.connect(target) as (_, ic, _):
                await ic.read()
        ctx = await conduit.init(tls_own_key=client_key)
        async with conduit.connect(target, ctx=ctx) as (_, ic, _):
            assert await ic.read() == b"hello"


# What is told -------------------------------------------------------------------------------------


async def test_each_step_is_logged(caplog, socket_path):
    caplog.set_level(logging.DEBUG, "conduit")
    refused = f"tcp://127.0.0.1:{refused_port()}"
    ctx = await context({"db": [refused, f"unix:{socket_path}"]})
    async with conduit.listen(f"unix:{socket_path}", greet):
        async with conduit.connect("redis://db/s3cret", ctx=ctx, timeout=5) as (_, ic, _):
            await ic.read()
    with pytest.raises(conduit.ConnectError):
        await conduit.connect(refused)
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if not line.startswith(("serving", "stop"))] == [
        "connect target=redis://db timeout=5",
        "resolve uri=redis://db service=redis port=6379 tls=no rule=.",
        *(line for line in lines if line.startswith("resolved uri=redis://db to=")),
        *(line for line in lines if line.startswith(f"failed address={refused} error=")),
        f"connect target={refused} timeout=30",
        *(line for line in lines if line.startswith(f"gave up target={refused} error=")),
    ]
    assert sum(line.startswith(("resolved", "failed", "gave up")) for line in lines) == 3
    assert "s3cret" not in caplog.text


async def test_attempts_are_events_as_of_any_address():
    seen: list[events.Event] = []
    async with conduit.listen(server.TCP(0, ip="127.0.0.1"), greet) as srv:
        ctx = await context({"db": "127.0.0.1"})
        with events.subscribe(seen.append):
            async with conduit.connect(f"http://db:{port_of(srv)}", ctx=ctx) as (_, ic, _):
                await ic.read()
    assert events.Attempt(srv.endps[0]) in seen
    assert any(isinstance(event, events.Connected) for event in seen)
