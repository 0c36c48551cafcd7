"""ncat as client and as server, over TCP and Unix sockets."""

import pytest

import conduit
from conduit import client, server
from tests.peers.handlers import digest, digest_reply, echo, exchange, noise
from tests.peers.programs import Listening, run
from tests.peers.tls_server import on_both_loops

pytestmark = on_both_loops


@pytest.fixture(params=["tcp4", "tcp6", "unix"])
def kind(request) -> str:
    return str(request.param)


def mode_of(kind: str, path: str) -> server.Mode:
    if kind == "unix":
        return server.UnixDomainSocket(path)
    return server.TCP(0, ip="::1" if kind == "tcp6" else "127.0.0.1")


def ncat_client(ncat: str, srv: conduit.Server) -> tuple[str, ...]:
    at = srv.endps[0]
    if isinstance(at, conduit.endp.UnixDomainSocket):
        return ncat, "-U", at.path
    assert isinstance(at, conduit.endp.TCP)
    return ncat, str(at.ip), str(at.port)


async def test_half_close(kind, program, socket_path):
    ncat, request = program("ncat"), noise(3_000_000)
    async with conduit.listen(mode_of(kind, socket_path), digest) as srv:
        assert await run(*ncat_client(ncat, srv), stdin=request) == digest_reply(request)


async def test_echo(kind, program, socket_path):
    ncat, data = program("ncat"), noise(3_000_000)
    async with conduit.listen(mode_of(kind, socket_path), echo) as srv:
        assert await run(*ncat_client(ncat, srv), stdin=data) == data


def ncat_server(program, kind: str, path: str, *options: str, **files: str) -> Listening:
    where = {"tcp4": ["127.0.0.1", "0"], "tcp6": ["::1", "0"], "unix": ["-U", path]}[kind]
    command = program("ncat"), "-v", "-l", *where, *options
    return Listening(*command, says="Listening on", **files)


def target_of(ncat: Listening, kind: str, path: str) -> client.Client:
    if kind == "unix":
        return client.UnixDomainSocket(path)
    return client.TCP("::1" if kind == "tcp6" else "127.0.0.1", ncat.port)


async def test_ncat_serves_a_program(kind, program, socket_path):
    # Line by line: at our end ncat would kill the program and forget its output.
    async with ncat_server(program, kind, socket_path, "-e", program("cat")) as ncat:
        async with conduit.connect(target_of(ncat, kind, socket_path)) as (_, ic, oc):
            for size in (1, 100, 10_000, 30_000):
                line = b"x" * size + b"\n"
                await oc.write(line)
                assert await ic.readline() == line


async def test_ncat_serves_files_both_ways(kind, program, socket_path, tmp_path):
    theirs, ours = noise(3_000_000, seed=1), noise(3_000_000, seed=2)
    source, sink = tmp_path / "source", tmp_path / "sink"
    source.write_bytes(theirs)
    async with ncat_server(program, kind, socket_path, stdin=str(source), stdout=str(sink)) as ncat:
        async with conduit.connect(target_of(ncat, kind, socket_path)) as (_, ic, oc):
            assert await exchange(ic, oc, ours) == theirs
        assert await ncat.ended() == 0
    assert sink.read_bytes() == ours
