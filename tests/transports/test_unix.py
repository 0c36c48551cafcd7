"""Unix sockets: paths and abstract names, and who may have one."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvloop

import conduit
from conduit import client, endp, flow, server
from tests.children import Child
from tests.conftest import open_descriptors
from tests.endpoints import port_of
from tests.event_log import until
from tests.full_queue import full_unix_queue
from tests.unprivileged import unprivileged

LONGEST = 107  # bytes of a path on Linux


async def greet(f, ic, oc):
    oc.write(b"hello")


async def echo(f, ic, oc):
    while data := await ic.read(65536):
        await oc.write(data)


async def greeting_of(path) -> bytes:
    async with conduit.connect(client.UnixDomainSocket(path)) as (_, ic, _):
        return await ic.read()


async def listen_error(path, **options) -> OSError:
    """What listening raises."""
    with pytest.raises(OSError, match="cannot listen") as caught:
        async with conduit.listen(server.UnixDomainSocket(path), greet, **options):
            pytest.fail("listening")
    assert str(path) in str(caught.value)
    return caught.value


async def connect_error(path) -> conduit.ConnectError:
    """What connecting raises."""
    with pytest.raises(conduit.ConnectError) as caught:
        await conduit.connect(client.UnixDomainSocket(path))
    assert str(path) in str(caught.value)
    return caught.value


def leave_dead(path: str) -> None:
    """Leave the file of a server that has gone without removing it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def lock_of(path: str) -> str:
    return f"{path}.lock"


def loop_name(anyio_backend) -> str:
    return "uvloop" if anyio_backend[1]["use_uvloop"] else "asyncio"


# Both ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
async def test_both_ends_know_where_they_met(socket_path, abstract):
    name = f"@{socket_path}" if abstract else socket_path
    flows = []

    async def note(f, ic, oc):
        assert f.fd == oc.get_extra_info("socket").fileno()
        flows.append(f)
        await echo(f, ic, oc)

    async with conduit.listen(server.UnixDomainSocket(name), note) as srv:
        assert srv.endps == (endp.UnixDomainSocket(name),)
        async with conduit.connect(client.UnixDomainSocket(name)) as (f, ic, oc):
            assert f == flow.DomainSocket(oc.get_extra_info("socket").fileno(), name)
            await oc.write(b"x\n")
            assert await ic.readline() == b"x\n"
        assert [accepted.path for accepted in flows] == [name]
        assert conduit.endp_of_flow(flows[0]) == endp.UnixDomainSocket(name)


async def test_path_may_be_a_pathlib_path(socket_path):
    path = Path(socket_path)
    async with conduit.listen(server.UnixDomainSocket(path), greet) as srv:
        assert srv.endps == (endp.UnixDomainSocket(socket_path),)
        assert path.is_socket()
        assert await greeting_of(path) == b"hello"


CLIENT = """
    import asyncio, sys, conduit

    async def main():
        async with conduit.connect(conduit.client.UnixDomainSocket(sys.argv[1])) as (f, ic, oc):
            await ic.read()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
"""

SERVER = """
    import asyncio, sys, conduit

    async def greet(f, ic, oc):
        oc.write(b"hello from the other process")

    async def main():
        mode = conduit.server.UnixDomainSocket(sys.argv[1])
        async with conduit.listen(mode, greet):
            print("listening", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        print("stopped", flush=True)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
"""


async def test_credentials_of_the_peer_at_both_ends(socket_path, anyio_backend):
    seen = asyncio.get_running_loop().create_future()

    async def note(f, ic, oc):
        seen.set_result(oc.get_extra_info("peercred"))

    loop = loop_name(anyio_backend)
    async with conduit.listen(server.UnixDomainSocket(socket_path), note):
        with Child(CLIENT, socket_path, loop=loop) as child:
            assert await seen == (child.pid, os.getuid(), os.getgid())
            assert await child.status() == 0
    with Child(SERVER, socket_path, loop=loop) as child:
        assert await child.says() == "listening"
        async with conduit.connect(client.UnixDomainSocket(socket_path)) as (_, ic, oc):
            credentials = oc.get_extra_info("peercred")
            assert (credentials.pid, credentials.uid) == (child.pid, os.getuid())
            assert credentials.gid == os.getgid()
            await ic.read()


async def test_credentials_are_asked_of_unix_sockets_only():
    async with conduit.listen(server.TCP(0), greet) as srv:
        target = client.TCP("127.0.0.1", port_of(srv))
        async with conduit.connect(target) as (_, _, oc):
            assert oc.get_extra_info("peercred") is None
            assert oc.get_extra_info("peercred", "nobody") == "nobody"


