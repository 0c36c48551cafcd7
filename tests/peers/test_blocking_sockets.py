"""Python programs with plain blocking sockets, in processes of their own."""

import asyncio
import errno
import hashlib
import signal
import socket

import pytest

import conduit
from conduit import client, server
from tests.children import Child
from tests.endpoints import port_of
from tests.peers.handlers import digest, digest_reply, noise
from tests.peers.programs import run_python
from tests.peers.tls_server import on_both_loops

pytestmark = on_both_loops

CONNECT = """
    import socket, sys, threading
    family, where = sys.argv[1:3]
    if family == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(where)
    else:
        sock = socket.create_connection((family, int(where)))
    data = sys.stdin.buffer.read()
"""


@pytest.fixture(params=["127.0.0.1", "::1", "unix"])
def where(request, socket_path):
    """A server's mode, and how a client above is told of it."""
    if request.param == "unix":
        return server.UnixDomainSocket(socket_path), lambda srv: ("unix", socket_path)
    return server.TCP(0), lambda srv: (request.param, str(port_of(srv)))


async def test_request_end_reply(where):
    mode, args = where
    data = noise(3_000_000)
    program = f"""{CONNECT}
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    with sock, sock.makefile("rb") as reply:
        sys.stdout.buffer.write(reply.read())
    """
    async with conduit.listen(mode, digest) as srv:
        assert await run_python(program, *args(srv), stdin=data) == digest_reply(data)


async def test_small_messages_back_and_forth(where):
    mode, args = where

    async def shout(f, ic, oc):
        async for line in ic:
            await oc.write(line.upper())

    program = f"""{CONNECT}
    with sock, sock.makefile("rwb") as file:
        for line in data.splitlines(keepends=True):
            file.write(line)
            file.flush()
            sys.stdout.buffer.write(file.readline())
    """
    lines = b"".join(b"message %d\n" % n for n in range(2000))
    async with conduit.listen(mode, shout) as srv:
        assert await run_python(program, *args(srv), stdin=lines) == lines.upper()


async def test_peer_that_is_slow_to_read_holds_the_writer_up(where):
    """Back-pressure: what waits here stays bounded, though nothing is lost."""
    mode, args = where
    data = noise(20_000_000)
    most = 0

    async def pour(f, ic, oc):
        nonlocal most
        assert await ic.readline() == b"ready\n"
        for start in range(0, len(data), 65536):
            await oc.write(data[start : start + 65536])
            most = max(most, oc.transport.get_write_buffer_size())

    program = f"""{CONNECT}
    import hashlib
    sock.sendall(b"ready\\n")
    got = hashlib.sha256()
    with sock:
        while piece := sock.recv(10_000):
            got.update(piece)
    print(got.hexdigest())
    """
    async with conduit.listen(mode, pour) as srv:
        out = await run_python(program, *args(srv))
    assert out.decode().strip() == hashlib.sha256(data).hexdigest()
    assert most <= 65536 + 65536  # the high-water mark, and one write beyond it


async def test_client_that_dies_is_noticed(where):
    """Killed in the middle of sending: the handler sees an end, and never the rest."""
    mode, args = where
    ended = asyncio.get_running_loop().create_future()

    async def count(f, ic, oc):
        try:
            ended.set_result(len(await ic.read()))
        except OSError as error:
            ended.set_result(error)

    program = f"""{CONNECT}
    sock.sendall(data)
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
    """
    async with conduit.listen(mode, count) as srv:
        await run_python(program, *args(srv), stdin=noise(1000), status=-signal.SIGKILL)
        assert await ended == 1000


async def test_client_that_resets_is_an_error_of_the_handler():
    """SO_LINGER of 0: the reset arrives as one, not as a clean end."""
    failures: list[BaseException] = []

    async def read(f, ic, oc):
        oc.write(b"?")
        assert await ic.read() is None

    program = f"""{CONNECT}
    import struct
    assert sock.recv(1) == b"?"
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    """
    async with conduit.listen(server.TCP(0), read, on_exn=failures.append) as srv:
        await run_python(program, "127.0.0.1", str(port_of(srv)))
    assert [type(error) for error in failures] == [ConnectionResetError]


async def test_we_connect_to_a_blocking_server():
    program = """
        import hashlib, socket
        with socket.create_server(("127.0.0.1", 0)) as listening:
            print(listening.getsockname()[1], flush=True)
            sock, _ = listening.accept()
            with sock, sock.makefile("rb") as request:
                digest = hashlib.sha256(request.read()).hexdigest()
                sock.sendall(digest.encode())
    """
    data = noise(3_000_000)
    with Child(program) as child:
        port = int(await child.says())
        async with conduit.connect(client.TCP("127.0.0.1", port)) as (_, ic, oc):
            await oc.write(data)
            oc.write_eof()
            assert (await ic.read()).decode() == hashlib.sha256(data).hexdigest()
        assert await child.status() == 0


async def test_socket_inherited_from_a_parent(socket_path):
    """A parent listens, its child serves the descriptor it inherited, and both may connect."""
    program = """
        import asyncio, sys, conduit

        async def handler(f, ic, oc):
            await oc.write(await ic.readline())

        async def main():
            mode = conduit.server.ListeningSocket(int(sys.argv[1]))
            async with conduit.listen(mode, handler) as srv:
                print(srv.endps[0], flush=True)
                await asyncio.to_thread(sys.stdin.readline)

        conduit.run(main())
    """
    with socket.create_server(("127.0.0.1", 0)) as sock:
        ip, port = sock.getsockname()
        with Child(program, str(sock.fileno()), fds=[sock.fileno()]) as child:
            assert await child.says() == f"tcp://{ip}:{port}"
            async with conduit.connect(client.TCP(ip, port)) as (_, ic, oc):
                oc.write(b"hello\n")
                assert await ic.readline() == b"hello\n"
            await child.tell("enough")
            assert await child.status() == 0
    # The parent's own copy was the last one.
    with pytest.raises(conduit.ConnectError) as refused:
        await conduit.connect(client.TCP(ip, port))
    assert refused.value.errno == errno.ECONNREFUSED
