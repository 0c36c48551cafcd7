"""serve and listen: what they take, how they begin, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import functools
import os
import socket
import stat
import threading
from typing import Any

import pytest

import conduit
from conduit import endp, server
from conduit.channels import ending
from tests.bare_client import BareClient, tcp_endps
from tests.event_log import until

LOOPBACK = server.TCP(0, ip="127.0.0.1")

EACH_WAY = pytest.mark.parametrize("way", ["serve", "listen"])


async def echo(f, ic, oc):
    while data := await ic.read(1000):
        await oc.write(data)


async def greet(f, ic, oc):
    """Say hello, and stay until the client leaves."""
    oc.write(b"hi")
    await ic.read()


async def begin(way, mode: Any = LOOPBACK, handler: Any = echo, **options):
    """Start to serve in the way asked for; it is over as soon as it has begun."""
    if way == "serve":
        await conduit.serve(mode, handler, **{"stop": done(), **options})
    else:
        async with conduit.listen(mode, handler, **options):
            pass


@contextlib.asynccontextmanager
async def running(way, mode, handler, **options):
    """Serve in the way asked for while a block runs; then stop."""
    if way == "serve":
        stop = asyncio.Event()
        serving = asyncio.create_task(conduit.serve(mode, handler, stop=stop, **options))
        yield
        stop.set()
        await serving
    else:
        async with conduit.listen(mode, handler, **options):
            yield


def done():
    event = asyncio.Event()
    event.set()
    return event


def own_socket():
    """A mode to serve whose address is known beforehand, and that address."""
    sock = socket.create_server(("127.0.0.1", 0))
    return server.TCP(server.Socket(sock)), endp.TCP(*sock.getsockname())


def is_refused(where: endp.TCP) -> bool:
    try:
        BareClient(where).close()
    except ConnectionRefusedError:
        return True
    return False


# What can be served -------------------------------------------------------------------------------


async def test_serve_serves_until_it_is_stopped():
    mode, where = own_socket()
    stop = asyncio.Event()
    serving = asyncio.create_task(conduit.serve(mode, echo, stop=stop))
    with BareClient(where) as client:
        await client.say(b"hello")
        assert await client.hear(5) == b"hello"
        client.end()
        assert await client.hear_all() == b""
    assert not serving.done()
    stop.set()
    await serving
    assert is_refused(where)


async def test_handler_gets_the_flow_and_its_channels():
    got: list[Any] = []

    async def handler(f, ic, oc):
        got.extend((f, ic, oc))
        await ic.read()

    async with conduit.listen(LOOPBACK, handler) as srv:
        with BareClient(srv.endps[0]) as client:
            name = client.socket.getsockname()
    f, ic, oc = got
    assert (str(f.ip), f.port) == name
    assert f.origin == endp.TCP(*name)
    assert isinstance(ic, conduit.Input)
    assert isinstance(oc, conduit.Output)


async def test_endpoint_is_as_good_as_a_mode():
    async with conduit.listen(endp.TCP("127.0.0.1", 0), greet) as srv:
        assert str(tcp_endps(srv)[0].ip) == "127.0.0.1"
        with BareClient(srv.endps[0]) as client:
            assert await client.hear(2) == b"hi"


async def test_unix_path(socket_path):
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet) as srv:
        assert srv.endps == (endp.UnixDomainSocket(socket_path),)
        with BareClient(srv.endps[0]) as client:
            assert await client.hear(2) == b"hi"
    assert not os.path.exists(socket_path)


async def test_context_says_where_to_listen():
    ctx = await conduit.init(src=["127.0.0.1", "::1"])
    async with conduit.listen(server.TCP(0), greet, ctx=ctx) as srv:
        assert [str(one.ip) for one in tcp_endps(srv)] == ["127.0.0.1", "::1"]
        assert len({one.port for one in tcp_endps(srv)}) == 1
        for one in srv.endps:
            with BareClient(one) as client:
                assert await client.hear(2) == b"hi"


async def test_address_of_the_mode_goes_before_the_context():
    ctx = await conduit.init(src="127.0.0.2")
    async with conduit.listen(LOOPBACK, greet, ctx=ctx) as srv:
        assert [str(one.ip) for one in tcp_endps(srv)] == ["127.0.0.1"]


async def test_without_any_address_one_port_serves_both_families():
    peers: list[Any] = []

    async def handler(f, ic, oc):
        peers.append(f.ip)
        oc.write(b"hi")

    async with conduit.listen(server.TCP(0), handler) as srv:
        (one,) = tcp_endps(srv)
        for ip in ("127.0.0.1", "::1"):
            with BareClient(endp.TCP(ip, one.port)) as client:
                assert await client.hear_all() == b"hi"
    # Not as ::ffff:127.0.0.1.
    assert [str(ip) for ip in peers] == ["127.0.0.1", "::1"]


async def test_unix_mode_holds(socket_path):
    mode = server.UnixDomainSocket(socket_path)
    async with conduit.listen(mode, greet, unix_mode=0o640):
        assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o640


async def test_reuse_port_lets_two_listen():
    async with conduit.listen(LOOPBACK, greet, reuse_port=True) as first:
        same = server.TCP(tcp_endps(first)[0].port, ip="127.0.0.1")
        async with conduit.listen(same, greet, reuse_port=True) as second:
            assert second.endps == first.endps


@EACH_WAY
async def test_port_in_use_is_the_systems_error_with_the_address_in_it(way):
    async with conduit.listen(LOOPBACK, greet) as srv:
        port = tcp_endps(srv)[0].port
        with pytest.raises(OSError, match=rf"{port} of 127\.0\.0\.1") as caught:
            await begin(way, server.TCP(port, ip="127.0.0.1"))
    assert caught.value.errno == errno.EADDRINUSE


async def test_stop_that_nobody_will_wait_for_is_no_complaint():
    async with conduit.listen(LOOPBACK, greet) as srv:
        mode = server.TCP(tcp_endps(srv)[0].port, ip="127.0.0.1")
        with pytest.raises(OSError, match="cannot listen"):
            # A coroutine that is never awaited would be a RuntimeWarning.
            await conduit.serve(mode, greet, stop=asyncio.Event().wait())


# What cannot be -----------------------------------------------------------------------------------


IMPOSSIBLE: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"backlog": 0}, ValueError, "^backlog is 0: "),
    ({"timeout": 0}, ValueError, "^timeout is 0: .*None"),
    ({"timeout": -1}, ValueError, "^timeout is -1: "),
    ({"idle_timeout": 0}, ValueError, "^idle_timeout is 0: "),
    ({"handshake_timeout": -0.5}, ValueError, r"^handshake_timeout is -0\.5: "),
    ({"drain": -1}, ValueError, "^drain is -1: it cannot be negative"),
    ({"max_active": 0}, ValueError, "^max_active is 0: .*None"),
    ({"max_active": -3}, ValueError, "^max_active is -3: "),
    ({"client_auth": "yes"}, ValueError, "^client_auth is 'yes': .*none, optional, required"),
    ({"client_auth": "required"}, conduit.AddressError, "has no TLS.*would check nobody"),
    ({"client_auth": "optional"}, conduit.AddressError, "has no TLS.*would check nobody"),
    ({"handler": None}, TypeError, r"^handler must be an async function of \(flow, ic, oc\)"),
    ({"on_exn": echo}, TypeError, "^on_exn must be a plain function"),
    ({"stop": 3}, TypeError, "^stop must be a future, an asyncio.Event or an awaitable, not 3"),
    ({"mode": "tcp://*"}, conduit.AddressError, "at column 8: the port is missing"),
    ({"mode": conduit.client.TCP("::1", 1)}, conduit.AddressError, r"conduit\.server"),
    ({"mode": 8080}, conduit.UnsupportedTransport, "^8080 is no address"),
    ({"mode": endp.Host("a.example", 1)}, conduit.AddressError, "'a.example' is a name"),
    ({"mode": endp.Unknown("no such host")}, conduit.ResolutionError, "no such host"),
]


@EACH_WAY
@pytest.mark.parametrize(
    ("options", "error", "words"), IMPOSSIBLE, ids=[next(iter(each[0])) for each in IMPOSSIBLE]
)
async def test_what_cannot_be_is_refused_before_anything_is_opened(way, options, error, words):
    with pytest.raises(error, match=words):
        await begin(way, **options)


async def test_options_that_mean_nothing_to_a_transport_are_ignored():
    async with conduit.listen(LOOPBACK, greet, unix_mode=0o600) as srv:
        with BareClient(srv.endps[0]) as client:
            assert await client.hear(2) == b"hi"


async def test_partial_of_an_async_function_is_a_handler():
    async def handler(word, f, ic, oc):
        oc.write(word)

    async with conduit.listen(LOOPBACK, functools.partial(handler, b"hi")) as srv:
        with BareClient(srv.endps[0]) as client:
            assert await client.hear_all() == b"hi"


async def test_listen_is_for_one_block():
    listening = conduit.listen(LOOPBACK, greet)
    async with listening:
        pass
    with pytest.raises(RuntimeError):
        async with listening:
            pytest.fail("it listens a second time, although nothing could stop it any more")


# Context variables --------------------------------------------------------------------------------

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


async def tell(f, ic, oc):
    """Say what the variable holds, and change it to what the client says."""
    oc.write(who.get().encode())
    who.set((await ic.readline()).decode())


@EACH_WAY
async def test_handlers_run_in_a_copy_of_the_context_of_the_call(way):
    mode, where = own_socket()

    async def visit(word: bytes) -> bytes:
        with BareClient(where) as client:
            await client.say(word + b"\n")
            return await client.hear_all()

    token = who.set("caller")
    try:
        async with running(way, mode, tell):
            who.set("later")
            # Each has a copy of its own: nobody sees what another has set, nor does the caller.
            assert await visit(b"first") == b"caller"
            assert await visit(b"second") == b"caller"
            assert who.get() == "later"
    finally:
        who.reset(token)


# Being told to stop -------------------------------------------------------------------------------


async def make_event():
    event = asyncio.Event()
    return event, event.set


async def make_future():
    future = asyncio.get_running_loop().create_future()
    return future, lambda: future.set_result("any result")


async def make_task():
    event = asyncio.Event()
    return asyncio.create_task(event.wait()), event.set


async def make_coroutine():
    event = asyncio.Event()
    return event.wait(), event.set


class Awaitable:
    def __init__(self):
        self.event = asyncio.Event()

    def __await__(self):
        return self.event.wait().__await__()


async def make_awaitable():
    awaitable = Awaitable()
    return awaitable, awaitable.event.set


EACH_STOP = pytest.mark.parametrize(
    "make", [make_event, make_future, make_task, make_coroutine, make_awaitable]
)


@EACH_STOP
async def test_stops_when_stop_is_done(make):
    stop, tell_it = await make()
    mode, where = own_socket()
    serving = asyncio.create_task(conduit.serve(mode, greet, stop=stop))
    with BareClient(where) as client:
        assert await client.hear(2) == b"hi"
        tell_it()
        client.end()
        assert await client.hear_all() == b""
        await serving
    assert is_refused(where)


@EACH_STOP
async def test_stop_that_is_done_already_serves_only_those_who_wait(make):
    stop, tell_it = await make()
    tell_it()
    mode, where = own_socket()
    with BareClient(where) as client:
        serving = asyncio.create_task(conduit.serve(mode, greet, stop=stop))
        assert await client.hear(2) == b"hi"
        client.end()
        await serving
    assert is_refused(where)


async def test_stop_ends_the_server_of_a_listen_block_and_not_the_block():
    stop = asyncio.Event()
    async with conduit.listen(LOOPBACK, greet, stop=stop) as srv:
        with BareClient(srv.endps[0]) as client:
            assert await client.hear(2) == b"hi"
            stop.set()
            client.end()
            assert await client.hear_all() == b""
        await srv.stop()
        assert is_refused(tcp_endps(srv)[0])
        # And here we still are.


@EACH_WAY
async def test_stop_that_fails_stops_the_server_and_is_raised(way):
    failing = asyncio.get_running_loop().create_future()
    mode, where = own_socket()

    async def fail():
        with BareClient(where) as client:
            assert await client.hear(2) == b"hi"
            failing.set_exception(LookupError("no such key"))
            client.end()
            assert await client.hear_all() == b""

    async def listen():
        async with conduit.listen(mode, greet, stop=failing):
            await failed

    failed = asyncio.create_task(fail())
    with pytest.raises(LookupError, match="no such key"):
        await (conduit.serve(mode, greet, stop=failing) if way == "serve" else listen())
    await failed


async def test_stop_that_fails_lets_handlers_end_first():
    failing = asyncio.get_running_loop().create_future()
    mode, where = own_socket()
    serving = asyncio.create_task(conduit.serve(mode, echo, stop=failing))
    with BareClient(where) as client:
        await client.say(b"one")
        assert await client.hear(3) == b"one"
        failing.set_exception(LookupError("no such key"))
        await client.say(b"two")
        assert await client.hear(3) == b"two"
        assert not serving.done()
    with pytest.raises(LookupError):
        await serving


async def test_stop_that_is_cancelled_is_a_stop():
    stop = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(conduit.serve(LOOPBACK, greet, stop=stop))
    stop.cancel()
    await serving
    assert not serving.cancelled()


@EACH_WAY
@pytest.mark.parametrize("kind", ["future", "task"])
async def test_stop_is_never_cancelled_by_us(way, kind):
    event = asyncio.Event()
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    stop = future if kind == "future" else asyncio.ensure_future(event.wait())
    if way == "serve":
        serving = asyncio.create_task(conduit.serve(LOOPBACK, greet, stop=stop))
        await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
    else:
        async with conduit.listen(LOOPBACK, greet, stop=stop):
            pass
    await asyncio.sleep(0)
    assert not stop.cancelled()
    assert not stop.done()
    future.set_result(None)
    event.set()
    await stop


async def test_one_stop_may_be_for_several_servers():
    stop = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(conduit.serve(LOOPBACK, greet, stop=stop))
        await asyncio.sleep(0)
        stop.set_result(None)


async def test_wait_for_an_event_is_not_left_behind():
    before = asyncio.all_tasks()
    event = asyncio.Event()
    async with conduit.listen(LOOPBACK, greet, stop=event):
        assert len(asyncio.all_tasks()) > len(before)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@EACH_WAY
async def test_stop_with_no_handler_returns_at_once_and_the_port_is_free(way, monkeypatch):
    monkeypatch.setattr(ending, "LINGER_SECONDS", 30)
    mode, where = own_socket()
    loop = asyncio.get_running_loop()
    with BareClient(where) as client:
        async with running(way, mode, bye, drain=60):
            # Its handler has returned, and it has not ended yet.
            assert await client.hear_all() == b"bye"
            before = loop.time()
        assert loop.time() - before < 10
        assert is_free(where.port)


async def bye(f, ic, oc):
    oc.write(b"bye")


def is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def test_clients_who_wait_when_it_stops_are_served():
    mode, where = own_socket()
    stop = asyncio.Event()
    serving = asyncio.create_task(conduit.serve(mode, echo, stop=stop))
    await asyncio.sleep(0)
    clients = [BareClient(where) for _ in range(100)]
    stop.set()
    for number, client in enumerate(clients):
        with client:
            await client.say(b"%d" % number)
            client.end()
            assert await client.hear_all() == b"%d" % number
    await serving


# Cancelling, and leaving a block ------------------------------------------------------------------


class Stay:
    """A handler that stays until it is cancelled or let go, and takes its time to clean up."""

    def __init__(self):
        self.ends = []
        self.go = asyncio.Event()

    async def __call__(self, f, ic, oc):
        oc.write(b"hi")
        try:
            await self.go.wait()
            self.ends.append("went")
        except asyncio.CancelledError:
            for _ in range(5):
                await asyncio.sleep(0)
            self.ends.append("cancelled")
            raise


async def test_cancelling_serve_cancels_the_handlers_and_waits_for_them():
    mode, where = own_socket()
    stay = Stay()
    serving = asyncio.create_task(conduit.serve(mode, stay, drain=60))
    with BareClient(where) as one, BareClient(where) as two:
        await one.hear(2)
        await two.hear(2)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert stay.ends == ["cancelled", "cancelled"]
        assert await one.gone()
        assert await two.gone()
    assert is_refused(where)


async def test_cancelling_serve_does_not_wait_for_a_client_that_takes_nothing():
    mode, where = own_socket()
    sent = asyncio.Event()

    async def pour(f, ic, oc):
        oc.write(bytes(32 * 1024 * 1024))
        sent.set()

    serving = asyncio.create_task(conduit.serve(mode, pour))
    loop = asyncio.get_running_loop()
    with BareClient(where) as client:
        await sent.wait()
        before = loop.time()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert loop.time() - before < 4
        assert client.socket.fileno() >= 0


async def test_serve_in_a_timeout_ends_with_it():
    mode, where = own_socket()
    stay = Stay()
    with BareClient(where) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await conduit.serve(mode, stay)
        assert stay.ends == ["cancelled"]
        assert await client.hear(2) == b"hi"
        assert await client.gone()


async def test_stop_waits_no_longer_than_drain_for_a_client_that_takes_nothing():
    mode, where = own_socket()
    sent = asyncio.Event()

    async def pour(f, ic, oc):
        oc.write(bytes(32 * 1024 * 1024))
        sent.set()

    loop = asyncio.get_running_loop()
    async with conduit.listen(mode, pour, drain=0.1):
        client = BareClient(where)
        await sent.wait()
        before = loop.time()
    with client:
        assert loop.time() - before < 4


async def test_clients_whose_handlers_never_began_leave_nothing_open():
    mode, where = own_socket()
    began = []

    async def handler(f, ic, oc):
        began.append(f)

    clients = [BareClient(where) for _ in range(20)]
    async with conduit.listen(mode, handler) as srv:
        # No turn of the loop since they came: they are accepted by the stop, and cancelled.
        await srv.stop(drain=0)
        assert srv.active == 0
    assert not began
    for client in clients:
        with client:
            assert await client.gone()


async def test_block_left_normally_waits_for_the_handlers():
    stay = Stay()
    loop = asyncio.get_running_loop()
    async with conduit.listen(LOOPBACK, stay) as srv:
        client = BareClient(srv.endps[0])
        await client.hear(2)
        loop.call_later(0.05, stay.go.set)
    assert stay.ends == ["went"]
    with client:
        assert await client.hear_all() == b""


async def test_block_left_normally_waits_no_longer_than_drain():
    stay = Stay()
    async with conduit.listen(LOOPBACK, stay, drain=0.05) as srv:
        client = BareClient(srv.endps[0])
        await client.hear(2)
    assert stay.ends == ["cancelled"]
    with client:
        assert await client.gone()


async def test_block_left_by_an_exception_cancels_the_handlers():
    stay = Stay()
    mode, where = own_socket()
    loop = asyncio.get_running_loop()

    async def block(client):
        async with conduit.listen(mode, stay, drain=60):
            await client.hear(2)
            raise LookupError("mine")

    before = loop.time()
    with BareClient(where) as client:
        with pytest.raises(LookupError, match="mine"):
            await block(client)
        assert loop.time() - before < 5
        assert stay.ends == ["cancelled"]
        assert await client.gone()


async def test_cancelling_the_wait_at_the_end_of_a_block_cancels_the_handlers():
    stay = Stay()
    entered = asyncio.Event()

    async def block():
        async with conduit.listen(LOOPBACK, stay, drain=60) as srv:
            with BareClient(srv.endps[0]) as client:
                await client.hear(2)
            entered.set()

    task = asyncio.create_task(block())
    await entered.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stay.ends == ["cancelled"]


async def test_cancelling_the_start_leaves_nothing(socket_path):
    mode = server.UnixDomainSocket(socket_path)
    threads = threading.active_count()
    task = asyncio.create_task(conduit.serve(mode, greet))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # A thread may still be binding the path; what it makes is closed as soon as it is done.
    deadline = asyncio.get_running_loop().time() + 5
    while True:
        try:
            await conduit.serve(mode, greet, stop=done())
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE or asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.001)
    await until(lambda: threading.active_count() <= threads)
