"""Listening sockets handed from one process to the next."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import logging
import os
import socket
import stat
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

import conduit
from conduit import client, endp, server, testing
from conduit.transports import descriptors, handover
from tests.child_program import LOOPS, ChildProgram
from tests.vsock_loopback import ANY, LOCAL, needs_vsock

LOOPBACK = server.TCP(0, ip="127.0.0.1")


def greeting(word: bytes):
    async def handler(f, ic, oc):
        oc.write(word)

    return handler


async def greeting_at(where, ctx=None) -> bytes:
    async with conduit.connect(where, ctx=ctx) as (_, ic, _):
        return await ic.read()


class Served:
    """A server in a task of its own, as a program of its own would have it."""

    def __init__(self, mode, handler, **options) -> None:
        self._mode = mode
        self._handler = handler
        self._options = options
        self._leave = asyncio.Event()
        self._listens: asyncio.Future = asyncio.get_running_loop().create_future()

    async def __aenter__(self):
        self.task = asyncio.create_task(self._run())
        await asyncio.wait((self.task, self._listens), return_when=asyncio.FIRST_COMPLETED)
        if not self._listens.done():
            await self.task
        self.srv = self._listens.result()
        return self

    async def __aexit__(self, *error) -> None:
        self._leave.set()
        await self.task

    async def _run(self) -> None:
        async with conduit.listen(self._mode, self._handler, **self._options) as srv:
            self._listens.set_result(srv)
            await self._leave.wait()


async def appears(path: str) -> None:
    """Wait until a server listens there; nothing tells of it, and a thread sees to it."""
    # Its lock file goes when it listens.
    while not os.path.exists(path) or os.path.exists(f"{path}.lock"):  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def refusal(mode, kind=OSError) -> str:
    with pytest.raises(kind) as caught:
        async with conduit.listen(mode, greeting(b"")):
            pytest.fail("listening")
    return str(caught.value)


# From one to the next -----------------------------------------------------------------------------


async def test_first_listens_otherwise_and_the_next_follow(socket_path):
    mode = server.Handover(socket_path, LOOPBACK)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(Served(mode, greeting(b"0")))
        [where] = first.srv.endps
        assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o600
        for number in range(1, 5):
            nth = await stack.enter_async_context(Served(mode, greeting(b"%d" % number)))
            assert nth.srv.endps == (where,)
            # The one before ends by itself, as by a signal.
            await first.task
            assert await greeting_at(where) == b"%d" % number
            first = nth
        assert os.path.exists(socket_path)
    assert not os.path.exists(socket_path)
    with pytest.raises(conduit.ConnectError):
        await greeting_at(where)


async def test_one_before_drains_while_the_next_serves(socket_path):
    release = asyncio.Event()

    async def hold(f, ic, oc):
        oc.write(b"old")
        await release.wait()
        oc.write(b" and done")

    mode = server.Handover(socket_path, LOOPBACK)
    async with Served(mode, hold) as old:
        [where] = old.srv.endps
        async with conduit.connect(where) as (_, ic, _):
            assert await ic.readexactly(3) == b"old"
            async with Served(mode, greeting(b"new")) as new:
                while not new.srv.active and await greeting_at(where) != b"new":
                    pass
                assert old.srv.active
                assert not old.task.done()
                release.set()
                assert await ic.read() == b" and done"
                await old.task


@pytest.mark.parametrize("otherwise", ["unix", "abstract", "both", "abstract path"])
async def test_sockets_of_every_kind(otherwise, socket_path):
    """A Unix socket's file stays through all of it, and goes with the last."""
    path, below = f"{socket_path}-h", server.UnixDomainSocket(socket_path)
    if otherwise == "abstract":
        below = server.UnixDomainSocket(f"@{socket_path}")
    elif otherwise == "abstract path":
        path = f"@{socket_path}"
    ctx = conduit.default_ctx()
    if otherwise == "both":
        ctx = await conduit.init(src=("127.0.0.1", "::1"))
        mode = server.Handover(path, server.TCP(0))
    else:
        mode = server.Handover(path, below)
    async with Served(mode, greeting(b"old"), ctx=ctx) as old:
        places = old.srv.endps
        assert len(places) == (2 if otherwise == "both" else 1)
        async with Served(mode, greeting(b"new"), ctx=ctx) as new:
            await old.task
            assert new.srv.endps == places
            for where in places:
                assert await greeting_at(where) == b"new"
            if otherwise == "unix":
                assert os.path.exists(socket_path)
    for name in (path, socket_path):
        assert not os.path.exists(name)


