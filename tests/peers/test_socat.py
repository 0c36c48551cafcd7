"""socat as client and as server, over TCP, Unix paths and abstract names."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import pytest

import conduit
from conduit import client, server
from tests.endpoints import port_of
from tests.peers.handlers import digest, digest_reply, echo, exchange, noise
from tests.peers.programs import Listening, run
from tests.peers.tls_server import on_both_loops

pytestmark = on_both_loops


class Way(NamedTuple):
    """A transport, as we and as socat write its addresses. `{}` stands for a path or a port."""

    mode: Callable[[str], server.Mode]
    target: Callable[[str, int], client.Client]
    socat_connects: str
    socat_listens: str

    @property
    def is_tcp(self) -> bool:
        return self.socat_connects.startswith("TCP")


WAYS = {
    "tcp4": Way(
        lambda path: server.TCP(0, ip="127.0.0.1"),
        lambda path, port: client.TCP("127.0.0.1", port),
        "TCP4:127.0.0.1:{}",
        "TCP4-LISTEN:0,bind=127.0.0.1",
    ),
    "tcp6": Way(
        lambda path: server.TCP(0, ip="::1"),
        lambda path, port: client.TCP("::1", port),
        "TCP6:[::1]:{}",
        "TCP6-LISTEN:0,bind=[::1]",
    ),
    "name": Way(
        lambda path: server.TCP(0),
        lambda path, port: client.Host("localhost", port),
        "TCP:localhost:{}",
        "TCP6-LISTEN:0,bind=[::],ipv6only=0",
    ),
    "unix": Way(
        lambda path: server.UnixDomainSocket(path),
        lambda path, port: client.UnixDomainSocket(path),
        "UNIX-CONNECT:{}",
        "UNIX-LISTEN:{}",
    ),
    "abstract": Way(
        lambda path: server.UnixDomainSocket(f"@{path}"),
        lambda path, port: client.UnixDomainSocket(f"@{path}"),
        "ABSTRACT-CONNECT:{}",
        "ABSTRACT-LISTEN:{}",
    ),
}


@pytest.fixture(params=WAYS)
def way(request) -> Way:
    return WAYS[request.param]


def address_of(srv: conduit.Server, way: Way, path: str) -> str:
    return way.socat_connects.format(port_of(srv) if way.is_tcp else path)


async def test_half_close(way, program, socket_path):
    """The whole request, then its end, then the whole reply: socat -t waits for that."""
    socat, request = program("socat"), noise(3_000_000)
    async with conduit.listen(way.mode(socket_path), digest) as srv:
        reply = await run(socat, "-t", "20", "-", address_of(srv, way, socket_path), stdin=request)
    assert reply == digest_reply(request)


async def test_echo_both_ways_at_once(way, program, socket_path):
    socat, data = program("socat"), noise(5_000_000)
    async with conduit.listen(way.mode(socket_path), echo) as srv:
        back = await run(socat, "-t", "20", "-", address_of(srv, way, socket_path), stdin=data)
    assert back == data


async def test_reply_to_a_client_that_only_listens(way, program, socket_path):
    socat, data = program("socat"), noise(2_000_000)

    async def tell(f, ic, oc):
        await oc.write(data)

    async with conduit.listen(way.mode(socket_path), tell) as srv:
        assert await run(socat, "-u", address_of(srv, way, socket_path), "-") == data


async def test_request_that_nobody_reads_does_not_destroy_the_reply(way, program, socket_path):
    """The handler returns while most of the request is unread. A plain close would reset."""
    socat, reply = program("socat"), noise(1_000_000)

    async def hasty(f, ic, oc):
        assert await ic.readexactly(10)
        oc.write(reply)

    async with conduit.listen(way.mode(socket_path), hasty) as srv:
        request = noise(300_000)
        got = await run(socat, "-t", "20", "-", address_of(srv, way, socket_path), stdin=request)
    assert got == reply


def socat_server(program, way: Way, path: str, *action: str) -> Listening:
    listens = way.socat_listens.format(path)
    return Listening(
        program("socat"), "-d", "-d", "-t", "20", listens, *action, says="listening on"
    )


async def test_socat_echoes(way, program, socket_path):
    data = noise(5_000_000)
    # Not its own PIPE: socat can block itself by writing to that.
    async with socat_server(program, way, socket_path, "EXEC:cat") as socat:
        target = way.target(socket_path, socat.port if way.is_tcp else 0)
        async with conduit.connect(target) as (_, ic, oc):
            assert await exchange(ic, oc, data) == data


async def test_socat_replies_after_our_end(way, program, socket_path):
    """sha256sum says nothing before the end of its input, and we must still hear it then."""
    data = noise(3_000_000)
    async with socat_server(program, way, socket_path, "EXEC:sha256sum") as socat:
        target = way.target(socket_path, socat.port if way.is_tcp else 0)
        async with conduit.connect(target) as (_, ic, oc):
            reply = await exchange(ic, oc, data)
    assert reply == hashlib.sha256(data).hexdigest().encode() + b"  -\n"


async def test_socat_relays_between_two_of_ours(program, socket_path):
    """From our TCP client through socat to our Unix server."""
    data = noise(2_000_000)
    async with conduit.listen(server.UnixDomainSocket(socket_path), echo):
        to = f"UNIX-CONNECT:{socket_path}"
        async with socat_server(program, WAYS["tcp4"], socket_path, to) as socat:
            async with conduit.connect(client.TCP("127.0.0.1", socat.port)) as (_, ic, oc):
                assert await exchange(ic, oc, data) == data
