"""The programs of examples/ do what they say, as a user runs them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Certificates
from tests.peers.kept import Redis, redis_running
from tests.peers.programs import port_of_its_own, run
from tests.peers.talking import Talking
from tests.peers.test_srv import dnsmasq
from tests.peers.tls_server import on_one_loop
from tests.vsock_loopback import needs_vsock

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = ["activated", "chat", "pool", "rpc", "tls_proxy", "web"]


def command(name: str, *args: str) -> tuple[str, ...]:
    return sys.executable, "-u", "-W", "error", str(EXAMPLES / f"{name}.py"), *args


def start(name: str, *args: str, says: str = "") -> Talking:
    return Talking(*command(name, *args), says=says, ends_by=signal.SIGTERM)


async def where(program: Talking) -> str:
    """The address at the end of the line that it has begun."""
    return (await program.says("\n")).split()[-1]


async def stopped(program: Talking) -> None:
    """End a server by a signal: it has nothing to complain of."""
    program.signal(signal.SIGTERM)
    assert await program.ended() == 0, program.all
    assert "Error" not in program.all


@on_one_loop
@pytest.mark.timeout(40)
async def test_chat() -> None:
    async with start("chat", "serve", "tcp://127.0.0.1:0", says="the room is at ") as room:
        address = await where(room)
        async with (
            start("chat", "join", address, "ada", says="* ada is here") as ada,
            start("chat", "join", address, "bob", says="* bob is here") as bob,
        ):
            await ada.says("* bob is here")
            await ada.tell("hello\nworld\n")
            await bob.says("ada: hello\nada: world\n")
            await ada.says("ada: hello\nada: world\n")
            async with start("chat", "join", address, "ada", says="that name is taken") as other:
                assert await other.ended() == 0
            bob.end_input()
            await ada.says("* bob has left")
            assert await bob.ended() == 0
            await stopped(room)
            await ada.says("* the room is closed")
            assert await ada.ended() == 0


@on_one_loop
async def test_tls_proxy_in_front_of_web(program, certificates: Certificates, tmp_path) -> None:
    own = certificates.key()
    ca_file = tmp_path / "ca"
    ca_file.write_bytes(certificates.trusted)
    curl = program("curl"), "-q", "-sS", "--noproxy", "*", "--max-time", "20"
    listen = f"tls://127.0.0.1:0?crt={own.crt_file}&key={own.key_file}"
    async with start("web", "tcp://127.0.0.1:0", says="listening on ") as web:
        plain = await where(web)
        async with start("tls_proxy", listen, plain, says="listening on ") as proxy:
            port = (await where(proxy)).partition("?")[0].rpartition(":")[2]
            secure = f"https://localhost:{port}"
            get = *curl, "--cacert", str(ca_file)
            assert (await run(*get, f"{secure}/")).startswith(b"Hello, tcp://127.0.0.1:")
            # Two on one connection.
            said = await run(*get, "--json", "[1, 2, 39]", f"{secure}/sum", f"{secure}/sum")
            assert said == b"42\n42\n"
            await proxy.says("TLSv1.3 for localhost")
            await stopped(proxy)
            assert "B out" in proxy.all
        url = plain.replace("tcp:", "http:")
        both = *curl, "-w", "%{http_code}\n"
        assert await run(*both, f"{url}/none") == b"There is no GET /none here.\n404\n"
        assert (await run(*both, "--data", "x", f"{url}/sum")).endswith(b"500\n")
        long = f"X: {'x' * 70_000}"
        assert await run(*both, "--header", long, f"{url}/") == b"431\n"
        chunked = "Transfer-Encoding: chunked"
        assert await run(*both, "--header", chunked, "--data", "x", f"{url}/sum") == b"400\n"
        await stopped(web)


@on_one_loop
async def test_rpc(socket_path: str) -> None:
    await calls_work(f"unix:{socket_path}", f"unix:{socket_path}")


@on_one_loop
@needs_vsock
async def test_rpc_over_vsock() -> None:
    await calls_work("vsock://*:50123", "vsock://1:50123")


async def calls_work(mode: str, address: str) -> None:
    async with start("rpc", "serve", mode, says="serving add sleep at ") as served:
        assert await run(*command("rpc", "call", address, "add", "1", "2.5")) == b"3.5\n"
        # Side by side, and answered as they are done.
        program = f"""
import asyncio, sys
sys.path.insert(0, {str(EXAMPLES)!r})
import rpc

async def main():
    async with rpc.remote({address!r}) as there:
        slow = asyncio.create_task(there.call("sleep", 0.05, "done"))
        assert await asyncio.gather(*(there.call("add", n, n) for n in range(100))) == [
            2 * n for n in range(100)
        ]
        assert not slow.done()
        print(await slow)
        try:
            await there.call("add", "x")
        except RuntimeError as error:
            print(error)

asyncio.run(main())
"""
        said = (await run(sys.executable, "-W", "error", "-c", program)).decode().splitlines()
        assert said[0] == "done"
        assert said[1].startswith("TypeError")
        await stopped(served)


@on_one_loop
async def test_activated_by_systemd(program) -> None:
    with port_of_its_own() as port:
        activate = program("systemd-socket-activate"), "-l", f"127.0.0.1:{port}"
        service = command("activated", "systemd:", "0.1")
        async with Talking(*activate, *service, says="Listening on") as systemd:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(b"\n")
                assert (await reader.readline()).count(b":") == 2
            await systemd.says("serving tcp://127.0.0.1")
            writer.close()
            await writer.wait_closed()
            await systemd.says("nobody has come for 0.1 seconds")
            assert await systemd.ended() == 0


@on_one_loop
async def test_activated_without_systemd_says_how() -> None:
    result = await asyncio.to_thread(
        subprocess.run, command("activated"), capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "systemd handed over no socket" in result.stderr
    assert "systemd-socket-activate -l" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def redis_server(program, certificates: Certificates) -> Iterator[Redis]:
    with redis_running(program, certificates) as where:
        yield where


@on_one_loop
async def test_pool(program, redis_server: Redis) -> None:
    records = (
        f"--srv-host=_redis._tcp.cache.test,a.test,{redis_server.port},0,1",
        "--host-record=a.test,127.0.0.1",
    )
    async with dnsmasq(program, *records) as port:
        said = await run(*command("pool", "redis://cache.test", f"127.0.0.1:{port}"))
    assert said == b"counted to 1000 by 10 connections to redis://cache.test\n"


@pytest.mark.parametrize("name", NAMES)
def test_each_is_short_and_says_what_to_do(name) -> None:
    assert [path.stem for path in sorted(EXAMPLES.glob("*.py"))] == NAMES
    text = (EXAMPLES / f"{name}.py").read_text("utf-8")
    assert text.count("\n") < 100
    assert f"[`{name}.py`]({name}.py)" in (EXAMPLES / "README.md").read_text("utf-8")
    result = subprocess.run(
        command(name, "x", "y", "z", "w"), capture_output=True, text=True, check=False, timeout=30
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert f"python {name}.py" in result.stderr or "activated.py" in result.stderr
    assert "Traceback" not in result.stderr
