"""Flows as streams of anyio, and servers as its listeners: what anyio promises holds for them."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import ssl
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.lowlevel import checkpoint
from anyio.streams.buffered import BufferedByteReceiveStream, BufferedByteStream
from anyio.streams.stapled import MultiListener
from anyio.streams.text import TextStream
from anyio.streams.tls import TLSAttribute, TLSConnectable, TLSListener, TLSStream

import conduit
from conduit import AddressError, client, endp, flow, server
from conduit.ext.anyio import (
    FlowAttribute,
    FlowConnectable,
    FlowStream,
    connect,
    create_listener,
)
from conduit.testing import Memory
from tests.child_program import LOOPS, ChildProgram
from tests.peers.tls_server import on_one_loop

KINDS = ["tcp", "unix", "tls"]


@asynccontextmanager
async def streams(kind, certificates, socket_path: str):
    """The streams of the two sides of one flow, the client's first."""
    own = certificates.key()
    unix = server.UnixDomainSocket(socket_path)
    tls = server.TLSOver(unix, own.crt_file, own.key_file, own.password)
    ways: dict[str, tuple[Any, Any]] = {
        "tcp": ("tcp://127.0.0.1:0", None),
        "unix": (unix, f"unix:{socket_path}"),
        "memory": (Memory("anyio"), Memory("anyio")),
        "tls": (tls, f"tls+unix:{socket_path}?hostname=localhost"),
    }
    mode, target = ways[kind]
    ctx = await conduit.init(tls_authenticator=conduit.trust.ca(certificates.trusted))
    accepted: asyncio.Future[FlowStream] = asyncio.get_running_loop().create_future()
    async with await create_listener(mode) as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, _put(accepted))
            async with await connect(target or listener.endps[0], ctx=ctx) as near:
                async with await accepted as far:
                    yield near, far
            group.cancel_scope.cancel()


def _put(future):
    async def handle(stream):
        future.set_result(stream)

    return handle


async def flood(stream: FlowStream) -> None:
    while True:
        await stream.send(b"x" * 100_000)


async def use_until_it_breaks(stream: FlowStream) -> None:
    await stream.receive()
    await flood(stream)


@pytest.fixture(params=KINDS)
async def pair(request, certificates, socket_path):
    async with streams(request.param, certificates, socket_path) as both:
        yield both


@pytest.fixture
async def unix_pair(certificates, socket_path):
    async with streams("unix", certificates, socket_path) as both:
        yield both


async def test_bytes_and_ends_go_both_ways(pair) -> None:
    near, far = pair
    big = bytes(range(256)) * 8000
    async with anyio.create_task_group() as group:
        group.start_soon(near.send, big)
        got = b""
        while len(got) < len(big):
            piece = await far.receive(10_000)
            assert 0 < len(piece) <= 10_000
            got += piece
    assert got == big
    await near.send_eof()
    await near.send_eof()
    for _ in range(2):
        with pytest.raises(anyio.EndOfStream):
            await far.receive()
    # The other way goes on.
    await far.send(b"still here")
    assert await near.receive() == b"still here"
    with pytest.raises(RuntimeError):
        await near.send(b"after the end")


async def test_iteration_ends_with_the_stream(pair) -> None:
    near, far = pair
    await near.send(b"hello")
    await near.aclose()
    assert b"".join([piece async for piece in far]) == b"hello"


async def test_a_closed_stream_says_so(pair) -> None:
    near, _ = pair
    for _ in range(2):
        await near.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await near.receive()
    with pytest.raises(anyio.ClosedResourceError):
        await near.send(b"x")
    with pytest.raises(anyio.ClosedResourceError):
        await near.send_eof()


async def test_who_waits_is_told_of_closing(pair) -> None:
    near, far = pair
    async with anyio.create_task_group() as group:

        async def read() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await near.receive()

        async def write() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await flood(near)

        group.start_soon(read)
        group.start_soon(write)
        await anyio.wait_all_tasks_blocked()
        await anyio.aclose_forcefully(near)
    del far


async def test_two_readers_or_writers_are_too_many(unix_pair) -> None:
    near, _ = unix_pair
    async with anyio.create_task_group() as group:
        group.start_soon(near.receive)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError, match="reading from"):
            await near.receive()

        group.start_soon(flood, near)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError, match="writing to"):
            await near.send(b"x")
        group.cancel_scope.cancel()


