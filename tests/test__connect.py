"""`connect`: a coroutine and an async context manager, one deadline, and nothing left behind."""

from __future__ import annotations

import asyncio
import errno
import inspect
import random
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address

import pytest

import conduit
from conduit import _lookup, client, endp, events, flow, server
from tests.conftest import open_descriptors
from tests.endpoints import port_of
from tests.full_queue import full_tcp_queue, full_unix_queue

BIG = b"x" * 8_000_000  # more than the buffers of both kernels together
LONG = 30.0  # seconds: longer than a test may take


async def echo(f, ic, oc):
    while data := await ic.read(65536):
        await oc.write(data)


@pytest.fixture
def told() -> Iterator[list[events.Event]]:
    """The events of this test, as they come."""
    found: list[events.Event] = []
    with events.subscribe(found.append):
        yield found


@pytest.fixture(params=["tcp", "unix"])
def listening(request, socket_path):
    """Serve on TCP, or on a Unix socket; gives the server and where to connect."""

    @asynccontextmanager
    async def serve(handler, **options):
        mode: server.Mode = server.TCP(0, ip="127.0.0.1")
        if request.param == "unix":
            mode = server.UnixDomainSocket(socket_path)
        async with conduit.listen(mode, handler, **options) as srv:
            yield srv, conduit.endp_to_client(srv.endps[0])

    return serve


@pytest.fixture(params=["tcp", "unix"])
def black_hole(request, socket_path) -> Iterator[client.Client]:
    """Where connecting waits for ever."""
    if request.param == "tcp":
        with full_tcp_queue() as address:
            yield client.TCP(*address)
    else:
        with full_unix_queue(socket_path):
            yield client.UnixDomainSocket(socket_path)


def refused_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def deaf_peer() -> socket.socket:
    """A listener whose clients are never accepted, nor a byte of theirs read."""
    return socket.create_server(("127.0.0.1", 0))


def resolve_to(monkeypatch, *addresses: str) -> None:
    """Let every name have these addresses, in this order."""

    async def getaddrinfo(host, port, **options):
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in addresses
        ]

    monkeypatch.setattr(_lookup, "getaddrinfo", getaddrinfo)


# A coroutine --------------------------------------------------------------------------------------


async def test_awaited_it_gives_the_flow_and_its_channels(listening):
    async with listening(echo) as (_, target):
        triple = await conduit.connect(target)
        f, ic, oc = triple
        assert (triple.flow, triple.ic, triple.oc) == (f, ic, oc)
        assert isinstance(f, flow.TCP | flow.DomainSocket)
        assert f.fd == oc.get_extra_info("socket").fileno()
        await oc.write(b"hello\n")
        assert await ic.readline() == b"hello\n"
        await oc.close()


async def test_coroutine_can_stand_wherever_one_can(listening):
    async with listening(echo) as (_, target):
        connecting = conduit.connect(target)
        assert asyncio.iscoroutine(connecting)
        assert inspect.isawaitable(connecting)
        task = asyncio.create_task(connecting, name="to the server")
        assert "to the server" in repr(task)
        triples = [
            await task,
            await asyncio.wait_for(conduit.connect(target), 10),
            *await asyncio.gather(conduit.connect(target), conduit.connect(target)),
        ]
        async with asyncio.TaskGroup() as group:
            another = group.create_task(conduit.connect(target))
        async with asyncio.timeout(10):
            triples += [another.result(), await conduit.connect(target)]
        for number, (_, _, oc) in enumerate(triples):
            oc.write(b"%d\n" % number)
        for number, (_, ic, oc) in enumerate(triples):
            assert await ic.readline() == b"%d\n" % number
            await oc.close()


