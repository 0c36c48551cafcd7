"""A server that runs: what it tells of itself, stop(), reload(), broken listeners, forks."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from typing import Any

import pytest

import conduit
from conduit import _server, endp, events, server
from conduit.channels import ending
from tests.bare_client import BareClient
from tests.child_program import LOOPS, ChildProgram
from tests.event_log import EventLog, until

LOOPBACK = server.TCP(0, ip="127.0.0.1")


async def greet(f, ic, oc):
    """Say hello, and stay until the client leaves."""
    oc.write(b"hi")
    await ic.read()


class Stay:
    """A handler that stays until it is cancelled; `stubborn` times it goes on nevertheless."""

    def __init__(self, stubborn: int = 0):
        self.cancelled = 0
        self.stubborn = stubborn

    async def __call__(self, f, ic, oc):
        oc.write(b"hi")
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if self.cancelled > self.stubborn:
                    raise


class Hall:
    """A handler that greets who comes, keeps count, and lets go who leaves."""

    def __init__(self):
        self.served = 0
        self.inside = 0
        self.most = 0

    async def __call__(self, f, ic, oc):
        self.served += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        await greet(f, ic, oc)
        self.inside -= 1


# endps, active, repr ------------------------------------------------------------------------------


async def test_endps_have_the_real_port():
    async with conduit.listen(LOOPBACK, greet) as srv:
        (one,) = srv.endps
        assert isinstance(one, endp.TCP)
        assert one.port > 0
        _, ic, oc = await conduit.connect(one)
        assert await ic.readexactly(2) == b"hi"
        await oc.close()
    # What it was remains to be read, for logs.
    assert srv.endps == (one,)


async def test_active_counts_from_the_arrival_until_the_flow_is_closed():
    with EventLog() as log:
        async with conduit.listen(LOOPBACK, greet) as srv:
            assert srv.active == 0
            with BareClient(srv.endps[0]) as one, BareClient(srv.endps[0]) as two:
                assert await one.hear(2) + await two.hear(2) == b"hihi"
                assert srv.active == 2
                one.close()
                await log.wait(events.Closed)
                await until(lambda: srv.active == 1)
            await log.wait(events.Closed, 2)
            await until(lambda: srv.active == 0)


async def test_active_counts_a_flow_whose_handler_has_returned_but_that_is_not_closed():
    returned = asyncio.Event()

    async def handler(f, ic, oc):
        oc.write(b"bye")
        asyncio.get_running_loop().call_soon(returned.set)

    with EventLog() as log:
        async with conduit.listen(LOOPBACK, handler) as srv:
            with BareClient(srv.endps[0]) as client:
                await returned.wait()
                assert await client.hear_all() == b"bye"
                # The client has not ended yet, and may still be sending.
                assert srv.active == 1
            await log.wait(events.Closed)
            await until(lambda: srv.active == 0)


async def test_repr_says_where_and_how_many():
    async with conduit.listen(LOOPBACK, greet) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            assert repr(srv) == f"<conduit.Server serving {srv.endps[0]}: 1 active>"
    assert "stopping" in repr(srv) or "stopped" in repr(srv)


# stop ---------------------------------------------------------------------------------------------


async def test_stop_accepts_who_waits_and_nobody_else():
    async with conduit.listen(LOOPBACK, greet) as srv:
        waiting = [BareClient(srv.endps[0]) for _ in range(5)]
        stopping = asyncio.create_task(srv.stop())
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            BareClient(srv.endps[0])
        for client in waiting:
            with client:
                assert await client.hear(2) == b"hi"
        await stopping


async def test_stop_accepts_a_full_queue():
    served = 0

    async def count(f, ic, oc):
        nonlocal served
        served += 1

    async with conduit.listen(LOOPBACK, count, backlog=200) as srv:
        waiting = [BareClient(srv.endps[0]) for _ in range(201)]
        await srv.stop()
        assert served == 201
    for client in waiting:
        client.close()


async def test_stop_waits_for_handlers_that_end_in_time():
    async with conduit.listen(LOOPBACK, greet) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            stopping = asyncio.create_task(srv.stop(drain=60))
            with EventLog() as log:
                client.end()
                await log.wait(events.Closed)
            await stopping
            assert srv.active == 0
            assert await client.hear_all() == b""


async def test_stop_does_not_linger_for_clients_whose_handlers_have_ended_meanwhile(monkeypatch):
    monkeypatch.setattr(ending, "LINGER_SECONDS", 30)
    loop = asyncio.get_running_loop()
    leave = asyncio.Event()

    async def handler(f, ic, oc):
        oc.write(b"hi")
        await leave.wait()
        oc.write(b"bye")

    async with conduit.listen(LOOPBACK, handler) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            stopping = asyncio.create_task(srv.stop(drain=60))
            await asyncio.sleep(0)
            leave.set()
            before = loop.time()
            assert await client.hear_all() == b"bye"
            # The client has all, says nothing and keeps its side open.
            await stopping
            assert loop.time() - before < 10


async def test_stop_cancels_handlers_that_do_not():
    stay = Stay()
    loop = asyncio.get_running_loop()
    async with conduit.listen(LOOPBACK, stay, drain=60) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            before = loop.time()
            await srv.stop(drain=0.1)
            assert 0.09 < loop.time() - before < 5
            assert stay.cancelled == 1
            assert await client.gone()


async def test_stop_takes_the_time_given_to_serve():
    stay = Stay()
    async with conduit.listen(LOOPBACK, stay, drain=0.05) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            await srv.stop()
            assert stay.cancelled == 1


async def test_drain_of_zero_cancels_at_once():
    stay = Stay()
    async with conduit.listen(LOOPBACK, stay) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            await srv.stop(drain=0)
            assert stay.cancelled == 1


async def test_stop_waits_for_handlers_that_ignore_their_cancellation(caplog, monkeypatch):
    monkeypatch.setattr(_server, "_SECONDS_BETWEEN_COMPLAINTS", 0.02)
    go = asyncio.Event()
    cancelled = 0

    async def stubborn(f, ic, oc):
        nonlocal cancelled
        oc.write(b"hi")
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                cancelled += 1

    def complaints():
        return [r for r in caplog.records if "go on although they were cancelled" in r.message]

    async with conduit.listen(LOOPBACK, stubborn) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            stopping = asyncio.create_task(srv.stop(drain=0))
            await until(lambda: len(complaints()) >= 2)
            assert not stopping.done()
            assert srv.active == 1
            go.set()
            await stopping
    assert cancelled == 1
    assert complaints()[0].levelno == logging.WARNING
    assert complaints()[0].message.startswith("1 handlers ")


async def test_another_stop_can_cancel_stubborn_handlers_again():
    stay = Stay(stubborn=1)
    async with conduit.listen(LOOPBACK, stay) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            first = asyncio.create_task(srv.stop(drain=0))
            await until(lambda: stay.cancelled == 1)
            await srv.stop(drain=0)
            await first
            assert stay.cancelled == 2


async def test_later_stop_can_shorten_the_time():
    stay = Stay()
    loop = asyncio.get_running_loop()
    async with conduit.listen(LOOPBACK, stay) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            before = loop.time()
            first = asyncio.create_task(srv.stop(drain=60))
            await asyncio.sleep(0)
            await srv.stop(drain=0.05)
            await first
            assert loop.time() - before < 5


async def test_later_stop_cannot_lengthen_the_time():
    stay = Stay()
    loop = asyncio.get_running_loop()
    async with conduit.listen(LOOPBACK, stay) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            before = loop.time()
            first = asyncio.create_task(srv.stop(drain=0.05))
            await asyncio.sleep(0)
            await srv.stop(drain=60)
            await first
            assert loop.time() - before < 5


async def test_many_may_wait_and_one_that_is_cancelled_does_not_speak_for_the_others():
    async with conduit.listen(LOOPBACK, greet) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            stops = [asyncio.create_task(srv.stop(drain=60)) for _ in range(5)]
            await asyncio.sleep(0)
            stops[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await stops[0]
            assert srv.active == 1
            assert not any(stop.done() for stop in stops[1:])
        await asyncio.gather(*stops[1:])


async def test_stop_of_a_stopped_server_does_nothing():
    async with conduit.listen(LOOPBACK, greet) as srv:
        await srv.stop()
        await srv.stop(drain=0)


async def test_handler_may_ask_for_the_stop():
    ends: list[Any] = []

    async def handler(f, ic, oc):
        try:
            await srv.stop(drain=0.02)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async with conduit.listen(LOOPBACK, handler) as srv:
        with BareClient(srv.endps[0]) as client:
            assert await client.gone()
    # It waited for itself, so the time ran out.
    assert ends == ["cancelled"]


async def test_stop_while_throttled_is_seen_and_those_who_wait_are_served():
    hall = Hall()
    async with conduit.listen(LOOPBACK, hall, max_active=2) as srv:
        clients = [BareClient(srv.endps[0]) for _ in range(9)]
        for client in clients[:2]:
            assert await client.hear(2) == b"hi"
        stopping = asyncio.create_task(srv.stop(drain=60))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            BareClient(srv.endps[0])
        for number, client in enumerate(clients):
            assert not stopping.done()
            with client:
                # The kernel had taken them in before the stop.
                if number >= 2:
                    assert await client.hear(2) == b"hi"
        await stopping
    # The limit holds to the end.
    assert (hall.served, hall.most) == (9, 2)


async def test_stop_while_the_places_of_the_process_are_taken_is_seen():
    conduit.set_max_active(1)
    try:
        async with (
            conduit.listen(LOOPBACK, greet) as busy,
            conduit.listen(LOOPBACK, greet) as srv,
        ):
            with BareClient(busy.endps[0]) as first:
                assert await first.hear(2) == b"hi"
                waiting = [BareClient(srv.endps[0]) for _ in range(3)]
                stopping = asyncio.create_task(srv.stop(drain=60))
                await until(lambda: "stopping" in repr(srv))
                assert not stopping.done()
                first.close()
                for client in waiting:
                    assert not stopping.done()
                    with client:
                        assert await client.hear(2) == b"hi"
                await stopping
    finally:
        conduit.set_max_active(None)


async def test_stop_while_out_of_places_cancels_too():
    stay = Stay()
    async with conduit.listen(LOOPBACK, stay, max_active=1) as srv:
        with BareClient(srv.endps[0]) as served, BareClient(srv.endps[0]) as waiting:
            await served.hear(2)
            await srv.stop(drain=0.02)
            assert stay.cancelled == 1
            assert await served.gone()
            assert await waiting.gone()


async def test_unix_name_goes_before_the_last_are_accepted(socket_path):
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet) as srv:
        with BareClient(srv.endps[0]) as waiting:
            stopping = asyncio.create_task(srv.stop())
            assert await waiting.hear(2) == b"hi"
            assert not os.path.exists(socket_path)
            # The path is free for the next one while the last clients are served.
            async with conduit.listen(server.UnixDomainSocket(socket_path), greet) as heir:
                with BareClient(heir.endps[0]) as client:
                    assert await client.hear(2) == b"hi"
            waiting.close()
            await stopping


async def test_each_listener_is_stopped():
    ctx = await conduit.init(src=["127.0.0.1", "::1"])
    async with conduit.listen(server.TCP(0), greet, ctx=ctx) as srv:
        waiting = [BareClient(one) for one in srv.endps for _ in range(3)]
        stopping = asyncio.create_task(srv.stop())
        for client in waiting:
            with client:
                assert await client.hear(2) == b"hi"
        await stopping
        for one in srv.endps:
            with pytest.raises(ConnectionRefusedError):
                BareClient(one)


# reload -------------------------------------------------------------------------------------------


async def test_reload_leaves_connections_alone():
    async with conduit.listen(LOOPBACK, greet) as srv:
        with BareClient(srv.endps[0]) as client:
            await client.hear(2)
            await srv.reload()
            assert srv.active == 1
            with BareClient(srv.endps[0]) as another:
                assert await another.hear(2) == b"hi"


# A listener that breaks ---------------------------------------------------------------------------


def shared_listener():
    """A listening socket as a supervisor would hand it over, and its address."""
    sock = socket.create_server(("127.0.0.1", 0))
    return sock, endp.TCP(*sock.getsockname())


async def test_listener_shut_down_elsewhere_makes_serve_raise(caplog):
    sock, where = shared_listener()
    with sock:
        mode = server.ListeningSocket(os.dup(sock.fileno()))
        serving = asyncio.create_task(conduit.serve(mode, greet))
        with BareClient(where) as client:
            assert await client.hear(2) == b"hi"
            sock.shutdown(socket.SHUT_RDWR)
            # Those who are served already may end in peace.
            client.end()
            assert await client.hear_all() == b""
        with pytest.raises(OSError, match="Invalid argument") as caught:
            await serving
    assert caught.value.errno == errno.EINVAL
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1


async def test_listener_shut_down_elsewhere_makes_the_block_raise_at_its_end():
    sock, where = shared_listener()
    mode = server.ListeningSocket(os.dup(sock.fileno()))
    ends: list[Any] = []

    async def block():
        async with conduit.listen(mode, greet, drain=0.01):
            with BareClient(where) as client:
                assert await client.hear(2) == b"hi"
                sock.shutdown(socket.SHUT_RDWR)
                assert await client.gone()
            ends.append("the block went on")

    with sock, pytest.raises(OSError, match="Invalid argument"):
        await block()
    assert ends == ["the block went on"]


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_listener_closed_elsewhere_does_not_hinder_the_end(way):
    sock, where = shared_listener()
    descriptor = sock.detach()
    stop = asyncio.Event()
    stay = Stay()
    mode = server.ListeningSocket(descriptor)
    serving = asyncio.create_task(conduit.serve(mode, stay, stop=stop, drain=0.01))
    with BareClient(where) as client:
        assert await client.hear(2) == b"hi"
        os.close(descriptor)
        if way == "stop":
            stop.set()
        else:
            serving.cancel()
        with pytest.raises(OSError if way == "stop" else asyncio.CancelledError):
            await serving
        assert stay.cancelled == 1
        assert await client.gone()


# Forks --------------------------------------------------------------------------------------------

FORK = """
    import asyncio, os, sys
    import conduit
    from conduit import server

    path = sys.argv[1]

    async def greet(f, ic, oc):
        oc.write(b"hi")

    async def main():
        ctx = await conduit.init()
        async with conduit.listen(server.UnixDomainSocket(path), greet, ctx=ctx) as srv:
            child = os.fork()
            if not child:
                try:
                    await in_child(ctx, srv)
                except BaseException as error:
                    print("child:", type(error).__name__, error, flush=True)
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            f, ic, oc = await conduit.connect(conduit.client.UnixDomainSocket(path))
            print("parent:", (await ic.read()).decode(), flush=True)
            await oc.close()
        print("parent: path is there:", os.path.exists(path), flush=True)

    async def in_child(ctx, srv):
        %s

    conduit.run(main)