@needs_vsock
async def test_vsock_is_handed_over(socket_path):
    mode = server.Handover(socket_path, server.Vsock(LOCAL, ANY))
    async with Served(mode, greeting(b"old")) as old:
        async with Served(mode, greeting(b"new")) as new:
            await old.task
            assert new.srv.endps == old.srv.endps
            assert await greeting_at(new.srv.endps[0]) == b"new"


async def test_tls_over_it(socket_path, tmp_path):
    """Each process has its own certificate, so a restart may bring a new one."""
    authority = testing.Authority()
    ctx = await conduit.init(tls_authenticator=conduit.trust.ca(authority.pem))

    def mode(name: str) -> str:
        own = authority.issue(name).write(tmp_path, name)
        files = f"crt={own.crt_file}&key={own.key_file}"
        return f"tls+handover:{socket_path}?otherwise=tcp://127.0.0.1:0&{files}"

    async with Served(mode("one.example"), greeting(b"old")) as old:
        [where] = old.srv.endps
        assert isinstance(where, endp.TLS)
        assert isinstance(where.endp, endp.TCP)
        at = where.endp.ip, where.endp.port
        assert await greeting_at(client.TLS("one.example", *at), ctx) == b"old"
        async with Served(mode("two.example"), greeting(b"new")):
            await old.task
            assert await greeting_at(client.TLS("two.example", *at), ctx) == b"new"


async def test_server_that_was_not_told_before_offers_its_sockets(socket_path):
    async with Served(LOOPBACK, greeting(b"old")) as old:
        [where] = old.srv.endps
        offering = asyncio.create_task(old.srv.handover(socket_path))
        async with Served(LOOPBACK, greeting(b"another")):
            pass
        await appears(socket_path)
        async with Served(server.Handover(socket_path), greeting(b"new")) as new:
            assert await offering is True
            assert new.srv.endps == (where,)
            assert await greeting_at(where) == b"new"
    assert not os.path.exists(socket_path)


async def test_offer_ends_with_the_server_or_when_it_is_cancelled(socket_path):
    async with Served(LOOPBACK, greeting(b"old")) as old:
        offering = asyncio.create_task(old.srv.handover(socket_path))
        await appears(socket_path)
        offering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await offering
        assert not os.path.exists(socket_path)
        assert await greeting_at(old.srv.endps[0]) == b"old"
        offering = asyncio.create_task(old.srv.handover(socket_path))
        await appears(socket_path)
        await old.srv.stop()
        assert await offering is False
    assert not os.path.exists(socket_path)


async def test_several_that_come_at_once_follow_each_other(socket_path):
    mode = server.Handover(socket_path, LOOPBACK)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(Served(mode, greeting(b"old")))
        [where] = first.srv.endps
        others = [Served(mode, greeting(b"new")) for _ in range(4)]
        for other in await asyncio.gather(*map(stack.enter_async_context, others)):
            assert other.srv.endps == (where,)
        left = {one.task for one in (first, *others)}
        while len(left) > 1:
            _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        assert len(left) == 1
        assert await greeting_at(where) == b"new"


# A successor that fails ---------------------------------------------------------------------------