async def test_no_descriptor_goes_to_a_program_that_is_started(socket_path):
    before = set(open_descriptors().values())
    listing = (
        "import os\n"
        "for name in os.listdir('/proc/self/fd'):\n"
        "    try: print(os.readlink(f'/proc/self/fd/{name}'))\n"
        "    except FileNotFoundError: pass\n"
    )
    async with conduit.listen(server.UnixDomainSocket(socket_path), echo):
        async with conduit.connect(client.UnixDomainSocket(socket_path)) as (_, ic, oc):
            await oc.write(b"x")
            await ic.readexactly(1)
            ours = set(open_descriptors().values()) - before
            assert len(ours) >= 3
            result = subprocess.run(
                [sys.executable, "-c", listing],
                close_fds=False,
                capture_output=True,
                text=True,
                check=True,
            )
    theirs = set(result.stdout.split())
    assert theirs
    assert not theirs & ours


# Connecting ---------------------------------------------------------------------------------------


async def test_connecting_where_nobody_is(socket_path):
    assert (await connect_error(socket_path)).errno == errno.ENOENT
    assert (await connect_error(f"@{socket_path}")).errno == errno.ECONNREFUSED
    leave_dead(socket_path)
    assert (await connect_error(socket_path)).errno == errno.ECONNREFUSED


async def test_connecting_to_what_is_no_such_socket(socket_path):
    Path(socket_path).touch()
    assert (await connect_error(socket_path)).errno == errno.ECONNREFUSED
    os.unlink(socket_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(socket_path)
        assert (await connect_error(socket_path)).errno == errno.EPROTOTYPE


async def test_connecting_where_one_may_not(socket_path):
    os.chmod(os.path.dirname(socket_path), 0o711)
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet, unix_mode=0o600):
        assert await greeting_of(socket_path) == b"hello"
        if os.geteuid():
            os.chmod(socket_path, 0)
        with unprivileged():
            error = await connect_error(socket_path)
        assert error.errno == errno.EACCES


async def test_full_queue_is_waited_for(socket_path):
    with full_unix_queue(socket_path) as listener:
        task = asyncio.create_task(conduit.connect(client.UnixDomainSocket(socket_path)))
        done, _ = await asyncio.wait({task}, timeout=0.1)
        assert not done
        accepted = [listener.accept()[0]]
        _, ic, oc = await task
        # It is really connected, not only believed to be.
        await oc.write(b"here I am")
        listener.setblocking(False)
        with ExitStack() as stack:
            while True:
                try:
                    accepted.append(listener.accept()[0])
                except BlockingIOError:
                    break
            for sock in accepted:
                stack.enter_context(sock)
            ours = accepted[-1]
            assert ours.recv(100) == b"here I am"
            ours.sendall(b"so are you")
            assert await ic.readexactly(10) == b"so are you"
        await oc.close()


async def test_a_hundred_clients_at_once_with_a_small_backlog(socket_path):
    async def ask(number: int) -> bytes:
        async with conduit.connect(client.UnixDomainSocket(socket_path)) as (_, ic, oc):
            await oc.write(b"%d\n" % number)
            return await ic.readline()

    async with conduit.listen(server.UnixDomainSocket(socket_path), echo, backlog=1):
        answers = await asyncio.gather(*map(ask, range(100)))
    assert answers == [b"%d\n" % number for number in range(100)]


@pytest.mark.parametrize("backlog", [1, 5])
@pytest.mark.parametrize("abstract", [False, True])
async def test_backlog_says_how_many_may_wait(socket_path, backlog, abstract):
    inside, release = asyncio.Event(), asyncio.Event()

    async def hold(f, ic, oc):
        inside.set()
        await release.wait()

    mode = server.UnixDomainSocket(f"@{socket_path}" if abstract else socket_path)
    name = f"\0{socket_path}" if abstract else socket_path
    async with conduit.listen(mode, hold, backlog=backlog, max_active=1):
        with ExitStack() as stack:

            def answer() -> int:
                sock = stack.enter_context(socket.socket(socket.AF_UNIX))
                sock.setblocking(False)
                return sock.connect_ex(name)

            assert answer() == 0
            await inside.wait()
            # Linux lets one more wait than it is told.
            assert [answer() for _ in range(backlog + 2)] == [0] * (backlog + 1) + [errno.EAGAIN]
            release.set()


