"""Several endpoints of one peer: which are raced, which are tried in turn, and what is told."""

from __future__ import annotations

import asyncio
import gc
import socket
import time

import pytest

import conduit
from conduit import _lookup, client, endp, events, flow, server
from conduit.transports.several import Several
from tests.endpoints import port_of
from tests.event_log import EventLog
from tests.full_queue import full_tcp_queue


async def greet(f, ic, oc):
    oc.write(b"hello")


def several(*endps: endp.Endp) -> client.Client:
    """As an address to connect to, which it is, though it is no public one."""
    return Several(endps)  # type: ignore[return-value]


def refused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def resolve(monkeypatch, **names: list[str]) -> None:
    """Let names have these addresses, those of "silent" none, and others be unknown."""

    async def getaddrinfo(host, port, **options):
        if host == "silent":
            await asyncio.get_running_loop().create_future()
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, 0, 0, "", (address, port)) for address in names[host]]

    monkeypatch.setattr(_lookup, "getaddrinfo", getaddrinfo)


async def attempts_of(target: client.Client, **options) -> list[tuple[object, str]]:
    with pytest.raises(conduit.ConnectError) as caught:
        await conduit.connect(target, **options)
    return [(address, type(error).__name__) for address, error in caught.value.attempts]


# What answers -------------------------------------------------------------------------------------


async def test_flow_comes_from_the_endpoint_that_answered(monkeypatch):
    resolve(monkeypatch, here=["127.77.0.9", "127.0.0.1"])
    async with conduit.listen(server.TCP(0, ip="127.0.0.1"), greet) as srv:
        port = port_of(srv)
        right = endp.TCP("127.0.0.1", port)
        for endps, origin in (
            ((endp.TCP("127.77.0.1", port), right), right),
            ((endp.UnixDomainSocket("/nobody"), endp.Host("here", port)), endp.Host("here", port)),
            ((endp.Host("unknown", port), endp.UnixDomainSocket("/nobody"), right), right),
            ((right,), right),
        ):
            async with conduit.connect(several(*endps)) as (f, ic, _):
                assert isinstance(f, flow.TCP)
                assert (str(f.ip), f.port) == ("127.0.0.1", port)
                assert conduit.endp_of_flow(f) == origin
                assert await ic.read() == b"hello"


async def test_endpoints_of_tcp_are_raced_families_in_turn():
    with full_tcp_queue("::1") as (_, port), EventLog() as log:
        async with conduit.listen(server.TCP(port, ip="127.0.0.1"), greet):
            started = time.monotonic()
            v6, v4 = endp.TCP("::1", port), endp.TCP("127.0.0.1", port)
            async with conduit.connect(several(v6, endp.TCP("::2", port), v4)) as (f, _, _):
                assert conduit.endp_of_flow(f) == v4
            assert 0.2 < time.monotonic() - started < 5
    assert [event.address for event in log.of(events.Attempt)] == [v6, v4]


async def test_name_that_is_not_resolved_holds_up_nobody(monkeypatch):
    resolve(monkeypatch, here=["127.0.0.1"])
    async with conduit.listen(server.TCP(0, ip="127.0.0.1"), greet) as srv:
        names = endp.Host("silent", 9), endp.Host("here", port_of(srv))
        async with conduit.connect(several(*names), timeout=10) as (f, _, _):
            assert conduit.endp_of_flow(f) == names[1]


async def test_other_kinds_are_tried_in_their_order(socket_path):
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet):
        with EventLog() as log:
            unix, tcp = endp.UnixDomainSocket(socket_path), endp.TCP("127.0.0.1", refused_port())
            async with conduit.connect(several(tcp, unix)) as (f, _, _):
                assert conduit.endp_of_flow(f) == unix
            async with conduit.connect(several(unix, tcp)):
                pass
    assert [event.address for event in log.of(events.Attempt)] == [tcp, unix, unix]


# What fails ---------------------------------------------------------------------------------------


