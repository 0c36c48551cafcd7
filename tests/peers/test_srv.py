"""SRV records of a real name server: priority, weight, time to live, and targets that fail."""

import contextlib

import pytest

import conduit
from conduit import ResolutionError, endp
from conduit.discovery import SRV, Rule
from conduit.resolver import Resolver
from tests.endpoints import port_of
from tests.peers.programs import port_of_its_own
from tests.peers.talking import Talking
from tests.peers.tls_server import serving


@contextlib.asynccontextmanager
async def dnsmasq(program, *records):
    """A name server for `.test` with these records: its port."""
    with port_of_its_own() as port:
        command = [program("dnsmasq"), "--keep-in-foreground", "--log-facility=-"]
        command += ["--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-hosts"]
        command += ["--no-resolv", "--bind-interfaces", "--listen-address=127.0.0.1"]
        command += [f"--port={port}", "--local=/test/", *records]
        async with Talking(*command, says="started"):
            yield port


def srv(service, target, port, priority=0, weight=1):
    return f"--srv-host=_{service}._tcp.db.test,{target},{port},{priority},{weight}"


async def test_records_become_addresses_in_order(program):
    records = [
        srv("pg", "b.test", 2, priority=5),
        srv("pg", "a.test", 1),
        srv("none", "", 0),
        "--host-record=a.test,192.0.2.1,2001:db8::1,300",
        "--host-record=b.test,192.0.2.2,30",
        "--local-ttl=60",
    ]
    async with dnsmasq(program, *records) as port:
        source = SRV(["127.0.0.1"], port=port)
        found = await source.resolve("_pg._tcp.db.test")
        assert {one.endp: one.priority for one in found.addresses} == {
            endp.TCP("2001:db8::1", 1): 0,
            endp.TCP("192.0.2.1", 1): 0,
            endp.TCP("192.0.2.2", 2): 5,
        }
        # The shortest of all: of the records and of the addresses.
        assert found.ttl == 30
        resolver = Resolver(rewrites=[("test", Rule(source))])
        for uri in ("tls://_pg._tcp.db.test", "https://_pg._tcp.db.test"):
            assert (await resolver.resolve_all(uri))[-1] == endp.TLS(
                "db.test", endp.TCP("192.0.2.2", 2)
            )
        for name in ("_pg._tcp.missing.test", "_none._tcp.db.test", "a.test"):
            nothing = await source.resolve(name)
            assert nothing.addresses == ()
            assert 0 < nothing.ttl <= 60
            assert nothing.why.startswith("DNS ")
    # Nobody listens there any more.
    with pytest.raises(ResolutionError, match="DNS cannot be asked for SRV of '_pg"):
        await SRV(["127.0.0.1"], port=port, timeout=0.3).resolve("_pg._tcp.db.test")


async def test_next_target_is_tried_and_tls_checks_the_name_that_was_written(program, papers):
    own = await papers.issue("db.test")
    with port_of_its_own() as dead:
        async with serving(papers, certificates=[own]) as good:
            records = [
                srv("https", "first.test", dead),
                srv("https", "second.test", good.port, priority=1),
                "--host-record=first.test,127.0.0.1",
                "--host-record=second.test,127.0.0.1",
            ]
            async with dnsmasq(program, *records) as port:
                rule = Rule(SRV(["127.0.0.1"], port=port))
                resolver = Resolver(rewrites=[("test", rule)])
                ctx = await papers.ctx(resolver=resolver)
                # Of a name of DNS SRV it is the domain, and neither service nor target.
                for uri, origin in (
                    ("https://db.test", f"tls://127.0.0.1:{good.port}?hostname=db.test"),
                    ("tls://_https._tcp.db.test", "tls://_https._tcp.db.test"),
                ):
                    async with conduit.connect(uri, ctx=ctx) as (f, ic, oc):
                        assert oc.get_extra_info("sni") == "db.test"
                        await oc.write(b"hello\n")
                        assert await ic.readline() == b"hello\n"
                        assert str(conduit.endp_of_flow(f)) == origin


async def test_servers_share_by_weight(program):
    async def say(f, ic, oc):
        await oc.write(b"x")

    async with contextlib.AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(conduit.listen("tcp://127.0.0.1:0", say))
            for _ in range(2)
        ]
        ports = [port_of(one) for one in servers]
        records = [srv("x", "a.test", ports[0], weight=90), srv("x", "a.test", ports[1], weight=10)]
        records += ["--host-record=a.test,127.0.0.1", "--local-ttl=60"]
        port = await stack.enter_async_context(dnsmasq(program, *records))
        rule = Rule(SRV(["127.0.0.1"], port=port))
        resolver = Resolver(rewrites=[("test", rule)])
        uri = "tcp://_x._tcp.db.test:1"
        firsts = [await resolver.resolve_uri(uri) for _ in range(150)]
        assert 110 < firsts.count(endp.TCP("127.0.0.1", ports[0])) < 150
