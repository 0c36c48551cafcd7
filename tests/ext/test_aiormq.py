"""aiormq over our flows, against a real broker of AMQP 0-9-1."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any
from uuid import uuid4

import aiormq
import pytest

import conduit
from conduit import AddressError, server
from conduit.ext.aiormq import ConduitTransportFactory
from tests.endpoints import port_of
from tests.peers.kept import Broker
from tests.peers.tls_server import on_one_loop

LOCAL = server.TCP(0, ip="127.0.0.1")
LOGIN = "amqp://guest:guest@/"


async def publish_and_consume(connection: aiormq.abc.AbstractConnection) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()
    channel = await connection.channel()
    declared = await channel.queue_declare("q-" + uuid4().hex, auto_delete=True)
    assert declared.queue

    async def receive(message) -> None:
        got.put_nowait(message.body)
        await message.channel.basic_ack(message.delivery.delivery_tag)

    await channel.basic_consume(declared.queue, receive)
    bodies = [b"hello", b"x" * 300_000, b"."]
    for body in bodies:
        await channel.basic_publish(body, routing_key=declared.queue)
    assert [await got.get() for _ in bodies] == bodies


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls over unix"])
async def test_messages_over(
    kind, broker: Broker, trusting, certificates, socket_path: str
) -> None:
    far = f"tcp://127.0.0.1:{broker.port}"
    own = certificates.key()
    unix = server.UnixDomainSocket(socket_path)
    tls = server.TLSOver(unix, own.crt_file, own.key_file, own.password)
    ways: dict[str, tuple[Any, str]] = {
        "tcp": (LOCAL, far),
        "unix": (unix, f"unix:{socket_path}"),
        "tls over unix": (tls, f"tls+unix:{socket_path}?hostname=localhost"),
    }
    mode, target = ways[kind]
    async with conduit.forward(mode, far):
        factory = ConduitTransportFactory(target, ctx=trusting)
        connection = await aiormq.connect(LOGIN, transport_factory=factory)
        try:
            await publish_and_consume(connection)
        finally:
            await connection.close()


@on_one_loop
async def test_without_a_target_it_is_that_of_the_url(broker: Broker, trusting, certificates):
    own = certificates.key()
    mode = server.TLS(own.crt_file, own.key_file, own.password, 0, ip="127.0.0.1")
    factory = ConduitTransportFactory(ctx=trusting)
    async with conduit.forward(mode, f"tcp://127.0.0.1:{broker.port}") as srv:
        for url in (
            f"amqp://guest:guest@127.0.0.1:{broker.port}/",
            f"amqps://guest:guest@localhost:{port_of(srv)}/",
        ):
            connection = await aiormq.connect(url, transport_factory=factory)
            await connection.close()
    with pytest.raises(aiormq.AMQPConnectionError, match="has no host"):
        await aiormq.connect(LOGIN, transport_factory=factory)


@on_one_loop
async def test_trust_that_would_not_be_followed_is_refused(socket_path: str) -> None:
    factory = ConduitTransportFactory(f"tls+unix:{socket_path}?hostname=localhost")
    cases: tuple[tuple[str, dict[str, Any], str], ...] = (
        (f"{LOGIN}?cafile=/x&no_verify_ssl=1", {}, "cafile, no_verify_ssl: "),
        (LOGIN, {"context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, "context=: "),
    )
    for url, options, said in cases:
        connection = aiormq.Connection(url, transport_factory=factory, **options)
        with pytest.raises(aiormq.AMQPConnectionError, match=f"^{said}.*give .* a ctx="):
            await connection.connect()


@on_one_loop
async def test_a_connection_that_breaks_is_told(broker: Broker, socket_path: str) -> None:
    far = f"tcp://127.0.0.1:{broker.port}"
    async with conduit.forward(f"unix:{socket_path}", far, drain=0):
        factory = ConduitTransportFactory(f"unix:{socket_path}")
        connection = await aiormq.connect(LOGIN, transport_factory=factory)
        channel = await connection.channel()
    with pytest.raises((aiormq.AMQPError, ConnectionError)):
        await channel.queue_declare("q", auto_delete=True)
    await connection.close()


async def test_a_target_that_is_away_says_why(socket_path: str) -> None:
    factory = ConduitTransportFactory(f"unix:{socket_path}")
    with pytest.raises(aiormq.AMQPConnectionError, match="cannot connect to unix:"):
        await aiormq.connect(LOGIN, transport_factory=factory)


@pytest.mark.parametrize("said", ["by the text", "by the option"])
async def test_connecting_has_its_time(said, silent) -> None:
    target = f"tls+unix:{silent}?hostname=localhost"
    if said == "by the text":
        factory = ConduitTransportFactory(f"{target}&timeout=0.05")
    else:
        factory = ConduitTransportFactory(target, timeout=0.05)
    with pytest.raises(aiormq.AMQPConnectionError, match=r"within 0\.05 s"):
        await aiormq.connect(LOGIN, transport_factory=factory)


def test_an_address_that_cannot_be_is_told_at_once() -> None:
    with pytest.raises(AddressError, match="the port is missing"):
        ConduitTransportFactory("tcp://127.0.0.1")
