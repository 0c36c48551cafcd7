"""Places, and set_max_active: one limit for all servers of the process."""

from __future__ import annotations

import asyncio
import select
import threading
from typing import Any

import pytest
import uvloop

import conduit
from conduit import events, server
from conduit._places import Places
from tests.bare_client import BareClient
from tests.child_program import LOOPS, ChildProgram
from tests.event_log import EventLog

LOOPBACK = server.TCP(0, ip="127.0.0.1")


@pytest.fixture(autouse=True)
def _no_process_limit():
    yield
    conduit.set_max_active(None)


async def greet(f, ic, oc):
    """Say hello, and stay until the client leaves."""
    oc.write(b"hi")
    await ic.read()


class Waker:
    """What waits for a place, and counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1


# Places -------------------------------------------------------------------------------------------


def test_places_run_out_and_come_back():
    places, wake = Places(2), Waker()
    assert places.take(wake)
    assert places.take(wake)
    assert not places.take(wake)
    places.give()
    assert wake.calls == 1
    assert places.take(wake)


def test_without_a_limit_there_is_always_a_place():
    places, wake = Places(), Waker()
    assert all(places.take(wake) for _ in range(10_000))


def test_who_found_a_place_is_called_no_more():
    places, wake = Places(1), Waker()
    assert places.take(wake)
    places.give()
    assert wake.calls == 0


def test_all_who_wait_are_called_until_they_had_a_place():
    """The first one called may have no client to give the place to."""
    places, holder, first, second = Places(1), Waker(), Waker(), Waker()
    assert places.take(holder)
    assert not places.take(first)
    assert not places.take(second)
    places.give()
    assert (first.calls, second.calls) == (1, 1)
    assert places.take(first)
    places.give()
    assert (first.calls, second.calls) == (1, 2)


def test_who_is_forgotten_is_not_called():
    places, wake = Places(1), Waker()
    assert places.take(Waker())
    assert not places.take(wake)
    places.forget(wake)
    places.forget(wake)
    places.give()
    assert wake.calls == 0


def test_higher_limit_calls_those_who_wait():
    places, wake = Places(1), Waker()
    assert places.take(wake)
    assert not places.take(wake)
    places.set_limit(1)
    assert wake.calls == 0
    places.set_limit(2)
    assert wake.calls == 1
    assert places.take(wake)
    places.set_limit(None)
    assert places.take(wake)


def test_lower_limit_leaves_those_who_have_a_place():
    places, wake = Places(3), Waker()
    assert all(places.take(wake) for _ in range(3))
    places.set_limit(1)
    places.give()
    places.give()
    assert not places.take(wake)
    assert wake.calls == 0
    places.give()
    assert wake.calls == 1
    assert places.take(wake)


def test_places_are_counted_rightly_by_many_threads():
    places = Places(1_000_000)

    def work():
        for _ in range(2000):
            assert places.take(work)
            places.give()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    places.set_limit(1)
    assert places.take(work)
    assert not places.take(work)


# set_max_active -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, -1])
def test_limit_under_which_nothing_could_be_served_is_refused(n):
    with pytest.raises(ValueError, match=rf"^max_active is {n}: .*at least 1.*None"):
        conduit.set_max_active(n)


async def test_idle_listeners_count_for_nothing():
    conduit.set_max_active(1)
    async with (
        conduit.listen(LOOPBACK, greet) as one,
        conduit.listen(LOOPBACK, greet) as two,
        conduit.listen(LOOPBACK, greet) as three,
    ):
        for srv in (two, three, one, two):
            with BareClient(srv.endps[0]) as client:
                assert await client.hear(2) == b"hi"
                client.end()
                assert await client.hear_all() == b""


async def test_limit_is_for_all_servers_together():
    conduit.set_max_active(2)
    with EventLog() as log:
        async with (
            conduit.listen(LOOPBACK, greet) as one,
            conduit.listen(LOOPBACK, greet) as two,
        ):
            with BareClient(one.endps[0]) as first, BareClient(two.endps[0]) as second:
                assert await first.hear(2) + await second.hear(2) == b"hihi"
                with BareClient(one.endps[0]) as third:
                    await log.wait(events.Throttled)
                    assert one.active + two.active == 2
                    # A place that is given back in one server is taken in the other.
                    second.close()
                    assert await third.hear(2) == b"hi"


async def test_none_lifts_the_limit_and_those_who_wait_are_served():
    conduit.set_max_active(1)
    with EventLog() as log:
        async with conduit.listen(LOOPBACK, greet) as srv:
            clients = [BareClient(srv.endps[0]) for _ in range(10)]
            await log.wait(events.Throttled)
            assert srv.active == 1
            conduit.set_max_active(None)
            for client in clients:
                assert await client.hear(2) == b"hi"
            assert srv.active == 10
            for client in clients:
                client.close()


async def test_higher_limit_lets_as_many_more_in():
    conduit.set_max_active(1)
    with EventLog() as log:
        async with conduit.listen(LOOPBACK, greet) as srv:
            clients = [BareClient(srv.endps[0]) for _ in range(5)]
            await log.wait(events.Throttled)
            conduit.set_max_active(3)
            for client in clients[:3]:
                assert await client.hear(2) == b"hi"
            await log.wait(events.Throttled, 2)
            assert srv.active == 3
            conduit.set_max_active(None)
            for client in clients[3:]:
                assert await client.hear(2) == b"hi"
            for client in clients:
                client.close()


async def test_lower_limit_leaves_open_connections_alone():
    async with conduit.listen(LOOPBACK, greet) as srv:
        with BareClient(srv.endps[0]) as one, BareClient(srv.endps[0]) as two:
            assert await one.hear(2) + await two.hear(2) == b"hihi"
            conduit.set_max_active(1)
            for client in (one, two):
                client.end()
                assert await client.hear_all() == b""
        with BareClient(srv.endps[0]) as client:
            assert await client.hear(2) == b"hi"


@pytest.mark.parametrize(("own", "of_all"), [(1, 2), (2, 1)])
async def test_own_limit_of_a_server_holds_as_well(own, of_all):
    conduit.set_max_active(of_all)
    with EventLog() as log:
        async with conduit.listen(LOOPBACK, greet, max_active=own) as srv:
            with BareClient(srv.endps[0]) as one, BareClient(srv.endps[0]) as two:
                assert await one.hear(2) == b"hi"
                await log.wait(events.Throttled)
                assert srv.active == 1
                one.close()
                assert await two.hear(2) == b"hi"


async def test_of_two_busy_servers_neither_starves():
    conduit.set_max_active(1)
    order: list[Any] = []

    def noting(name):
        async def handler(f, ic, oc):
            order.append(name)
            await ic.read()

        return handler

    with EventLog() as log:
        async with (
            conduit.listen(LOOPBACK, noting("one")) as one,
            conduit.listen(LOOPBACK, noting("two")) as two,
        ):
            clients = [BareClient(one.endps[0]) for _ in range(20)]
            await log.wait(events.Throttled)
            clients += [BareClient(two.endps[0]) for _ in range(20)]
            await log.wait(events.Throttled, 2)
            for client in clients:
                client.close()
            await log.wait(events.Closed, 40)
    # It need not be strictly in turn, but nobody waits for the other's whole queue.
    assert 7 <= order[:20].count("two") <= 13


async def test_stopped_server_gives_all_its_places_back():
    conduit.set_max_active(3)
    async with conduit.listen(LOOPBACK, greet, drain=0) as srv:
        clients = [BareClient(srv.endps[0]) for _ in range(5)]
        assert await clients[0].hear(2) == b"hi"
    for client in clients:
        client.close()
    async with conduit.listen(LOOPBACK, greet) as srv:
        clients = [BareClient(srv.endps[0]) for _ in range(3)]
        for client in clients:
            assert await client.hear(2) == b"hi"
        for client in clients:
            client.close()


async def test_wake_from_another_thread_may_come_when_the_server_is_over():
    conduit.set_max_active(1)
    with EventLog() as log:
        async with (
            conduit.listen(LOOPBACK, greet) as busy,
            conduit.listen(LOOPBACK, greet) as srv,
        ):
            with BareClient(busy.endps[0]) as first, BareClient(srv.endps[0]) as second:
                assert await first.hear(2) == b"hi"
                await log.wait(events.Throttled)
                # The loop does not turn meanwhile, so its call is still to come.
                thread = threading.Thread(target=conduit.set_max_active, args=(2,))
                thread.start()
                thread.join()
                stopping = asyncio.create_task(srv.stop())
                assert await second.hear(2) == b"hi"
                second.close()
                await stopping
                first.close()


class ServerThread:
    """A server on a loop of its own in a thread of its own."""

    def __init__(self, new_loop):
        self._new_loop = new_loop
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self):
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            runner.run(self._serve())

    async def _serve(self):
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with conduit.listen(LOOPBACK, greet) as srv:
            self.endp = srv.endps[0]
            self._ready.set()
            await self._stop.wait()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=LOOPS)
def test_limit_is_for_all_threads_together(new_loop):
    throttled = threading.Event()

    def note(event):
        if isinstance(event, events.Throttled):
            throttled.set()

    with events.subscribe(note), ServerThread(new_loop) as one, ServerThread(new_loop) as two:
        conduit.set_max_active(1)
        for here, there in ((one, two), (two, one)):
            throttled.clear()
            with BareClient(here.endp) as first, BareClient(there.endp) as second:
                first.socket.settimeout(10)
                second.socket.settimeout(10)
                # Whichever server was the quicker, the other one's client waits for it.
                assert throttled.wait(10)
                heard = select.select([first.socket, second.socket], [], [], 10)[0]
                quick, slow = (first, second) if first.socket in heard else (second, first)
                assert quick.socket.recv(2) == b"hi"
                assert not select.select([slow.socket], [], [], 0)[0]
                quick.close()
                assert slow.socket.recv(2) == b"hi"
                # And lifted from here, a thread that has no loop.
                throttled.clear()
                with BareClient(here.endp) as third:
                    third.socket.settimeout(10)
                    assert throttled.wait(10)
                    conduit.set_max_active(None)
                    assert third.socket.recv(2) == b"hi"
                conduit.set_max_active(1)


FORK = """
    import asyncio, os, sys
    import conduit
    from conduit import server

    async def greet(f, ic, oc):
        oc.write(b"hi")
        await ic.read()

    async def visit():
        async with conduit.listen(server.TCP(0, ip="127.0.0.1"), greet) as srv:
            async with conduit.connect(srv.endps[0]) as (f, ic, oc):
                print((await ic.readexactly(2)).decode(), flush=True)
                child = os.fork()
                if not child:
                    # The loop of the parent is not the child's: leave it at once.
                    return os._exit(run_in_thread())
                assert os.waitpid(child, 0)[1] == 0

    def run_in_thread():
        import threading
        failures = []

        def work():
            try:
                asyncio.run(child())
            except BaseException as error:
                failures.append(error)
                print("child:", repr(error), file=sys.stderr, flush=True)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return len(failures)

    async def child():
        async with conduit.listen(server.TCP(0, ip="127.0.0.1"), greet) as srv:
            async with conduit.connect(srv.endps[0]) as (f, ic, oc):
                print((await asyncio.wait_for(ic.readexactly(2), 10)).decode(), flush=True)

    conduit.set_max_active(1)
    conduit.run(visit)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_of_the_parent_hold_no_place_in_a_forked_child(loop):
    with ChildProgram(FORK, loop=loop) as program:
        status, printed, complaints = program.end()
    assert (status, printed.split()) == (0, ["hi", "hi"]), complaints
