"""`run_workers`: processes that serve the same addresses, and what becomes of them."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import conduit
from conduit.testing import Authority
from tests.child_program import ChildProgram
from tests.test__notify import Supervisor

BEGIN = """
import asyncio, os, signal, sys, time
import conduit
from conduit import server

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once

async def greet(f, ic, oc):
    await oc.write(b"%d" % os.getpid())
    if await ic.read(1) == b"w":
        await oc.write(await ic.read())

LOOPBACK = server.TCP(0, ip="127.0.0.1")

async def serve(mode=LOOPBACK, **options):
    async with conduit.listen(mode, greet, **options) as srv:
        say("at", *[getattr(one, "port", one) for one in srv.endps])
        await asyncio.Event().wait()
"""

SERVE = "async def main():\n    await serve()\n"

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import conduit
conduit.run_workers("app:main", int(sys.argv[2]))
"""

EACH_SIGNAL = pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name
)


@pytest.fixture
def workers(tmp_path: Path) -> Callable[..., ChildProgram]:
    """Call it with the source of a module with a `main`: the program that runs it, n times."""

    def start(source: str, n: int = 2, before: str = "") -> ChildProgram:
        (tmp_path / "app.py").write_text(BEGIN + source)
        return ChildProgram(before + RUN, str(tmp_path), str(n), loop="uvloop")

    return start


def port_of(program: ChildProgram, n: int = 2) -> int:
    """The port at which all workers say to serve."""
    [port] = {program.line() for _ in range(n)}
    return int(port.removeprefix("at "))


@contextmanager
def client(where: int | str) -> Iterator[tuple[socket.socket, int]]:
    """A connection, and the process that answers."""
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(20)
        sock.connect(where if isinstance(where, str) else ("127.0.0.1", where))
        yield sock, int(sock.recv(20))


def who_answers(where: int | str) -> int:
    with client(where) as (_, pid):
        return pid


def all_who_answer(where: int | str, n: int = 2) -> set[int]:
    """The processes that serve, when so many have been met."""
    found: set[int] = set()
    for _ in range(2000):
        found.add(who_answers(where))
        if len(found) == n:
            return found
    raise AssertionError(f"of {n} workers only {found} answer")


def wait_for_end_of(pid: int) -> bool:
    """Whether a process that is not ours ends."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 20)[0])
    finally:
        os.close(descriptor)


def is_refused(port: int) -> bool:
    try:
        with client(port):
            return False
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # It was in the queue that was closed.


# Serving ------------------------------------------------------------------------------------------


def test_all_serve_the_same_port_and_a_signal_ends_all(workers):
    with workers(SERVE, 3) as program:
        port = port_of(program, 3)
        pids = all_who_answer(port, 3)
        assert program.process.pid not in pids
        program.signal(signal.SIGTERM)
        assert program.end() == (0, "", "")
        assert all(map(wait_for_end_of, pids))
        assert is_refused(port)


def test_path_is_shared_and_goes_with_the_last(workers, socket_path):
    with workers(
        f"async def main():\n    await serve(server.UnixDomainSocket({socket_path!r}),"
        " unix_mode=0o640)\n"
    ) as program:
        assert program.line() == program.line() == f"at unix:{socket_path}"
        assert os.stat(socket_path).st_mode & 0o777 == 0o640
        first, _ = all_who_answer(socket_path)
        # The name is the parent's: a worker that goes does not take it along.
        os.kill(first, signal.SIGKILL)
        assert program.line() == f"at unix:{socket_path}"
        assert first not in all_who_answer(socket_path)
        program.signal(signal.SIGTERM)
        assert program.end()[0] == 0
        assert not os.path.exists(socket_path)


def test_servers_with_a_port_each_and_one_that_stops(workers):
    source = """
async def main():
    async with conduit.listen(LOOPBACK, greet) as one, conduit.listen(LOOPBACK, greet) as other:
        say(one.endps[0].port, other.endps[0].port)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, lambda: loop.create_task(end(one)))
        await asyncio.Event().wait()

async def end(srv):
    await srv.stop()
    say("stopped")
"""
    with workers(source) as program:
        [ports] = {program.line(), program.line()}
        one, other = map(int, ports.split())
        assert one != other
        pids = all_who_answer(one)
        assert pids == all_who_answer(other)
        for pid in pids:
            os.kill(pid, signal.SIGUSR1)
        assert program.line() == program.line() == "stopped"
        # The parent hears of it a moment later.
        while not is_refused(one):
            pass
        assert all_who_answer(other) == pids


def test_context_of_the_module_belongs_to_each_worker(workers):
    source = """
ctx = asyncio.run(conduit.init(close_timeout=1))
async def main():
    await serve(ctx=ctx)