def test_coroutine_can_be_all_that_a_program_runs():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def main():
            _, _, oc = await conduit.connect(client.TCP(*listener.getsockname()))
            oc.transport.abort()
            await oc.wait_closed()
            return "done"

        assert asyncio.run(main()) == "done"
        # Also without a coroutine of the program's own around it.
        with asyncio.Runner() as runner:
            f, _, oc = runner.run(conduit.connect(client.TCP(*listener.getsockname())))
            assert f == flow.TCP(
                oc.get_extra_info("socket").fileno(),
                ip_address("127.0.0.1"),
                listener.getsockname()[1],
            )
            oc.transport.abort()
            runner.run(oc.wait_closed())


async def test_coroutine_is_used_once(listening):
    async with listening(echo) as (_, target):
        connecting = conduit.connect(target)
        async with connecting:
            pass
        with pytest.raises(RuntimeError, match="already"):
            await connecting


async def test_forgotten_await_is_warned_of():
    connecting = conduit.connect(client.TCP("127.0.0.1", 1))
    with pytest.warns(RuntimeWarning, match="never awaited"):
        del connecting


async def test_coroutine_that_is_given_up_is_not_warned_of():
    conduit.connect(client.TCP("127.0.0.1", 1)).close()
    task = asyncio.create_task(conduit.connect(client.TCP("127.0.0.1", 1)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_errors_come_when_it_is_awaited_not_when_it_is_called():
    connecting = conduit.connect(server.TCP(0))  # type: ignore[arg-type]
    with pytest.raises(conduit.AddressError):
        await connecting


# An async context manager -------------------------------------------------------------------------


async def test_block_left_normally_sends_what_was_written_and_closes(listening, told):
    received = asyncio.get_running_loop().create_future()

    async def collect(f, ic, oc):
        received.set_result(await ic.read())

    async with listening(collect) as (_, target):
        async with conduit.connect(target) as (f, ic, oc):
            oc.write(BIG)
            mine = open_descriptors()[oc.get_extra_info("socket").fileno()]
        await asyncio.sleep(0)  # the loop closes a descriptor when it turns
        assert mine not in open_descriptors().values()
        assert oc.is_closing()
        assert [e.reason for e in told if isinstance(e, events.Closed) and e.flow is f] == [
            "closed"
        ]
        assert await ic.read() == b""
        assert await received == BIG


async def test_block_left_normally_raises_nothing_for_a_peer_that_died(listening):
    async def die(f, ic, oc):
        await ic.readline()
        oc.transport.abort()

    async with listening(die) as (_, target):
        async with conduit.connect(target) as (_, _, oc):
            oc.write(b"line\n" + BIG)
        async with conduit.connect(target) as (_, ic, oc):
            oc.write(b"line\n" + BIG)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await ic.readexactly(1)


async def test_block_left_normally_does_not_wait_for_ever_for_a_peer_that_reads_nothing(
    listening, told, caplog
):
    release = asyncio.Event()

    async def ignore(f, ic, oc):
        await release.wait()
        oc.transport.abort()

    ctx = await conduit.init(close_timeout=0.1)
    async with listening(ignore) as (_, target):
        async with conduit.connect(target, ctx=ctx) as (f, _, oc):
            oc.write(BIG)
        [closed] = [e for e in told if isinstance(e, events.Closed) and e.flow is f]
        assert closed.reason == "close_timeout"
        assert closed.unsent > 0
        assert "never sent" in caplog.text
        release.set()


async def test_block_left_by_an_exception_aborts_at_once(listening, told):
    seen = asyncio.get_running_loop().create_future()

    async def ignore(f, ic, oc):
        try:
            await ic.read()
        except ConnectionResetError:
            seen.set_result("reset")
        else:
            seen.set_result("end")

    ctx = await conduit.init(close_timeout=LONG)

    async def fail(target, data):
        async with conduit.connect(target, ctx=ctx) as (_, _, oc):
            oc.write(data)
            raise ZeroDivisionError

    with deaf_peer() as peer:
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(10):
                await fail(client.TCP(*peer.getsockname()), BIG)
    [closed] = [e for e in told if isinstance(e, events.Closed)]
    assert closed.reason == "aborted"
    assert closed.unsent > 0
    async with listening(ignore) as (_, target):
        with pytest.raises(ZeroDivisionError):
            await fail(target, b"")
        assert await seen in ("reset", "end")


async def test_block_left_by_cancellation_aborts_at_once(told):
    ctx = await conduit.init(close_timeout=LONG)
    inside = asyncio.Event()

    async def use(target):
        async with conduit.connect(target, ctx=ctx) as (_, ic, oc):
            oc.write(BIG)
            inside.set()
            await ic.read()

    with deaf_peer() as peer:
        task = asyncio.create_task(use(client.TCP(*peer.getsockname())))
        await inside.wait()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=10)
        assert done
        assert task.cancelled()
    [closed] = [e for e in told if isinstance(e, events.Closed)]
    assert closed.reason == "aborted"
    assert closed.unsent > 0


async def test_cancelled_while_the_block_closes_it_aborts_at_once(told):
    """Else it would go on for `close_timeout` behind the back of who cancelled it."""
    ctx = await conduit.init(close_timeout=LONG)
    left = asyncio.Event()

    async def use(target):
        async with conduit.connect(target, ctx=ctx) as (_, _, oc):
            oc.write(BIG)
            left.set()

    with deaf_peer() as peer:
        task = asyncio.create_task(use(client.TCP(*peer.getsockname())))
        await left.wait()
        await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        closed = [e for e in told if isinstance(e, events.Closed)]
        assert [e.reason for e in closed] == ["aborted"]


async def test_block_that_closes_for_itself_is_left_in_peace(listening):
    async with listening(echo) as (_, target):
        async with conduit.connect(target) as (_, _, oc):
            await oc.close()
        async with conduit.connect(target) as (_, _, oc):
            oc.transport.abort()

        async def close_and_fail():
            async with conduit.connect(target) as (_, _, oc):
                await oc.close()
                raise KeyError

        with pytest.raises(KeyError):
            await close_and_fail()


async def test_block_is_not_entered_when_connecting_fails():
    with pytest.raises(conduit.ConnectError):
        async with conduit.connect(client.TCP("127.0.0.1", refused_port())):
            pytest.fail("entered")


async def test_blocks_nest(listening):
    async with listening(echo) as (srv, target):
        async with AsyncExitStack() as stack:
            for _ in range(5):
                _, ic, oc = await stack.enter_async_context(conduit.connect(target))
                oc.write(b"x")
                await ic.readexactly(1)
            assert srv.active == 5


# The deadline -------------------------------------------------------------------------------------


async def test_timeout_covers_connecting(black_hole):
    started = time.monotonic()
    with pytest.raises(conduit.ConnectTimeout) as caught:
        await conduit.connect(black_hole, timeout=0.05)
    assert 0.04 < time.monotonic() - started < 5
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, conduit.ConnectError)
    assert str(caught.value) == f"cannot connect to {black_hole} within 0.05 s"


