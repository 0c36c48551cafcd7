"""A rule over sources of our own: what it asks, remembers, takes, and says when nobody answers."""

import asyncio
import logging
import sys

import pytest

import conduit
import conduit.discovery.rule
from conduit import ResolutionError, endp
from conduit.discovery import Address, Found, Rule
from conduit.resolver import Resolver

ONE, TWO = endp.TCP("192.0.2.1", 1), endp.TCP("192.0.2.2", 2)


class Source:
    """Says what it is told to, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def resolve(self, name):
        self.asked.append(name)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def found(*endps, ttl=60.0):
    return Found(tuple(Address(one) for one in endps), ttl)


def resolver(*sources, **options):
    return Resolver(rewrites=[("example", Rule(*sources, **options))])


async def test_name_is_that_of_dns_srv_or_as_told():
    source = Source(found(ONE))
    r = resolver(source)
    await r.resolve_uri("postgresql://db.example")
    await r.resolve_uri("tls://_x._tcp.example:1")
    await resolver(source, name=lambda service, uri: uri.host).resolve_uri("https://a.example")
    assert source.asked == ["_postgresql._tcp.db.example", "_x._tcp.example", "a.example"]


async def test_tls_checks_the_name_that_was_written():
    r = resolver(Source(found(endp.Host("other.example", 1), TWO)), pick="first")
    assert await r.resolve_all("https://db.example") == [
        endp.TLS("db.example", endp.Host("other.example", 1)),
        endp.TLS("db.example", TWO),
    ]


async def test_answer_is_remembered_for_its_time_and_no_longer():
    source = Source(found(ONE))
    r = resolver(source)
    for _ in range(3):
        assert await r.resolve_all("http://a.example") == [ONE]
    assert len(source.asked) == 1
    source = Source(found(ONE, ttl=0), found(TWO, ttl=0))
    r = resolver(source)
    assert await r.resolve_all("http://a.example") == [ONE]
    assert await r.resolve_all("http://a.example") == [TWO]


async def test_that_there_is_none_is_remembered_as_well():
    source = Source(Found((), 60, "DNS has no such SRV record"))
    r = resolver(source)
    for _ in range(2):
        [unknown] = await r.resolve_all("http://a.example")
        assert unknown == endp.Unknown("'_http._tcp.a.example': DNS has no such SRV record")
    assert len(source.asked) == 1


async def test_memory_is_bounded():
    source = Source(found(ONE))
    r = resolver(source, most=2)
    for host in ("a", "b", "c", "c", "b", "a"):
        await r.resolve_all(f"http://{host}.example")
    assert [name[11:12] for name in source.asked] == ["a", "b", "c", "a"]


async def test_last_list_is_kept_while_nobody_answers(caplog):
    source = Source(found(ONE, ttl=0), ResolutionError("etcd is gone"))
    r = resolver(source)
    with caplog.at_level(logging.WARNING, "conduit"):
        for _ in range(3):
            assert await r.resolve_all("http://a.example") == [ONE]
    # Once, not each time.
    assert [one.getMessage() for one in caplog.records] == [
        (
            "'_http._tcp.a.example' cannot be looked up: etcd is gone: "
            "going on with the 1 addresses known before"
        )
    ]
    # Nor is it asked each time, since its silence takes a while.
    assert len(source.asked) == 2
    r = resolver(Source(found(ONE, ttl=0), ResolutionError("etcd is gone")), stale=0)
    await r.resolve_all("http://a.example")
    [unknown] = await r.resolve_all("http://a.example")
    assert isinstance(unknown, endp.Unknown)


async def test_sources_are_asked_until_one_knows():
    lost, none, knows = Source(OSError("lost")), Source(Found((), 1)), Source(found(TWO))
    assert await resolver(lost, none, knows).resolve_all("http://a.example") == [TWO]
    # One that could not be asked may have known.
    [unknown] = await resolver(none, lost).resolve_all("http://a.example")
    assert "cannot be looked up: lost" in unknown.reason


@pytest.mark.parametrize(
    "where",
    [
        endp.UnixDomainSocket("/run/docker.sock"),
        endp.Vsock(2, 1),
        endp.TLS("evil.example", ONE),
        endp.Unknown("x"),
    ],
)
async def test_only_the_network_is_taken(where, caplog):
    assert await resolver(Source(found(where, ONE))).resolve_all("http://a.example") == [ONE]
    assert "not taken from discovery" in caplog.text
    [unknown] = await resolver(Source(found(where))).resolve_all("http://a.example")
    assert isinstance(unknown, endp.Unknown)


async def test_next_address_is_tried_when_one_fails():
    async def greet(f, ic, oc):
        await oc.write(b"hello\n")

    async with conduit.listen("tcp://127.0.0.1:0", greet) as gone:
        dead = gone.endps[0]
    async with conduit.listen("tcp://127.0.0.1:0", greet) as srv:
        rule = Rule(Source(found(dead, srv.endps[0])), pick="first")
        ctx = await conduit.init(resolver=Resolver(rewrites=[("example", rule)]))
        async with conduit.connect("http://a.example", ctx=ctx) as (_, ic, _):
            assert await ic.readline() == b"hello\n"


def test_what_is_no_source():
    with pytest.raises(TypeError, match=r"has resolve\(name\)"):
        Rule(object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="one source or more"):
        Rule()
    with pytest.raises(ValueError, match="pick is 'best'"):
        Rule(Source(), pick="best")  # type: ignore[arg-type]


async def test_many_who_want_to_know_ask_once_and_silence_holds_up_nobody_twice(
    monkeypatch, caplog
):
    monkeypatch.setattr(conduit.discovery.rule, "_PATIENCE", 0.02)
    silent, answered = asyncio.Event(), asyncio.Event()

    class Slow(Source):
        async def resolve(self, name):
            answer = await super().resolve(name)
            if len(self.asked) > 1:
                await silent.wait()
                answered.set()
            return answer

    source = Slow(found(ONE, ttl=0), found(TWO))
    r = resolver(source)
    uri = "http://a.example"
    assert await asyncio.gather(*(r.resolve_all(uri) for _ in range(9))) == [[ONE]] * 9
    assert len(source.asked) == 1
    # What was known is used; it is asked on, without anybody who waits.
    for _ in range(3):
        assert await r.resolve_all(uri) == [ONE]
    assert len(source.asked) == 2
    assert "no answer within 0.02 s: going on with the 1 addresses known before" in caplog.text
    silent.set()
    await answered.wait()
    assert await r.resolve_all(uri) == [TWO]
    assert len(source.asked) == 2


# Names of DNS SRV in what is connected to ---------------------------------------------------------

# The module; the package has a function of the same name.
SYSTEM = sys.modules["conduit.resolver.system"]
OK = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize("given", [True, False], ids=["resolver", "system"])
async def test_second_proxy_of_a_name_is_taken_where_the_first_fails(given, monkeypatch):
    async def proxy(f, ic, oc):
        await ic.readuntil(b"\r\n\r\n")
        await oc.write(OK + b"hello")

    async with conduit.listen("tcp://127.0.0.1:0", proxy) as gone:
        pass
    async with conduit.listen("tcp://127.0.0.1:0", proxy) as srv:
        source = Source(found(gone.endps[0], srv.endps[0]))
        rule = Rule(source, pick="first")
        # Without a resolver in the context it is the system that is asked for SRV records.
        monkeypatch.setattr(SYSTEM, "_srv_rule", lambda: rule)
        ctx = await conduit.init(resolver=resolver(source, pick="first") if given else None)
        uri = "connect+tcp://_proxy._tcp.example?to=db.test:1"
        async with conduit.connect(uri, ctx=ctx) as (f, ic, _):
            assert await ic.read() == b"hello"
            assert conduit.endp_of_flow(f) == endp.Host("db.test", 1)
    assert source.asked == ["_proxy._tcp.example"]


async def test_system_asks_for_srv_where_the_port_is_missing(monkeypatch):
    source = Source(found(ONE, TWO))
    monkeypatch.setattr(SYSTEM, "_srv_rule", lambda: Rule(source, pick="first"))
    system = conduit.resolver.system()
    for uri in ("tls://_pg._tcp.DB.example", "https://_pg._tcp.db.example"):
        assert await system.resolve_all(uri) == [
            endp.TLS("db.example", ONE),
            endp.TLS("db.example", TWO),
        ]
    # With a port it is a host like any other, which is not there.
    [unknown] = await system.resolve_all("tcp://_pg._tcp.invalid:1")
    assert isinstance(unknown, endp.Unknown)
    assert source.asked == ["_pg._tcp.db.example"] * 2
