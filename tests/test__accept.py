"""Accepting: limits, and what happens when accept fails."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import select
import time
from typing import Any

import pytest

import conduit
from conduit import _accept, events, server
from tests.bare_client import BareClient
from tests.event_log import EventLog, until
from tests.odd_transports import failing

LOOPBACK = server.TCP(0, ip="127.0.0.1")


@pytest.fixture(autouse=True)
def _no_process_limit():
    yield
    conduit.set_max_active(None)


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
        try:
            oc.write(b"hi")
            await ic.read()
        finally:
            self.inside -= 1


def has_heard(client: BareClient) -> bool:
    """Whether anything has come for it so far."""
    return bool(select.select([client.socket], [], [], 0)[0])


# max_active ---------------------------------------------------------------------------------------


async def test_further_clients_wait_until_one_leaves():
    hall = Hall()
    with EventLog() as log:
        async with conduit.listen(LOOPBACK, hall, max_active=5) as srv:
            inside = [BareClient(srv.endps[0]) for _ in range(5)]
            for client in inside:
                assert await client.hear(2) == b"hi"
            waiting = [BareClient(srv.endps[0]) for _ in range(3)]
            await log.wait(events.Throttled)
            for left, client in enumerate(waiting, 1):
                assert hall.served == 4 + left
                assert not any(has_heard(one) for one in waiting[left - 1 :])
                inside.pop().close()
                # In the order they came.
                assert await client.hear(2) == b"hi"
            assert srv.active == 5
            for client in inside + waiting:
                client.close()
    assert (hall.served, hall.most) == (8, 5)


async def test_limit_holds_in_a_rush():
    hall = Hall()

    async def visit(where):
        with BareClient(where) as client:
            assert await client.hear(2) == b"hi"
            client.end()
            assert await client.hear_all() == b""

    async with conduit.listen(LOOPBACK, hall, max_active=3) as srv:
        await asyncio.gather(*(visit(srv.endps[0]) for _ in range(100)))
    assert (hall.served, hall.most) == (100, 3)


async def test_place_is_held_until_the_flow_is_closed_not_only_until_the_handler_returns():
    """Else the descriptors of flows that linger would be beyond the limit."""
    served = 0

    async def bye(f, ic, oc):
        nonlocal served
        served += 1
        oc.write(b"bye")

    with EventLog() as log:
        async with conduit.listen(LOOPBACK, bye, max_active=1) as srv:
            with BareClient(srv.endps[0]) as first, BareClient(srv.endps[0]) as second:
                assert await first.hear_all() == b"bye"
                await log.wait(events.Throttled)
                assert served == 1
                first.close()
                assert await second.hear_all() == b"bye"


async def test_limit_is_for_all_listeners_of_a_server_together():
    hall = Hall()
    ctx = await conduit.init(src=["127.0.0.1", "::1"])
    with EventLog() as log:
        async with conduit.listen(server.TCP(0), hall, ctx=ctx, max_active=1) as srv:
            one, two = srv.endps
            with BareClient(one) as first, BareClient(two) as second:
                assert await first.hear(2) == b"hi"
                (throttled,) = await log.wait(events.Throttled)
                assert throttled.listener == two
                assert not has_heard(second)
                first.close()
                assert await second.hear(2) == b"hi"
    assert hall.most == 1


async def test_limits_of_two_servers_are_their_own():
    hall = Hall()
    async with (
        conduit.listen(LOOPBACK, hall, max_active=1) as one,
        conduit.listen(LOOPBACK, hall, max_active=1) as two,
    ):
        with BareClient(one.endps[0]) as first, BareClient(two.endps[0]) as second:
            assert await first.hear(2) == b"hi"
            assert await second.hear(2) == b"hi"


async def test_failed_handlers_give_their_places_back():
    async def fail(f, ic, oc):
        raise LookupError

    told: list[Any] = []
    async with conduit.listen(LOOPBACK, fail, max_active=2, on_exn=told.append) as srv:
        for _ in range(10):
            with BareClient(srv.endps[0]) as client:
                assert await client.hear_all() == b""
    assert len(told) == 10


async def test_throttling_is_told_once_for_each_time():
    with EventLog() as log:
        async with conduit.listen(LOOPBACK, Hall(), max_active=1) as srv:
            clients = [BareClient(srv.endps[0]) for _ in range(3)]
            for number, client in enumerate(clients[:2], 1):
                assert await client.hear(2) == b"hi"
                assert len(await log.wait(events.Throttled, number)) == number
                client.close()
            assert await clients[2].hear(2) == b"hi"
            clients[2].close()
    assert set(log.of(events.Throttled)) == {events.Throttled(srv.endps[0], "max_active")}
    # After the last one nobody waits: whether that is told is a matter of taste.
    assert len(log.of(events.Throttled)) in (2, 3)


async def test_listener_that_was_woken_in_vain_tells_nothing_new():
    """The place that is given back goes to one of those who wait; the others wait as before."""
    conduit.set_max_active(1)
    with EventLog() as log:
        async with (
            conduit.listen(LOOPBACK, Hall()) as one,
            conduit.listen(LOOPBACK, Hall()) as two,
            conduit.listen(LOOPBACK, Hall()) as three,
        ):
            with BareClient(one.endps[0]) as first:
                assert await first.hear(2) == b"hi"
                waiting = [BareClient(srv.endps[0]) for srv in (two, three)]
                await log.wait(events.Throttled, 2)
                first.close()
                for client in waiting:
                    assert await client.hear(2) == b"hi"
                    told = [event.listener for event in log.of(events.Throttled)]
                    assert sorted(told, key=str) == sorted(two.endps + three.endps, key=str)
                    client.close()


@pytest.mark.parametrize("whose", ["of the server", "of the process"])
async def test_throttled_listener_does_not_spin(whose):
    hall = Hall()
    if whose == "of the process":
        conduit.set_max_active(1)
    limit = 1 if whose == "of the server" else None
    ctx = await conduit.init(src=["127.0.0.1", "::1"])
    with EventLog() as log:
        async with conduit.listen(server.TCP(0), hall, ctx=ctx, max_active=limit) as srv:
            with BareClient(srv.endps[0]) as first:
                assert await first.hear(2) == b"hi"
                waiting = [BareClient(one) for one in srv.endps for _ in range(10)]
                await log.wait(events.Throttled, 2)
                start, cpu = time.monotonic(), time.process_time()
                await asyncio.sleep(0.5)
                elapsed = time.monotonic() - start
                assert time.process_time() - cpu < 0.1 * elapsed
                assert hall.served == 1
            for client in waiting:
                client.close()


# When accept fails --------------------------------------------------------------------------------


def out_of(*numbers: int) -> list[OSError]:
    return [OSError(number, "as the kernel says") for number in numbers]


SHORTAGES = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM]
CLIENT_GONE = [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ETIMEDOUT]


async def test_shortage_is_a_pause_a_line_in_the_log_and_an_event(caplog, monkeypatch):
    monkeypatch.setattr(_accept, "_last_log", -math.inf)
    mode = failing(out_of(*SHORTAGES))
    with EventLog() as log:
        async with conduit.listen(mode, Hall()) as srv:
            with BareClient(srv.endps[0]) as client:
                assert await client.hear(2) == b"hi"
    assert [event.reason for event in log.of(events.Throttled)] == [
        "EMFILE",
        "ENFILE",
        "ENOBUFS",
        "ENOMEM",
    ]
    pauses = [later - sooner for sooner, later in zip(mode.calls[:4], mode.calls[1:5], strict=True)]
    assert min(pauses) > 0.09
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    # Four within half a second, unless this machine stood still in between.
    assert len(records) == 1 if mode.calls[4] - mode.calls[0] < 1 else len(records) >= 1
    assert "EMFILE" in records[0].message
    assert str(srv.endps[0]) in records[0].message


async def test_one_line_a_second_is_for_all_servers(caplog, monkeypatch):
    monkeypatch.setattr(_accept, "_last_log", -math.inf)
    began = time.monotonic()
    async with (
        conduit.listen(failing(out_of(errno.EMFILE)), Hall()) as one,
        conduit.listen(failing(out_of(errno.EMFILE)), Hall()) as two,
    ):
        with BareClient(one.endps[0]) as first, BareClient(two.endps[0]) as second:
            assert await first.hear(2) == b"hi"
            assert await second.hear(2) == b"hi"
    if time.monotonic() - began < 1:
        assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1


async def test_client_that_left_before_it_was_accepted_is_no_matter(caplog):
    mode = failing(out_of(*CLIENT_GONE))
    with EventLog() as log:
        async with conduit.listen(mode, Hall()) as srv:
            with BareClient(srv.endps[0]) as client:
                assert await client.hear(2) == b"hi"
    assert mode.calls[len(CLIENT_GONE)] - mode.calls[0] < 0.09
    assert not log.of(events.Throttled)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("places", [None, 1])
async def test_client_that_left_before_it_was_accepted_costs_no_other_its_turn_at_a_stop(places):
    """At a stop there is one chance to accept those who wait."""
    mode = failing([])
    hall = Hall()
    async with conduit.listen(mode, hall, max_active=places) as srv:
        with BareClient(srv.endps[0]) as first:
            assert await first.hear(2) == b"hi"
            with BareClient(srv.endps[0]) as second, BareClient(srv.endps[0]) as third:
                mode.errors.extend(out_of(*CLIENT_GONE))
                stopping = asyncio.create_task(srv.stop(drain=5))
                first.close()
                for client in (second, third):
                    assert await client.hear(2) == b"hi"
                    client.close()
                await stopping


@pytest.mark.parametrize(
    "errors",
    [[BlockingIOError()] * 3, [InterruptedError()] * 3, out_of(*CLIENT_GONE, errno.EMFILE)],
    ids=["EAGAIN", "EINTR", "others"],
)
async def test_accept_that_fails_gives_its_places_back(errors):
    conduit.set_max_active(1)
    hall = Hall()
    async with conduit.listen(failing(errors), hall, max_active=1) as srv:
        for _ in range(3):
            with BareClient(srv.endps[0]) as client:
                assert await client.hear(2) == b"hi"
                client.end()
                assert await client.hear_all() == b""
    assert hall.served == 3


async def test_stop_in_a_shortage_is_seen():
    mode = failing(out_of(*[errno.EMFILE] * 1000))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with EventLog() as log:
        async with conduit.listen(mode, Hall(), stop=stop) as srv:
            with BareClient(srv.endps[0]) as client:
                await log.wait(events.Throttled)
                before = loop.time()
                stop.set()
                await srv.stop()
                assert loop.time() - before < 1
                assert await client.gone()
                calls = len(mode.calls)
    # No timer goes on after the end.
    await asyncio.sleep(0.15)
    assert len(mode.calls) == calls


async def test_any_other_failure_ends_the_server_and_lets_handlers_end(caplog):
    mode = failing([])
    hall = Hall()

    async def block():
        async with conduit.listen(mode, hall) as srv:
            with BareClient(srv.endps[0]) as first:
                assert await first.hear(2) == b"hi"
                mode.errors.extend(out_of(errno.EBADF))
                with BareClient(srv.endps[0]) as second:
                    await until(lambda: not mode.errors)
                    assert hall.inside == 1
                    first.end()
                    assert await first.hear_all() == b""
                    # The failure took nobody along who could still be accepted.
                    assert await second.hear(2) == b"hi"

    with pytest.raises(OSError, match="as the kernel says") as caught:
        await block()
    assert caught.value.errno == errno.EBADF
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "as the kernel says" in record.message


# Many at once -------------------------------------------------------------------------------------


async def test_rush_does_not_keep_the_loop_from_its_other_work():
    """Those who came first are served while the kernel's queue is still being emptied."""
    order: list[Any] = []

    async def note(f, ic, oc):
        order.append("handler")

    mode = failing([])
    async with conduit.listen(mode, note) as srv:
        clients = [BareClient(srv.endps[0]) for _ in range(500)]
        await until(lambda: "handler" in order)
        assert len(mode.calls) < 400
        await until(lambda: len(order) == 500)
        for client in clients:
            client.close()
