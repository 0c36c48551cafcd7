"""conduit.run: the loop it takes, and what signals do."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time

import pytest

import conduit
from conduit import endp
from tests.bare_client import BareClient
from tests.child_program import LOOPS, ChildProgram

EACH_LOOP = pytest.mark.parametrize("loop", LOOPS)
EACH_SIGNAL = pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name
)

# What a program ends with when a signal has cancelled it: SystemExit(143), or KeyboardInterrupt,
# which Python turns back into the signal.
CANCELLED = {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: -signal.SIGINT}

BEGIN = """
import asyncio, sys
import conduit
from conduit import server

def say(*words):
    print(*words, flush=True)

async def greet(f, ic, oc):
    oc.write(b"hi")
    try:
        await ic.read()
        say("handler: client left")
    except asyncio.CancelledError:
        say("handler: cancelled")
        raise

LOOPBACK = server.TCP(0, ip="127.0.0.1")
"""


def program(main: str, loop: str) -> ChildProgram:
    return ChildProgram(BEGIN + main, loop=loop)


def connect(program: ChildProgram) -> BareClient:
    """A client of the server whose port the program says; it has been greeted."""
    client = BareClient(endp.TCP("127.0.0.1", int(program.line())))
    client.socket.settimeout(10)
    assert client.socket.recv(2) == b"hi"
    return client


# Without signals ----------------------------------------------------------------------------------


async def _answer():
    await asyncio.sleep(0)
    return 42


@pytest.mark.parametrize("main", [_answer, lambda: _answer()], ids=["function", "call"])
def test_returns_what_main_returns(main):
    assert conduit.run(main) == 42


def test_takes_a_coroutine():
    assert conduit.run(_answer()) == 42


def test_raises_what_main_raises():
    async def main():
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        conduit.run(main)


def test_main_that_cancels_itself_is_cancelled():
    async def main():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        conduit.run(main)


@pytest.mark.parametrize(
    ("loop", "module"), [("asyncio", "asyncio.unix_events"), ("uvloop", "uvloop")]
)
def test_uvloop_is_used_where_it_is_installed(loop, module):
    main = """
    async def main():
        print(type(asyncio.get_running_loop()).__module__)

    conduit.run(main)
    """
    with ChildProgram("import asyncio\nimport conduit\n" + strip(main), loop=loop) as child:
        assert child.end() == (0, f"{module}\n", "")


def strip(text: str) -> str:
    return "\n".join(line[4:] for line in text.splitlines())


def test_leaves_no_signal_handler_behind():
    before = {number: signal.getsignal(number) for number in CANCELLED}
    conduit.run(_answer)
    assert {number: signal.getsignal(number) for number in CANCELLED} == before


def test_works_in_a_thread_where_signals_cannot_be_handled():
    answers = []
    thread = threading.Thread(target=lambda: answers.append(conduit.run(_answer)))
    thread.start()
    thread.join()
    assert answers == [42]


async def test_inside_a_loop_it_is_refused():
    with pytest.raises(RuntimeError, match="running"):
        conduit.run(_answer)


# Signals ------------------------------------------------------------------------------------------

SERVE = """
async def main():
    import socket
    sock = socket.create_server(("127.0.0.1", 0))
    say(sock.getsockname()[1])
    await conduit.serve(server.TCP(server.Socket(sock)), greet)
    say("main: goes on")
    await asyncio.sleep(0)
    say("main: done")

conduit.run(main)
say("after run")
"""

LISTEN = """
async def main():
    async with conduit.listen(LOOPBACK, greet) as srv:
        say(srv.endps[0].port)
        try:
            await asyncio.Event().wait()
        finally:
            say("block: left")
    say("main: goes on")
    await asyncio.sleep(0)
    say("main: done")

conduit.run(main)
say("after run")
"""


@EACH_LOOP
@EACH_SIGNAL
def test_signal_stops_serve_in_its_orderly_way(number, loop):
    with program(SERVE, loop) as child, connect(child) as client:
        child.signal(number)
        assert has_stopped_listening(client)
        client.end()
        assert client.socket.recv(1) == b""
        status, printed, complaints = child.end()
    assert (status, complaints) == (0, "")
    assert printed.splitlines() == [
        "handler: client left",
        "main: goes on",
        "main: done",
        "after run",
    ]


@EACH_LOOP
@EACH_SIGNAL
def test_signal_leaves_the_block_of_listen_as_if_by_itself(number, loop):
    with program(LISTEN, loop) as child, connect(child) as client:
        child.signal(number)
        assert has_stopped_listening(client)
        client.end()
        status, printed, complaints = child.end()
    assert (status, complaints) == (0, "")
    assert printed.splitlines() == [
        "handler: client left",
        "block: left",
        "main: goes on",
        "main: done",
        "after run",
    ]


def has_stopped_listening(client: BareClient) -> bool:
    """Wait until the server that `client` is connected to does so; without connecting again."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(client.socket.getpeername())
            except OSError:
                continue
            return True
    return False