async def ask(path: str, message: object = None) -> socket.socket:
    """A process that comes for the sockets, and says something."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, path)
    data = json.dumps({"conduit handover": 1} if message is None else message) + "\n"
    await asyncio.get_running_loop().sock_sendall(sock, data.encode())
    return sock


@pytest.mark.parametrize("otherwise", ["tcp", "unix"])
async def test_successor_that_dies_before_it_is_ready_changes_nothing(
    socket_path, otherwise, caplog
):
    path = f"{socket_path}-h"
    below = LOOPBACK if otherwise == "tcp" else server.UnixDomainSocket(socket_path)
    mode = server.Handover(path, below)
    async with Served(mode, greeting(b"old")) as old:
        [where] = old.srv.endps
        for _ in range(3):
            with await ask(path) as sock:
                message, got = await descriptors.receive(sock)
                assert len(message["sockets"]) == len(got) == 2
            descriptors.close_all(got)
            assert await greeting_at(where) == b"old"
        # The next one finds all in order.
        async with Served(mode, greeting(b"new")):
            await old.task
            assert await greeting_at(where) == b"new"
    assert "nothing was handed over" in caplog.text
    assert not os.path.exists(path)
    assert not os.path.exists(socket_path)
    # And without a next one, the names go with it.
    async with Served(mode, greeting(b"old")):
        with await ask(path) as sock:
            _, got = await descriptors.receive(sock)
        descriptors.close_all(got)
        while len(caplog.messages) < 4:  # noqa: ASYNC110 (a log tells nobody)
            await asyncio.sleep(0)
    assert not os.path.exists(path)
    assert not os.path.exists(socket_path)


async def test_successor_that_takes_its_time_is_told_of(socket_path, monkeypatch, caplog):
    monkeypatch.setattr("conduit.transports.offer._SECONDS_TO_SERVE", 0.01)
    async with Served(server.Handover(socket_path, LOOPBACK), greeting(b"old")) as old:
        with await ask(socket_path) as sock:
            _, got = await descriptors.receive(sock)
            while not caplog.messages:  # noqa: ASYNC110 (a log tells nobody)
                await asyncio.sleep(0.001)
            assert f"process {os.getpid()} has had the sockets for 0.01 s" in caplog.text
            # It may still begin.
            await descriptors.send(sock, {"ready": 1})
            assert "yours" in (await descriptors.receive(sock))[0]
            await old.task
        descriptors.close_all(got)
    os.unlink(socket_path)


async def test_successor_that_stops_before_it_is_ready_leaves_the_names(socket_path, monkeypatch):
    path = f"{socket_path}-h"
    mode = server.Handover(path, server.UnixDomainSocket(socket_path))
    async with Served(mode, greeting(b"old")) as old:
        [where] = old.srv.endps
        with monkeypatch.context() as patches:
            patches.setattr(handover.Succession, "begin", lambda *args: None)
            async with Served(mode, greeting(b"new")):
                pass
        assert await greeting_at(where) == b"old"
        async with Served(mode, greeting(b"newer")):
            await old.task
            assert await greeting_at(where) == b"newer"
    assert not os.path.exists(path)
    assert not os.path.exists(socket_path)


async def test_successor_that_cannot_serve_leaves_the_one_before(socket_path, tmp_path):
    mode = server.Handover(socket_path, LOOPBACK)
    async with Served(mode, greeting(b"old")) as old:
        [where] = old.srv.endps
        files = f"crt={tmp_path}/no.crt&key={tmp_path}/no.key"
        assert "no.crt" in await refusal(f"tls+handover:{socket_path}?{files}")
        assert not old.task.done()
        assert await greeting_at(where) == b"old"


async def test_other_sockets_than_the_successor_wants_are_refused(socket_path, caplog):
    async with Served(server.Handover(socket_path, LOOPBACK), greeting(b"old")) as old:
        [where] = old.srv.endps
        for wanted in (
            server.TCP(1),
            server.TCP(0, ip="127.0.0.2"),
            server.TCP(where.port, ip="::1"),
            server.UnixDomainSocket(f"{socket_path}-x"),
            server.Vsock(1, 5),
        ):
            text = await refusal(server.Handover(socket_path, wanted), conduit.AddressError)
            assert f"serves {where}, which is not {wanted}" in text
            assert "stop it first" in text
        assert await greeting_at(where) == b"old"
        for same in (server.TCP(where.port), server.TCP(where.port, ip="127.0.0.1"), None):
            async with Served(server.Handover(socket_path, same), greeting(b"new")) as new:
                await old.task
                assert await greeting_at(where) == b"new"
                # And back, for the next round.
                old = await Served(
                    server.Handover(socket_path, LOOPBACK), greeting(b"old")
                ).__aenter__()
                await new.task
        await old.__aexit__()


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"conduit handover": 2}, "refused"),
        ({"x": 1}, "refused"),
        ([1], None),
        ("GET / HTTP/1.1", None),
    ],
)
async def test_what_it_does_not_understand_is_turned_away(socket_path, message, answer, caplog):
    async with Served(server.Handover(socket_path, LOOPBACK), greeting(b"old")) as old:
        with await ask(socket_path, message) as sock:
            if answer is None:
                with pytest.raises((EOFError, ConnectionError)):
                    await descriptors.receive(sock)
            else:
                got, fds = await descriptors.receive(sock)
                assert answer in got
                assert fds == []
        assert await greeting_at(old.srv.endps[0]) == b"old"


async def test_one_that_says_nothing_has_but_its_time(socket_path, monkeypatch, caplog):
    monkeypatch.setattr("conduit.transports.offer._SECONDS_TO_ASK", 0.05)
    mode = server.Handover(socket_path, LOOPBACK)
    async with Served(mode, greeting(b"old")) as old:
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(socket_path)
            async with Served(mode, greeting(b"new")) as new:
                await old.task
                assert await greeting_at(new.srv.endps[0]) == b"new"


# A predecessor that fails -------------------------------------------------------------------------


class Before:
    """A process that has the path of a handover, and answers as it likes."""

    def __init__(self, path: str) -> None:
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen()
        self.listening.setblocking(False)

    async def answer(self, message: object, fds: Sequence[int] = ()) -> socket.socket:
        sock, _ = await asyncio.get_running_loop().sock_accept(self.listening)
        await descriptors.receive(sock)
        await descriptors.send(sock, message, fds)  # type: ignore[arg-type]
        return sock


NO_FILE = {"file": None, "identity": None}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"refused": "not today"}, "not today"),
        ({}, "the process before sent no socket"),
        ({"sockets": [NO_FILE]}, "2 descriptors came, and 1 were told of"),
        ({"sockets": [NO_FILE] * 3}, "2 descriptors came, and 3 were told of"),
        ({"sockets": [1, 2]}, "does not say what its sockets are"),
        ({"sockets": [{"file": "x"}, NO_FILE]}, "does not say what its sockets are"),
        ({"sockets": [{"file": "x", "identity": "ab"}, NO_FILE]}, "does not say what"),
        ({"other": 1}, "does not say what its sockets are"),
    ],
)
async def test_answers_that_are_none_are_told(socket_path, message, words):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.socket(socket.AF_UNIX) as two:
        two.bind(f"{socket_path}-two")
        before = Before(socket_path)
        fds = [] if not message or "refused" in message else [one.fileno(), two.fileno()]
        with before.listening:
            answering = asyncio.create_task(before.answer(message, fds))
            text = await refusal(server.Handover(socket_path, LOOPBACK))
            (await answering).close()
        assert words in text
        assert f"handover:{socket_path}" in text


async def test_what_is_no_socket_to_serve_is_refused(socket_path):
    before = Before(socket_path)
    with before.listening, socket.socket(type=socket.SOCK_DGRAM) as bad:
        answering = asyncio.create_task(
            before.answer({"sockets": [NO_FILE, NO_FILE]}, [bad.fileno(), bad.fileno()])
        )
        text = await refusal(server.Handover(socket_path), conduit.AddressError)
        (await answering).close()
    assert "no stream socket" in text


async def test_predecessor_that_does_not_answer(socket_path, monkeypatch):
    monkeypatch.setattr(handover, "_SECONDS_TO_ANSWER", 0.05)
    before = Before(socket_path)
    with before.listening:
        text = await refusal(server.Handover(socket_path, LOOPBACK))
    assert "did not answer in 0.05 s" in text


async def test_predecessor_that_dies_when_it_has_handed_over(socket_path):
    """All is the successor's then, and it offers it anew."""
    before = Before(socket_path)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        info = os.stat(socket_path)
        control = {"file": socket_path, "identity": [info.st_dev, info.st_ino]}
        answering = asyncio.create_task(
            before.answer(
                {"sockets": [NO_FILE, control]}, [sock.fileno(), before.listening.fileno()]
            )
        )
        async with Served(server.Handover(socket_path), greeting(b"new")) as new:
            (await answering).close()
            before.listening.close()
            assert await greeting_at(new.srv.endps[0]) == b"new"
            async with Served(server.Handover(socket_path), greeting(b"newer")) as newer:
                await new.task
                assert await greeting_at(newer.srv.endps[0]) == b"newer"
    assert not os.path.exists(socket_path)


