"""What systemd is told, on a real socket as its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

import conduit
from conduit import _notify, server, transports
from conduit._notify import Notifier
from tests.child_program import LOOPS, ChildProgram

LOOPBACK = server.TCP(0, ip="127.0.0.1")
EACH_LOOP = pytest.mark.parametrize("loop", LOOPS)


async def greet(f, ic, oc):
    oc.write(b"hi")


class Supervisor:
    """The socket that is told, at a path or an abstract name."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(20)

    def hears(self) -> str:
        """The next message, but for those of the watchdog."""
        while (message := self.hears_any()) == "WATCHDOG=1":
            pass
        return message

    def hears_any(self) -> str:
        return self.socket.recv(4096).decode()

    def has_heard(self) -> list[str]:
        """All that waits now."""
        self.socket.setblocking(False)
        heard = []
        try:
            while True:
                heard.append(self.hears_any())
        except BlockingIOError:
            return heard
        finally:
            self.socket.settimeout(20)


@pytest.fixture(params=["path", "abstract"])
def supervisor(request, socket_path) -> Iterator[Supervisor]:
    supervisor = Supervisor(f"@{socket_path}" if request.param == "abstract" else socket_path)
    with supervisor.socket:
        yield supervisor


@pytest.fixture
def supervised(supervisor: Supervisor, monkeypatch) -> Supervisor:
    """This process is told to tell."""
    monkeypatch.setattr(_notify, "_notifier", None)
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.address)
    return supervisor