async def test_a_cancelled_receive_loses_nothing(pair) -> None:
    near, far = pair
    with anyio.move_on_after(0.01) as scope:
        await near.receive()
    assert scope.cancelled_caught
    await far.send(b"hello")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await near.receive()
    assert scope.cancelled_caught
    assert await near.receive() == b"hello"


async def test_nothing_is_sent_in_a_cancelled_scope(pair) -> None:
    near, far = pair
    with anyio.CancelScope() as scope:
        scope.cancel()
        await near.send(b"never")
    assert scope.cancelled_caught
    await near.send(b"x")
    assert await far.receive() == b"x"


@pytest.mark.parametrize("kind", ["tcp", "memory", "tls"])
async def test_a_flow_that_breaks_is_told(kind, certificates, socket_path) -> None:
    async with streams(kind, certificates, socket_path) as (near, far):
        await near.send(b"x")
        if kind == "tls":
            # The connection below ends without TLS's goodbye.
            below = far.extra(SocketAttribute.raw_socket)
            with socket.socket(fileno=os.dup(below.fileno())) as sock:
                sock.shutdown(socket.SHUT_WR)
        else:
            await anyio.aclose_forcefully(far)
        with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)) as caught:
            await use_until_it_breaks(near)
        if kind == "tls":
            assert isinstance(caught.value.__cause__, conduit.TruncatedError)


async def test_every_call_lets_others_have_their_turn(pair) -> None:
    near, far = pair
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    await far.send(b"x" * 10)
    async with anyio.create_task_group() as group:
        group.start_soon(count)
        for call in (
            lambda: near.receive(1),
            lambda: near.receive(1),
            lambda: near.send(b"x"),
            near.send_eof,
            near.aclose,
        ):
            before = turns
            await call()
            assert turns > before
        group.cancel_scope.cancel()


async def test_a_size_that_cannot_be(unix_pair) -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        await unix_pair[0].receive(0)


# Attributes -------------------------------------------------------------------------------------


async def test_attributes_of_tcp(certificates, socket_path) -> None:
    async with streams("tcp", certificates, socket_path) as (near, far):
        assert near.extra(SocketAttribute.remote_address) == far.extra(
            SocketAttribute.local_address
        )
        assert near.extra(SocketAttribute.local_port) == far.extra(SocketAttribute.remote_port)
        assert near.extra(SocketAttribute.family).name == "AF_INET"
        assert near.extra(SocketAttribute.raw_socket).fileno() >= 0
        assert isinstance(near.extra(FlowAttribute.flow), flow.TCP)
        where = near.extra(FlowAttribute.endp)
        assert where == endp.TCP(*near.extra(SocketAttribute.remote_address))
        assert near.extra(TLSAttribute.tls_version, None) is None
        with pytest.raises(anyio.TypedAttributeLookupError):
            near.extra(TLSAttribute.cipher)


async def test_attributes_of_tls_over_unix(certificates, socket_path) -> None:
    async with streams("tls", certificates, socket_path) as (near, far):
        assert near.extra(TLSAttribute.tls_version) == "TLSv1.3"
        assert near.extra(TLSAttribute.alpn_protocol) is None
        assert near.extra(TLSAttribute.peer_certificate_binary)[:1] == b"0"
        assert near.extra(TLSAttribute.cipher)[0].startswith("TLS_")
        assert near.extra(TLSAttribute.standard_compatible) is True
        assert far.extra(TLSAttribute.peer_certificate_binary) is None
        sides = [stream.extra(TLSAttribute.server_side) for stream in (near, far)]
        assert sides == [False, True]
        assert near.extra(SocketAttribute.remote_address) == socket_path
        assert near.extra(SocketAttribute.local_port, None) is None


# What anyio builds on streams ---------------------------------------------------------------------