async def test_path_that_was_removed_is_made_anew(socket_path):
    mode = server.Handover(socket_path, LOOPBACK)
    async with Served(mode, greeting(b"1")) as first:
        async with Served(mode, greeting(b"2")) as second:
            os.unlink(socket_path)
            await first.task
            await appears(socket_path)
            async with Served(mode, greeting(b"3")) as third:
                await second.task
                assert await greeting_at(third.srv.endps[0]) == b"3"


async def test_nobody_before_and_nothing_otherwise(socket_path):
    text = await refusal(server.Handover(socket_path), FileNotFoundError)
    assert "no process offers its sockets there" in text
    assert "Handover(path, server.TCP(8080))" in text
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(socket_path)
    await refusal(server.Handover(socket_path), ConnectionRefusedError)
    # With an otherwise, what a dead process left is taken over.
    async with Served(server.Handover(socket_path, LOOPBACK), greeting(b"new")) as new:
        assert await greeting_at(new.srv.endps[0]) == b"new"


async def test_path_that_is_no_socket(socket_path):
    with open(socket_path, "w"):
        pass
    text = await refusal(server.Handover(socket_path, LOOPBACK))
    assert socket_path in text


async def test_when_the_path_cannot_be_made_nothing_is_left_open(tmp_path):
    text = await refusal(server.Handover(f"{tmp_path}/no/such", LOOPBACK), FileNotFoundError)
    assert "no/such" in text


