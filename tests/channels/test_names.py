"""What `get_extra_info` tells of the two ends of a flow."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import pytest

import conduit
from conduit.channels.names import unmapped


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("127.0.0.1", 80), ("127.0.0.1", 80)),
        (("::ffff:127.0.0.1", 80, 0, 0), ("127.0.0.1", 80)),
        (("::ffff:192.0.2.7", 80, 5, 3), ("192.0.2.7", 80)),
        (("::1", 80, 0, 0), ("::1", 80, 0, 0)),
        (("fe80::1", 80, 0, 3), ("fe80::1", 80, 0, 3)),
        (("::ffff:1:2", 80, 0, 0), ("::ffff:1:2", 80, 0, 0)),
        (("::127.0.0.1", 80, 0, 0), ("::127.0.0.1", 80, 0, 0)),
        ((2, 1024), (2, 1024)),  # a vsock address
        ("::ffff:1.2", "::ffff:1.2"),  # a path
        ("", ""),
    ],
)
def test_an_ipv4_address_mapped_into_ipv6_is_an_ipv4_address(address, expected):
    assert unmapped(address) == expected


async def both_ends(mode, target_of):
    """What the client and the server are told by each other, as two dicts."""
    names = ("peername", "sockname", "peercred", "nothing")
    told = {}

    async def handler(f, ic, oc):
        told["server"] = {name: oc.get_extra_info(name, "unknown") for name in names}
        told["server"]["family"] = oc.get_extra_info("socket").family
        oc.write(b"done")

    async with conduit.listen(mode, handler) as srv:
        async with conduit.connect(target_of(srv.endps[0])) as (_, ic, oc):
            assert await ic.read() == b"done"
            told["client"] = {name: oc.get_extra_info(name, "unknown") for name in names}
            told["client"]["family"] = oc.get_extra_info("socket").family
    return told["client"], told["server"]


def same(endp):
    return endp


async def test_tcp():
    client, server = await both_ends(conduit.server.TCP(0, ip="127.0.0.1"), same)
    assert client["peername"] == server["sockname"]
    assert client["sockname"] == server["peername"]
    assert client["peername"][0] == client["sockname"][0] == "127.0.0.1"
    assert len(client["peername"]) == 2
    assert client["family"] == server["family"] == socket.AF_INET
    assert client["peercred"] == server["peercred"] == "unknown"
    assert client["nothing"] == server["nothing"] == "unknown"


async def test_an_ipv4_client_of_a_dual_stack_server():
    client, server = await both_ends(
        conduit.server.TCP(0), lambda endp: conduit.client.TCP("127.0.0.1", endp.port)
    )
    assert server["family"] == socket.AF_INET6
    assert server["peername"] == client["sockname"]
    assert server["sockname"] == client["peername"]
    assert server["peername"][0] == "127.0.0.1"


async def test_an_ipv6_client():
    client, server = await both_ends(conduit.server.TCP(0, ip="::1"), same)
    assert server["peername"] == client["sockname"]
    assert server["peername"][0] == "::1"
    assert len(server["peername"]) == 4


async def test_unix(socket_path):
    client, server = await both_ends(conduit.server.UnixDomainSocket(socket_path), same)
    assert client["peername"] == socket_path
    assert server["sockname"] == socket_path
    assert client["family"] == server["family"] == socket.AF_UNIX
    ourselves = (os.getpid(), os.getuid(), os.getgid())
    assert client["peercred"] == server["peercred"] == ourselves
    assert server["peercred"].pid == os.getpid()
    assert server["peercred"].uid == os.getuid()
    assert server["peercred"].gid == os.getgid()


CLIENT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    sock.recv(100)
"""


async def test_the_credentials_are_those_of_the_other_process(socket_path):
    told = asyncio.get_running_loop().create_future()

    async def handler(f, ic, oc):
        told.set_result(oc.get_extra_info("peercred"))
        oc.write(b"bye")

    async with conduit.listen(conduit.server.UnixDomainSocket(socket_path), handler):
        process = subprocess.Popen([sys.executable, "-S", "-c", CLIENT, socket_path])
        credentials = await asyncio.wait_for(told, 20)
    assert await asyncio.to_thread(process.wait, 20) == 0
    assert credentials == (process.pid, os.getuid(), os.getgid())


@pytest.mark.parametrize("name", ["peername", "sockname", "peercred", "socket", "nothing"])
async def test_can_be_asked_of_a_flow_that_is_closed(socket_flow, name):
    before = socket_flow.oc.get_extra_info(name, "unknown")
    socket_flow.peer.close()
    await socket_flow.oc.close()
    # What the loop still knows, and otherwise what was given.
    after = socket_flow.oc.get_extra_info(name, "unknown")
    assert after in (before, "unknown")
    if name == "peercred":
        assert after == "unknown"


@pytest.mark.parametrize("name", ["peername", "sockname", "peercred", "socket", "nothing"])
async def test_what_was_never_asked_is_the_default_when_it_is_too_late(socket_flow, name):
    socket_flow.peer.close()
    await socket_flow.oc.close()
    assert socket_flow.oc.get_extra_info(name, "unknown") is not None


async def test_what_is_not_known_is_none_without_a_default(flow):
    for name in ("peername", "sockname", "socket", "peercred", "sslcontext"):
        assert flow.oc.get_extra_info(name) is None
        assert flow.oc.get_extra_info(name, "unknown") == "unknown"
