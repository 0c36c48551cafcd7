"""One test for each defect that was seen in the library whose interface this one follows.

The numbers are those of the list they were noted in; those that need TLS, names from discovery or
another stack are tested with these.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
import uvloop

import conduit
from conduit import client, endp, events, flow, server
from tests.bare_client import BareClient, tcp_endps
from tests.child_program import LOOPS, ChildProgram
from tests.conftest import open_descriptors
from tests.event_log import EventLog, until
from tests.odd_transports import GREETED, BadGreeting

LOOPBACK = server.TCP(0, ip="127.0.0.1")

EACH_LOOP = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=LOOPS
)


@pytest.fixture(autouse=True)
def _no_process_limit():
    yield
    conduit.set_max_active(None)


async def greet(f, ic, oc):
    """Say hello, and stay until the client leaves."""
    oc.write(b"hi")
    await ic.read()


async def test_defect_01_no_handshake_timeout():
    """A silent client stayed for ever."""
    told: list[Any] = []
    options: dict[str, Any] = {"handshake_timeout": 0.05, "on_exn": told.append}
    async with conduit.listen(GREETED, greet, **options) as srv:
        with BareClient(srv.endps[0]) as silent:
            assert await silent.gone()
        await until(lambda: srv.active == 0)
    assert isinstance(told[0], TimeoutError)


async def test_defect_03_close_waits_for_the_peer_while_it_holds_the_descriptor():
    ctx = await conduit.init(close_timeout=0.05)

    async def handler(f, ic, oc):
        oc.write(bytes(16 * 1024 * 1024))

    with EventLog() as log:
        async with conduit.listen(LOOPBACK, handler, ctx=ctx) as srv:
            with BareClient(srv.endps[0]):
                (closed,) = await log.wait(events.Closed)
                assert closed.seconds < 5
                await until(lambda: srv.active == 0)


async def test_defect_04_half_close_breaks_reading():
    async def count(f, ic, oc):
        oc.write(b"%d" % len(await ic.read()))

    async with conduit.listen(LOOPBACK, count) as srv:
        async with conduit.connect(srv.endps[0]) as (_, ic, oc):
            oc.write(b"x" * 1000)
            oc.write_eof()
            assert await ic.read() == b"1000"


async def test_defect_05_nodelay_on_one_side_only():
    sides: list[Any] = []

    async def handler(f, ic, oc):
        sides.append(nodelay(oc))

    def nodelay(oc):
        return oc.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    async with conduit.listen(LOOPBACK, handler) as srv:
        async with conduit.connect(srv.endps[0]) as (_, ic, oc):
            sides.append(nodelay(oc))
            await ic.read()
        async with conduit.connect(client.Host("127.0.0.1", tcp_endps(srv)[0].port)) as (_, ic, oc):
            sides.append(nodelay(oc))
            await ic.read()
    assert len(sides) == 4
    assert all(sides)


# A server that cannot have more than a few descriptors, and says when it is ready.
SCARCE = """
import asyncio, logging, os, resource, sys
import conduit

logging.basicConfig(level=logging.DEBUG)
logging.getLogger("asyncio").setLevel(logging.INFO)

async def greet(f, ic, oc):
    oc.write(b"hi")
    await ic.read()

async def main():
    async with conduit.listen(conduit.server.TCP(0, ip="127.0.0.1"), greet) as srv:
        few = len(os.listdir("/proc/self/fd")) + 10
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))
        print(srv.endps[0].port, flush=True)
        await asyncio.Event().wait()

conduit.run(main)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_defect_06_emfile_storm(loop):
    """A server without descriptors took a whole CPU, and wrote 65,000 log lines a second."""
    with ChildProgram(SCARCE, loop=loop) as program, contextlib.ExitStack() as stack:
        where = endp.TCP("127.0.0.1", int(program.line()))
        waiting = {stack.enter_context(BareClient(where)).socket for _ in range(40)}
        ticks = cpu_ticks(program.process.pid)
        time.sleep(2)
        used = (cpu_ticks(program.process.pid) - ticks) / os.sysconf("SC_CLK_TCK")
        assert used < 0.2 * 2
        # Some are served, and hold what there is; as they leave, the others get their turn.
        while waiting:
            served, _, _ = select.select(list(waiting), [], [], 10)
            assert served, f"{len(waiting)} clients are never served"
            assert len(served) < 15
            for one in served:
                assert one.recv(3) == b"hi"
                one.close()
                waiting.remove(one)
        program.signal(signal.SIGTERM)
        status, _, complaints = program.end()
    assert status == 0
    assert complaints.count("EMFILE") >= 2
    assert len(complaints.splitlines()) < 30