async def test_every_failure_is_told_in_order(monkeypatch):
    resolve(monkeypatch, here=["127.77.0.1", "127.77.0.2"], nowhere=[])
    port = refused_port()
    hosts = [endp.Host(name, port) for name in ("here", "unknown", "nowhere")]
    unix, v4 = endp.UnixDomainSocket("/nobody"), endp.TCP("127.77.0.3", port)
    unknown, vchan = endp.Unknown("no such service"), endp.VchanDirect(1, "p")
    assert await attempts_of(several(*hosts, unix, unknown, v4, vchan)) == [
        (endp.TCP("127.77.0.1", port), "ConnectionRefusedError"),
        (endp.TCP("127.77.0.2", port), "ConnectionRefusedError"),
        (hosts[1], "ResolutionError"),
        (hosts[2], "ResolutionError"),
        (unix, "FileNotFoundError"),
        (unknown, "ResolutionError"),
        (v4, "ConnectionRefusedError"),
        (vchan, "UnsupportedTransport"),
    ]


async def test_deadline_tells_who_gave_no_answer(monkeypatch):
    with full_tcp_queue("127.0.0.1") as (_, port):
        resolve(monkeypatch, here=["127.77.0.1", "127.0.0.1"])
        names = [endp.Host("silent", port), endp.Host("here", port)]
        ends: list[endp.Endp] = [endp.UnixDomainSocket("/nobody"), *names]
        ends.append(endp.TCP("127.77.0.2", port))
        assert await attempts_of(several(*ends), timeout=1.0) == [
            (ends[0], "FileNotFoundError"),
            (names[0], "TimeoutError"),
            (endp.TCP("127.77.0.1", port), "ConnectionRefusedError"),
            (endp.TCP("127.0.0.1", port), "TimeoutError"),
            (ends[3], "ConnectionRefusedError"),
        ]


async def test_one_alone_fails_as_it_would_by_itself(monkeypatch):
    resolve(monkeypatch)
    with pytest.raises(conduit.ResolutionError, match=r"^nowhere to connect to: gone$"):
        await conduit.connect(several(endp.Unknown("gone")))
    with pytest.raises(conduit.ResolutionError, match="cannot resolve 'db'"):
        await conduit.connect(several(endp.Host("db", 1)))
    with pytest.raises(conduit.UnsupportedTransport):
        await conduit.connect(several(endp.VchanDirect(1, "p")))


async def test_none_is_an_address_of_nothing():
    with pytest.raises(conduit.ResolutionError, match="there is no endpoint"):
        await conduit.connect(several())


async def test_sources_that_reach_none_of_them_are_a_clear_error():
    ctx = await conduit.init(src="127.0.0.1")
    with pytest.raises(conduit.AddressError, match=r"src=127\.0\.0\.1 cannot reach ::"):
        await conduit.connect(several(endp.TCP("::1", 9), endp.TCP("::2", 9)), ctx=ctx)


async def test_it_is_no_way_to_serve():
    with pytest.raises(conduit.AddressError, match="is where to connect"):
        await conduit.serve(several(endp.TCP("::1", 9)), greet)  # type: ignore[arg-type]


async def test_it_may_stand_below_tls():
    below = several(endp.TCP("::1", 9), endp.TCP("127.0.0.1", 9))
    assert client.TLSOver("h", below).client == below


# Nothing is left ----------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", [False, True])
async def test_failures_are_forgotten_with_the_error(monkeypatch, unknown):
    """Circles would keep all until the collector comes: a program that tries again would grow."""
    resolve(monkeypatch, here=["127.77.0.1", "127.77.0.2"])
    port = refused_port()
    endps: list[endp.Endp] = [endp.Host("here", port), endp.UnixDomainSocket("/nobody")]
    if unknown:
        endps.append(endp.Unknown("gone"))
    failures = 0
    gc.collect()
    gc.disable()
    try:
        before = errors_in_memory()
        for target in (several(*endps), client.Host("here", port), several(endps[1], endps[0])):
            try:
                await conduit.connect(target)
            except conduit.ConnectError as error:
                failures += len(error.attempts)
                assert errors_in_memory() > before
            await asyncio.sleep(0)
        assert failures >= 8
        assert errors_in_memory() == before
    finally:
        gc.enable()


def errors_in_memory() -> int:
    return sum(isinstance(one, OSError) for one in gc.get_objects())
