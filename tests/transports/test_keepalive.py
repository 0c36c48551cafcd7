"""TCP keepalive, as the system has it in the end."""

from __future__ import annotations

import dataclasses
import math
import socket
import sys

import pytest

import conduit
from conduit import client, endp, server
from conduit.transports.keepalive import keep_alive
from conduit.transports.several import Several
from tests.endpoints import port_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the options are Linux's")


def settings(sock) -> tuple[bool, int, int, int]:
    """Whether it is on, the silence before it asks, the seconds between questions, how many."""
    return (
        bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(60, (True, 60, 15, 4)), (0.2, (True, 1, 1, 4)), (9.5, (True, 10, 3, 4)), (32767, None)],
)
def test_questions_take_about_as_long_as_the_silence(seconds, expected):
    with socket.socket() as sock:
        keep_alive(sock, seconds)
        assert settings(sock) == (expected or (True, 32767, 8192, 4))


async def test_it_is_set_on_both_sides_and_by_every_way_to_connect():
    found = []

    async def note(f, ic, oc):
        found.append(settings(oc.get_extra_info("socket")))

    ctx = await conduit.init(keepalive=20)
    bound = await conduit.init(keepalive=20, src=["127.0.0.1", "::1"])
    async with conduit.listen(server.TCP(0), note, ctx=ctx) as srv:
        port = port_of(srv)
        several = Several((endp.TCP("127.0.0.1", port), endp.TCP("::1", port)))
        for target, settled in (
            (client.TCP("127.0.0.1", port), ctx),
            (client.TCP("::1", port), bound),
            (client.Host("localhost", port), ctx),
            (several, ctx),
        ):
            async with conduit.connect(target, ctx=settled) as (_, ic, oc):  # type: ignore[arg-type]
                found.append(settings(oc.get_extra_info("socket")))
                await ic.read()
    assert found == [(True, 20, 5, 4)] * 8


async def test_inherited_sockets_have_it_too():
    found = []

    async def note(f, ic, oc):
        found.append(settings(oc.get_extra_info("socket")))

    ctx = await conduit.init(keepalive=20)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    async with conduit.listen(server.ListeningSocket(sock.detach()), note, ctx=ctx):
        async with conduit.connect(client.TCP("127.0.0.1", port)) as (_, ic, oc):
            assert settings(oc.get_extra_info("socket"))[0] is False  # nobody asked for it here
            await ic.read()
    assert found == [(True, 20, 5, 4)]


async def test_unix_sockets_have_none_and_do_not_mind(socket_path):
    async def nothing(f, ic, oc):
        pass

    ctx = await conduit.init(keepalive=20)
    async with conduit.listen(server.UnixDomainSocket(socket_path), nothing, ctx=ctx):
        async with conduit.connect(client.UnixDomainSocket(socket_path), ctx=ctx) as (_, ic, _):
            assert await ic.read() == b""


@pytest.mark.parametrize("wrong", [0, -1, -0.5, math.nan, math.inf, -math.inf, 32768])
async def test_times_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="keepalive is "):
        await conduit.init(keepalive=wrong)
    with pytest.raises(ValueError, match="keepalive is "):
        dataclasses.replace(conduit.default_ctx(), keepalive=wrong)


async def test_by_default_there_is_none():
    assert (await conduit.init()).keepalive is None
