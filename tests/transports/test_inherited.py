"""Sockets that somebody else opened: served as they are, closed in the end, never unlinked."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest

import conduit
from conduit import client, endp, flow, server
from tests.children import Child
from tests.endpoints import port_of
from tests.full_queue import queue_of


async def greet(f, ic, oc):
    oc.write(b"hello")


async def echo(f, ic, oc):
    while data := await ic.read(65536):
        await oc.write(data)


async def greeting_at(where: endp.Endp) -> bytes:
    async with conduit.connect(where) as (_, ic, _):
        return await ic.read()


def bound(kind: str, path: str) -> socket.socket:
    """A socket that is bound and does not listen yet."""
    match kind:
        case "tcp":
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
        case "tcp6":
            sock = socket.socket(socket.AF_INET6)
            sock.bind(("::1", 0))
        case "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(path)
        case _:
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(f"\0{path}")
    return sock


def endp_of(kind: str, sock: socket.socket, path: str) -> endp.Endp:
    if kind in ("tcp", "tcp6"):
        return endp.TCP(*sock.getsockname()[:2])
    return endp.UnixDomainSocket(path if kind == "unix" else f"@{path}")


KINDS = ["tcp", "tcp6", "unix", "abstract"]

MODES: dict[str, Callable[[socket.socket], server.Mode]] = {
    "object": lambda sock: server.TCP(server.Socket(sock)),
    "number": lambda sock: server.TCP(server.Socket(sock.detach())),
    "descriptor": lambda sock: server.ListeningSocket(sock.detach()),
}


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return str(request.param)


@pytest.fixture(params=MODES)
def mode_of(request) -> Callable[[socket.socket], server.Mode]:
    return MODES[request.param]


@pytest.fixture
def sock(kind, socket_path) -> Iterator[socket.socket]:
    """A bound socket of each kind; closed here if nobody else has closed it."""
    with bound(kind, socket_path) as sock:
        yield sock


# What can be served -------------------------------------------------------------------------------


@pytest.mark.parametrize("listening", [False, True])
async def test_serves_and_closes_in_the_end(kind, sock, mode_of, socket_path, listening):
    if listening:
        sock.listen()
    where = endp_of(kind, sock, socket_path)
    number = sock.fileno()
    socket_file = os.readlink(f"/proc/self/fd/{number}")
    mode = mode_of(sock)
    async with conduit.listen(mode, echo) as srv:
        assert srv.endps == (where,)
        async with conduit.connect(where) as (_, ic, oc):
            await oc.write(b"x\n")
            assert await ic.readline() == b"x\n"
        assert os.readlink(f"/proc/self/fd/{number}") == socket_file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    assert os.path.exists(socket_path) == (kind == "unix")


async def test_socket_object_is_closed_itself(sock):
    async with conduit.listen(server.TCP(server.Socket(sock)), greet):
        assert sock.fileno() >= 0
    assert sock.fileno() == -1


async def test_flows_say_where_they_met(kind, sock, mode_of, socket_path):
    flows = []

    async def note(f, ic, oc):
        flows.append(f)

    where = endp_of(kind, sock, socket_path)
    async with conduit.listen(mode_of(sock), note):
        async with conduit.connect(where) as (_, ic, oc):
            assert await ic.read() == b""
            if isinstance(where, endp.TCP):
                ip, port = oc.get_extra_info("sockname")[:2]
                assert flows == [flow.TCP(flows[0].fd, ip_address(ip), port)]
            else:
                assert isinstance(where, endp.UnixDomainSocket)
                assert flows == [flow.DomainSocket(flows[0].fd, where.path)]
                assert conduit.endp_of_flow(flows[0]) == where


async def test_clients_that_waited_are_served(kind, sock, mode_of, socket_path):
    sock.listen(5)
    address = sock.getsockname()
    with ExitStack() as stack:
        waiting = [stack.enter_context(socket.socket(sock.family)) for _ in range(3)]
        for one in waiting:
            one.connect(address)
        async with conduit.listen(mode_of(sock), greet):
            for one in waiting:
                one.settimeout(5)
                assert await asyncio.to_thread(one.recv, 100) == b"hello"
                one.close()


@pytest.mark.parametrize("kind", ["tcp", "tcp6"], indirect=True)
async def test_backlog_becomes_the_servers(sock, mode_of):
    sock.listen(100)
    assert queue_of(sock) == (0, 100)
    with socket.socket(fileno=os.dup(sock.fileno())) as same:
        async with conduit.listen(mode_of(sock), greet, backlog=3):
            assert queue_of(same) == (0, 3)


@pytest.mark.parametrize("kind", ["unix", "abstract"], indirect=True)
async def test_backlog_of_a_unix_socket_becomes_the_servers(sock, mode_of):
    sock.listen(100)
    inside, release = asyncio.Event(), asyncio.Event()

    async def hold(f, ic, oc):
        inside.set()
        await release.wait()

    address = sock.getsockname()
    async with conduit.listen(mode_of(sock), hold, backlog=3, max_active=1):
        with ExitStack() as stack:

            def answer() -> int:
                one = stack.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                return one.connect_ex(address)

            assert answer() == 0
            await inside.wait()
            # Linux lets one more wait than it is told.
            assert [answer() for _ in range(5)] == [0] * 4 + [errno.EAGAIN]
            release.set()


async def test_blocking_and_inheritable_make_no_difference(sock):
    sock.setblocking(True)
    sock.set_inheritable(True)
    sock.listen()
    async with conduit.listen(server.TCP(server.Socket(sock)), greet) as srv:
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        assert await greeting_at(srv.endps[0]) == b"hello"


async def test_both_families_of_one_socket_look_like_what_they_are():
    sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    peers = []

    async def note(f, ic, oc):
        peers.append(str(f.ip))

    async with conduit.listen(server.TCP(server.Socket(sock)), note) as srv:
        for ip in ("127.0.0.1", "::1"):
            async with conduit.connect(client.TCP(ip, port_of(srv))) as (_, ic, _):
                await ic.read()
    assert peers == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("protocol", [0, socket.IPPROTO_TCP])
async def test_no_delay_on_both_sides(mode_of, protocol):
    """However the socket was made: most programs leave out its protocol."""
    seen = []

    def no_delay(oc) -> bool:
        sock = oc.get_extra_info("socket")
        return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def note(f, ic, oc):
        seen.append(no_delay(oc))

    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    sock.bind(("127.0.0.1", 0))
    async with conduit.listen(mode_of(sock), note) as srv:
        async with conduit.connect(srv.endps[0]) as (_, ic, oc):
            await ic.read()
            seen.append(no_delay(oc))
    assert seen == [True, True]


async def test_cancelled_it_is_closed_all_the_same(sock, mode_of):
    number = sock.fileno()
    begun = asyncio.Event()
    mode = mode_of(sock)

    async def serve():
        async with conduit.listen(mode, greet):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


# A parent that opens, a child that serves ---------------------------------------------------------

SERVER = """
    import asyncio, sys, conduit

    async def greet(f, ic, oc):
        oc.write(b"hello from the child")

    async def main():
        fd = int(sys.argv[2])
        mode = conduit.server.ListeningSocket(fd)
        if sys.argv[1] == "socket":
            mode = conduit.server.TCP(conduit.server.Socket(fd))
        async with conduit.listen(mode, greet) as srv:
            print(srv.endps[0], flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        print("stopped", flush=True)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
"""


@pytest.mark.parametrize(
    ("kind", "how"),
    [("tcp", "socket"), ("tcp", "descriptor"), ("unix", "descriptor"), ("abstract", "descriptor")],
    indirect=["kind"],
)
async def test_child_serves_its_parents_socket(kind, sock, socket_path, how, anyio_backend):
    """And hands it back: the parent's own descriptor goes on, and nothing is unlinked."""
    sock.listen()
    where = endp_of(kind, sock, socket_path)
    loop = "uvloop" if anyio_backend[1]["use_uvloop"] else "asyncio"
    fd = sock.fileno()
    with Child(SERVER, how, str(fd), loop=loop, fds=[fd]) as child:
        assert await child.says() == str(where)
        assert await greeting_at(where) == b"hello from the child"
        await child.tell("stop")
        assert await child.says() == "stopped"
        assert await child.status() == 0
    assert os.path.exists(socket_path) == (kind == "unix")
    async with conduit.listen(server.TCP(server.Socket(sock)), greet):
        assert await greeting_at(where) == b"hello"


# What cannot be served ----------------------------------------------------------------------------


async def refusal(mode: server.Mode) -> str:
    """The AddressError that serving raises."""
    with pytest.raises(conduit.AddressError) as caught:
        async with conduit.listen(mode, greet):
            pytest.fail("listening")
    return str(caught.value)


async def test_what_is_no_socket_is_refused_and_stays_open(tmp_path):
    read, write = os.pipe()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        for fd in (read, file):
            for mode in (server.ListeningSocket(fd), server.TCP(server.Socket(fd))):
                text = await refusal(mode)
                assert f"descriptor {fd}" in text
                assert "non-socket" in text
        os.write(write, b"x")
        assert os.read(read, 1) == b"x"
        assert os.write(file, b"x") == 1
    finally:
        for fd in (read, write, file):
            os.close(fd)


async def test_closed_descriptor_is_refused():
    sock = socket.socket()
    fd = sock.fileno()
    sock.close()
    for mode in (server.ListeningSocket(fd), server.TCP(server.Socket(fd))):
        text = await refusal(mode)
        assert f"descriptor {fd}" in text
        assert "Bad file descriptor" in text


async def test_closed_socket_object_is_refused():
    sock = socket.socket()
    sock.close()
    assert "closed" in await refusal(server.TCP(server.Socket(sock)))


@pytest.mark.parametrize("by", ["object", "number", "descriptor"])
@pytest.mark.parametrize(
    ("family", "type_"),
    [
        (socket.AF_INET, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET),
    ],
)
async def test_socket_without_a_stream_is_refused_and_stays_open(socket_path, by, family, type_):
    with socket.socket(family, type_) as sock:
        sock.bind(("127.0.0.1", 0) if family == socket.AF_INET else socket_path)
        assert "no stream socket" in await refusal(borrowed(by, sock))
        if type_ == socket.SOCK_DGRAM:
            with socket.socket(family, type_) as peer:
                peer.sendto(b"still open", sock.getsockname())
            assert sock.recv(100) == b"still open"


def borrowed(by: str, sock: socket.socket) -> server.Mode:
    """A mode that names a socket which stays ours."""
    match by:
        case "object":
            return server.TCP(server.Socket(sock))
        case "number":
            return server.TCP(server.Socket(sock.fileno()))
        case _:
            return server.ListeningSocket(sock.fileno())


@pytest.mark.parametrize("by", ["object", "number", "descriptor"])
@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
async def test_connected_socket_is_refused_and_stays_open(by, family):
    one, other = pair_of(family)
    with one, other:
        text = await refusal(borrowed(by, one))
        assert "is connected to" in text
        assert "only a listening socket can be served" in text
        one.sendall(b"still open")
        assert other.recv(100) == b"still open"


def pair_of(family: socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


@pytest.mark.parametrize("by", ["object", "number", "descriptor"])
@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET, socket.AF_INET6])
async def test_unbound_socket_is_refused_and_stays_as_it_is(by, family):
    """Linux would listen on some port of its own choice, or say no more than EINVAL."""
    with socket.socket(family) as sock:
        before = sock.getsockname()
        assert "bound" in await refusal(borrowed(by, sock))
        assert sock.getsockname() == before


async def test_address_that_another_listens_on_says_which(mode_of):
    """Both may be bound, but only one may listen."""
    with socket.socket() as first, socket.socket() as second:
        for sock in (first, second):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 0))
        second.bind(first.getsockname())
        first.listen()
        number = second.fileno()
        try:
            with pytest.raises(OSError, match="in use") as caught:
                async with conduit.listen(mode_of(second), greet):
                    pytest.fail("listening")
            assert caught.value.errno == errno.EADDRINUSE
            assert f"tcp://127.0.0.1:{first.getsockname()[1]}" in str(caught.value)
            os.fstat(number)  # it is still whose it was
        finally:
            if second.fileno() == -1:
                os.close(number)


async def test_file_of_a_unix_socket_is_never_unlinked(socket_path, mode_of):
    for _ in range(2):
        Path(socket_path).unlink(missing_ok=True)
        async with conduit.listen(mode_of(bound("unix", socket_path)), greet):
            assert await greeting_at(endp.UnixDomainSocket(socket_path)) == b"hello"
        assert Path(socket_path).is_socket()