def cpu_ticks(pid: int) -> int:
    """The CPU time that a process has used, in clock ticks."""
    with open(f"/proc/{pid}/stat") as file:
        after_the_name = file.read().rpartition(")")[2].split()
    return int(after_the_name[11]) + int(after_the_name[12])


@EACH_LOOP
def test_defect_07_stop_race(new_loop):
    """After a stop clients were accepted that nobody served, and their descriptors leaked.

    200 times: some wait when the stop comes, and must be served; others come while it goes on, and
    may be refused, but who was accepted is served to the end.
    """
    waiting, racing = 6, 3

    async def main():
        # What the loop opens for good, and one whole round, come before the counting.
        for _ in range(2):
            await one_round()
        before = open_descriptors().keys()
        for _ in range(200):
            await one_round()
            assert open_descriptors().keys() <= before

    async def one_round():
        accepted, served = 0, 0

        async def handler(f, ic, oc):
            nonlocal accepted, served
            accepted += 1
            name = await ic.readline()
            oc.write(name)
            await oc.drain()
            served += 1

        async def hear(one):
            with one:
                return await one.hear_all()

        async with conduit.listen(LOOPBACK, handler) as srv:
            where = srv.endps[0]
            early = [BareClient(where) for _ in range(waiting)]
            for number, one in enumerate(early):
                one.socket.send(b"%d\n" % number)
            late: list[bytes | None] = []
            thread = threading.Thread(target=race, args=(where, late))
            thread.start()
            *replies, _ = await asyncio.gather(*map(hear, early), srv.stop())
        await asyncio.to_thread(thread.join)
        assert replies == [b"%d\n" % number for number in range(waiting)]
        assert served == accepted == waiting + sum(reply is not None for reply in late)
        assert all(reply in (None, b"late\n") for reply in late)

    def race(where, replies):
        for _ in range(racing):
            try:
                with BareClient(where) as one:
                    one.socket.settimeout(10)
                    one.socket.send(b"late\n")
                    replies.append(one.socket.recv(100) or None)
            except ConnectionError:
                replies.append(None)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


async def test_defect_08_stop_leaves_handlers_running():
    ends: list[Any] = []

    async def handler(f, ic, oc):
        try:
            await greet(f, ic, oc)
        finally:
            ends.append(asyncio.current_task())

    async with conduit.listen(LOOPBACK, handler) as srv:
        with BareClient(srv.endps[0]) as one:
            assert await one.hear(2) == b"hi"
            await srv.stop(drain=0.01)
            assert len(ends) == 1
            await until(lambda: ends[0].done(), 1)


async def test_defect_08_stop_is_not_seen_while_throttled():
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    conduit.set_max_active(1)
    async with conduit.listen(LOOPBACK, greet) as busy:
        with BareClient(busy.endps[0]) as one:
            assert await one.hear(2) == b"hi"
            with EventLog() as log:
                async with conduit.listen(LOOPBACK, greet, stop=stop, drain=0.1) as srv:
                    with BareClient(srv.endps[0]) as waiting:
                        await log.wait(events.Throttled)
                        before = loop.time()
                        stop.set()
                        assert await waiting.gone()
            assert loop.time() - before < 2


async def test_defect_09_max_active_counts_idle_listeners():
    conduit.set_max_active(1)
    async with conduit.listen(LOOPBACK, greet) as one, conduit.listen(LOOPBACK, greet) as two:
        for srv in (two, one):
            with BareClient(srv.endps[0]) as visitor:
                assert await visitor.hear(2) == b"hi"
                visitor.end()
                assert await visitor.hear_all() == b""


async def test_defect_09_max_active_cannot_be_lifted():
    conduit.set_max_active(1)
    async with conduit.listen(LOOPBACK, greet) as srv:
        with BareClient(srv.endps[0]) as one, BareClient(srv.endps[0]) as two:
            assert await one.hear(2) == b"hi"
            conduit.set_max_active(None)
            assert await two.hear(2) == b"hi"


@pytest.mark.parametrize("backlog", [3, 17])
@pytest.mark.parametrize(
    "kind", ["TCP", "both families", "Socket", "ListeningSocket", "path", "abstract name"]
)
async def test_defect_10_backlog_ignored(kind, backlog, socket_path):
    """How many clients the kernel takes in while nobody accepts: one more than the backlog."""
    match kind:
        case "TCP":
            mode: server.Mode = LOOPBACK
        case "both families":
            mode = server.TCP(0)
        case "Socket":
            mode = server.TCP(server.Socket(socket.create_server(("127.0.0.1", 0))))
        case "ListeningSocket":
            mode = server.ListeningSocket(socket.create_server(("127.0.0.1", 0)).detach())
        case "path":
            mode = server.UnixDomainSocket(socket_path)
        case _:
            mode = server.UnixDomainSocket(f"@{socket_path}")
    async with conduit.listen(mode, greet, backlog=backlog) as srv:
        # No turn of the loop from here, so none of them is accepted.
        with contextlib.ExitStack() as stack:
            assert sum(is_taken_in(srv.endps[0], stack) for _ in range(30)) == backlog + 1