async def test_timeout_covers_the_block_no_more_than_the_connecting(listening):
    async with listening(echo) as (_, target):
        async with conduit.connect(target, timeout=0.5) as (_, ic, oc):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ic.read(1), 0.6)
            await oc.write(b"still here\n")
            assert await ic.readline() == b"still here\n"


async def test_timeout_covers_resolving(monkeypatch):
    async def getaddrinfo(host, port, **options):
        await asyncio.Event().wait()

    monkeypatch.setattr(_lookup, "getaddrinfo", getaddrinfo)
    with pytest.raises(conduit.ConnectTimeout, match=r" tcp://db\.example:80 within 0\.05 s"):
        await conduit.connect(client.Host("db.example", 80), timeout=0.05)


async def test_timeout_covers_all_addresses_of_a_name_together(monkeypatch):
    with full_tcp_queue("127.0.0.1") as (_, port):
        resolve_to(monkeypatch, "127.77.0.1", "127.0.0.1", "127.77.0.2")
        with pytest.raises(conduit.ConnectTimeout) as caught:
            await conduit.connect(client.Host("db.example", port), timeout=0.1)
    # What had failed by then is told: the first was refused, the second did not answer.
    [(address, error), *_] = caught.value.attempts
    assert address == endp.TCP("127.77.0.1", port)
    assert isinstance(error, ConnectionRefusedError)
    assert endp.TCP("127.77.0.2", port) not in [address for address, _ in caught.value.attempts]


