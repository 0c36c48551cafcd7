"""AsyncSSH over our flows: as a client of a real sshd, and of its own server over every address."""

from __future__ import annotations

import asyncio
import getpass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

import conduit
from conduit import AddressError, ConnectError, ConnectTimeout, client, server
from conduit.ext.asyncssh import ConduitListener, ConduitTunnel
from conduit.testing import Memory
from tests.peers.kept import SSHD
from tests.peers.tls_server import on_one_loop


async def login_to(sshd: SSHD) -> dict[str, Any]:
    key = await asyncio.to_thread(Path(sshd.host_key).read_text)
    return {
        "username": getpass.getuser(),
        "client_keys": [sshd.user_key],
        "known_hosts": asyncssh.import_known_hosts(f"far.example {key}"),
        "config": None,
        "agent_path": None,
    }


@on_one_loop
@pytest.mark.parametrize("kind", ["tcp", "unix", "tls over unix"])
async def test_sshd_over(kind, sshd: SSHD, trusting, certificates, socket_path: str) -> None:
    far = f"tcp://127.0.0.1:{sshd.port}"
    own = certificates.key()
    unix = server.UnixDomainSocket(socket_path)
    tls = server.TLSOver(unix, own.crt_file, own.key_file, own.password)
    ways: dict[str, tuple[Any, str]] = {
        "tcp": (unix, far),
        "unix": (unix, f"unix:{socket_path}"),
        "tls over unix": (tls, f"tls+unix:{socket_path}?hostname=localhost"),
    }
    mode, target = ways[kind]
    failures: list[BaseException] = []
    async with conduit.forward(mode, far, on_exn=failures.append):
        tunnel = ConduitTunnel(target, ctx=trusting)
        # The name that its key is looked up by, wherever it is.
        async with asyncssh.connect("far.example", tunnel=tunnel, **await login_to(sshd)) as ssh:
            big = "line\n" * 60_000
            result = await ssh.run("cat; echo done >&2; exit 3", input=big)
            assert (result.stdout, result.stderr, result.exit_status) == (big, "done\n", 3)
            # Another one through the first, as ever.
            async with asyncssh.connect(
                "127.0.0.1", sshd.port, tunnel=ssh, **await login_to(sshd) | {"known_hosts": None}
            ) as inner:
                assert (await inner.run("echo hello")).stdout == "hello\n"
            channel, _ = await ssh.create_connection(asyncssh.SSHTCPSession, "127.0.0.1", sshd.port)
            channel.close()
    assert failures == []


@on_one_loop
async def test_without_a_target_it_is_the_host_that_was_given(sshd: SSHD) -> None:
    login = await login_to(sshd) | {"known_hosts": None}
    async with asyncssh.connect("localhost", sshd.port, tunnel=ConduitTunnel(), **login) as ssh:
        assert (await ssh.run("echo hello")).stdout == "hello\n"


@on_one_loop
async def test_a_wrong_host_key_is_refused(sshd: SSHD, socket_path: str) -> None:
    tunnel = ConduitTunnel(client.TCP("127.0.0.1", sshd.port))
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await asyncssh.connect("near.example", tunnel=tunnel, **await login_to(sshd))


@pytest.fixture(scope="module")
def host_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


class LetIn(asyncssh.SSHServer):
    """Lets everybody in."""

    def begin_auth(self, username: str) -> bool:
        return False


async def shout(process: asyncssh.SSHServerProcess) -> None:
    async for line in process.stdin:
        process.stdout.write(line.upper())
    process.exit(0)


async def serve_ssh(mode, host_key: asyncssh.SSHKey, **options: Any) -> asyncssh.SSHAcceptor:
    return await asyncssh.listen(
        tunnel=ConduitListener(mode, **options),
        server_host_keys=[host_key],
        server_factory=LetIn,
        process_factory=shout,
        config=None,
    )


