"""httpx over our flows: what an `httpx.AsyncClient` notices of its transport."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from typing import Any

import httpcore
import httpx
import pytest

import conduit
from conduit import server, trust
from conduit.ext.httpx import ConduitTransport
from tests.certificates import Certificates
from tests.endpoints import port_of
from tests.peers.http_server import BIG, http

TCP = server.TCP(0, ip="127.0.0.1")


async def test_a_client_whose_transport_goes_elsewhere(socket_path: str) -> None:
    async with conduit.listen(f"unix:{socket_path}", http):
        async with httpx.AsyncClient(transport=ConduitTransport(f"unix:{socket_path}")) as web:
            response = await web.get("http://app/x")
            assert (response.status_code, response.text) == (200, "GET /x\n")
            put = await web.put("http://app/x", content=BIG)
            assert put.text == f"{len(BIG)} {hashlib.sha256(BIG).hexdigest()}\n"
            async with web.stream("GET", "http://app/big") as stream:
                assert b"".join([part async for part in stream.aiter_bytes()]) == BIG


async def test_https_trusts_whom_the_context_trusts(certificates: Certificates) -> None:
    key = certificates.key()
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    mode = server.TLS(key.crt_file, key.key_file, None, 0)
    async with conduit.listen(mode, http, on_exn=lambda _: None) as srv:
        url = f"https://localhost:{port_of(srv)}/x"
        async with httpx.AsyncClient(transport=ConduitTransport(ctx=ctx)) as web:
            assert (await web.get(url)).text == "GET /x\n"
        async with httpx.AsyncClient(transport=ConduitTransport()) as web:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await web.get(url)
        theirs = ssl.create_default_context(cadata=certificates.trusted.decode())
        async with httpx.AsyncClient(transport=ConduitTransport(ssl_context=theirs)) as web:
            assert (await web.get(url)).text == "GET /x\n"


async def test_errors_are_those_of_httpx() -> None:
    released = asyncio.Event()

    async def answer(f: Any, ic: Any, oc: Any) -> None:
        request = await ic.readuntil(b"\r\n\r\n")
        if b"/half" in request:
            await oc.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        else:
            await released.wait()

    async with (
        conduit.listen(TCP, answer) as srv,
        httpx.AsyncClient(transport=ConduitTransport(), timeout=0.1) as web,
    ):
        url = f"http://127.0.0.1:{port_of(srv)}"
        with pytest.raises(httpx.ReadTimeout, match="sent nothing") as slow:
            await web.get(f"{url}/slow")
        assert slow.value.request.url.path == "/slow"
        assert isinstance(slow.value.__cause__, httpcore.ReadTimeout)
        with pytest.raises(httpx.RemoteProtocolError):
            await web.get(f"{url}/half")
        with pytest.raises(httpx.ConnectError):
            await web.get("http://nobody.invalid/")
        with pytest.raises(httpx.UnsupportedProtocol):
            await web.get("gopher://nobody.invalid/")
        released.set()


async def test_limits_hold() -> None:
    most = 0

    async def handler(f: Any, ic: Any, oc: Any) -> None:
        nonlocal most
        most = max(most, srv.active)
        await http(f, ic, oc)

    async with conduit.listen(TCP, handler) as srv:
        transport = ConduitTransport(limits=httpx.Limits(max_connections=2))
        async with httpx.AsyncClient(transport=transport) as web:
            url = f"http://127.0.0.1:{port_of(srv)}/"
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(web.get(url))
    assert most == 2


async def test_socket_options_are_set_on_tcp_and_not_elsewhere(socket_path: str) -> None:
    import socket

    options = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 0) for _ in range(1))
    transport = ConduitTransport(
        routes={"unix.example": f"unix:{socket_path}"}, socket_options=options
    )
    async with (
        conduit.listen(TCP, http) as srv,
        conduit.listen(f"unix:{socket_path}", http),
        httpx.AsyncClient(transport=transport) as web,
    ):
        for _ in range(2):
            async with web.stream("GET", f"http://127.0.0.1:{port_of(srv)}/big") as response:
                stream = response.extensions["network_stream"]
                sock = stream.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        assert (await web.get("http://unix.example/x")).text == "GET /x\n"


async def test_requests_that_are_cancelled_at_any_moment_leave_nothing(
    certificates: Certificates,
) -> None:
    key = certificates.key()
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    mode = server.TLS(key.crt_file, key.key_file, None, 0)
    async with conduit.listen(mode, http, on_exn=lambda _: None) as srv:
        url = f"https://localhost:{port_of(srv)}/big"
        transport = ConduitTransport(ctx=ctx, limits=httpx.Limits(max_connections=5))
        async with httpx.AsyncClient(transport=transport) as web:
            for turns in range(0, 120, 3):
                task = asyncio.ensure_future(web.get(url))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            # The pool is not used up by those.
            assert (await web.get(url)).content == BIG
