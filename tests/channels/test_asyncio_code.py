"""Programs written for asyncio streams, run over asyncio's own and, unchanged, over ours.

Each of them runs over both; what is expected is so what asyncio does.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
from contextlib import asynccontextmanager

import pytest

import conduit
from tests.channels.fakes import reset


@asynccontextmanager
async def over_asyncio(path, handler):
    if path:
        server = await asyncio.start_unix_server(handler, path)
    else:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)

    async def connect():
        if path:
            return await asyncio.open_unix_connection(path)
        return await asyncio.open_connection(*server.sockets[0].getsockname())

    async with server:
        yield connect


@asynccontextmanager
async def over_conduit(path, handler):
    async def handle(f, ic, oc):
        await handler(ic, oc)

    unix, tcp = conduit.server.UnixDomainSocket, conduit.server.TCP
    async with conduit.listen(unix(path) if path else tcp(0, ip="127.0.0.1"), handle) as server:

        async def connect():
            _, reader, writer = await conduit.connect(server.endps[0])
            return reader, writer

        yield connect


@pytest.fixture(params=["asyncio", "conduit"])
def library(request):
    """Serves a handler at a path, or on a port."""
    return over_asyncio if request.param == "asyncio" else over_conduit


@pytest.fixture(params=["tcp", "unix"])
def serve(request, library, tmp_path_factory, socket_path):
    """Serves a handler and gives a function that connects to it."""
    path = socket_path if request.param == "unix" else None
    return lambda handler: library(path, handler)


@pytest.fixture
def serve_tcp(library):
    return lambda handler: library(None, handler)


# A store of values, by lines and counted bytes.


async def store(reader, writer):
    values = {}
    try:
        async for line in reader:
            match line.decode().split():
                case ["SET", key, size]:
                    values[key] = await reader.readexactly(int(size))
                    await reader.readuntil(b"\r\n")
                    writer.write(b"STORED\r\n")
                case ["GET", key] if key in values:
                    writer.writelines([b"VALUE %d\r\n" % len(values[key]), values[key], b"\r\n"])
                case ["GET", _]:
                    writer.write(b"NOT FOUND\r\n")
                case ["QUIT"]:
                    writer.write(b"BYE\r\n")
                    break
                case _:
                    writer.write(b"ERROR\r\n")
            await writer.drain()
    finally:
        writer.close()
        await writer.wait_closed()


async def store_session(reader, writer):
    answers = []

    async def ask(*parts):
        writer.writelines(parts)
        await writer.drain()
        answer = await reader.readline()
        if answer.startswith(b"VALUE"):
            answer += await reader.readexactly(int(answer.split()[1]) + 2)
        answers.append(answer)

    await ask(b"SET a 5\r\n", b"1\r\n23", b"\r\n")
    await ask(b"GET a\r\n")
    await ask(b"GET b\r\n")
    await ask(b"nonsense\r\n")
    await ask(b"SET big 300000\r\n", memoryview(b"x" * 300_000), bytearray(b"\r\n"))
    await ask(b"GET big\r\n")
    await ask(b"QUIT\r\n")
    answers.append(await reader.read())
    assert reader.at_eof()
    assert not writer.is_closing()
    writer.close()
    assert writer.is_closing()
    await writer.wait_closed()
    return answers


async def test_a_store(serve):
    async with serve(store) as connect:
        one, other = await asyncio.gather(*[store_session(*await connect()) for _ in range(2)])
    assert (
        one
        == other
        == [
            b"STORED\r\n",
            b"VALUE 5\r\n1\r\n23\r\n",
            b"NOT FOUND\r\n",
            b"ERROR\r\n",
            b"STORED\r\n",
            b"VALUE 300000\r\n" + b"x" * 300_000 + b"\r\n",
            b"BYE\r\n",
            b"",
        ]
    )


# As much of HTTP/1.1 as it takes: kept connections, counted and chunked bodies.


async def read_head(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    return first, {key.lower(): value for key, value in (line.split(": ") for line in lines)}


async def read_body(reader, headers):
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
        await reader.readline()
        return body
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read()


async def http_server(reader, writer):
    while True:
        try:
            request, headers = await read_head(reader)
        except asyncio.IncompleteReadError:
            break
        except asyncio.LimitOverrunError as error:
            writer.write(b"HTTP/1.1 431 Too much: %d\r\nConnection: close\r\n\r\n" % error.consumed)
            break
        method, path, _ = request.split()
        body = await read_body(reader, headers) if method == "POST" else b""
        answer = path.encode() + b" " + hashlib.sha256(body).hexdigest().encode()
        if path == "/chunked":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(answer), 7):
                piece = answer[start : start + 7]
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        elif path == "/close":
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            writer.write(answer)
            break
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
            writer.write(answer)
        await writer.drain()
    writer.close()


async def fetch(reader, writer, path, body=b"", *, chunked=False):
    writer.write(b"POST %s HTTP/1.1\r\nHost: example.com\r\n" % path.encode())
    if chunked:
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 50_000):
            piece = body[start : start + 50_000]
            writer.writelines([b"%x\r\n" % len(piece), piece, b"\r\n"])
            await writer.drain()
        writer.write(b"0\r\n\r\n")
    else:
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
    await writer.drain()
    status, headers = await read_head(reader)
    assert status == "HTTP/1.1 200 OK"
    return (await read_body(reader, headers)).decode()


async def test_http(serve):
    body = bytes(range(256)) * 3000
    digest, nothing = hashlib.sha256(body).hexdigest(), hashlib.sha256().hexdigest()
    async with serve(http_server) as connect:
        reader, writer = await connect()
        assert await fetch(reader, writer, "/one") == f"/one {nothing}"
        assert await fetch(reader, writer, "/two", body) == f"/two {digest}"
        assert await fetch(reader, writer, "/chunked", body, chunked=True) == f"/chunked {digest}"
        assert await fetch(reader, writer, "/close", body) == f"/close {digest}"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_http_with_a_head_that_is_too_long(serve):
    async with serve(http_server) as connect:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nCookie: " + b"x" * 70_000)
        await writer.drain()
        status = await reader.readline()
        assert status.startswith(b"HTTP/1.1 431 Too much")
        writer.close()
        await writer.wait_closed()


# A proxy in the usual way: two pipes, each of which passes the end on.


async def pipe(reader, writer):
    try:
        while not reader.at_eof():
            data = await reader.read(2048)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except ConnectionError:
        writer.close()


async def test_a_proxy_with_half_close(serve, library):
    async def upstream(reader, writer):
        # The answer depends on all of the question.
        question = await reader.read()
        writer.write(hashlib.sha256(question).digest() + question[::-1])
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    question = bytes(range(256)) * 2000
    async with library(None, upstream) as connect_upstream:

        async def proxy(reader, writer):
            up_reader, up_writer = await connect_upstream()
            await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer))
            for one in (writer, up_writer):
                one.close()
                await one.wait_closed()

        async with serve(proxy) as connect:
            reader, writer = await connect()
            sending = asyncio.create_task(feed(writer, question))
            answer = await reader.read()
            await sending
            writer.close()
            await writer.wait_closed()
    assert answer == hashlib.sha256(question).digest() + question[::-1]


async def feed(writer, data):
    for start in range(0, len(data), 10_000):
        writer.write(data[start : start + 10_000])
        await writer.drain()
    writer.write_eof()


# A chat: what one says, all hear.


async def test_a_chat(serve):
    members = {}

    async def member(reader, writer):
        name = (await reader.readline()).strip()
        members[name] = writer
        writer.write(b"welcome\n")
        async for line in reader:
            for other in members.values():
                other.write(name + b": " + line)
            await asyncio.gather(*[other.drain() for other in members.values()])
        del members[name]
        writer.close()

    async with serve(member) as connect:
        streams = []
        for name in (b"ann", b"bob", b"eve"):
            reader, writer = await connect()
            writer.write(name + b"\n")
            assert await reader.readline() == b"welcome\n"
            streams.append((reader, writer))
        for number, (_, writer) in enumerate(streams):
            writer.write(b"%d\n" % number)
            await writer.drain()
            for reader, _ in streams:
                assert (await reader.readline()).endswith(b": %d\n" % number)
        for _, writer in streams:
            writer.close()
            await writer.wait_closed()


# Frames with their length before them, many at once, under back-pressure.


async def send_frame(writer, payload):
    writer.write(struct.pack("!I", len(payload)) + payload)
    await writer.drain()


async def receive_frame(reader):
    (size,) = struct.unpack("!I", await reader.readexactly(4))
    return await reader.readexactly(size)


async def test_frames(serve):
    async def echo(reader, writer):
        writer.transport.set_write_buffer_limits(high=1000)
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await send_frame(writer, await receive_frame(reader))

    frames = [bytes([number]) * size for number, size in enumerate([0, 1, 10, 70_000, 2_000_000])]
    async with serve(echo) as connect:
        reader, writer = await connect()

        async def send():
            for frame in frames * 3:
                await send_frame(writer, frame)

        sending = asyncio.create_task(send())
        assert [await receive_frame(reader) for _ in frames * 3] == frames * 3
        await sending
        writer.close()
        await writer.wait_closed()


async def test_a_read_that_timed_out_can_be_repeated(serve):
    go = asyncio.Event()

    async def slow(reader, writer):
        writer.write(b"half ")
        await go.wait()
        writer.write(b"line\n")
        await writer.drain()
        writer.close()

    async with serve(slow) as connect:
        reader, writer = await connect()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.05)
        go.set()
        assert await asyncio.wait_for(reader.readline(), 20) == b"half line\n"
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_leaves_in_the_middle(serve):
    seen = asyncio.get_running_loop().create_future()

    async def handler(reader, writer):
        try:
            await reader.readexactly(100)
        except asyncio.IncompleteReadError as error:
            seen.set_result((error.partial, error.expected))
        writer.close()

    async with serve(handler) as connect:
        _, writer = await connect()
        writer.write(b"not a hundred")
        writer.close()
        await writer.wait_closed()
        assert await seen == (b"not a hundred", 100)


async def test_a_client_that_resets(serve_tcp):
    seen = asyncio.get_running_loop().create_future()

    async def handler(reader, writer):
        if await reader.readline() == b"hello\n":
            writer.write(b"welcome\n")
            try:
                await reader.readline()
            except ConnectionResetError:
                seen.set_result(isinstance(reader.exception(), ConnectionResetError))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with serve_tcp(handler) as connect:
        _, writer = await connect()
        address = writer.get_extra_info("peername")
        writer.close()
        await writer.wait_closed()
        client = socket.create_connection(address)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, b"hello\n")
        assert await loop.sock_recv(client, 100) == b"welcome\n"
        reset(client)
        assert await seen


async def test_a_client_that_does_not_read_and_leaves(serve):
    seen = asyncio.get_running_loop().create_future()

    async def handler(reader, writer):
        await reader.readline()
        try:
            while True:
                writer.write(b"x" * 10_000)
                await writer.drain()
        except ConnectionError as error:
            seen.set_result(error)
        writer.close()

    async with serve(handler) as connect:
        reader, writer = await connect()
        writer.write(b"go\n")
        assert await reader.readexactly(10) == b"x" * 10
        writer.transport.abort()
        assert isinstance(await asyncio.wait_for(seen, 20), ConnectionError)
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_writing_after_close(serve):
    async def handler(reader, writer):
        writer.write(b"only this\n")
        writer.close()

    async with serve(handler) as connect:
        reader, writer = await connect()
        assert await reader.read() == b"only this\n"
        writer.close()
        writer.write(b"data")
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        await writer.wait_closed()


async def test_writing_after_close_to_a_client_that_is_still_there(serve):
    seen = asyncio.get_running_loop().create_future()

    async def handler(reader, writer):
        writer.close()
        try:
            # A task that did not hear of the close.
            for _ in range(1000):
                writer.write(b"data")
                await writer.drain()
        except ConnectionError as error:
            seen.set_result(error)
        else:
            seen.set_result(None)

    async with serve(handler) as connect:
        reader, writer = await connect()
        error = await seen
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert isinstance(error, ConnectionResetError)


async def test_reading_after_close(serve):
    async def handler(reader, writer):
        await reader.read()
        writer.close()

    async with serve(handler) as connect:
        reader, writer = await connect()
        writer.close()
        await writer.wait_closed()
        assert reader.at_eof()
        assert await reader.read() == b""


async def test_a_second_reader(serve):
    async def handler(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async with serve(handler) as connect:
        reader, writer = await connect()
        reading = asyncio.create_task(reader.readline())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await reader.readline()
        writer.write(b"line\n")
        assert await reading == b"line\n"
        writer.close()
        await writer.wait_closed()


async def test_the_socket_below(serve_tcp):
    async def handler(reader, writer):
        writer.write(repr(writer.get_extra_info("peername")).encode() + b"\n")
        await writer.drain()
        writer.close()

    async with serve_tcp(handler) as connect:
        reader, writer = await connect()
        assert await reader.readline() == b"%r\n" % (writer.get_extra_info("sockname"),)
        below = writer.get_extra_info("socket")
        assert below.family == socket.AF_INET
        assert below.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert below.getpeername() == writer.get_extra_info("peername")
        assert writer.get_extra_info("sslcontext") is None
        assert writer.get_extra_info("compression", "none") == "none"
        writer.close()
        await writer.wait_closed()


async def test_a_handler_that_closes_and_is_cancelled(caplog):
    # asyncio of Python 3.11 has an error of its own here.
    async def handler(reader, writer):
        writer.close()
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async with over_conduit(None, handler) as connect:
        reader, writer = await connect()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert caplog.messages == []