"""
    with workers(source, before="") as program:
        assert len(all_who_answer(port_of(program))) == 2


def test_it_returns_when_all_have_returned(workers):
    with workers("async def main():\n    say('one')\n", 3) as program:
        assert program.end() == (0, "one\n" * 3, "")


def test_program_on_a_port_that_another_has_says_so_once(workers):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        source = f"async def main():\n    await serve(server.TCP({port}, ip='127.0.0.1'))\n"
        with workers(source) as program:
            status, _, complaints = program.end()
    assert status == 1
    assert complaints.count(f"cannot listen on port {port} of 127.0.0.1") >= 1
    assert re.search(r"RuntimeError: .*worker 0 .*could not start: .*in use", complaints)
    assert "another takes its place" not in complaints


def test_port_of_other_workers_is_taken_too(workers):
    with workers(SERVE) as program:
        port = port_of(program)
        with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", port)):
            pass
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                sock.bind(("127.0.0.1", port))


# Ends ---------------------------------------------------------------------------------------------


@EACH_SIGNAL
def test_signal_waits_for_handlers(workers, number):
    with workers(SERVE) as program:
        port = port_of(program)
        with client(port) as (one, _), client(port) as (other, _):
            one.send(b"w")
            program.signal(number)
            while not is_refused(port):
                pass
            for sock in (one, other):
                sock.send(b"last")
                sock.shutdown(socket.SHUT_WR)
            assert one.recv(10) == b"last"
            assert program.end() == (0, "", "")


@EACH_SIGNAL
def test_second_signal_cancels_what_is_left(workers, number):
    with workers(SERVE) as program:
        port = port_of(program)
        with client(port):
            program.signal(number)
            while not is_refused(port):
                pass
            program.signal(number)
            status, _, _ = program.end()
    assert status == (128 + number if number == signal.SIGTERM else -number)


def test_worker_that_dies_is_replaced_and_the_log_says_so(workers):
    with workers(SERVE) as program:
        port = port_of(program)
        gone, stays = all_who_answer(port)
        os.kill(gone, signal.SIGKILL)
        assert program.line() == f"at {port}"
        now = all_who_answer(port)
        assert stays in now
        assert gone not in now
        program.signal(signal.SIGTERM)
        status, _, complaints = program.end()
    assert status == 0
    assert re.fullmatch(
        rf"worker \d \(process {gone}\) died: it ended by signal 9 \(Killed\); another takes its "
        r"place\n",
        complaints,
    )


def test_worker_that_is_told_to_end_alone_is_replaced(workers):
    with workers(SERVE) as program:
        port = port_of(program)
        gone, _ = all_who_answer(port)
        os.kill(gone, signal.SIGTERM)
        assert program.line() == f"at {port}"
        assert gone not in all_who_answer(port)


def test_client_who_waits_is_served_by_the_next(workers):
    with workers(SERVE, 1) as program:
        port = port_of(program, 1)
        pid = who_answers(port)
        os.kill(pid, signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as waiting:
            os.kill(pid, signal.SIGKILL)
            assert int(waiting.recv(20)) != pid


def test_failure_of_main_is_told_with_its_traceback(workers):
    source = """
async def main():
    failing = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, failing.set)
    async with conduit.listen(LOOPBACK, greet) as srv:
        say("at", srv.endps[0].port)
        await failing.wait()
        raise LookupError("nothing there")
"""
    with workers(source, 1) as program:
        port = port_of(program, 1)
        pid = who_answers(port)
        os.kill(pid, signal.SIGUSR1)
        port_of(program, 1)
        program.signal(signal.SIGTERM)
        complaints = program.end()[2]
    assert "died: LookupError: nothing there; another takes its place\nTraceback" in complaints
    assert 'raise LookupError("nothing there")' in complaints


def test_worker_that_cannot_start_again_is_tried_until_it_can(workers, tmp_path):
    broken = tmp_path / "broken"
    source = f"if os.path.exists({str(broken)!r}):\n    raise RuntimeError('out of order')\n"
    with workers(source + SERVE) as program:
        port = port_of(program)
        broken.touch()
        gone, _stays = all_who_answer(port)
        os.kill(gone, signal.SIGKILL)
        complaints = [program.process.stderr.readline() for _ in range(2)]
        assert "died" in complaints[0]
        assert re.search(r"could not start: RuntimeError: out of order; .* after", complaints[1])
        broken.unlink()
        assert program.line() == f"at {port}"
        assert gone not in all_who_answer(port)


def test_what_cannot_be_imported_is_one_error(workers):
    with workers("say('here')\nimport nowhere_to_be_found\n", 4) as program:
        status, printed, complaints = program.end()
    assert (status, printed) == (1, "here\n")
    assert re.search(r"RuntimeError: run_workers\('app:main', 4\): worker 0 \(process", complaints)
    assert complaints.count("No module named 'nowhere_to_be_found'") == 2  # in words, and traced


@pytest.mark.parametrize("ending", ["hangs", "serves"])
def test_parent_that_is_killed_takes_its_workers_along(workers, ending):
    source = "async def main():\n    say(os.getpid())\n    time.sleep(1000)\n"
    if ending == "serves":
        source = "async def main():\n    say(os.getpid())\n    await serve()\n"
    with workers(source, 1) as program:
        pid = int(program.line())
        program.signal(signal.SIGKILL)
        assert wait_for_end_of(pid)


# What systemd has to do with it -------------------------------------------------------------------


@pytest.fixture
def supervisor(socket_path, monkeypatch) -> Iterator[Supervisor]:
    supervisor = Supervisor(socket_path)
    monkeypatch.setenv("NOTIFY_SOCKET", socket_path)
    with supervisor.socket:
        yield supervisor


def test_it_is_ready_once_and_stops_once(workers, supervisor):
    with workers(SERVE, 3) as program:
        port_of(program, 3)
        assert supervisor.hears() == "READY=1"
        program.signal(signal.SIGTERM)
        assert supervisor.hears() == "STOPPING=1"
        assert program.end()[0] == 0
        assert supervisor.has_heard() == []


def test_sockets_of_systemd_are_served_by_all(workers):
    before = """
