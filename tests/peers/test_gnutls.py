"""GnuTLS, which shares no line with OpenSSL: `gnutls-cli` and `gnutls-serv`."""

import pytest

import conduit
from conduit import CertificateError, TLSError, TruncatedError, client
from tests.peers.talking import Talking
from tests.peers.tls_server import VERSIONS, on_one_loop, serving

# Bytes in and bytes out were compared on both loops with OpenSSL's programs.
pytestmark = on_one_loop

ONLY = {version: f"NORMAL:-VERS-ALL:+VERS-{version.replace('v', '')}" for version in VERSIONS}


@pytest.fixture(params=VERSIONS)
def version(request) -> str:
    return str(request.param)


# A client of GnuTLS -----------------------------------------------------------------------------


@pytest.fixture
def gnutls_cli(program, papers):
    """A client that checks who is there: `async with gnutls_cli(port, version) as talk`."""
    path = program("gnutls-cli")

    def start(port: int, version: str, *options: str) -> Talking:
        names = "--sni-hostname", "localhost", "--verify-hostname", "localhost"
        trusts = () if "--x509cafile" in options else ("--x509cafile", papers.ca_file)
        where = "127.0.0.1", "--port", str(port), "--priority", ONLY[version]
        return Talking(path, *where, *names, *trusts, *options)

    return start


def shown(key: conduit.OwnKey) -> tuple[str, ...]:
    return "--x509certfile", key.crt_file, "--x509keyfile", key.key_file


async def test_client(gnutls_cli, papers, version):
    async with serving(papers, ctx=await papers.ctx(alpn=["h2", "http/1.1"])) as srv:
        alpn = "--alpn", "http/1.1", "--alpn", "h2"
        async with gnutls_cli(srv.port, version, *alpn) as talk:
            await talk.says("Application protocol: h2\n")
            await talk.says("Simple Client Mode:\n\n")
            for line in ("hello\n", "there\n"):
                await talk.tell(line)
                await talk.says(line)
            talk.end_input()
            # It waits for our goodbye.
            await talk.says("Peer has closed the GnuTLS connection")
            assert await talk.ended() == 0
        facts = await srv.met.get()
        assert (facts.version, facts.sni, facts.alpn) == (version, "localhost", "h2")
        assert await srv.left.get() == b"hello\nthere\n"
    assert srv.errors.empty()


async def test_client_with_a_certificate(gnutls_cli, papers, version):
    async with serving(papers, client_auth="required") as srv:
        async with gnutls_cli(srv.port, version, *shown(papers.client)) as talk:
            await talk.tell("hello\n")
            await talk.says("Simple Client Mode:\n\nhello\n")
            talk.end_input()
            assert await talk.ended() == 0
        assert (await srv.met.get()).peer_certificate is not None
        async with gnutls_cli(srv.port, version, *shown(papers.strange_client)) as talk:
            assert await talk.ended() == 1
        error = await srv.errors.get()
        assert isinstance(error, CertificateError)
        assert error.chain
        async with gnutls_cli(srv.port, version) as talk:
            await talk.says("alert")
            assert await talk.ended() == 1
        assert isinstance(await srv.errors.get(), CertificateError)
        assert srv.met.empty()


async def test_client_takes_its_session_up_again(gnutls_cli, papers, version):
    async with serving(papers) as srv:
        async with gnutls_cli(srv.port, version, "--resume", "--waitresumption") as talk:
            await talk.says("*** This is a resumed session")
            await talk.tell("hello\n")
            await talk.says("hello\n")
        assert [(await srv.met.get()).resumed for _ in range(2)] == [False, True]


async def test_client_renews_its_keys(gnutls_cli, papers):
    async with serving(papers) as srv:
        async with gnutls_cli(srv.port, "TLSv1.3", "--inline-commands") as talk:
            await talk.says("Simple Client Mode:\n\n")
            for command in ("^rekey^", "^rekey1^", "^rekey^"):
                await talk.tell(f"{command}\n")
                await talk.says("Rekey was completed\n")
                await talk.tell("hello\n")
                await talk.says("hello\n")
            talk.end_input()
            assert await talk.ended() == 0
        assert await srv.left.get() == b"hello\n" * 3


async def test_client_that_does_not_trust_us_says_so(gnutls_cli, papers, version):
    async with serving(papers) as srv:
        async with gnutls_cli(srv.port, version, "--x509cafile", papers.stranger_file) as talk:
            assert await talk.ended() == 1
        error = await srv.errors.get()
        assert isinstance(error, TLSError)
        assert error.alert == "bad_certificate"


