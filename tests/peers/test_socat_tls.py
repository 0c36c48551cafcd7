"""socat over TLS: it ends its side and goes on listening, as few programs do."""

import hashlib

import pytest

import conduit
from conduit import client
from tests.peers.handlers import digest, digest_reply, echo, exchange, noise
from tests.peers.programs import Listening, run
from tests.peers.tls_server import VERSIONS, serving


@pytest.fixture(params=VERSIONS)
def version(request) -> str:
    return str(request.param)


@pytest.fixture
def connects(program, papers, version):
    def command(port: int) -> tuple[str, ...]:
        checks = f"cafile={papers.ca_file},commonname=localhost"
        only = f"openssl-min-proto-version={version[:3]}{version[4:]}"
        only += f",openssl-max-proto-version={version[:3]}{version[4:]}"
        return program("socat"), "-t", "20", "-", f"OPENSSL:127.0.0.1:{port},{checks},{only}"

    return command


async def test_its_end_comes_before_our_reply(connects, papers, version):
    request = noise(3_000_000)
    async with serving(papers, digest) as srv:
        assert await run(*connects(srv.port), stdin=request) == digest_reply(request)
        assert (await srv.met.get()).version == version
    assert srv.errors.empty()


async def test_our_end_comes_before_its_request(connects, papers):
    """We have said goodbye before we read what it sends us meanwhile."""
    request, reply = noise(3_000_000, seed=1), noise(1_000_000, seed=2)
    got: list[bytes] = []

    async def hasty(f, ic, oc):
        oc.write(reply)
        oc.write_eof()
        got.append(await ic.read())

    async with serving(papers, hasty) as srv:
        assert await run(*connects(srv.port), stdin=request) == reply
    assert srv.errors.empty()
    assert got == [request]


async def test_echo_both_ways_at_once(connects, papers):
    data = noise(5_000_000)
    async with serving(papers, echo) as srv:
        assert await run(*connects(srv.port), stdin=data) == data


@pytest.mark.parametrize("program_of_its", ["cat", "sha256sum"])
async def test_our_end_comes_before_its_reply(program, papers, program_of_its):
    """A sum is said only after the end of what it is of."""
    data, own = noise(3_000_000), papers.own
    listens = f"OPENSSL-LISTEN:0,bind=127.0.0.1,cert={own.crt_file},key={own.key_file},verify=0"
    command = program("socat"), "-d", "-d", "-t", "20", listens, f"EXEC:{program_of_its}"
    ctx = await papers.ctx()
    async with Listening(*command, says="listening on") as socat:
        target = client.TLS("localhost", "127.0.0.1", socat.port)
        async with conduit.connect(target, ctx=ctx) as (_, ic, oc):
            reply = await exchange(ic, oc, data)
        # By itself: it can hang when a signal ends it in the middle of TLS.
        assert await socat.ended() == 0
    wanted = (
        data if program_of_its == "cat" else f"{hashlib.sha256(data).hexdigest()}  -\n".encode()
    )
    assert reply == wanted