def is_taken_in(where: endp.Endp, stack: contextlib.ExitStack) -> bool:
    """Whether a new client gets into the queue at once; it goes when the stack does."""
    if isinstance(where, endp.TCP):
        sock = socket.socket(socket.AF_INET6 if where.ip.version == 6 else socket.AF_INET)
        address: object = ("::1" if where.ip.version == 6 else "127.0.0.1", where.port)
    else:
        assert isinstance(where, endp.UnixDomainSocket)
        sock = socket.socket(socket.AF_UNIX)
        address = where.path.replace("@", "\0")
    stack.enter_context(sock)
    sock.setblocking(False)
    answer = sock.connect_ex(address)  # type: ignore[arg-type]
    assert answer in (0, errno.EINPROGRESS, errno.EAGAIN)
    # Over loopback the whole handshake happens within the call, if it happens at all.
    return answer != errno.EAGAIN and bool(select.select([], [sock], [], 0)[1])


ORPHAN = """
import asyncio, sys
import conduit

async def main():
    mode = conduit.server.UnixDomainSocket(sys.argv[1])
    async with conduit.listen(mode, lambda f, ic, oc: None):
        print("ready", flush=True)
        await asyncio.Event().wait()

conduit.run(main)
"""


async def test_defect_11_unix_path_left_behind(socket_path):
    with ChildProgram(ORPHAN, socket_path) as program:
        assert await asyncio.to_thread(program.line) == "ready"
        # While it lives its path is its own.
        with pytest.raises(OSError, match="another server is listening") as caught:
            await conduit.serve(server.UnixDomainSocket(socket_path), greet)
        assert caught.value.errno == errno.EADDRINUSE
        program.signal(signal.SIGKILL)
        await asyncio.to_thread(program.process.wait)
    assert os.path.exists(socket_path)
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet) as srv:
        with BareClient(srv.endps[0]) as one:
            assert await one.hear(2) == b"hi"
    assert not os.path.exists(socket_path)


async def test_defect_12_listens_on_ipv4_only():
    async with conduit.listen(server.TCP(0), greet) as srv:
        assert len(srv.endps) == 1
        for ip in ("127.0.0.1", "::1"):
            with BareClient(endp.TCP(ip, tcp_endps(srv)[0].port)) as one:
                assert await one.hear(2) == b"hi"


async def test_defect_12_names_of_the_source_address_are_not_heard():
    ctx = await conduit.init(src="localhost")
    async with conduit.listen(server.TCP(0), greet, ctx=ctx) as srv:
        assert [one.ip for one in tcp_endps(srv)] == list(ctx.src)
        for one in tcp_endps(srv):
            assert one.ip.is_loopback
            with BareClient(one) as visitor:
                assert await visitor.hear(2) == b"hi"


async def test_defect_13_endp_to_server_drops_the_address():
    async with conduit.listen(endp.TCP("127.0.0.2", 0), greet) as srv:
        (where,) = tcp_endps(srv)
        with BareClient(where) as one:
            assert await one.hear(2) == b"hi"
        with pytest.raises(ConnectionRefusedError):
            BareClient(endp.TCP("127.0.0.1", where.port))


async def test_defect_15_on_exn_is_not_told_of_failed_handshakes():
    told: list[Any] = []
    async with conduit.listen(GREETED, greet, on_exn=told.append) as srv:
        with BareClient(srv.endps[0]) as wrong, BareClient(srv.endps[0]) as hasty:
            await wrong.say(b"?")
            assert await wrong.hear_all() == b""
            hasty.vanish()
            await until(lambda: len(told) == 2)
    first, second = told
    assert isinstance(first, BadGreeting)
    # And they carry a reason.
    assert "the client said b'?'" in str(first)
    assert isinstance(second, ConnectionResetError | BadGreeting)


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_defect_16_ip_literal_as_host_name_fails(ip):
    async with conduit.listen(server.TCP(0, ip=ip), greet) as srv:
        (where,) = tcp_endps(srv)
        for target in (client.Host(ip, where.port), endp.Host(ip, where.port)):
            async with conduit.connect(target) as (f, ic, _):
                assert await ic.readexactly(2) == b"hi"
                assert isinstance(f, flow.TCP)
                assert (str(f.ip), f.port) == (ip, where.port)


