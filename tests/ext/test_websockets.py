"""websockets over our flows: its client and its server, together and with others."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import inspect
import ssl
from typing import Any

import pytest
import websockets
from websockets.asyncio import server as their_servers

import conduit
from conduit import client, server, trust
from conduit.ext.websockets import Listening, connect, serve
from tests.certificates import Certificates
from tests.ext.asgi_app import App
from tests.ext.uvicorn_server import running

TCP = "tcp://127.0.0.1:0"


async def echo(websocket: websockets.ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


def endp_of(running: their_servers.Server) -> Any:
    listening: Any = running.server
    assert isinstance(listening, Listening)
    return listening.endps[0]


def test_what_the_adapter_stands_on_is_as_it_knows_it() -> None:
    # When this fails, websockets has changed inside: look at the adapter, and then at its extra.
    assert importlib.metadata.version("websockets").startswith("17.")
    assert inspect.iscoroutinefunction(websockets.connect.open_tcp_connection)


async def test_tcp() -> None:
    async with serve(echo, TCP) as running, connect("ws://app/", endp_of(running)) as websocket:
        for message in ("hello", b"\0\1", "x" * 500_000):
            await websocket.send(message)
            assert await websocket.recv() == message
        assert websocket.remote_address[0] == "127.0.0.1"


async def test_a_uri_alone_says_where_to_connect() -> None:
    async def tell(websocket: websockets.ServerConnection) -> None:
        assert websocket.request is not None
        await websocket.send(f"{websocket.remote_address[0]} {websocket.request.path}")

    async with serve(tell, TCP) as running:
        async with connect(f"ws://localhost:{endp_of(running).port}/x") as websocket:
            assert await websocket.recv() == "127.0.0.1 /x"


async def test_unix(socket_path: str) -> None:
    async with serve(echo, f"unix:{socket_path}", listening={"unix_mode": 0o600}) as running:
        async with connect("ws://app/", f"unix:{socket_path}") as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "hello"
            [connection] = running.connections
            assert connection.remote_address is None
        # Clients and servers of theirs speak with those of ours.
        async with websockets.unix_connect(socket_path) as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "hello"


async def test_a_server_of_theirs(socket_path: str) -> None:
    async with websockets.unix_serve(echo, socket_path):
        async with connect("ws://app/", f"unix:{socket_path}") as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "hello"


async def test_tls_and_tls_in_tls(certificates: Certificates, socket_path: str) -> None:
    key = certificates.key()
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    unix = client.UnixDomainSocket(socket_path)
    once = server.TLSOver(server.UnixDomainSocket(socket_path), key.crt_file, key.key_file, None)
    theirs = ssl.create_default_context(cadata=certificates.trusted.decode())
    async with serve(echo, once, listening={"on_exn": lambda _: None}):
        for options in ({"ctx": ctx}, {"ssl": theirs}):
            async with connect("wss://localhost/", unix, **options) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"
        with pytest.raises(conduit.CertificateError):
            await connect("wss://localhost/", unix)
    twice = server.TLSOver(once, key.crt_file, key.key_file, None)
    async with serve(echo, twice):
        within = client.TLSOver("localhost", unix)
        async with connect("wss://localhost/", within, ctx=ctx) as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "hello"


async def test_uvicorn_with_tls(certificates: Certificates, socket_path: str) -> None:
    key = certificates.key()
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    mode = server.TLSOver(server.UnixDomainSocket(socket_path), key.crt_file, key.key_file, None)
    app = App()
    async with running(app, mode):
        async with connect("wss://localhost/", f"unix:{socket_path}", ctx=ctx) as websocket:
            assert await websocket.recv() == "wss"
            await websocket.send("hello")
            assert await websocket.recv() == "hello"
    assert app.events == ["lifespan.startup", "websocket.disconnect", "lifespan.shutdown"]


async def test_a_server_that_closes_says_so() -> None:
    async with serve(echo, TCP) as running:
        websocket = await connect("ws://app/", endp_of(running))
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await websocket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


async def test_a_sender_waits_for_a_receiver(socket_path: str) -> None:
    sent = 0
    stuck = asyncio.Event()

    async def flood(websocket: websockets.ServerConnection) -> None:
        nonlocal sent
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await websocket.send(bytes(100_000))
                sent += 100_000
        stuck.set()

    async with serve(flood, f"unix:{socket_path}", compression=None):
        async with connect("ws://app/", f"unix:{socket_path}", compression=None) as websocket:
            before = -1
            while sent != before or not sent:
                before = sent
                await asyncio.sleep(0.03)
            # What the kernel, both sides and the queue of messages hold.
            assert sent < 6_000_000
            websocket.transport.abort()
        await stuck.wait()


async def test_a_redirection_to_another_host_is_not_followed_to_the_same_target() -> None:
    def redirect(connection: websockets.ServerConnection, request: Any) -> Any:
        if request.path == "/ok":
            return None
        response = connection.respond(302, "")
        there = "/ok" if request.path == "/here" else "ws://elsewhere/ok"
        response.headers["Location"] = there
        return response

    async with serve(echo, TCP, process_request=redirect) as running:
        async with connect("ws://app/here", endp_of(running)):
            pass
        with pytest.raises(ValueError, match="cross-origin redirect"):
            await connect("ws://app/there", endp_of(running))


async def test_timeouts_and_failures_are_those_of_websockets(socket_path: str) -> None:
    async def silent(f: Any, ic: Any, oc: Any) -> None:
        await ic.read()

    async with conduit.listen(f"unix:{socket_path}", silent):
        with pytest.raises(TimeoutError):
            await connect("ws://app/", f"unix:{socket_path}", open_timeout=0.05)
        with pytest.raises(TimeoutError):
            await connect("wss://app/", f"unix:{socket_path}", open_timeout=0.05)
    with pytest.raises(conduit.ConnectError):
        await connect("ws://app/", f"unix:{socket_path}")


async def test_arguments_that_say_the_same_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="HTTPConnect"):
        connect("ws://app/", TCP, proxy="http://proxy")
    with pytest.raises(ValueError, match="give no port"):
        connect("ws://app/", TCP, port=1)
    with pytest.raises(ValueError, match="give no ssl"):
        serve(echo, TCP, ssl=ssl.create_default_context())