# A server of GnuTLS -----------------------------------------------------------------------------


@pytest.fixture
def gnutls_serv(program, papers):
    """A server of this kind: `async with gnutls_serv(version, "--echo") as talk`."""
    path = program("gnutls-serv")

    def start(version: str, *options: str) -> Talking:
        own = "--x509certfile", papers.own.crt_file, "--x509keyfile", papers.own.key_file
        where = "--port", "0", "--priority", ONLY[version], "--x509cafile", papers.ca_file
        return Talking(path, *where, *own, *options, says="listening on IPv4 0.0.0.0 port 0...done")

    return start


def at(talk: Talking) -> client.TLS:
    return client.TLS("localhost", "127.0.0.1", talk.port)


async def test_server(gnutls_serv, papers, version):
    # This server takes what the client likes best.
    ctx = await papers.ctx(alpn=["spdy/1", "http/1.1", "h2"])
    async with gnutls_serv(version, "--echo", "--alpn", "h2", "--alpn", "http/1.1") as talk:
        async with conduit.connect(at(talk), ctx=ctx) as (_, ic, oc):
            facts = oc.get_extra_info("tls")
            assert (facts.version, facts.alpn) == (version, "http/1.1")
            for line in (b"hello\n", b"there\n"):
                await oc.write(line)
                assert await ic.readline() == line


async def test_server_says_goodbye_after_ours(gnutls_serv, papers, version):
    """A page of HTTP, asked for with a half-close."""
    ctx = await papers.ctx()
    async with gnutls_serv(version, "--http") as talk:
        async with conduit.connect(at(talk), ctx=ctx) as (_, ic, oc):
            oc.write(b"GET / HTTP/1.0\r\n\r\n")
            oc.write_eof()
            page = await ic.read()
    assert b"200 OK" in page
    assert page.endswith(b"</HTML>\n\n")
    assert version.replace("v", "").encode() in page


async def test_server_that_is_killed_leaves_no_clean_end(gnutls_serv, papers, version):
    ctx = await papers.ctx()
    async with gnutls_serv(version, "--echo") as talk:
        async with conduit.connect(at(talk), ctx=ctx) as (_, ic, oc):
            oc.write(b"hello\n")
            assert await ic.readline() == b"hello\n"
            talk.kill()
            with pytest.raises(TruncatedError):
                await ic.read()


async def test_server_that_wants_a_certificate(gnutls_serv, papers, version):
    # Its own words for a message without any certificate.
    none_shown = {"TLSv1.2": "decode_error", "TLSv1.3": "certificate_required"}[version]
    async with gnutls_serv(
        version, "--echo", "--require-client-cert", "--verify-client-cert"
    ) as talk:
        ctx = await papers.ctx(tls_own_key=papers.client)
        async with conduit.connect(at(talk), ctx=ctx) as (_, ic, oc):
            oc.write(b"hello\n")
            assert await ic.readline() == b"hello\n"
        for key, alert in ((None, none_shown), (papers.strange_client, "access_denied")):
            ctx = await papers.ctx(tls_own_key=key)
            with pytest.raises(TLSError) as caught:
                async with conduit.connect(at(talk), ctx=ctx) as (_, ic, _):
                    await ic.read()
            assert caught.value.alert == alert


async def test_sessions_are_taken_up_again(gnutls_serv, papers, version):
    ctx = await papers.ctx()

    async def visit() -> bool:
        async with conduit.connect(at(talk), ctx=ctx) as (_, ic, oc):
            oc.write(b"hello\n")
            assert await ic.readline() == b"hello\n"
            return bool(oc.get_extra_info("resumed"))

    async with gnutls_serv(version, "--echo") as talk:
        assert [await visit() for _ in range(3)] == [False, True, True]


async def test_old_versions_are_refused(gnutls_serv, gnutls_cli, papers, monkeypatch):
    monkeypatch.setitem(ONLY, "old", "NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0")
    ctx = await papers.ctx()
    async with gnutls_serv("old", "--echo") as talk:
        with pytest.raises(TLSError) as caught:
            await conduit.connect(at(talk), ctx=ctx)
        # It looks for a suite before it looks at the version.
        assert caught.value.alert == "handshake_failure"
    async with serving(papers) as srv:
        async with gnutls_cli(srv.port, "old") as talk:
            await talk.says("protocol version")
            assert await talk.ended() == 1
        assert "1.2 or 1.3" in str(await srv.errors.get())