async def shouted(target, host_key: asyncssh.SSHKey, **options: Any) -> object:
    hosts = asyncssh.import_known_hosts(f"far.example {host_key.export_public_key().decode()}")
    async with asyncssh.connect(
        "far.example",
        tunnel=ConduitTunnel(target, **options),
        known_hosts=hosts,
        username="me",
        config=None,
        agent_path=None,
        client_keys=None,
    ) as ssh:
        return (await ssh.run(input="hello\n")).stdout


@pytest.mark.parametrize("kind", ["tcp", "unix", "memory", "tls"])
async def test_its_own_server_over(kind, trusting, certificates, host_key, socket_path) -> None:
    own = certificates.key()
    unix = server.UnixDomainSocket(socket_path)
    mode = {
        "tcp": "tcp://127.0.0.1:0",
        "unix": unix,
        "memory": Memory("ssh"),
        "tls": server.TLSOver(unix, own.crt_file, own.key_file, own.password),
    }[kind]
    failures: list[BaseException] = []
    async with await serve_ssh(mode, host_key, on_exn=failures.append) as acceptor:
        target: Any = mode
        if kind == "tcp":
            target = f"tcp://127.0.0.1:{acceptor.get_port()}"
        elif kind == "tls":
            target = f"tls+unix:{socket_path}?hostname=localhost"
        elif kind == "unix":
            assert acceptor.get_addresses() == [(f"unix:{socket_path}", 0)]
            target = f"unix:{socket_path}"
        for _ in range(2):
            assert await shouted(target, host_key, ctx=trusting) == "HELLO\n"
    assert failures == []
    with pytest.raises(ConnectError):
        await shouted(target, host_key, ctx=trusting)


async def test_a_peer_on_a_short_path_has_a_name_all_the_same(host_key, tmp_path, monkeypatch):
    # AsyncSSH would take the text for a pair.
    monkeypatch.chdir(tmp_path)
    async with await serve_ssh("unix:s", host_key):
        assert await shouted("unix:s", host_key) == "HELLO\n"


async def test_a_kernel_socket_is_given_to_asyncssh_itself(host_key, socket_path: str) -> None:
    import socket

    sock = socket.socket(socket.AF_UNIX)
    sock.bind(socket_path)
    acceptor = await asyncssh.listen(
        sock=sock,
        server_host_keys=[host_key],
        server_factory=LetIn,
        process_factory=shout,
        config=None,
    )
    async with acceptor:
        assert await shouted(f"unix:{socket_path}", host_key) == "HELLO\n"


async def test_a_target_that_is_away_says_why(socket_path: str) -> None:
    with pytest.raises(ConnectError, match="cannot connect to unix:"):
        await asyncssh.connect("far.example", tunnel=ConduitTunnel(f"unix:{socket_path}"))


async def test_connecting_has_its_time(silent) -> None:
    target = f"tls+unix:{silent}?hostname=localhost"
    for tunnel in (ConduitTunnel(f"{target}&timeout=0.05"), ConduitTunnel(target, timeout=0.05)):
        with pytest.raises(ConnectTimeout):
            await asyncssh.connect("far.example", tunnel=tunnel)


async def test_a_connection_that_breaks_is_told(host_key, socket_path: str) -> None:
    lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    class Client(asyncssh.SSHClient):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.set_result(exc)

    acceptor = await serve_ssh(f"unix:{socket_path}", host_key, drain=0)
    ssh = await asyncssh.connect(
        "far.example",
        tunnel=ConduitTunnel(f"unix:{socket_path}"),
        known_hosts=None,
        client_factory=Client,
        username="me",
        config=None,
        agent_path=None,
    )
    acceptor.close()
    await acceptor.wait_closed()
    assert isinstance(await lost, asyncssh.ConnectionLost)
    await ssh.wait_closed()


def test_an_address_that_cannot_be_is_told_at_once() -> None:
    with pytest.raises(AddressError, match="the port is missing"):
        ConduitTunnel("tcp://127.0.0.1")
