"""httpcore over our flows, against an HTTP server of ours over every kind of address."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Any

import httpcore
import pytest

import conduit
from conduit import client, endp, server, trust
from conduit.ext.httpcore import ConduitBackend
from tests.certificates import Certificates
from tests.endpoints import port_of
from tests.peers.http_server import BIG, http
from tests.peers.tls_server import on_one_loop
from tests.vsock_loopback import LOCAL, needs_vsock

TCP = server.TCP(0, ip="127.0.0.1")


@pytest.fixture
async def ctx(certificates: Certificates) -> conduit.Context:
    return await conduit.init(tls_authenticator=trust.ca(certificates.trusted))


def pool_over(backend: ConduitBackend, **options: Any) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(network_backend=backend, **options)


def trusting(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certificates.trusted.decode())


async def test_a_host_of_a_url_is_connected_to_by_its_address_or_name() -> None:
    async with conduit.listen(TCP, http) as srv, pool_over(ConduitBackend()) as pool:
        for host in ("127.0.0.1", "localhost"):
            response = await pool.request("GET", f"http://{host}:{port_of(srv)}/x")
            assert (response.status, response.content) == (200, b"GET /x\n")


async def test_a_host_is_looked_up_by_the_resolver_of_the_context(socket_path: str) -> None:
    hosts = {"app.internal": [endp.UnixDomainSocket(socket_path)]}
    ctx = await conduit.init(resolver=conduit.resolver.static(hosts))
    async with conduit.listen(f"unix:{socket_path}", http):
        async with pool_over(ConduitBackend(ctx=ctx)) as pool:
            response = await pool.request("GET", "http://app.internal/x")
            assert response.content == b"GET /x\n"


async def test_routes_come_before_the_target(socket_path: str) -> None:
    async with (
        conduit.listen(TCP, http) as tcp,
        conduit.listen(f"unix:{socket_path}", http) as unix,
    ):
        routes = {"a.example": f"unix:{socket_path}", "b.example:8080": tcp.endps[0]}
        backend = ConduitBackend("unix:/nowhere/at/all", routes=routes)
        async with pool_over(backend) as pool:
            await pool.request("GET", "http://a.example/")
            assert (tcp.active, unix.active) == (0, 1)
            await pool.request("GET", "http://b.example:8080/")
            assert (tcp.active, unix.active) == (1, 1)
            with pytest.raises(httpcore.ConnectError, match="unix:/nowhere/at/all"):
                await pool.request("GET", "http://b.example/")


def test_a_target_that_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(conduit.AddressError):
        ConduitBackend("tcp://nowhere")
    with pytest.raises(conduit.AddressError):
        ConduitBackend(routes={"a": "tcp://nowhere"})


async def test_a_pool_with_a_path_connects_to_that(socket_path: str) -> None:
    async with conduit.listen(f"unix:{socket_path}", http):
        async with pool_over(ConduitBackend(), uds=socket_path) as pool:
            assert (await pool.request("GET", "http://x/y")).content == b"GET /y\n"


@needs_vsock
async def test_vsock() -> None:
    async with conduit.listen(f"vsock://{LOCAL}:0", http) as srv:
        async with pool_over(ConduitBackend(srv.endps[0])) as pool:
            assert (await pool.request("GET", "http://x/y")).content == b"GET /y\n"


async def test_connections_are_used_again_until_the_server_ends_them() -> None:
    connections: list[asyncio.Event] = []
    leave = asyncio.Event()

    async def serve(f: Any, ic: Any, oc: Any) -> None:
        gone = asyncio.Event()
        connections.append(gone)
        task = asyncio.ensure_future(http(f, ic, oc))
        waiter = asyncio.ensure_future(leave.wait())
        await asyncio.wait([task, waiter], return_when=asyncio.FIRST_COMPLETED)
        for one in (task, waiter):
            one.cancel()
        await asyncio.wait([task, waiter])
        oc.close()
        gone.set()

    async with conduit.listen(TCP, serve) as srv, pool_over(ConduitBackend()) as pool:
        url = f"http://127.0.0.1:{port_of(srv)}/"
        for _ in range(3):
            await pool.request("GET", url)
        assert len(connections) == 1
        leave.set()
        await connections[0].wait()
        leave.clear()
        # The end of the old connection is seen before a request is lost to it.
        assert (await pool.request("GET", url)).status == 200
        assert len(connections) == 2


async def test_tls_by_the_context_of_the_pool(certificates: Certificates) -> None:
    key = certificates.key()
    mode = server.TLS(key.crt_file, key.key_file, None, 0)
    async with conduit.listen(mode, http, on_exn=lambda _: None) as srv:
        url = f"https://localhost:{port_of(srv)}/x"
        async with pool_over(ConduitBackend(), ssl_context=trusting(certificates)) as pool:
            for _ in range(3):
                assert (await pool.request("GET", url)).content == b"GET /x\n"
                # Tickets of TLS 1.3 do not look like an end.
                assert srv.active == 1
        # Whom the context of ours trusts counts for nothing then.
        ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
        stranger = ssl.create_default_context(cadata=certificates.other_ca.pem.decode())
        async with pool_over(ConduitBackend(ctx=ctx), ssl_context=stranger) as pool:
            with pytest.raises(httpcore.ConnectError, match="certificate"):
                await pool.request("GET", url)


async def test_tls_by_the_context_of_ours(certificates: Certificates, ctx: Any) -> None:
    key = certificates.key()
    mode = server.TLS(key.crt_file, key.key_file, None, 0)
    met: list[Any] = []

    async def handler(f: Any, ic: Any, oc: Any) -> None:
        met.append(oc.get_extra_info("tls"))
        await http(f, ic, oc)

    serving = await conduit.init(alpn=("http/1.1",))
    async with conduit.listen(mode, handler, ctx=serving, on_exn=lambda _: None) as srv:
        url = f"https://localhost:{port_of(srv)}/x"
        backend = ConduitBackend(ctx=ctx)
        async with pool_over(backend, ssl_context=backend.ssl_context()) as pool:
            assert (await pool.request("GET", url)).content == b"GET /x\n"
        async with pool_over(backend, ssl_context=backend.ssl_context()) as pool:
            assert (await pool.request("GET", url)).content == b"GET /x\n"
        assert [(one.alpn, one.resumed) for one in met] == [("http/1.1", False), ("http/1.1", True)]
        # The system's authorities have not issued it.
        backend = ConduitBackend()
        async with pool_over(backend, ssl_context=backend.ssl_context()) as pool:
            with pytest.raises(httpcore.ConnectError, match="certificate"):
                await pool.request("GET", url)


async def test_tls_in_tls_over_a_unix_socket(
    certificates: Certificates, ctx: Any, socket_path: str
) -> None:
    key = certificates.key()
    mode: server.Mode = server.UnixDomainSocket(socket_path)
    for _ in range(2):
        mode = server.TLSOver(mode, key.crt_file, key.key_file, None)
    over = client.TLSOver("localhost", client.UnixDomainSocket(socket_path))
    async with conduit.listen(mode, http):
        backend = ConduitBackend(over, ctx=ctx)
        async with pool_over(backend, ssl_context=trusting(certificates)) as pool:
            response = await pool.request("GET", "https://localhost/big")
            assert response.content == BIG


async def test_a_proxy_that_is_reached_by_tls(certificates: Certificates, ctx: Any) -> None:
    key = certificates.key()
    mode = server.TLS(key.crt_file, key.key_file, None, 0)

    async def proxy(f: Any, ic: Any, oc: Any) -> None:
        request = await ic.readuntil(b"\r\n\r\n")
        assert request.startswith(b"CONNECT localhost:")
        port = int(request.split()[1].rpartition(b":")[2])
        async with conduit.connect(client.TCP("127.0.0.1", port)) as beyond:
            await oc.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await conduit.relay((f, ic, oc), beyond)

    async with conduit.listen(mode, http) as srv, conduit.listen(mode, proxy) as proxying:
        backend = ConduitBackend(ctx=ctx)
        pool = httpcore.AsyncHTTPProxy(
            f"https://localhost:{port_of(proxying)}",
            network_backend=backend,
            ssl_context=trusting(certificates),
            proxy_ssl_context=backend.ssl_context(),
        )
        async with pool:
            response = await pool.request("GET", f"https://localhost:{port_of(srv)}/x")
            assert response.content == b"GET /x\n"


async def test_errors_of_connecting(unused_port: int) -> None:
    async with pool_over(ConduitBackend()) as pool:
        with pytest.raises(httpcore.ConnectError, match=r"127\.0\.0\.1"):
            await pool.request("GET", f"http://127.0.0.1:{unused_port}/")
        with pytest.raises(httpcore.ConnectError, match=r"nobody\.invalid"):
            await pool.request("GET", "http://nobody.invalid/")


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def silent(f: Any, ic: Any, oc: Any) -> None:
    """Reads nothing and says nothing until the client leaves."""
    try:
        await asyncio.Event().wait()
    finally:
        oc.transport.abort()


async def test_timeouts() -> None:
    brief = {"connect": 0.05, "read": 0.05, "write": 0.05, "pool": 5}
    async with conduit.listen(TCP, silent, drain=0) as srv, pool_over(ConduitBackend()) as pool:
        url = f"127.0.0.1:{port_of(srv)}/"
        with pytest.raises(httpcore.ReadTimeout, match=r"sent nothing within 0\.05 s"):
            await pool.request("GET", f"http://{url}", extensions={"timeout": brief})
        with pytest.raises(httpcore.WriteTimeout, match=r"took in nothing for 0\.05 s"):
            await pool.request(
                "PUT", f"http://{url}", content=bytes(20_000_000), extensions={"timeout": brief}
            )
        # Of the handshake.
        with pytest.raises(httpcore.ConnectTimeout):
            await pool.request("GET", f"https://{url}", extensions={"timeout": brief})


async def test_a_server_that_leaves_early() -> None:
    async def leave(f: Any, ic: Any, oc: Any) -> None:
        await ic.readuntil(b"\r\n\r\n")
        await oc.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    async def reset(f: Any, ic: Any, oc: Any) -> None:
        await ic.readuntil(b"\r\n\r\n")
        oc.transport.abort()

    async with pool_over(ConduitBackend()) as pool:
        async with conduit.listen(TCP, leave) as srv:
            with pytest.raises(httpcore.RemoteProtocolError):
                await pool.request("GET", f"http://127.0.0.1:{port_of(srv)}/")
        async with conduit.listen(TCP, reset) as srv:
            with pytest.raises((httpcore.ReadError, httpcore.RemoteProtocolError)):
                await pool.request("GET", f"http://127.0.0.1:{port_of(srv)}/")


async def test_a_body_that_ends_without_close_notify_is_an_error(
    certificates: Certificates, ctx: Any, socket_path: str
) -> None:
    key = certificates.key()
    mode = server.TLSOver(server.UnixDomainSocket(socket_path), key.crt_file, key.key_file, None)

    async def cut(f: Any, ic: Any, oc: Any) -> None:
        await ic.readuntil(b"\r\n\r\n")
        await oc.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of ")
        with socket.socket(fileno=os.dup(f.fd)) as sock:
            sock.shutdown(socket.SHUT_WR)
        await ic.read()

    async with conduit.listen(mode, cut, on_exn=lambda _: None):
        backend = ConduitBackend(f"unix:{socket_path}", ctx=ctx)
        async with pool_over(backend, ssl_context=trusting(certificates)) as pool:
            with pytest.raises(httpcore.ReadError, match="cut short"):
                await pool.request("GET", "https://localhost/")


async def test_cancelling_closes_the_connection() -> None:
    arrived: asyncio.Queue[Any] = asyncio.Queue()

    async def wait(f: Any, ic: Any, oc: Any) -> None:
        await ic.readuntil(b"\r\n\r\n")
        arrived.put_nowait(f)
        assert await ic.read() == b""
        arrived.put_nowait("left")

    async with conduit.listen(TCP, wait) as srv, pool_over(ConduitBackend()) as pool:
        task = asyncio.ensure_future(pool.request("GET", f"http://127.0.0.1:{port_of(srv)}/"))
        await arrived.get()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await arrived.get() == "left"
        assert pool.connections == []


@on_one_loop
async def test_an_upload_waits_for_a_server_that_takes_its_time() -> None:
    sent = 0
    go_on = asyncio.Event()
    received = 0

    async def content() -> Any:
        nonlocal sent
        for _ in range(400):
            sent += 100_000
            yield bytes(100_000)

    async def slow(f: Any, ic: Any, oc: Any) -> None:
        nonlocal received
        await ic.readuntil(b"\r\n\r\n")
        await go_on.wait()
        while received < 40_000_000:
            received += len(await ic.read(1_000_000))
        await oc.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with conduit.listen(TCP, slow) as srv, pool_over(ConduitBackend()) as pool:
        url = f"http://127.0.0.1:{port_of(srv)}/"
        headers = [(b"Content-Length", b"40000000"), (b"Host", b"x")]
        task = asyncio.ensure_future(pool.request("PUT", url, headers=headers, content=content()))
        before = -1
        while sent != before or not sent:
            before = sent
            for _ in range(50):
                await asyncio.sleep(0)
            await asyncio.sleep(0.02)
        # What the kernel holds, and no more than a little of ours.
        assert sent < 20_000_000
        go_on.set()
        assert (await task).status == 204
        assert received == 40_000_000


async def test_what_a_stream_tells(certificates: Certificates, ctx: Any) -> None:
    key = certificates.key()
    mode = server.TLS(key.crt_file, key.key_file, None, 0)
    async with conduit.listen(mode, http) as srv:
        backend = ConduitBackend(ctx=ctx)
        async with pool_over(backend, ssl_context=backend.ssl_context()) as pool:
            async with pool.stream("GET", f"https://127.0.0.1:{port_of(srv)}/") as response:
                stream = response.extensions["network_stream"]
                assert stream.get_extra_info("server_addr")[:2] == ("127.0.0.1", port_of(srv))
                assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
                assert stream.get_extra_info("ssl_object").version() == "TLSv1.3"
                assert stream.get_extra_info("socket").fileno() > 0
                assert stream.get_extra_info("nonsense") is None