async def turns(count=3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# What servers tell --------------------------------------------------------------------------------


async def test_ready_when_it_listens_and_stopping_when_it_drains(supervised):
    release = asyncio.Event()

    async def hold(f, ic, oc):
        oc.write(b"hi")
        await release.wait()

    stop = asyncio.Event()
    async with conduit.listen(LOOPBACK, hold, stop=stop) as srv:
        assert "NOTIFY_SOCKET" not in os.environ
        await turns()
        assert supervised.has_heard() == ["READY=1"]
        async with conduit.connect(srv.endps[0]) as (_, ic, _):
            assert await ic.read(2) == b"hi"
            assert supervised.has_heard() == []
            stop.set()
            await turns()
            assert supervised.has_heard() == ["STOPPING=1"]
            assert srv.active
            release.set()
    assert supervised.has_heard() == []


async def test_serve_tells_it_too(supervised):
    stop = asyncio.Event()
    serving = asyncio.create_task(conduit.serve(LOOPBACK, greet, stop=stop))
    assert await asyncio.to_thread(supervised.hears) == "READY=1"
    stop.set()
    await serving
    assert supervised.has_heard() == ["STOPPING=1"]


class Slow:
    """A way to be reached that takes its time to listen."""

    def __init__(self) -> None:
        self.may_listen = asyncio.Event()


class SlowTransport:
    async def connect(self, *args):
        raise NotImplementedError

    async def listen(self, mode, ctx, options):
        await mode.may_listen.wait()
        return await transports.listen(LOOPBACK, ctx, options)


transports.register(Slow, SlowTransport())


async def test_several_servers_are_one_program(supervised):
    """Ready when all have begun that were started together, stopping when the last stops."""
    one, two = asyncio.Event(), asyncio.Event()
    slow: Any = Slow()
    serving = asyncio.gather(
        conduit.serve(LOOPBACK, greet, stop=one), conduit.serve(slow, greet, stop=two)
    )
    await turns(10)
    assert supervised.has_heard() == []
    slow.may_listen.set()
    await turns(10)
    assert supervised.has_heard() == ["READY=1"]
    one.set()
    await turns(10)
    assert supervised.has_heard() == []
    two.set()
    await serving
    assert supervised.has_heard() == ["STOPPING=1"]


async def serve_both(outer, inner) -> None:
    async with conduit.listen(outer, greet), conduit.listen(inner, greet):
        pytest.fail("listening")


async def test_server_that_cannot_listen_is_not_ready(supervised):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        mode = server.TCP(taken.getsockname()[1], ip="127.0.0.1")
        with pytest.raises(OSError, match="cannot listen"):
            await conduit.serve(mode, greet)
        await turns()
        assert supervised.has_heard() == []
        # Nor is the program, that had begun with another one.
        with pytest.raises(OSError, match="cannot listen"):
            await serve_both(LOOPBACK, mode)
        await turns()
        assert supervised.has_heard() == []
    # It does not speak against one that can.
    async with conduit.listen(LOOPBACK, greet):
        await turns()
        assert supervised.has_heard() == ["READY=1"]


async def test_reload_is_told_with_its_time(supervised):
    async with conduit.listen(LOOPBACK, greet) as srv:
        await turns()
        assert supervised.has_heard() == ["READY=1"]
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        await srv.reload()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        reloading, ready = supervised.has_heard()
        assert ready == "READY=1"
        first, second = reloading.splitlines()
        assert first == "RELOADING=1"
        assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= after


async def test_reloads_at_the_same_time_are_one(supervised):
    async with conduit.listen(LOOPBACK, greet):
        await turns()
        supervised.has_heard()
        notifier = _notify.notifier()
        with notifier.reload():
            with notifier.reload():
                pass
            assert [one.partition("\n")[0] for one in supervised.has_heard()] == ["RELOADING=1"]
        assert supervised.has_heard() == ["READY=1"]
        with notifier.reload():
            pass
        assert len(supervised.has_heard()) == 2
    supervised.has_heard()
    with notifier.reload():
        pass
    assert supervised.has_heard() == []  # it is stopping


async def test_without_a_supervisor_nothing_is_sent(monkeypatch):
    monkeypatch.setattr(_notify, "_notifier", None)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setattr(Notifier, "_sent", lambda *args: pytest.fail("something was sent"))
    async with conduit.listen(LOOPBACK, greet) as srv:
        await turns()
        await srv.reload()
    assert not _notify.notifier().is_heard


@pytest.mark.parametrize("where", ["vsock:2:1234", "relative", "unix:/run/x"])
async def test_socket_of_another_kind_is_told_of_and_left_alone(where, monkeypatch, caplog):
    monkeypatch.setattr(_notify, "_notifier", None)
    monkeypatch.setenv("NOTIFY_SOCKET", where)
    async with conduit.listen(LOOPBACK, greet):
        pass
    assert f"NOTIFY_SOCKET={where!r}" in caplog.text


async def test_supervisor_that_has_gone_costs_a_warning(supervised, caplog):
    supervised.socket.close()
    async with conduit.listen(LOOPBACK, greet) as srv:
        await turns()
        async with conduit.connect(srv.endps[0]) as (_, ic, _):
            assert await ic.read() == b"hi"
    assert "cannot tell systemd 'READY=1'" in caplog.text
    assert "cannot tell systemd 'STOPPING=1'" in caplog.text


async def test_when_its_queue_is_full_it_is_told_later(supervised):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        flood.connect(supervised.socket.getsockname())
        count = 0
        try:
            while True:
                flood.send(b"x")
                count += 1
        except BlockingIOError:
            pass
    async with conduit.listen(LOOPBACK, greet):
        await turns()
        assert supervised.has_heard() == ["x"] * count
        assert await asyncio.to_thread(supervised.hears) == "READY=1"


# The watchdog -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("3000000", "", 3.0),
        ("3000000", "mine", 3.0),
        ("3000000", "1", None),
        ("3000000", "x", None),
        ("0", "", None),
        ("", "", None),
        ("-5", "", None),
        ("1e3", "", None),
        ("1" * 5000, "", None),
    ],
)
def test_watchdog_of_the_environment(microseconds, pid, seconds):
    pid = str(os.getpid()) if pid == "mine" else pid
    assert _notify._watchdog(microseconds, pid) == seconds


async def test_watchdog_is_fed_at_half_its_time(supervised, monkeypatch):
    loop = asyncio.get_running_loop()
    asked = []
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setattr(
        Notifier, "_feed", lambda self, loop, seconds: asked.append((loop, seconds))
    )
    async with conduit.listen(LOOPBACK, greet):
        async with conduit.listen(LOOPBACK, greet):
            # One loop feeds it, however many servers there are.
            assert asked == [(loop, 60.0)]
    assert "WATCHDOG_USEC" not in os.environ