"""


def run_forked(what: str, path: str, loop: str) -> list[str]:
    """Run `what` in a child that was forked inside a listen block; what both printed."""
    with ChildProgram(FORK % what, path, loop=loop) as program:
        status, printed, complaints = program.end()
    assert status == 0, complaints
    return printed.splitlines()


PARENT_IS_WELL = ["parent: hi", "parent: path is there: False"]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "what",
    [
        "await srv.stop()",
        "await srv.reload()",
        "await conduit.connect(conduit.client.UnixDomainSocket(path), ctx=ctx)",
        "await conduit.serve(server.TCP(0), greet, ctx=ctx)",
        "conduit.listen(server.TCP(0), greet, ctx=ctx)",
    ],
)
def test_forked_child_can_use_neither_server_nor_context(what, loop, socket_path):
    child, *parent = run_forked(what, socket_path, loop)
    assert child.startswith("child: RuntimeError ")
    assert "process" in child
    assert parent == PARENT_IS_WELL


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("error", ["None, None, None", "OSError, OSError('mine'), None"])
def test_block_that_a_forked_child_leaves_does_not_touch_the_parents_server(
    error, loop, socket_path
):
    what = f"await conduit._serve.Listening(srv).__aexit__({error})"
    *child, hello, path = run_forked(what, socket_path, loop)
    assert all("RuntimeError" in line for line in child)
    assert [hello, path] == PARENT_IS_WELL


FORK_ANEW = """
    import asyncio, os, sys
    import conduit
    from conduit import client, server

    path = sys.argv[1]

    async def greet(f, ic, oc):
        oc.write(b"hi")

    async def main():
        async with conduit.listen(server.UnixDomainSocket(path), greet) as srv:
            f, ic, oc = await conduit.connect(srv.endps[0])
            print((await ic.read()).decode(), flush=True)
            await oc.close()

    conduit.run(main)
    before = conduit.default_ctx()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        assert conduit.default_ctx() is before
    else:
        assert conduit.default_ctx() is not before
        assert conduit.default_ctx() is conduit.default_ctx()
        conduit.run(main)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_default_context_works_in_a_forked_child(loop, socket_path):
    with ChildProgram(FORK_ANEW, socket_path, loop=loop) as program:
        status, printed, complaints = program.end()
    assert (status, printed.split()) == (0, ["hi", "hi"]), complaints


async def test_dropping_a_running_server_from_view_does_not_end_it():
    endps: list[Any] = []

    async def block():
        async with conduit.listen(LOOPBACK, greet) as srv:
            endps.extend(srv.endps)
            del srv
            await asyncio.Event().wait()

    running = asyncio.create_task(block())
    await until(lambda: bool(endps))
    with BareClient(endps[0]) as client:
        assert await client.hear(2) == b"hi"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