async def test_buffered_and_text_streams(pair) -> None:
    near, far = pair
    buffered = BufferedByteStream(near)
    await far.send(b"one\ntwo\n\0\0\0\5hello")
    assert await buffered.receive_until(b"\n", 100) == b"one"
    assert await buffered.receive_until(b"\n", 100) == b"two"
    assert await buffered.receive_exactly(9) == b"\0\0\0\5hello"
    await far.send_eof()
    with pytest.raises(anyio.IncompleteRead):
        await buffered.receive_exactly(1)
    text = TextStream(near)
    await text.send("grüße")
    assert (await BufferedByteReceiveStream(far).receive_exactly(7)).decode() == "grüße"


async def test_its_tls_over_our_flow(pair, certificates) -> None:
    near, far = pair
    own = certificates.key()
    accepting = await asyncio.to_thread(ssl.create_default_context, ssl.Purpose.CLIENT_AUTH)
    await asyncio.to_thread(accepting.load_cert_chain, own.crt_file, own.key_file)
    connecting = ssl.create_default_context(cadata=certificates.trusted.decode())
    found: list[TLSStream] = []

    async def accept() -> None:
        found.append(await TLSStream.wrap(far, server_side=True, ssl_context=accepting))

    async with anyio.create_task_group() as group:
        group.start_soon(accept)
        secure = await TLSStream.wrap(near, hostname="localhost", ssl_context=connecting)
    await secure.send(b"hello")
    assert await found[0].receive() == b"hello"
    assert secure.extra(TLSAttribute.tls_version) == "TLSv1.3"
    assert secure.extra(FlowAttribute.flow) == near.extra(FlowAttribute.flow)
    # The goodbye of one is what the other waits for.
    async with anyio.create_task_group() as group:
        group.start_soon(secure.aclose)
        with pytest.raises(anyio.EndOfStream):
            await found[0].receive()
        await found[0].aclose()


# Listeners --------------------------------------------------------------------------------------


async def echo(stream: ByteStream) -> None:
    async with stream:
        async for piece in stream:
            await stream.send(piece)


async def echoed(connectable) -> bytes:
    async with await connectable.connect() as stream:
        await stream.send(b"hello")
        return await BufferedByteReceiveStream(stream).receive_exactly(5)


async def test_several_listeners_serve_as_one(socket_path: str) -> None:
    async with MultiListener(
        [await create_listener("tcp://127.0.0.1:0"), await create_listener(f"unix:{socket_path}")]
    ) as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, echo)
            tcp, _ = listener.listeners
            port = tcp.extra(SocketAttribute.local_port)
            assert tcp.extra(SocketAttribute.local_address) == ("127.0.0.1", port)
            for target in (client.TCP("127.0.0.1", port), f"unix:{socket_path}"):
                assert await echoed(FlowConnectable(target)) == b"hello"
            # anyio's own client is one like any other.
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(b"x")
                assert await stream.receive() == b"x"
            group.cancel_scope.cancel()


async def test_its_tls_over_our_listener(certificates, socket_path: str) -> None:
    own = certificates.key()
    accepting = await asyncio.to_thread(ssl.create_default_context, ssl.Purpose.CLIENT_AUTH)
    await asyncio.to_thread(accepting.load_cert_chain, own.crt_file, own.key_file)
    connecting = ssl.create_default_context(cadata=certificates.trusted.decode())
    listener = TLSListener(await create_listener(f"unix:{socket_path}"), accepting)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, echo)
        below = FlowConnectable(f"unix:{socket_path}")
        secure = TLSConnectable(below, hostname="localhost", ssl_context=connecting)
        assert await echoed(secure) == b"hello"
        # And by ours, which is the same protocol.
        ctx = await conduit.init(tls_authenticator=conduit.trust.ca(certificates.trusted))
        ours = FlowConnectable(f"tls+unix:{socket_path}?hostname=localhost", ctx=ctx)
        assert await echoed(ours) == b"hello"
        group.cancel_scope.cancel()


async def test_who_comes_before_serve_waits(socket_path: str) -> None:
    async with await create_listener(f"unix:{socket_path}") as listener:
        async with await connect(f"unix:{socket_path}") as stream:
            await stream.send(b"hello")
            await anyio.wait_all_tasks_blocked()
            async with anyio.create_task_group() as group:
                group.start_soon(listener.serve, echo)
                assert await stream.receive() == b"hello"
                group.cancel_scope.cancel()
        # It can be served again.
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, echo)
            assert await echoed(FlowConnectable(f"unix:{socket_path}")) == b"hello"
            with pytest.raises(anyio.BusyResourceError):
                await listener.serve(echo)
            group.cancel_scope.cancel()