async def test_defect_17_timeout_is_no_idleness():
    """It is the whole lifetime here too, and idleness has a limit of its own."""

    async def echo(f, ic, oc):
        while data := await ic.read(100):
            await oc.write(data)

    async def talk(where, most) -> float:
        """How long the server listens to one who is never silent, at most so many seconds."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        with BareClient(where) as one:
            try:
                while loop.time() - start < most:
                    await one.say(b"x")
                    if not await one.hear(1):
                        break
            except ConnectionError:
                pass
        return loop.time() - start

    async with conduit.listen(LOOPBACK, echo, timeout=0.1) as srv:
        assert await talk(srv.endps[0], 10) < 5
    async with conduit.listen(LOOPBACK, echo, idle_timeout=0.4) as srv:
        assert await talk(srv.endps[0], 0.8) >= 0.8


@pytest.mark.parametrize("close", ["ic", "oc", "oc and ic", "ic twice"])
@pytest.mark.parametrize("side", ["client", "server"])
async def test_defect_18_closing_one_channel_leaks_the_descriptor(side, close, socket_path):
    held = asyncio.Event()

    async def handler(f, ic, oc):
        if side == "server":
            await close_it(ic, oc)
        else:
            await ic.read()

    async def close_it(ic, oc):
        channels = {"ic": ic, "oc": oc}
        for name in {"ic twice": ["ic", "ic"], "oc and ic": ["oc", "ic"]}.get(close, [close]):
            await channels[name].close()
        held.set()

    async def one_round():
        for mode in (LOOPBACK, server.UnixDomainSocket(socket_path)):
            held.clear()
            async with conduit.listen(mode, handler) as srv:
                _, ic, oc = await conduit.connect(srv.endps[0])
                if side == "server":
                    assert await ic.read() == b""
                    await oc.close()
                else:
                    await close_it(ic, oc)
                await held.wait()

    # The first one opens what the loop keeps.
    await one_round()
    before = open_descriptors().keys()
    await one_round()
    await until(lambda: open_descriptors().keys() <= before)


async def test_defect_19_no_close_on_exec(socket_path):
    """A program that a server starts must not hold its sockets open."""
    own = socket.create_server(("127.0.0.1", 0))
    # As a supervisor hands it over, for this process to inherit.
    own.set_inheritable(True)
    handed = socket.create_server(("127.0.0.1", 0))
    handed.set_inheritable(True)

    async with contextlib.AsyncExitStack() as stack:
        for mode in (
            LOOPBACK,
            server.UnixDomainSocket(socket_path),
            server.UnixDomainSocket(f"@{socket_path}"),
            server.TCP(server.Socket(own)),
            server.ListeningSocket(handed.detach()),
        ):
            srv = await stack.enter_async_context(conduit.listen(mode, greet))
            _, ic, _ = await stack.enter_async_context(conduit.connect(srv.endps[0]))
            assert await ic.readexactly(2) == b"hi"
        kept = await asyncio.to_thread(descriptors_of_a_child)
    assert "pipe:" in kept
    assert "socket:" not in kept


def descriptors_of_a_child() -> str:
    """What a program finds open that is started without closing anything on purpose."""
    source = "import os; os.system('ls -l /proc/self/fd')"
    listing = subprocess.run(
        [sys.executable, "-c", source],
        close_fds=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    return listing.stdout


async def test_defect_20_unix_server_flow_has_an_empty_path(socket_path):
    got: list[Any] = []

    async def handler(f, ic, oc):
        got.append(f)

    for path in (socket_path, f"@{socket_path}"):
        async with conduit.listen(server.UnixDomainSocket(path), handler) as srv:
            async with conduit.connect(srv.endps[0]) as (f, ic, _):
                await ic.read()
        accepted = got.pop()
        assert isinstance(accepted, flow.DomainSocket)
        assert isinstance(f, flow.DomainSocket)
        assert accepted.path == f.path == path
        assert conduit.endp_of_flow(accepted) == endp.UnixDomainSocket(path)
        assert conduit.endp_of_flow(f) == endp.UnixDomainSocket(path)


async def test_defect_21_source_address_of_the_other_family():
    """It was a bare EINVAL."""
    async with conduit.listen(server.TCP(0), greet) as srv:
        port = tcp_endps(srv)[0].port
        for source, target in (("127.0.0.1", "::1"), ("::1", "127.0.0.1")):
            ctx = await conduit.init(src=source)
            with pytest.raises(conduit.AddressError) as caught:
                await conduit.connect(client.TCP(target, port), ctx=ctx)
            assert source in str(caught.value)
            assert target in str(caught.value)
        # With a source of each family, each target has its own.
        ctx = await conduit.init(src=["127.0.0.1", "::1"])
        for target in ("127.0.0.1", "::1"):
            async with conduit.connect(client.TCP(target, port), ctx=ctx) as (_, ic, oc):
                assert await ic.readexactly(2) == b"hi"
                assert oc.get_extra_info("sockname")[0] == target
