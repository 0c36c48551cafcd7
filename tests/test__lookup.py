"""Lookups in threads: how many, in which order, and what becomes of those that nobody waits for."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from conduit import _lookup


class Resolver:
    """Stands for the system's, which holds up everybody until it is released."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.threads: set[threading.Thread] = set()
        self.release = threading.Event()
        self.busy = threading.Semaphore(0)

    def getaddrinfo(self, host, port, **options):
        self.asked.append(host)
        self.threads.add(threading.current_thread())
        self.busy.release()
        assert self.release.wait(30)
        if host == "unknown":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(host, port, options)]


@pytest.fixture
def resolver(monkeypatch) -> Iterator[Resolver]:
    resolver = Resolver()
    with monkeypatch.context() as patch:
        patch.setattr(_lookup, "_threads", _lookup._Threads())
        patch.setattr(_lookup, "_IDLE_SECONDS", 0.01)
        patch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
        yield resolver
        resolver.release.set()
        for thread in resolver.threads:
            thread.join(10)
            assert not thread.is_alive()


def asking(name: str) -> asyncio.Task:
    return asyncio.create_task(_lookup.getaddrinfo(name, 80))


async def busy(resolver: Resolver, count: int) -> None:
    """Wait until so many more lookups have begun."""
    for _ in range(count):
        assert await asyncio.to_thread(resolver.busy.acquire, timeout=10)


async def test_answer_and_failure_come_back(resolver):
    resolver.release.set()
    answers: list[Any] = await _lookup.getaddrinfo("db", 80, flags=socket.AI_PASSIVE)
    [answer] = answers
    assert answer == ("db", 80, {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE})
    with pytest.raises(socket.gaierror, match="not known"):
        await _lookup.getaddrinfo("unknown", 80)


async def test_it_is_the_systems():
    infos = await _lookup.getaddrinfo("127.0.0.1", 80)
    assert [info[4] for info in infos] == [("127.0.0.1", 80)]


async def test_the_loops_own_threads_stay_free(resolver):
    tasks = [asking(f"db{number}") for number in range(40)]
    await busy(resolver, 32)
    # Neither a 33rd lookup nor a wait for one: what the loop has threads for goes on.
    assert await asyncio.to_thread(lambda: "free") == "free"
    assert len(resolver.asked) == len(resolver.threads) == 32
    resolver.release.set()
    answers = await asyncio.gather(*tasks)
    assert [answer[0][0] for answer in answers] == [f"db{number}" for number in range(40)]
    assert len(resolver.threads) == 32


async def test_lookup_that_nobody_waits_for_is_never_begun(resolver):
    tasks = [asking(f"db{number}") for number in range(32)]
    await busy(resolver, 32)
    late = [asking("late") for _ in range(100)]
    wanted = asking("wanted")
    await asyncio.sleep(0)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    resolver.release.set()
    assert (await wanted)[0][0] == "wanted"
    await asyncio.gather(*tasks)
    assert "late" not in resolver.asked


async def test_answer_that_nobody_waits_for_is_dropped(resolver):
    task = asking("db")
    await busy(resolver, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    resolver.release.set()
    assert (await _lookup.getaddrinfo("next", 80))[0][0] == "next"


async def test_thread_is_used_again(resolver, monkeypatch):
    monkeypatch.setattr(_lookup, "_IDLE_SECONDS", 30.0)
    resolver.release.set()
    for number in range(20):
        await _lookup.getaddrinfo(f"db{number}", 80)
        while not _lookup._threads._idle:  # noqa: ASYNC110
            await asyncio.sleep(0)  # it has answered, and is on its way back
    assert len(resolver.threads) == 1
    # So that they end: they see it when they have waited on, after this one.
    monkeypatch.setattr(_lookup, "_IDLE_SECONDS", 0.0)
    for _ in resolver.threads:
        await _lookup.getaddrinfo("last", 80)


def test_answer_to_a_loop_that_has_ended_is_dropped(resolver):
    async def give_up():
        task = asking("db")
        await busy(resolver, 1)
        task.cancel()

    asyncio.run(give_up())
    resolver.release.set()
    [thread] = resolver.threads
    thread.join(10)
    assert not thread.is_alive()  # an error there would be a warning, and a warning is an error


async def test_no_thread_to_be_had_is_an_error_of_the_system(resolver, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(OSError, match="can't start new thread") as caught:
            await _lookup.getaddrinfo("db", 80)
    assert caught.value.errno == errno.EAGAIN
    resolver.release.set()
    assert (await _lookup.getaddrinfo("next", 80))[0][0] == "next"
    assert resolver.asked == ["next"]


async def test_no_further_thread_leaves_it_to_those_that_are(resolver, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    first = asking("first")
    await busy(resolver, 1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        second = asking("second")
        await asyncio.sleep(0)
    resolver.release.set()
    assert (await second)[0][0] == "second"
    assert (await first)[0][0] == "first"
    assert len(resolver.threads) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
async def test_forked_child_looks_up_by_itself(resolver):
    """Its parent's threads are not there, and may have held the lock."""
    tasks = [asking(f"db{number}") for number in range(32)]
    await busy(resolver, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads
        pid = os.fork()
    if not pid:
        try:
            resolver.release.set()
            with asyncio.Runner() as runner:
                runner.run(_lookup.getaddrinfo("child", 80))
            os._exit(0)
        finally:
            os._exit(2)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    resolver.release.set()
    await asyncio.gather(*tasks)