async def test_a_closed_listener_leaves_connections_alone(socket_path: str) -> None:
    listener = await create_listener(f"unix:{socket_path}")
    ended = []

    async def serve(group: anyio.abc.TaskGroup) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await listener.serve(echo, group)
        ended.append(True)

    async with anyio.create_task_group() as group:
        group.start_soon(serve, group)
        async with await connect(f"unix:{socket_path}") as stream:
            await stream.send(b"before")
            assert await stream.receive() == b"before"
            await listener.aclose()
            await listener.aclose()
            with pytest.raises(OSError, match="No such file"):
                await connect(f"unix:{socket_path}")
            await stream.send(b"after")
            assert await stream.receive() == b"after"
    assert ended
    with pytest.raises(anyio.ClosedResourceError):
        await listener.serve(echo)


async def test_an_error_of_a_handler_ends_its_task_group(socket_path: str) -> None:
    async def fail(stream: FlowStream) -> None:
        async with stream:
            raise ZeroDivisionError

    async with await create_listener(f"unix:{socket_path}") as listener:
        async with await connect(f"unix:{socket_path}"):
            with pytest.raises(ExceptionGroup) as caught:
                await listener.serve(fail)
    assert caught.group_contains(ZeroDivisionError)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_signal_ends_serving_in_order(loop, socket_path: str) -> None:
    program = """
        import sys
        import conduit
        from conduit.ext.anyio import create_listener

        async def echo(stream):
            async with stream:
                async for piece in stream:
                    await stream.send(piece)

        async def main():
            async with await create_listener("unix:" + sys.argv[1]) as listener:
                print("ready")
                await listener.serve(echo)
            print("done")

        conduit.run(main)
    """
    with ChildProgram(program, socket_path, loop=loop) as child:
        assert child.line() == "ready"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(socket_path)
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"
            child.signal(signal.SIGTERM)
            # Whom it has let in may go on.
            sock.sendall(b"again")
            assert sock.recv(5) == b"again"
        assert child.end() == (0, "done\n", "")


@on_one_loop
async def test_a_stream_that_nobody_closes_is_dropped(socket_path: str) -> None:
    async def forget(stream: FlowStream) -> None:
        pass

    async with await create_listener(f"unix:{socket_path}") as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, forget)
            async with await connect(f"unix:{socket_path}") as stream:
                await anyio.wait_all_tasks_blocked()
                gc.collect()
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
            group.cancel_scope.cancel()


# Connecting -------------------------------------------------------------------------------------


async def test_a_target_that_is_away_says_why(socket_path: str) -> None:
    with pytest.raises(anyio.ConnectionFailed, match="cannot connect to unix:") as caught:
        await FlowConnectable(f"unix:{socket_path}").connect()
    assert isinstance(caught.value.__cause__, conduit.ConnectError)
    with pytest.raises(conduit.ConnectError):
        await connect(f"unix:{socket_path}")


async def test_connecting_has_its_time(silent) -> None:
    target = f"tls+unix:{silent}?hostname=localhost"
    for connectable in (
        FlowConnectable(f"{target}&timeout=0.05"),
        FlowConnectable(target, timeout=0.05),
    ):
        with pytest.raises(anyio.ConnectionFailed, match=r"within 0\.05 s"):
            await connectable.connect()


async def test_a_cancelled_scope_ends_connecting(silent) -> None:
    with anyio.move_on_after(0.01) as scope:
        await connect(f"tls+unix:{silent}?hostname=localhost")
    assert scope.cancelled_caught


def test_an_address_that_cannot_be_is_told_at_once() -> None:
    with pytest.raises(AddressError, match="the port is missing"):
        FlowConnectable("tcp://127.0.0.1")


def test_another_loop_is_told_what_is_missing() -> None:
    # As on Trio: no loop of asyncio's is running.
    for call in (connect("unix:/x"), create_listener("unix:/x")):
        with pytest.raises(RuntimeError, match="asyncio backend"):
            call.send(None)
