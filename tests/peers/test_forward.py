"""`conduit.forward` for a client without a plug point: asyncpg, to a real PostgreSQL."""

import asyncio

import asyncpg
import pytest

import conduit
from conduit import server
from tests.endpoints import port_of
from tests.peers.tls_server import on_one_loop

pytestmark = on_one_loop


async def test_asyncpg_reaches_a_database_by_tls(postgres, papers, tmp_path):
    own = papers.own
    # The database speaks TLS only after a dialogue of its own; a relay in front of it, at once.
    mode = server.TLS(own.crt_file, own.key_file, own.password, 0, ip="127.0.0.1")
    async with postgres() as (_, path), conduit.forward(mode, f"unix:{path}") as front:
        where = f"{front.endps[0]}&ca={papers.ca_file}"
        near = server.UnixDomainSocket(str(tmp_path / ".s.PGSQL.5432"))
        async with conduit.forward(near, where, unix_mode=0o600):
            login = {"host": str(tmp_path), "user": "certified", "database": "postgres"}
            async with asyncpg.create_pool(**login, min_size=3, max_size=3) as pool:
                await use(pool)
                assert front.active == 3


async def test_asyncpg_is_told_that_the_database_is_away(tmp_path):
    errors: list[BaseException] = []
    away = f"unix:{tmp_path}/away"
    mode = server.TCP(0, ip="127.0.0.1")
    async with conduit.forward(mode, away, on_exn=errors.append) as srv:
        with pytest.raises(ConnectionError):
            await asyncpg.connect(
                host="127.0.0.1", port=port_of(srv), user="x", database="x", timeout=20
            )
    assert errors


async def use(pool):
    async with pool.acquire() as one, pool.acquire() as other:
        # Large both ways, and what the server says by itself.
        rows = [(n, "x" * n) for n in range(3000)]
        await one.execute("CREATE TABLE t (n int, s text)")
        await one.copy_records_to_table("t", records=rows)
        async with other.transaction():
            got = [tuple(row) async for row in other.cursor("SELECT n, s FROM t ORDER BY n")]
        assert got == rows
        told = asyncio.get_running_loop().create_future()
        await one.add_listener("news", lambda *news: told.set_result(news[3]))
        await other.execute("NOTIFY news, 'hello'")
        assert await told == "hello"
        # Cancelling is a connection of its own, to the same address.
        with pytest.raises(TimeoutError):
            await other.execute("SELECT pg_sleep(50)", timeout=0.1)
        assert await other.fetchval("SELECT 6 * 7") == 42
        await one.reset()