# Who it is handed to ------------------------------------------------------------------------------


async def test_other_users_are_refused_on_both_sides(socket_path, monkeypatch, caplog):
    mode = server.Handover(socket_path, LOOPBACK)
    real = os.geteuid()
    async with Served(mode, greeting(b"old")) as old:
        monkeypatch.setattr("conduit.transports.descriptors.os.geteuid", lambda: real + 1)
        text = await refusal(mode, PermissionError)
        assert f"belongs to user {real}, not to {real + 1}" in text
        with await ask(socket_path) as sock:
            with pytest.raises((EOFError, ConnectionError)):
                await descriptors.receive(sock)
        monkeypatch.undo()
        assert f"belongs to user {real}, not to {real + 1}" in caplog.text
        assert await greeting_at(old.srv.endps[0]) == b"old"


async def test_where_the_system_does_not_tell_the_user(socket_path, monkeypatch):
    monkeypatch.delattr(socket, "SO_PEERCRED")
    text = await refusal(server.Handover(socket_path, LOOPBACK), conduit.UnsupportedTransport)
    assert "does not say who the other process belongs to" in text


async def test_what_is_no_socket_cannot_be_handed_over(socket_path):
    async with Served(testing.Memory("a name"), greeting(b"")) as served:
        with pytest.raises(conduit.UnsupportedTransport, match="is no socket"):
            await served.srv.handover(socket_path)
    with pytest.raises(conduit.UnsupportedTransport, match="is no socket"):
        async with conduit.listen(
            server.Handover(socket_path, testing.Memory("a name")),  # type: ignore[arg-type]
            greeting(b""),
        ):
            pytest.fail("listening")
    assert not os.path.exists(socket_path)


# Messages -----------------------------------------------------------------------------------------


async def test_message_comes_with_its_descriptors_whatever_its_length():
    left, right = socket.socketpair()
    read, write = os.pipe()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        message = {"text": "ü\udcff" * 50_000}
        _, (got, fds) = await asyncio.gather(
            descriptors.send(left, message, [read]), descriptors.receive(right)
        )
        assert got == message
        [fd] = fds
        assert not os.get_inheritable(fd)
        os.write(write, b"x")
        assert os.read(fd, 1) == b"x"
    for one in (read, write, fd):
        os.close(one)


@pytest.mark.parametrize(
    "data", [b"no json\n", b"[]\n", b"1\n", b"\xff\n", b"x" * 2_000_000, b"[" * 100_000 + b"\n"]
)
async def test_what_is_no_message_is_refused_and_its_descriptors_closed(data):
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)

        async def send():
            socket.send_fds(left, [data[:1]], [0])
            try:
                await asyncio.get_running_loop().sock_sendall(left, data[1:])
            except (BrokenPipeError, ConnectionResetError):
                pass

        sending = asyncio.create_task(send())
        with pytest.raises(descriptors.NotUnderstood):
            await descriptors.receive(right)
        right.close()
        await sending


async def test_end_in_the_middle_of_a_message_closes_its_descriptors():
    left, right = socket.socketpair()
    with left, right:
        right.setblocking(False)
        socket.send_fds(left, [b'{"a":'], [0, 1])
        left.close()
        with pytest.raises(EOFError):
            await descriptors.receive(right)


# Real processes -----------------------------------------------------------------------------------

PROGRAM = """
    import asyncio, os, sys, conduit

    async def handler(f, ic, oc):
        await ic.readline()
        oc.write(b"%d\\n" % os.getpid())

    async def main():
        mode = conduit.server.Handover(sys.argv[1], conduit.server.TCP(0, ip="127.0.0.1"))
        async with conduit.listen(mode, handler) as srv:
            print(srv.endps[0].port)
            await asyncio.Event().wait()
        print("ended")

    conduit.run(main())
"""

RESTARTS = 10
INTERVAL = 1 / 100


