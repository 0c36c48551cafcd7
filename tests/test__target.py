"""What `connect` and `serve` may be given: an address of their own kind, or an endpoint."""

from __future__ import annotations

import re

import pytest

import conduit
from conduit import client, endp, flow, server
from tests.endpoints import port_of, tcp_endp


async def greet(f, ic, oc):
    oc.write(b"hello")


async def connect(target):
    async with conduit.connect(target):
        pytest.fail("connected")


async def serve(mode, **options):
    async with conduit.listen(mode, greet, **options):
        pytest.fail("listening")


# What is taken ------------------------------------------------------------------------------------


async def test_both_take_an_endpoint(socket_path):
    for where in (endp.TCP("127.0.0.1", 0), endp.UnixDomainSocket(socket_path)):
        async with conduit.listen(where, greet) as srv:
            async with conduit.connect(srv.endps[0]) as (_, ic, _):
                assert await ic.read() == b"hello"


async def test_endpoint_of_a_server_listens_where_it_says():
    async with conduit.listen(endp.TCP("127.0.0.2", 0), greet) as srv:
        assert str(tcp_endp(srv).ip) == "127.0.0.2"


async def test_a_name_can_be_connected_to_as_an_endpoint():
    async with conduit.listen(server.TCP(0), greet) as srv:
        async with conduit.connect(endp.Host("localhost", port_of(srv))) as (_, ic, _):
            assert await ic.read() == b"hello"


# What is not --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        server.TCP(80),
        server.UnixDomainSocket("/run/x"),
        server.ListeningSocket(3),
        server.Systemd(),
        server.Port(80),
    ],
    ids=repr,
)
async def test_connect_refuses_a_way_to_serve(target):
    with pytest.raises(conduit.AddressError) as caught:
        await connect(target)
    assert repr(target) in str(caught.value)
    assert "use a value of conduit.client" in str(caught.value)


@pytest.mark.parametrize(
    "mode",
    [client.TCP("127.0.0.1", 80), client.Host("db.example", 80), client.UnixDomainSocket("/x")],
    ids=repr,
)
async def test_serve_refuses_where_to_connect(mode):
    with pytest.raises(conduit.AddressError) as caught:
        await serve(mode)
    assert repr(mode) in str(caught.value)
    assert "use a value of conduit.server" in str(caught.value)


@pytest.mark.parametrize(
    "part",
    [client.TLSConfig("h", "127.0.0.1", 443), server.TLSConfig("c", "k", None, 443)],
    ids=repr,
)
@pytest.mark.parametrize("use", [connect, serve])
async def test_a_part_of_an_address_is_refused(use, part):
    with pytest.raises(conduit.AddressError, match=re.escape(repr(part))):
        await use(part)


async def test_a_port_alone_is_refused():
    with pytest.raises(conduit.AddressError, match=r"server\.Port\(80\)"):
        await serve(server.Port(80))


@pytest.mark.parametrize("use", [connect, serve])
@pytest.mark.parametrize("text", ["tcp://127.0.0.1:80", "unix:/run/x", ""])
async def test_text_is_refused_for_now(use, text):
    with pytest.raises(conduit.AddressError, match=re.escape(repr(text))) as caught:
        await use(text)
    assert "does not read addresses as text yet" in str(caught.value)


@pytest.mark.parametrize("use", [connect, serve])
@pytest.mark.parametrize("value", [None, 80, ("127.0.0.1", 80), b"tcp://127.0.0.1:80", object])
async def test_what_is_no_address_is_refused(use, value):
    with pytest.raises(conduit.ConduitError, match="no address") as caught:
        await use(value)
    assert repr(value) in str(caught.value)
    assert "conduit.endp" in str(caught.value)


@pytest.mark.parametrize("use", [connect, serve])
async def test_a_flow_is_refused(use):
    connection = flow.Vchan(1, "p")
    with pytest.raises(conduit.ConduitError, match=re.escape(repr(connection))):
        await use(connection)


@pytest.mark.parametrize("use", [connect, serve])
async def test_unknown_gives_its_reason(use):
    with pytest.raises(conduit.ResolutionError, match=r"no such service$"):
        await use(endp.Unknown("no such service"))


async def test_serve_refuses_a_name():
    with pytest.raises(conduit.AddressError, match=r"'db\.example' is a name"):
        await serve(endp.Host("db.example", 80))


async def test_serve_refuses_tls_without_a_certificate():
    with pytest.raises(conduit.AddressError, match="a TLS server needs a certificate"):
        await serve(endp.TLS("h", endp.TCP("127.0.0.1", 0)))


async def test_serve_takes_the_key_of_its_context():
    ctx = await conduit.init(tls_own_key=conduit.OwnKey("c", "k"))
    # There is no TLS yet: what would be served is in the message.
    with pytest.raises(conduit.UnsupportedTransport, match=r"server\.TLS\('c', 'k', .*443, ip="):
        await serve(endp.TLS("h", endp.TCP("127.0.0.1", 443)), ctx=ctx)