async def test_no_timeout_leaves_it_to_others(black_hole):
    with pytest.raises(TimeoutError) as caught:
        await asyncio.wait_for(conduit.connect(black_hole, timeout=None), 0.05)
    assert not isinstance(caught.value, conduit.ConduitError)


async def test_timeout_of_the_caller_stays_the_callers(black_hole):
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.05) as limit:
            await conduit.connect(black_hole, timeout=10)
    assert limit.expired()
    assert not isinstance(caught.value, conduit.ConduitError)


@pytest.mark.parametrize("name", [False, True])
async def test_kernels_own_timeout_is_no_timeout_of_ours(monkeypatch, name):
    """The kernel gives up by itself after its own time: that says nothing of `timeout`."""
    gave_up = TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    async def create_connection(*args, **options):
        raise gave_up

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_connection", create_connection)
    # However the sockets are connected, the kernel says it.
    monkeypatch.setattr(loop, "sock_connect", create_connection)
    resolve_to(monkeypatch, "127.0.0.1")
    target = client.Host("db.example", 80) if name else client.TCP("127.0.0.1", 80)
    with pytest.raises(conduit.ConnectError) as caught:
        await conduit.connect(target, timeout=30)
    assert not isinstance(caught.value, conduit.ConnectTimeout)
    [(_, error)] = caught.value.attempts
    assert error is gave_up
    assert caught.value.errno == errno.ETIMEDOUT


# Failures -----------------------------------------------------------------------------------------


async def test_refusal_says_where_and_why():
    target = client.TCP("127.0.0.1", refused_port())
    with pytest.raises(conduit.ConnectError) as caught:
        await conduit.connect(target)
    assert isinstance(caught.value, ConnectionError)
    assert not isinstance(caught.value, TimeoutError)
    assert caught.value.errno == errno.ECONNREFUSED
    assert f"tcp://127.0.0.1:{target.port}: " in str(caught.value)
    [(address, error)] = caught.value.attempts
    assert address == target
    assert isinstance(error, ConnectionRefusedError)
    assert caught.value.__cause__ is error


async def test_missing_file_says_where_and_why(socket_path):
    with pytest.raises(conduit.ConnectError) as caught:
        await conduit.connect(client.UnixDomainSocket(socket_path))
    assert caught.value.errno == errno.ENOENT
    assert socket_path in str(caught.value)
    assert "No such file" in str(caught.value)


# Names --------------------------------------------------------------------------------------------


async def test_addresses_of_a_name_are_tried_in_order(monkeypatch, told):
    async with conduit.listen(server.TCP(0, ip="127.77.0.3"), echo) as srv:
        port = port_of(srv)
        resolve_to(monkeypatch, "127.77.0.2", "127.77.0.1", "127.77.0.3", "127.77.0.4")
        async with conduit.connect(client.Host("db.example", port)) as (f, ic, oc):
            assert isinstance(f, flow.TCP)
            assert (f.ip, f.port) == (ip_address("127.77.0.3"), port)
            assert conduit.endp_of_flow(f) == endp.Host("db.example", port)
            await oc.write(b"x\n")
            assert await ic.readline() == b"x\n"
    assert [e.address for e in told if isinstance(e, events.Attempt)] == [
        endp.TCP(f"127.77.0.{last}", port) for last in (2, 1, 3)
    ]