# Whose path it is ---------------------------------------------------------------------------------


async def test_file_is_there_while_it_serves_and_gone_afterwards(socket_path):
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet):
        assert os.listdir(os.path.dirname(socket_path)) == ["s"]
        assert await greeting_of(socket_path) == b"hello"
    assert os.listdir(os.path.dirname(socket_path)) == []


async def test_path_of_a_killed_server_is_taken_over(socket_path, anyio_backend):
    with Child(SERVER, socket_path, loop=loop_name(anyio_backend)) as child:
        assert await child.says() == "listening"
        assert await greeting_of(socket_path) == b"hello from the other process"
        await child.end(signal.SIGKILL)
    assert Path(socket_path).is_socket()
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet):
        assert await greeting_of(socket_path) == b"hello"
    assert os.listdir(os.path.dirname(socket_path)) == []


async def test_path_of_a_live_server_is_left_to_it(socket_path, anyio_backend):
    with Child(SERVER, socket_path, loop=loop_name(anyio_backend)) as child:
        assert await child.says() == "listening"
        error = await listen_error(socket_path)
        assert error.errno == errno.EADDRINUSE
        assert "another server is listening there" in str(error)
        assert await greeting_of(socket_path) == b"hello from the other process"
        await child.tell("stop")
        assert await child.says() == "stopped"
    # Neither side left anything.
    assert os.listdir(os.path.dirname(socket_path)) == []


async def test_path_of_a_live_server_of_this_process_is_left_to_it(socket_path):
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet):
        assert (await listen_error(socket_path)).errno == errno.EADDRINUSE
        assert await greeting_of(socket_path) == b"hello"


async def test_live_server_with_a_full_queue_is_not_dead(socket_path):
    with full_unix_queue(socket_path):
        assert (await listen_error(socket_path)).errno == errno.EADDRINUSE
        assert Path(socket_path).is_socket()


async def test_live_socket_of_another_type_is_left_alone(socket_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(socket_path)
        assert (await listen_error(socket_path)).errno == errno.EADDRINUSE
        assert Path(socket_path).is_socket()


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "link"])
async def test_what_is_no_socket_is_left_alone(socket_path, kind):
    path = Path(socket_path)
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    before = path.lstat()
    error = await listen_error(socket_path)
    assert error.errno == errno.EADDRINUSE
    assert "no socket" in str(error)
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert os.listdir(path.parent) == ["s"]


async def test_directory_that_is_missing_or_closed(socket_path):
    missing = await listen_error(f"{socket_path}/below")
    assert missing.errno == errno.ENOENT
    assert isinstance(missing, FileNotFoundError)
    os.chmod(os.path.dirname(socket_path), 0o555)
    with unprivileged():
        closed = await listen_error(socket_path)
    assert closed.errno == errno.EACCES
    assert isinstance(closed, PermissionError)


# Exactly one of two that start at once ------------------------------------------------------------

RACER = """
    import asyncio, sys, time, conduit

    async def greet(f, ic, oc):
        oc.write(sys.argv[2].encode())

    async def main():
        mode = conduit.server.UnixDomainSocket(sys.argv[1])
        async with conduit.listen(mode, greet):
            pass  # all is imported
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            listening = conduit.listen(mode, greet)
            while time.monotonic() < float(line):
                pass
            try:
                await listening.__aenter__()
            except OSError as error:
                print(error.errno, flush=True)
            else:
                print("won", flush=True)
                await asyncio.to_thread(sys.stdin.readline)
                await listening.__aexit__(None, None, None)
                print("stopped", flush=True)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
"""


async def test_of_two_that_take_over_at_once_exactly_one_wins(socket_path, anyio_backend):
    loop = loop_name(anyio_backend)
    wins = {"a": 0, "b": 0}
    with ExitStack() as stack:
        racers = {}
        for name in wins:
            racers[name] = stack.enter_context(Child(RACER, socket_path, name, loop=loop))
            assert await racers[name].says() == "ready"
        for number in range(30):
            if number % 3:  # else it is a race for a path that nobody had before
                leave_dead(socket_path)
            start = str(time.monotonic() + 0.005)
            for racer in racers.values():
                await racer.tell(start)
            results = {name: await racer.says() for name, racer in racers.items()}
            assert sorted(results.values()) == [str(errno.EADDRINUSE), "won"], results
            [winner] = [name for name, result in results.items() if result == "won"]
            wins[winner] += 1
            assert await greeting_of(socket_path) == winner.encode()
            assert os.listdir(os.path.dirname(socket_path)) == ["s"]
            await racers[winner].tell("stop")
            assert await racers[winner].says() == "stopped"
            assert os.listdir(os.path.dirname(socket_path)) == []


