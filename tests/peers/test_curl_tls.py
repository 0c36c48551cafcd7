"""curl against a small HTTP server of ours over TLS, over a Unix socket, and by TLS in TLS."""

import hashlib
import re

import pytest

import conduit
from conduit import CertificateError, TLSError, server
from conduit.tls.facts import Facts
from tests.peers.handlers import noise
from tests.peers.http_server import BIG, http
from tests.peers.programs import run
from tests.peers.talking import Talking
from tests.peers.tls_server import VERSIONS, on_one_loop, serving

OPTIONS = {"TLSv1.2": ("--tls-max", "1.2"), "TLSv1.3": ("--tlsv1.3",)}


@pytest.fixture(params=VERSIONS)
def version(request) -> str:
    return str(request.param)


@pytest.fixture
def curl(program, papers):
    """How to begin a command that trusts our authority, unless told otherwise."""
    path = program("curl")

    def command(version: str, *options: str) -> tuple[str, ...]:
        quiet = "-q", "-sS", "--fail", "--max-time", "20", "--noproxy", "*"
        trusts = () if "--cacert" in options else ("--cacert", papers.ca_file)
        return path, *quiet, *OPTIONS[version], *trusts, *options

    return command


async def test_get_and_keep_alive(curl, papers, version):
    async with serving(papers, http, ctx=await papers.ctx(alpn="http/1.1")) as srv:
        urls = [f"https://localhost:{srv.port}/{n}" for n in range(3)]
        counts = "-w", "%{num_connects}\n"
        out = (await run(*curl(version, *counts, *urls))).decode().splitlines()
        assert out[0::2] == [f"GET /{n}" for n in range(3)]
        assert out[1::2] == ["1", "0", "0"]
        facts = await srv.met.get()
        assert (facts.version, facts.alpn, facts.sni) == (version, "http/1.1", "localhost")
        assert srv.met.empty()
    assert srv.errors.empty()


async def test_new_connections_take_the_session_up_again(curl, papers, version):
    """To an address this time, by which it finds the certificate right, too."""
    async with serving(papers, http) as srv:
        urls = [f"https://127.0.0.1:{srv.port}/{n}" for n in range(3)]
        out = await run(*curl(version, "-H", "Connection: close", *urls))
        assert out == b"".join(b"GET /%d\n" % n for n in range(3))
        assert [(await srv.met.get()).resumed for _ in range(3)] == [False, True, True]


@pytest.mark.parametrize("path", ["/big", "/until-the-end"])
async def test_download(curl, papers, version, path):
    async with serving(papers, http) as srv:
        assert await run(*curl(version, f"https://localhost:{srv.port}{path}")) == BIG
    assert srv.errors.empty()


async def test_upload(curl, papers, version, tmp_path):
    file, data = tmp_path / "data", noise(10_000_000, seed=3)
    file.write_bytes(data)
    async with serving(papers, http) as srv:
        command = curl(version, "-T", str(file), f"https://localhost:{srv.port}/put")
        assert (await run(*command)).decode() == f"{len(data)} {hashlib.sha256(data).hexdigest()}\n"


@on_one_loop
async def test_unix_socket(curl, papers, version, socket_path):
    own = papers.own
    mode = server.TLSOver(server.UnixDomainSocket(socket_path), own.crt_file, own.key_file)
    async with conduit.listen(mode, http):
        out = await run(*curl(version, "--unix-socket", socket_path, "https://localhost/hello"))
    assert out == b"GET /hello\n"


# Certificates -----------------------------------------------------------------------------------


@on_one_loop
async def test_client_certificate(curl, papers, version):
    key = papers.client
    async with serving(papers, http, client_auth="required") as srv:
        url = f"https://localhost:{srv.port}/hello"
        out = await run(*curl(version, "--cert", key.crt_file, "--key", key.key_file, url))
        assert out == b"GET /hello\n"
        assert (await srv.met.get()).peer_certificate is not None
        async with Talking(*curl(version, url)) as talk:
            status = await talk.ended()
            assert "alert" in talk.all
        assert status in (35, 56)  # when it connects, or when it receives
        assert isinstance(await srv.errors.get(), CertificateError)
        assert srv.met.empty()


async def test_refusal_of_our_certificate(curl, papers, version):
    """`on_exn` is told of curl's alert by its name, and whose it was."""
    async with serving(papers, http) as srv:
        trusts = "--cacert", papers.stranger_file
        async with Talking(*curl(version, *trusts, f"https://localhost:{srv.port}/")) as talk:
            assert await talk.ended() == 60
        error = await srv.errors.get()
        assert isinstance(error, TLSError)
        assert error.alert == "unknown_ca"
        assert re.match(r"a client at flow\.TCP\(\d+, '127.0.0.1', \d+\): ", str(error))
        assert srv.met.empty()


@on_one_loop
async def test_plain_http_to_a_port_for_tls(curl, papers, version):
    async with serving(papers, http) as srv:
        async with Talking(*curl(version, f"http://localhost:{srv.port}/")) as talk:
            assert await talk.ended() != 0
        assert "plain HTTP request" in str(await srv.errors.get())


# TLS in TLS -------------------------------------------------------------------------------------


async def test_tls_in_tls(curl, papers, version):
    """curl speaks TLS to a proxy, and through it TLS to the far server; both are ours."""
    inner = await papers.ctx(tls_own_key=await papers.issue("far.example"))
    told: list[Facts] = []

    async def proxy(f, ic, oc):
        request = await ic.readuntil(b"\r\n\r\n")
        assert request.startswith(b"CONNECT far.example:443 ")
        await oc.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        f, ic, oc = await conduit.start_tls(f, ic, oc, server_side=True, ctx=inner)
        told.append(oc.get_extra_info("tls"))
        try:
            await http(f, ic, oc)
        finally:
            await oc.close()

    async with serving(papers, proxy) as srv:
        through = "--noproxy", "", "--proxy", f"https://localhost:{srv.port}"
        trusts = "--proxy-cacert", papers.ca_file
        out = await run(*curl(version, *through, *trusts, "https://far.example/big"))
        assert out == BIG
    assert srv.errors.empty()
    [facts] = told
    assert (facts.version, facts.sni) == (version, "far.example")
