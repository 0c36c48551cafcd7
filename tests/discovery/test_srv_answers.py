"""What name servers may answer that mean no good, or have no idea: nothing but addresses comes."""

import asyncio
import contextlib

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import conduit
from conduit import ResolutionError, endp
from conduit.discovery import SRV, Rule
from conduit.resolver import Resolver

NAME = "_x._tcp.svc.example"


class Server(asyncio.DatagramProtocol):
    """records: by name and type, each a time to live and the data. change: what is sent instead."""

    def __init__(self, records, change=lambda wire: wire):
        self.records = records
        self.change = change
        self.asked = []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        query = dns.message.from_wire(data)
        [question] = query.question
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((str(question.name), kind))
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        for name, of, ttl, *values in self.records:
            if f"{name}." == str(question.name).lower() and of in (kind, "CNAME"):
                answer.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", of, *values))
        self.transport.sendto(self.change(answer.to_wire(max_size=65000)), peer)


@contextlib.asynccontextmanager
async def asking(*records, change=lambda wire: wire, timeout=2.0):
    """A source that asks a server with these records, and the server."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: Server(records, change), local_addr=("127.0.0.1", 0)
    )
    try:
        port = transport.get_extra_info("sockname")[1]
        yield SRV(["127.0.0.1"], port=port, timeout=timeout), server
    finally:
        transport.close()


async def endps(source):
    return [str(one.endp) for one in (await source.resolve(NAME)).addresses]


async def test_root_and_port_0_are_nowhere():
    records = NAME, "SRV", 60, "0 0 80 .", "0 0 0 a.example.", "1 0 81 b.example."
    address = "b.example", "A", 60, "192.0.2.2"
    async with asking(records, address) as (source, server):
        assert await endps(source) == ["tcp://192.0.2.2:81"]
        assert ("a.example.", "A") not in server.asked
    async with asking((NAME, "SRV", 60, "0 0 0 a.example.")) as (source, _):
        found = await source.resolve(NAME)
        assert (found.addresses, found.why) == ((), "DNS says that there is no such service")


async def test_huge_sets_are_cut_at_the_least_important():
    # As many as fit into one packet.
    many = [f"{at} 0 {at + 1} t{at % 3}.example." for at in reversed(range(900))]
    ips = [f"192.0.{at // 250}.{at % 250}" for at in range(900)]
    records = [(NAME, "SRV", 60, *many), ("t0.example", "A", 60, *ips)]
    async with asking(*records) as (source, server):
        found = await source.resolve(NAME)
        assert {one.priority for one in found.addresses} == set(range(64))
        assert len(found.addresses) <= 64 * 16
        assert len(server.asked) == 1 + 2 * 3
        rule = Rule(source)
        all_ = await Resolver(rewrites=[("example", rule)]).resolve_all(f"tcp://{NAME}")
        assert len(all_) == 256


async def test_names_that_go_round_in_a_circle():
    loop = [("a.example", "CNAME", 60, "b.example."), ("b.example", "CNAME", 60, "a.example.")]
    async with asking((NAME, "SRV", 60, "0 0 80 a.example."), *loop) as (source, _):
        # It is left to the system, which will not find it either.
        assert await endps(source) == ["tcp://a.example:80"]
    async with asking((NAME, "CNAME", 60, f"{NAME}."), timeout=0.3) as (source, _):
        with contextlib.suppress(ResolutionError):
            assert await endps(source) == []


async def test_targets_that_no_host_is_called():
    odd = [
        r"\195\188.example.",
        r"a\.b\@c.example.",
        r"\000.example.",
        "a/b.example.",
        "*.example.",
    ]
    records = NAME, "SRV", 60, *[f"0 0 80 {name}" for name in odd], "0 0 81 good.example."
    async with asking(records, ("good.example", "A", 60, "192.0.2.1")) as (source, _):
        found = await endps(source)
        assert "tcp://192.0.2.1:81" in found
        rule = Rule(source)
        ctx = await conduit.init(resolver=Resolver(rewrites=[("example", rule)]))
        with pytest.raises(conduit.ConduitError):
            await conduit.connect("tcp://_y._tcp.svc.example", ctx=ctx, timeout=1)


async def test_time_to_live_is_bounded_both_ways():
    for ttl, kept in ((0, 2), (2**31 - 1, 1)):
        records = (NAME, "SRV", ttl, "0 0 80 a.example."), ("a.example", "A", ttl, "192.0.2.1")
        async with asking(*records) as (source, server):
            r = Resolver(rewrites=[("example", Rule(source))])
            for _ in range(2):
                assert await r.resolve_all(f"tcp://{NAME}") == [endp.TCP("192.0.2.1", 80)]
            assert server.asked.count((f"{NAME}.", "SRV")) == kept


@settings(max_examples=25)
@given(st.data())
def test_whatever_comes_over_the_wire(data):
    def change(wire):
        # The identifier stays, else it would be no answer at all.
        body = bytearray(wire)
        for _ in range(data.draw(st.integers(1, 6))):
            body[data.draw(st.integers(2, len(body) - 1))] = data.draw(st.integers(0, 255))
        return bytes(body[: data.draw(st.integers(12, len(body)))])

    async def ask():
        records = [
            (NAME, "SRV", 60, "0 0 80 a.example.", "1 5 81 b.example."),
            ("a.example", "A", 60, "192.0.2.1"),
        ]
        async with asking(*records, change=change, timeout=0.02) as (source, _):
            try:
                found = await source.resolve(NAME)
            except ResolutionError:
                return
            assert all(isinstance(one.endp, endp.TCP | endp.Host) for one in found.addresses)
            assert found.ttl >= 0

    asyncio.run(ask())