@EACH_LOOP
@EACH_SIGNAL
@pytest.mark.parametrize("main", [SERVE, LISTEN], ids=["serve", "listen"])
def test_second_signal_cancels_main(main, number, loop):
    with program(main, loop) as child, connect(child) as client:
        child.signal(signal.SIGTERM)
        assert has_stopped_listening(client)
        child.signal(number)
        status, printed, complaints = child.end()
    assert status == CANCELLED[number]
    assert "handler: cancelled" in printed
    assert "main: goes on" not in printed
    assert ("KeyboardInterrupt" in complaints) == (number == signal.SIGINT)


@EACH_LOOP
@EACH_SIGNAL
def test_signal_cancels_main_when_no_server_runs(number, loop):
    main = """
async def main():
    say("ready")
    try:
        await asyncio.Event().wait()
    finally:
        say("main: cleaned up")

conduit.run(main)
say("after run")
"""
    with program(main, loop) as child:
        assert child.line() == "ready"
        child.signal(number)
        status, printed, complaints = child.end()
    assert (status, printed) == (CANCELLED[number], "main: cleaned up\n")
    assert ("KeyboardInterrupt" in complaints) == (number == signal.SIGINT)


@EACH_LOOP
def test_signal_after_the_servers_have_stopped_cancels_main(loop):
    main = """
async def main():
    async with conduit.listen(LOOPBACK, greet):
        pass
    say("ready")
    await asyncio.Event().wait()

conduit.run(main)
"""
    with program(main, loop) as child:
        assert child.line() == "ready"
        child.signal(signal.SIGTERM)
        assert child.end()[:2] == (143, "")


@EACH_LOOP
def test_main_that_survives_its_cancellation_returns(loop):
    main = """
async def main():
    say("ready")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "survived"

say(conduit.run(main))
"""
    with program(main, loop) as child:
        assert child.line() == "ready"
        child.signal(signal.SIGTERM)
        assert child.end() == (0, "survived\n", "")


@EACH_LOOP
def test_signal_stops_every_server(loop):
    main = """
async def main():
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(block())
    say("main: done")

async def block():
    async with conduit.listen(LOOPBACK, greet) as srv:
        say(srv.endps[0].port)
        await asyncio.Event().wait()

conduit.run(main)
"""
    with program(main, loop) as child, connect(child) as one, connect(child) as two:
        child.signal(signal.SIGTERM)
        assert has_stopped_listening(one)
        assert has_stopped_listening(two)
        one.end()
        two.end()
        status, printed, complaints = child.end()
    assert (status, complaints) == (0, "")
    assert printed.splitlines() == ["handler: client left", "handler: client left", "main: done"]


NESTED = """
async def main():
    async with conduit.listen(LOOPBACK, greet) as outer:
        async with conduit.listen(LOOPBACK, greet) as inner:
            say(CHOSEN.endps[0].port)
            await asyncio.Event().wait()
        say("inner: left")
    say("outer: left")

conduit.run(main)
"""


@EACH_LOOP
@pytest.mark.parametrize("chosen", ["outer", "inner"])
def test_block_inside_a_block_drains_too(chosen, loop):
    """The one server has nothing to wait for; that must not cost the other one its handlers."""
    with program(NESTED.replace("CHOSEN", chosen), loop) as child, connect(child) as client:
        child.signal(signal.SIGTERM)
        assert has_stopped_listening(client)
        client.end()
        status, printed, complaints = child.end()
    assert (status, complaints) == (0, "")
    lines = printed.splitlines()
    # What is between the ends of the two blocks is of the outer one, which may be left already.
    assert sorted({*lines, "inner: left"}) == ["handler: client left", "inner: left", "outer: left"]
    assert lines[-1] == "outer: left"


@EACH_LOOP
def test_error_that_a_block_raises_after_the_signal_is_raised(loop):
    main = """
async def main():
    async with conduit.listen(LOOPBACK, greet) as srv:
        say(srv.endps[0].port)
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("mine")

try:
    conduit.run(main)
except LookupError as error:
    say("raised:", error)
"""
    with program(main, loop) as child, connect(child) as client:
        child.signal(signal.SIGTERM)
        client.end()
        status, printed, complaints = child.end()
    assert (status, complaints) == (0, "")
    assert printed.splitlines() == ["handler: client left", "raised: mine"]


@EACH_LOOP
def test_handlers_have_the_time_that_drain_says(loop):
    main = LISTEN.replace("greet) as srv", "greet, drain=0.05) as srv")
    with program(main, loop) as child, connect(child):
        child.signal(signal.SIGTERM)
        status, printed, complaints = child.end()
    assert (status, complaints) == (0, "")
    assert printed.splitlines()[0] == "handler: cancelled"
    assert printed.splitlines()[-1] == "after run"


@EACH_LOOP
def test_block_that_is_cancelled_by_its_own_program_is_cancelled(loop):
    main = """
async def main():
    task = asyncio.create_task(block())
    await ready.wait()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        say("block: cancelled")

async def block():
    async with conduit.listen(LOOPBACK, greet):
        ready.set()
        await asyncio.Event().wait()

ready = asyncio.Event()
conduit.run(main)
"""
    with program(main, loop) as child:
        assert child.end() == (0, "block: cancelled\n", "")