LOCKER = """
    import fcntl, os, sys, time

    lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("locked", flush=True)
    sys.stdin.readline()
"""


async def test_lock_of_a_killed_process_holds_nobody_up(socket_path):
    with Child(LOCKER, lock_of(socket_path)) as child:
        assert await child.says() == "locked"
        await child.end(signal.SIGKILL)
    assert os.path.exists(lock_of(socket_path))
    leave_dead(socket_path)
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet):
        assert os.listdir(os.path.dirname(socket_path)) == ["s"]
        assert await greeting_of(socket_path) == b"hello"


async def test_lock_of_a_live_process_is_waited_for(socket_path):
    leave_dead(socket_path)

    async def serve():
        async with conduit.listen(server.UnixDomainSocket(socket_path), greet):
            return await greeting_of(socket_path)

    with open(lock_of(socket_path), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        task = asyncio.create_task(serve())
        done, _ = await asyncio.wait({task}, timeout=0.1)
        assert not done
    # Whoever had it did not remove the file: that is no hindrance.
    assert await task == b"hello"
    assert os.listdir(os.path.dirname(socket_path)) == []


async def test_lock_that_is_held_too_long_is_an_error(socket_path, monkeypatch):
    monkeypatch.setattr("conduit.transports.unix._LOCK_TIMEOUT", 0.05)
    with open(lock_of(socket_path), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        error = await listen_error(socket_path)
    assert error.errno == errno.EADDRINUSE
    assert lock_of(socket_path) in str(error)


# Only what is ours is removed ---------------------------------------------------------------------


async def test_file_of_a_successor_stays(socket_path):
    """While one serves, its file is deleted and another server takes the path."""
    first = conduit.listen(server.UnixDomainSocket(socket_path), greet)
    await first.__aenter__()
    os.unlink(socket_path)
    async with conduit.listen(server.UnixDomainSocket(socket_path), echo):
        await first.__aexit__(None, None, None)
        assert Path(socket_path).is_socket()
        async with conduit.connect(client.UnixDomainSocket(socket_path)) as (_, ic, oc):
            await oc.write(b"still here\n")
            assert await ic.readline() == b"still here\n"


async def test_file_of_another_kind_in_our_place_stays(socket_path):
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet):
        os.unlink(socket_path)
        Path(socket_path).write_text("precious")
    assert Path(socket_path).read_text() == "precious"


async def test_file_that_was_renamed_stays(socket_path):
    elsewhere = f"{socket_path}2"
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet):
        os.rename(socket_path, elsewhere)
        assert await greeting_of(elsewhere) == b"hello"
    assert os.path.exists(elsewhere)


async def test_file_that_was_deleted_is_no_error(socket_path):
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet):
        os.unlink(socket_path)
    assert not os.path.exists(socket_path)


async def test_directory_that_was_deleted_is_no_error(socket_path):
    below = Path(socket_path)
    below.mkdir()
    path = str(below / "s")
    async with conduit.listen(server.UnixDomainSocket(path), greet):
        os.unlink(path)
        below.rmdir()


async def test_path_is_free_for_a_successor_while_handlers_drain(socket_path):
    inside, release = asyncio.Event(), asyncio.Event()

    async def finish_first(f, ic, oc):
        inside.set()
        await release.wait()
        oc.write(b"finished")

    listening = conduit.listen(server.UnixDomainSocket(socket_path), finish_first)
    first = await listening.__aenter__()
    async with conduit.connect(client.UnixDomainSocket(socket_path)) as (_, ic, _):
        await inside.wait()
        stopping = asyncio.create_task(first.stop())
        await asyncio.sleep(0)
        second = conduit.listen(server.UnixDomainSocket(socket_path), greet)
        await second.__aenter__()
        assert await greeting_of(socket_path) == b"hello"
        release.set()
        assert await ic.read() == b"finished"
    await stopping
    await listening.__aexit__(None, None, None)
    assert await greeting_of(socket_path) == b"hello"
    await second.__aexit__(None, None, None)