async def test_every_address_that_was_refused_is_listed(monkeypatch):
    resolve_to(monkeypatch, "127.77.0.2", "127.77.0.1", "127.77.0.2", "127.77.0.3")
    port = refused_port()
    with pytest.raises(conduit.ConnectError) as caught:
        await conduit.connect(client.Host("db.example", port))
    assert not isinstance(caught.value, conduit.ConnectTimeout)
    assert [address for address, _ in caught.value.attempts] == [
        endp.TCP(f"127.77.0.{last}", port) for last in (2, 1, 3)
    ]
    assert all(isinstance(error, ConnectionRefusedError) for _, error in caught.value.attempts)
    assert "db.example" in str(caught.value)
    assert all(f"127.77.0.{last}" in str(caught.value) for last in (1, 2, 3))


async def test_name_that_cannot_be_resolved(monkeypatch):
    async def getaddrinfo(host, port, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with monkeypatch.context() as patch:
        patch.setattr(_lookup, "getaddrinfo", getaddrinfo)
        with pytest.raises(
            conduit.ResolutionError,
            match=r"^cannot resolve 'db\.example': Name or service not known$",
        ):
            await conduit.connect(client.Host("db.example", 80))
    # A label of more than 63 characters is refused by Python itself, in its own way.
    with pytest.raises(conduit.ResolutionError, match="cannot resolve 'aaaa"):
        await conduit.connect(client.Host("a" * 64 + ".example", 80))


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_name_may_be_an_address(ip):
    async with conduit.listen(server.TCP(0, ip=ip), echo) as srv:
        port = port_of(srv)
        async with conduit.connect(client.Host(ip, port)) as (f, _, _):
            assert isinstance(f, flow.TCP)
            assert (f.ip, f.port) == (ip_address(ip), port)


async def test_name_is_really_resolved():
    async with conduit.listen(server.TCP(0), echo) as srv:
        async with conduit.connect(client.Host("localhost", port_of(srv))) as (f, ic, oc):
            assert isinstance(f, flow.TCP)
            assert f.ip.is_loopback
            await oc.write(b"x\n")
            assert await ic.readline() == b"x\n"


# The source address -------------------------------------------------------------------------------


async def test_source_address_is_bound():
    peers = []

    async def note(f, ic, oc):
        peers.append(str(f.ip))

    async with conduit.listen(server.TCP(0), note) as srv:
        port = port_of(srv)
        ctx = await conduit.init(src="127.0.0.2")
        async with conduit.connect(client.TCP("127.0.0.1", port), ctx=ctx) as (_, ic, oc):
            assert oc.get_extra_info("sockname")[0] == "127.0.0.2"
            await ic.read()
        both = await conduit.init(src=["127.0.0.3", "::1"])
        for ip in ("127.0.0.1", "::1"):
            async with conduit.connect(client.TCP(ip, port), ctx=both) as (_, ic, _):
                await ic.read()
    assert peers == ["127.0.0.2", "127.0.0.3", "::1"]


@pytest.mark.parametrize(
    ("src", "ip", "version"), [("127.0.0.1", "::1", 6), ("::1", "127.0.0.1", 4)]
)
async def test_source_address_of_the_other_family_is_a_clear_error(src, ip, version):
    ctx = await conduit.init(src=src)
    with pytest.raises(conduit.AddressError) as caught:
        await conduit.connect(client.TCP(ip, 9), ctx=ctx)
    assert str(caught.value) == (
        f"src={src} cannot reach {ip}: give an IPv{version} source too, or leave src out"
    )


async def test_source_address_leaves_out_the_names_addresses_of_the_other_family(monkeypatch):
    ctx = await conduit.init(src="127.0.0.2")
    async with conduit.listen(server.TCP(0), echo) as srv:
        port = port_of(srv)
        resolve_to(monkeypatch, "::1", "127.0.0.1")
        async with conduit.connect(client.Host("db.example", port), ctx=ctx) as (f, _, _):
            assert isinstance(f, flow.TCP)
            assert f.ip == ip_address("127.0.0.1")


async def test_name_that_the_source_address_cannot_reach_at_all(monkeypatch):
    ctx = await conduit.init(src="127.0.0.2")
    resolve_to(monkeypatch, "::1")
    with pytest.raises(conduit.AddressError, match=r"src=127\.0\.0\.2 cannot reach ::1"):
        await conduit.connect(client.Host("db.example", 9), ctx=ctx)


@pytest.mark.parametrize("addresses", [("127.77.0.1", "::1"), ("::1", "127.77.0.1")])
async def test_name_that_the_source_address_reaches_in_part_tells_of_both(monkeypatch, addresses):
    """The refusal counts for more than that the other family could not be tried."""
    ctx = await conduit.init(src="127.0.0.2")
    resolve_to(monkeypatch, *addresses)
    port = refused_port()
    with pytest.raises(conduit.ConnectError) as caught:
        await conduit.connect(client.Host("db.example", port), ctx=ctx)
    failures = {address: type(error) for address, error in caught.value.attempts}
    assert failures == {
        endp.TCP("127.77.0.1", port): ConnectionRefusedError,
        endp.TCP("::1", port): conduit.AddressError,
    }


async def test_source_address_of_another_machine_is_a_clear_error():
    ctx = await conduit.init(src="192.0.2.1")
    with pytest.raises(conduit.ConnectError, match=r"192\.0\.2\.1") as caught:
        await conduit.connect(client.TCP("127.0.0.1", 9), ctx=ctx)
    assert caught.value.errno == errno.EADDRNOTAVAIL


# What is told -------------------------------------------------------------------------------------


async def test_attempt_and_connection_are_told(listening, told):
    async with listening(echo) as (srv, target):
        async with conduit.connect(target) as (f, ic, oc):
            await oc.write(b"x")
            await ic.readexactly(1)
        mine = [e for e in told if isinstance(e, events.Attempt | events.Connected)]
        assert mine[0] == events.Attempt(srv.endps[0])
        assert isinstance(mine[1], events.Connected)
        assert mine[1].flow is f
        assert 0 < mine[1].seconds < 10
        assert len(mine) == 2


async def test_failure_is_not_told_as_a_connection(told):
    port = refused_port()
    with pytest.raises(conduit.ConnectError):
        await conduit.connect(client.TCP("127.0.0.1", port))
    assert told == [events.Attempt(endp.TCP("127.0.0.1", port))]


# Nothing is left ----------------------------------------------------------------------------------


async def test_a_thousand_connects_cancelled_at_random_moments_leave_nothing(listening):
    """Whenever it is cancelled: no descriptor, no task, no warning; each server side ends."""
    chance = random.Random(1)
    outcomes = {"connected": 0, "cancelled": 0}
    served = {"begun": 0, "ended": 0}

    async def until_the_client_goes(f, ic, oc):
        served["begun"] += 1
        try:
            await ic.read()
        except ConnectionError:
            pass
        served["ended"] += 1

    before = asyncio.all_tasks()
    async with listening(until_the_client_goes, backlog=1000) as (srv, target):
        for _ in range(1000):
            task = asyncio.create_task(conduit.connect(target))
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
            try:
                _, _, oc = await task
            except asyncio.CancelledError:
                outcomes["cancelled"] += 1
            else:
                outcomes["connected"] += 1
                oc.transport.abort()
        # Leaving the block waits for the handlers; one that had to be cancelled would not end.
    assert srv.active == 0
    assert min(outcomes.values()) > 50, outcomes
    assert served["begun"] == served["ended"] >= outcomes["connected"]
    assert asyncio.all_tasks() == before


async def test_connects_cancelled_while_they_wait_leave_nothing(black_hole):
    chance = random.Random(2)
    before = asyncio.all_tasks()
    tasks = [asyncio.create_task(conduit.connect(black_hole)) for _ in range(100)]
    for task in chance.sample(tasks, len(tasks)):
        await asyncio.sleep(0)
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(ended, asyncio.CancelledError)
    assert asyncio.all_tasks() == before
