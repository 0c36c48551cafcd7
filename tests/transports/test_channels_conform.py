"""The channels of every transport keep every promise of the channel checker."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import conduit
from conduit.channels import ending
from conduit.testing import Faults, Faulty, Memory, add_faults, check_channels, memory_pair

# Odd sizes, so that nothing comes in the pieces that it was written in.
PIECES = Faults(chunk=3989)
LATE = Faults(delay=0.0005, chunk=10007)


@pytest.fixture
def check(monkeypatch):
    """Run the checker: all of it, but with less patience where a whole second would be waited."""
    slow = "close_ends_although_the_peer_stays"

    async def run(make):
        await check_channels(make, skip=[slow])
        # Not for the others: there a peer that is only slow must not be given up.
        with monkeypatch.context() as patches:
            patches.setattr(ending, "LINGER_SECONDS", 0.02)
            await check_channels(make, only=[slow])

    return run


@asynccontextmanager
async def serving(mode: Any, target: Callable[[Any], Any] = lambda endp: endp):
    """What `check_channels` asks for its pairs: a client of a server of `mode`, and its handler.

    target: where to connect, made of the server's endpoint.
    """
    arrived: asyncio.Queue[Any] = asyncio.Queue()

    async def handler(f, ic, oc):
        await arrived.put((f, ic, oc))
        await oc.wait_closed()

    async def make():
        return await conduit.connect(address), await arrived.get()

    async with conduit.listen(mode, handler) as srv:
        [endp] = srv.endps
        address = target(endp)
        yield make


async def test_tcp_over_ipv4(check):
    async with serving(conduit.server.TCP(0, ip="127.0.0.1")) as make:
        await check(make)


async def test_tcp_over_ipv6(check):
    async with serving(conduit.server.TCP(0, ip="::1")) as make:
        await check(make)


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_tcp_to_a_server_of_both_families(check, ip):
    def target(endp):
        assert endp.ip == ipaddress.ip_address("::")
        return conduit.client.TCP(ip, endp.port)

    async with serving(conduit.server.TCP(0), target) as make:
        await check(make)


async def test_tcp_by_name(check):
    def target(endp):
        return conduit.client.Host("localhost", endp.port)

    async with serving(conduit.server.TCP(0, ip="127.0.0.1"), target) as make:
        await check(make)


async def test_unix(check, socket_path):
    async with serving(conduit.server.UnixDomainSocket(socket_path)) as make:
        await check(make)


async def test_abstract_unix(check, socket_path):
    async with serving(conduit.server.UnixDomainSocket(f"@{socket_path}")) as make:
        await check(make)


async def test_inherited_descriptor(check):
    descriptor = socket.create_server(("127.0.0.1", 0)).detach()
    async with serving(conduit.server.ListeningSocket(descriptor)) as make:
        await check(make)


async def test_socket_object(check, socket_path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(socket_path)
    async with serving(conduit.server.TCP(conduit.server.Socket(sock))) as make:
        await check(make)


async def test_memory(check):
    async with serving(Memory("a name")) as make:
        await check(make)


async def test_memory_pair(check):
    async def make():
        return memory_pair()

    await check(make)


async def test_memory_pair_in_pieces(check):
    async def make():
        left, right = memory_pair()
        add_faults(left, incoming=PIECES, outgoing=PIECES)
        add_faults(right, incoming=LATE)
        return left, right

    await check(make)


async def test_faulty_memory(check):
    def target(endp):
        return Faulty(endp, incoming=LATE, outgoing=LATE)

    async with serving(Memory("a name"), target) as make:
        await check(make)


async def test_faulty_tcp(check):
    def target(endp):
        return Faulty(endp, incoming=PIECES, outgoing=PIECES)

    mode = Faulty(conduit.server.TCP(0, ip="127.0.0.1"), incoming=PIECES, outgoing=LATE)
    async with serving(mode, target) as make:
        await check(make)


async def test_faulty_unix(check, socket_path):
    mode = Faulty(conduit.server.UnixDomainSocket(socket_path), incoming=PIECES, outgoing=PIECES)
    async with serving(mode) as make:
        await check(make)