async def test_directory_may_be_changed_while_a_relative_path_is_served(
    socket_path, tmp_path, monkeypatch
):
    monkeypatch.chdir(os.path.dirname(socket_path))
    (tmp_path / "s").write_text("another file of this name")
    async with conduit.listen(server.UnixDomainSocket("s"), greet) as srv:
        assert srv.endps == (endp.UnixDomainSocket("s"),)
        assert await greeting_of("s") == b"hello"
        monkeypatch.chdir(tmp_path)
        assert await greeting_of(socket_path) == b"hello"
    assert not os.path.exists(socket_path)
    assert (tmp_path / "s").exists()


# Permissions --------------------------------------------------------------------------------------


@pytest.fixture
def mode_when_listening(socket_path, monkeypatch) -> list[int]:
    """The permission bits of the file at the moment from which one can connect."""
    modes = []
    listen = socket.socket.listen

    def note(self, *args):
        modes.append(mode_of(socket_path))
        listen(self, *args)

    monkeypatch.setattr(socket.socket, "listen", note)
    return modes


@pytest.fixture
def umask():
    """Set the umask for this test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777])
@pytest.mark.parametrize("masked", [0o000, 0o027, 0o077])
async def test_unix_mode_holds_before_anyone_can_connect(
    socket_path, umask, mode_when_listening, mode, masked
):
    umask(masked)
    listening = conduit.listen(server.UnixDomainSocket(socket_path), greet, unix_mode=mode)
    async with listening:
        assert mode_of(socket_path) == mode
        assert mode_when_listening == [mode]


@pytest.mark.parametrize("masked", [0o000, 0o027, 0o077])
async def test_without_unix_mode_the_umask_decides(socket_path, umask, mode_when_listening, masked):
    umask(masked)
    async with conduit.listen(server.UnixDomainSocket(socket_path), greet):
        assert mode_of(socket_path) == 0o777 & ~masked
        assert mode_when_listening == [0o777 & ~masked]
        assert os.umask(masked) == masked


async def test_unix_mode_is_nothing_to_an_abstract_name(socket_path):
    mode = server.UnixDomainSocket(f"@{socket_path}")
    async with conduit.listen(mode, greet, unix_mode=0o600):
        assert await greeting_of(f"@{socket_path}") == b"hello"


# Abstract names -----------------------------------------------------------------------------------


async def test_abstract_name_leaves_no_file_and_is_free_again(socket_path, monkeypatch):
    monkeypatch.chdir(os.path.dirname(socket_path))
    for _ in range(2):
        async with conduit.listen(server.UnixDomainSocket("@conduit-test/ä b"), greet):
            assert await greeting_of("@conduit-test/ä b") == b"hello"
            assert os.listdir() == []
            # The kernel knows it by just these bytes.
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(b"\0" + "conduit-test/ä b".encode())


async def test_abstract_name_of_a_live_server_is_taken(socket_path):
    name = f"@{socket_path}"
    async with conduit.listen(server.UnixDomainSocket(name), greet):
        error = await listen_error(name)
        assert error.errno == errno.EADDRINUSE
        assert await greeting_of(name) == b"hello"


async def test_file_that_starts_with_an_at_sign(socket_path, monkeypatch):
    monkeypatch.chdir(os.path.dirname(socket_path))
    async with conduit.listen(server.UnixDomainSocket("./@name"), greet):
        assert os.listdir() == ["@name"]
        assert await greeting_of("./@name") == b"hello"


async def test_abstract_names_where_there_are_none(socket_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(conduit.UnsupportedTransport, match=r"@name.*on Linux only"):
        await conduit.connect(client.UnixDomainSocket("@name"))
    with pytest.raises(conduit.UnsupportedTransport, match=r"@name.*on Linux only"):
        await conduit.serve(server.UnixDomainSocket("@name"), greet)


async def test_python_without_unix_sockets(socket_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.delattr(socket, "AF_UNIX")
        for path in (socket_path, f"@{socket_path}"):
            with pytest.raises(conduit.UnsupportedTransport, match="has no Unix sockets"):
                await conduit.connect(client.UnixDomainSocket(path))
            with pytest.raises(conduit.UnsupportedTransport, match="has no Unix sockets"):
                await conduit.serve(server.UnixDomainSocket(path), greet)


# Lengths ------------------------------------------------------------------------------------------


def of_length(start: str, length: int) -> str:
    return start + "x" * (length - len(start))


@pytest.mark.parametrize("at", ["", "@"])
async def test_longest_name(socket_path, at):
    # The "@" stands for the NUL that an abstract name starts with; a path ends with one instead.
    name = of_length(f"{at}{socket_path}", LONGEST + len(at))
    async with conduit.listen(server.UnixDomainSocket(name), greet):
        assert await greeting_of(name) == b"hello"


@pytest.mark.parametrize("at", ["", "@"])
@pytest.mark.parametrize("more", [1, 200])
async def test_longer_names_are_refused(socket_path, at, more):
    name = of_length(f"{at}{socket_path}", LONGEST + len(at) + more)
    with pytest.raises(conduit.AddressError, match="too long") as refused:
        await conduit.connect(client.UnixDomainSocket(name))
    assert name in str(refused.value)
    with pytest.raises(conduit.AddressError, match="too long") as refused:
        await conduit.serve(server.UnixDomainSocket(name), greet)
    assert name in str(refused.value)
    assert os.listdir(os.path.dirname(socket_path)) == []


async def test_length_counts_bytes_not_characters(socket_path):
    name = socket_path + "ä" * (LONGEST - len(socket_path))
    with pytest.raises(conduit.AddressError, match="too long"):
        await conduit.serve(server.UnixDomainSocket(name), greet)


async def test_empty_path_is_refused():
    """Linux would make up a name, which nobody would find."""
    with pytest.raises(conduit.AddressError):
        await conduit.connect(client.UnixDomainSocket(""))
    with pytest.raises(conduit.AddressError):
        await conduit.serve(server.UnixDomainSocket(""), greet)


# Cancelled while it binds -------------------------------------------------------------------------


class SlowListening:
    """Holds up every `listen` of a socket until it is let go, or for a short while."""

    def __init__(self, monkeypatch) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.seconds = 5.0
        listen = socket.socket.listen

        def wait_and_listen(sock, *args):
            self.begun.set()
            self.go.wait(self.seconds)
            listen(sock, *args)

        monkeypatch.setattr(socket.socket, "listen", wait_and_listen)


@pytest.fixture
def slow(monkeypatch) -> SlowListening:
    return SlowListening(monkeypatch)


async def test_cancelled_while_it_binds_nothing_stays(socket_path, slow):
    before = asyncio.all_tasks()
    task = asyncio.create_task(conduit.serve(server.UnixDomainSocket(socket_path), greet))
    await asyncio.to_thread(slow.begun.wait)
    task.cancel()
    slow.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The file and its lock are there until whoever binds has seen that nobody wants them.
    await until(lambda: os.listdir(os.path.dirname(socket_path)) == [])
    await until(lambda: asyncio.all_tasks() == before)


async def test_cancelled_while_it_waits_for_the_lock_nothing_stays(socket_path):
    before = asyncio.all_tasks()
    with open(lock_of(socket_path), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        task = asyncio.create_task(conduit.serve(server.UnixDomainSocket(socket_path), greet))
        done, _ = await asyncio.wait({task}, timeout=0.05)
        assert not done
        task.cancel()
        await asyncio.wait({task}, timeout=0.05)
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: os.listdir(os.path.dirname(socket_path)) == [])
    await until(lambda: asyncio.all_tasks() == before)


async def test_cancelled_at_any_moment_it_can_be_started_again_at_once(socket_path):
    """What was given up is not in the way of what follows."""
    for turns in range(40):
        task = asyncio.create_task(conduit.serve(server.UnixDomainSocket(socket_path), greet))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with conduit.listen(server.UnixDomainSocket(socket_path), greet):
            pass
    # The thread of one that was given up may be the last to have the lock.
    await until(lambda: os.listdir(os.path.dirname(socket_path)) == [])


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop])
def test_cancelled_while_it_binds_at_the_end_of_the_program(socket_path, slow, loop_factory):
    """The loop is closed before the thread that binds is done."""
    slow.seconds = 0.2

    async def main():
        task = asyncio.create_task(conduit.serve(server.UnixDomainSocket(socket_path), greet))
        await asyncio.to_thread(slow.begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = threading.enumerate()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    for thread in threading.enumerate():
        if thread not in before:
            thread.join(5)
    assert os.listdir(os.path.dirname(socket_path)) == []


async def test_failure_to_listen_leaves_nothing(socket_path, monkeypatch):
    def fail(sock, *args):
        raise OSError(errno.ENOBUFS, "No buffer space available")

    for name in (socket_path, f"@{socket_path}"):
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "listen", fail)
            assert (await listen_error(name)).errno == errno.ENOBUFS
        assert os.listdir(os.path.dirname(socket_path)) == []
