"""redis-py over our flows, against a real Redis."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio as redis
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

import conduit
from conduit import AddressError, client, endp, events, server
from conduit.ext.redis import ConduitConnection
from tests.event_log import EventLog
from tests.peers.kept import Redis
from tests.peers.tls_server import on_one_loop

LOCAL = server.TCP(0, ip="127.0.0.1")


@asynccontextmanager
async def client_of(target, **options: Any):
    pool = ConnectionPool(connection_class=ConduitConnection, target=target, **options)
    db = redis.Redis(connection_pool=pool)
    try:
        yield db
    finally:
        await db.aclose()
        await pool.aclose()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
async def test_commands_over(kind, protocol, redis_server: Redis, trusting) -> None:
    port, tls_port, path = redis_server
    target = {
        "tcp": client.TCP("127.0.0.1", port),
        "unix": f"unix:{path}",
        "tls": endp.TLS("localhost", endp.Host("localhost", tls_port)),
    }[kind]
    async with client_of(target, ctx=trusting, protocol=protocol, db=1, client_name="me") as db:
        await db.flushdb()
        big = b"\r\n" * 500_000
        assert await db.set("big", big)
        assert await db.get("big") == big
        async with db.pipeline(transaction=True) as pipe:
            for n in range(2000):
                pipe.rpush("list", n)
            assert await pipe.execute() == list(range(1, 2001))
        assert await db.lrange("list", 0, 2) == [b"0", b"1", b"2"]
        assert await db.client_getname() in ("me", b"me")
        assert str(target).partition("?")[0] in repr(db.connection_pool)


@on_one_loop
async def test_subscribers_hear(redis_server: Redis) -> None:
    async with client_of(f"unix:{redis_server.path}", decode_responses=True) as db:
        async with db.pubsub() as pubsub:
            await pubsub.subscribe("news")
            assert (await pubsub.get_message(timeout=20))["type"] == "subscribe"
            # Nothing for a moment, and nothing is lost by that.
            assert await pubsub.get_message(timeout=0.01) is None
            for n in range(3):
                assert await db.publish("news", f"number {n}") == 1
            heard = [(await pubsub.get_message(timeout=20))["data"] for n in range(3)]
            assert heard == ["number 0", "number 1", "number 2"]


@on_one_loop
async def test_a_pool_uses_its_connections_again(redis_server: Redis) -> None:
    async with client_of(f"unix:{redis_server.path}", max_connections=2) as db:
        [first] = {await db.client_id() for _ in range(5)}
        # One that the server has dropped is noticed and replaced.
        async with client_of(client.TCP("127.0.0.1", redis_server.port)) as other:
            await other.client_kill_filter(_id=str(first))
        assert await db.client_id() != first
        # As is one with an answer that nobody has read.
        connection = await db.connection_pool.get_connection()
        await connection.send_command("PING")
        await connection.send_command("PING")
        assert await connection.read_response() in (b"PONG", "PONG")
        async with asyncio.timeout(20):
            while not await connection.can_read():  # noqa: ASYNC110
                await asyncio.sleep(0)
        await db.connection_pool.release(connection)
        assert await db.echo("hello") == b"hello"


@on_one_loop
async def test_a_blocking_command_ends_with_its_time(redis_server: Redis) -> None:
    async with client_of(f"unix:{redis_server.path}", socket_timeout=0.1) as db:
        with pytest.raises(RedisTimeoutError):
            await db.blpop(["nothing"], timeout=20)
        assert await db.ping()


@on_one_loop
async def test_redis_behind_a_relay_with_tls(
    redis_server: Redis, trusting, certificates, socket_path: str
) -> None:
    own = certificates.key()
    below = server.UnixDomainSocket(socket_path)
    mode = server.TLSOver(below, own.crt_file, own.key_file, own.password)
    async with conduit.forward(mode, f"unix:{redis_server.path}"):
        target = f"tls+unix:{socket_path}?hostname=localhost"
        async with client_of(target, ctx=trusting) as db:
            assert await db.ping()
        async with client_of(target) as db:
            with pytest.raises(RedisConnectionError, match="certificate"):
                await db.ping()


async def test_a_target_that_is_away_says_why(socket_path: str) -> None:
    async with client_of(f"unix:{socket_path}") as db:
        with pytest.raises(RedisConnectionError) as caught:
            await db.ping()
    assert f"cannot connect to unix:{socket_path}" in str(caught.value)
    assert "No such file" in str(caught.value)


@pytest.mark.parametrize("said", ["by the text", "by the option"])
async def test_connecting_has_its_time(said, silent, certificates) -> None:
    target = f"tls+unix:{silent}?hostname=localhost"
    by_text = said == "by the text"
    options = {} if by_text else {"socket_connect_timeout": 0.05}
    async with client_of(target + "&timeout=0.05" * by_text, **options) as db:
        with pytest.raises(RedisTimeoutError, match="connecting"):
            await db.ping()


async def test_an_option_beats_the_text_and_what_is_left_out_is_as_with_redis() -> None:
    def seconds(target: str, **options: Any) -> float | None:
        return ConduitConnection(target=target, **options)._conduit_asked.timeout

    assert seconds("unix:/x?timeout=7") == 7
    assert seconds("unix:/x?timeout=7", socket_connect_timeout=3) == 3
    assert seconds("unix:/x") == redis.UnixDomainSocketConnection().socket_connect_timeout


async def test_an_address_that_cannot_be_is_told_at_once() -> None:
    with pytest.raises(AddressError, match="the port is missing"):
        ConduitConnection(target="tcp://127.0.0.1")
    with pytest.raises(TypeError, match="host"):
        ConduitConnection(target="unix:/x", host="x")


@on_one_loop
async def test_a_connection_that_is_given_up_is_gone_at_once(redis_server: Redis) -> None:
    connection = ConduitConnection(target=f"unix:{redis_server.path}")
    await connection.connect()
    with EventLog() as log:
        # As redis-py does it after an error: it does not wait.
        await connection.disconnect(nowait=True)
        for _ in range(3):
            await asyncio.sleep(0)
        assert log.of(events.Closed)


async def test_a_wrong_password_is_told_as_ever(redis_server: Redis) -> None:
    async with client_of(f"unix:{redis_server.path}", username="nobody", password="wrong") as db:
        with pytest.raises(redis.AuthenticationError):
            await db.ping()