async def test_watchdog_is_fed_while_the_loop_turns_and_not_while_it_hangs(supervised):
    seconds = 0.1
    notifier = Notifier(
        "\0" + supervised.address[1:] if supervised.address[0] == "@" else supervised.address,
        seconds,
    )
    notifier.turn()
    notifier.turn()
    assert supervised.has_heard() == ["WATCHDOG=1"]
    moments = []
    for _ in range(3):
        assert await asyncio.to_thread(supervised.hears_any) == "WATCHDOG=1"
        moments.append(time.monotonic())
    assert moments[-1] - moments[0] > seconds / 2
    notifier._pid = 0  # as if in another process, where it falls silent
    supervised.has_heard()


def test_watchdog_goes_over_to_the_next_loop(supervised):
    notifier = Notifier(supervised.socket.getsockname(), 1000.0)

    async def turn():
        notifier.turn()

    asyncio.run(turn())
    asyncio.run(turn())
    assert supervised.has_heard() == ["WATCHDOG=1"] * 2


# Whole programs -----------------------------------------------------------------------------------

PROGRAM = """
    import asyncio, os, subprocess, sys
    import conduit

    async def handler(f, ic, oc):
        oc.write(b"hi")
        await ic.read()

    async def main():
        print(sorted(name for name in os.environ if name.startswith(("NOTIFY", "WATCHDOG"))))
        await conduit.serve("tcp://127.0.0.1:0", handler)
        print("served")

    conduit.run(main())
"""


@EACH_LOOP
def test_program_under_run(supervisor, loop, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.address)
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    with ChildProgram(PROGRAM, loop=loop) as program:
        assert supervisor.hears_any() == "WATCHDOG=1"  # before it listens
        assert supervisor.hears() == "READY=1"
        assert program.line() == "[]"
        assert [supervisor.hears_any() for _ in range(3)] == ["WATCHDOG=1"] * 3
        # Nothing to read again, but systemd waits to be told so.
        program.signal(signal.SIGHUP)
        assert supervisor.hears().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert supervisor.hears() == "READY=1"
        program.signal(signal.SIGTERM)
        assert supervisor.hears() == "STOPPING=1"
        assert program.end() == (0, "served\n", "")


@EACH_LOOP
def test_loop_that_hangs_does_not_feed_the_watchdog(supervisor, loop, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.address)
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    source = """
        import sys, conduit

        async def main():
            async def handler(f, ic, oc): pass
            async with conduit.listen("tcp://127.0.0.1:0", handler):
                print("hanging")
                sys.stdin.readline()
                print("over")

        conduit.run(main())
    """
    with ChildProgram(source, loop=loop) as program:
        assert program.line() == "hanging"
        supervisor.has_heard()
        supervisor.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            supervisor.hears_any()


@EACH_LOOP
def test_signal_to_reload_ends_a_program_that_is_not_supervised(loop, monkeypatch):
    """It is a terminal's, which has gone."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with ChildProgram(PROGRAM, loop=loop) as program:
        assert program.line() == "[]"
        program.signal(signal.SIGHUP)
        assert program.end()[0] == -signal.SIGHUP


@EACH_LOOP
def test_certificate_is_read_again_on_the_signal(supervisor, loop, monkeypatch, tmp_path):
    authority = conduit.testing.Authority()
    own = authority.issue("one.example").write(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.address)
    source = """
        import sys, conduit

        async def handler(f, ic, oc):
            pass

        async def main():
            mode = f"tls://127.0.0.1:0?crt={sys.argv[1]}&key={sys.argv[2]}"
            async with conduit.listen(mode, handler) as srv:
                print(srv.endps[0].port)
                await __import__("asyncio").Event().wait()

        conduit.run(main())
    """
    with ChildProgram(source, own.crt_file, own.key_file, loop=loop) as program:
        port = int(program.line())
        assert supervisor.hears() == "READY=1"

        async def connect(name: str) -> None:
            ctx = await conduit.init(tls_authenticator=conduit.trust.ca(authority.pem))
            async with conduit.connect(conduit.client.TLS(name, "127.0.0.1", port), ctx=ctx):
                pass

        asyncio.run(connect("one.example"))
        authority.issue("two.example").write(tmp_path)
        program.signal(signal.SIGHUP)
        assert supervisor.hears().startswith("RELOADING=1")
        assert supervisor.hears() == "READY=1"
        asyncio.run(connect("two.example"))