def test_no_client_is_lost_in_ten_restarts(socket_path):
    """A hundred a second come meanwhile, and each is answered; the programs' loops take turns."""
    lost: list[BaseException] = []
    answered: Counter[int] = Counter()
    news: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def client_of(port: int) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"?\n")
            pid = int(await reader.readline())
            answered[pid] += 1
            news[pid].set()
            writer.close()
            await writer.wait_closed()
        except (OSError, ValueError) as error:
            lost.append(error)

    async def load(port: int, over: asyncio.Event) -> int:
        loop = asyncio.get_running_loop()
        began, count = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                group.create_task(client_of(port))
                count += 1
                try:
                    async with asyncio.timeout_at(began + count * INTERVAL):
                        await over.wait()
                except TimeoutError:
                    pass
        return count

    async def main() -> int:
        async with AsyncExitStack() as stack:
            loops = itertools.cycle(LOOPS)

            def begun() -> ChildProgram:
                return stack.enter_context(ChildProgram(PROGRAM, socket_path, loop=next(loops)))

            programs = [begun()]
            port = int(await asyncio.to_thread(programs[0].line))
            over = asyncio.Event()
            loading = asyncio.create_task(load(port, over))
            for _ in range(RESTARTS):
                programs.append(begun())
                assert int(await asyncio.to_thread(programs[-1].line)) == port
                assert await asyncio.to_thread(programs[-2].end) == (0, "ended\n", "")
                # Whoever is new has answered before the next one comes.
                await news[programs[-1].process.pid].wait()
            over.set()
            return await loading

    count = asyncio.run(main())
    assert lost == []
    assert sum(answered.values()) == count
    assert len(answered) == RESTARTS + 1
    assert count > 3 * RESTARTS


def test_successor_killed_at_the_worst_moment_is_survived(socket_path):
    """When it has the sockets, and has not said that it is ready."""
    killed = """
        import asyncio, os, signal, sys, conduit
        from conduit.transports import handover

        def die(*args):
            os.kill(os.getpid(), signal.SIGKILL)

        handover.Succession.begin = die

        async def handler(f, ic, oc):
            pass

        conduit.run(conduit.serve(conduit.server.Handover(sys.argv[1]), handler))
    """
    with ChildProgram(PROGRAM, socket_path) as first:
        port = int(first.line())
        for _ in range(2):
            with ChildProgram(killed, socket_path) as second:
                assert second.end()[0] == -9
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(10)
            sock.sendall(b"?\n")
            assert sock.recv(100) == b"%d\n" % first.process.pid
        with ChildProgram(PROGRAM, socket_path) as third:
            assert int(third.line()) == port
            status, printed, complaints = first.end()
            assert (status, printed) == (0, "ended\n")
            assert "nothing was handed over" in complaints


@pytest.mark.parametrize("loop", LOOPS)
def test_successor_without_room_for_the_sockets_says_so(loop, socket_path):
    poor = """
        import os, resource, sys, conduit

        async def handler(f, ic, oc):
            pass

        async def main():
            # Room for the connection to the process before, and for one of the two sockets.
            used = max(map(int, os.listdir("/proc/self/fd")))
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, used + 2))
            spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(used) if fits()]
            for fd in spare[-2:]:
                os.close(fd)
            try:
                await conduit.serve(conduit.server.Handover(sys.argv[1]), handler)
            except OSError as error:
                print(error)

        def fits():
            try:
                os.close(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                return False
            return True

        # What it needs is there before the room is short.
        from conduit.transports import handover
        conduit.run(main())
    """
    with ChildProgram(PROGRAM, socket_path, loop=loop) as first:
        port = int(first.line())
        with ChildProgram(poor, socket_path, loop=loop) as second:
            status, printed, complaints = second.end()
        assert (status, complaints) == (0, "")
        assert "not all descriptors came" in printed
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(10)
            sock.sendall(b"?\n")
            assert sock.recv(100) == b"%d\n" % first.process.pid


def test_log_is_quiet_in_an_orderly_handover(socket_path, caplog):
    async def main():
        mode = server.Handover(socket_path, LOOPBACK)
        async with Served(mode, greeting(b"old")) as old:
            async with Served(mode, greeting(b"new")):
                await old.task

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert caplog.text == ""


def test_errno_of_a_handover_that_failed(socket_path):
    async def main():
        before = Before(socket_path)
        with before.listening:
            answering = asyncio.create_task(before.answer({"refused": "x"}))
            with pytest.raises(OSError, match="x") as caught:
                async with conduit.listen(server.Handover(socket_path), greeting(b"")):
                    pass
            (await answering).close()
            return caught.value.errno

    assert asyncio.run(main()) == errno.EPROTO