import os, socket
sock = socket.create_server(("127.0.0.1", 0))
os.dup2(sock.detach(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "web"}
"""
    with workers("async def main():\n    await serve('systemd:web')\n", before=before) as program:
        assert len(all_who_answer(port_of(program))) == 2


def test_all_read_their_certificates_again(workers, supervisor, tmp_path):
    authority = Authority()
    mine = authority.issue("localhost").write(tmp_path, "own")
    source = f"""
async def main():
    await serve(server.TLS({mine.crt_file!r}, {mine.key_file!r}, None, 0, ip="127.0.0.1"))
"""
    with workers(source) as program:
        port = port_of(program)
        assert supervisor.hears() == "READY=1"
        shown = {certificate_at(port) for _ in range(20)}
        authority.issue("localhost").write(tmp_path, "own")
        program.signal(signal.SIGHUP)
        assert supervisor.hears().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert supervisor.hears() == "READY=1"
        now = {certificate_at(port) for _ in range(20)}
    assert len(shown) == len(now) == 1
    assert shown != now


def certificate_at(port: int) -> bytes:
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        with context.wrap_socket(sock) as tls:
            found = tls.getpeercert(binary_form=True)
    assert found is not None
    return found


def test_worker_that_hangs_is_replaced_before_systemd_loses_patience(
    workers, supervisor, monkeypatch
):
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    source = """
async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, time.sleep, 1000)
    await serve()
"""
    with workers(source, 1) as program:
        port = port_of(program, 1)
        pid = who_answers(port)
        os.kill(pid, signal.SIGUSR1)
        assert port_of(program, 1) == port
        assert supervisor.hears_any() in ("READY=1", "WATCHDOG=1")
        program.signal(signal.SIGTERM)
        assert "has hung for 0.4 s, and is killed" in program.end()[2]


# What cannot be -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "n", "words"),
    [
        ("app:main", 0, "0 workers are none"),
        ("app", 2, "'app' is no function"),
        ("app:", 2, "no function"),
        (":main", 2, "no function"),
        ("app:main()", 2, "no function"),
        ("__main__:main", 2, "name the module"),
    ],
)
def test_what_makes_no_sense_is_refused(main, n, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        conduit.run_workers(main, n)


async def test_in_a_loop_it_is_refused():
    with pytest.raises(RuntimeError, match="one is running here"):
        conduit.run_workers("app:main", 2)


def test_handover_is_refused_with_words(workers, socket_path):
    source = f"""
async def main():
    await serve(server.Handover({socket_path!r}, LOOPBACK))
"""
    with workers(source) as program:
        status, _, complaints = program.end()
    assert status == 1
    assert "not in a worker of conduit.run_workers" in complaints


# Shares -------------------------------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("at_once", [1, 20])
def test_each_of_two_has_its_share_of_the_clients(workers, socket_path, kind, at_once):
    source = f"async def main():\n    await serve(server.UnixDomainSocket({socket_path!r}))\n"
    with workers(SERVE if kind == "tcp" else source) as program:
        where: int | str
        if kind == "tcp":
            where = port_of(program)
        else:
            program.line(), program.line()
            where = socket_path
        counts: Counter[int] = Counter()
        for _ in range(400 // at_once):
            held = [client(where) for _ in range(at_once)]
            counts.update(one.__enter__()[1] for one in held)
            for one in held:
                one.__exit__(None, None, None)
    assert len(counts) == 2
    for count in counts.values():
        assert 0.35 <= count / 400 <= 0.65, counts
