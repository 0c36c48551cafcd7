"""`openssl s_client` against a TLS server of ours."""

import ssl
from pathlib import Path

import pytest

import conduit
from conduit import CertificateError, TLSError, TruncatedError, server
from tests.endpoints import port_of
from tests.peers.handlers import noise
from tests.peers.programs import run
from tests.peers.talking import Talking
from tests.peers.tls_server import VERSIONS, on_one_loop, serving

OPTION = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}


@pytest.fixture(params=VERSIONS)
def version(request) -> str:
    return str(request.param)


@pytest.fixture
def s_client(program, papers):
    """How to begin a command that connects to a port and checks who is there."""
    openssl = program("openssl")

    def command(port: int, *options: str) -> tuple[str, ...]:
        checks = "-CAfile", papers.ca_file, "-verify_return_error", "-verify_hostname", "localhost"
        names = (
            () if {"-servername", "-noservername"} & set(options) else ("-servername", "localhost")
        )
        return openssl, "s_client", "-connect", f"127.0.0.1:{port}", *checks, *names, *options

    return command


async def test_dialogue(s_client, papers, version):
    async with serving(papers) as srv:
        async with Talking(*s_client(srv.port, OPTION[version])) as talk:
            await talk.says("Verification: OK")
            for line in ("hello\n", "there\n"):
                await talk.tell(line)
                await talk.says(line)
            await talk.tell("Q\n")
            assert await talk.ended() == 0
        facts = await srv.met.get()
        assert (facts.version, facts.sni, facts.alpn) == (version, "localhost", None)
        assert facts.cipher in talk.all
        assert (facts.peer_certificate, facts.resumed) == (None, False)
        # Its goodbye is a proper end.
        assert await srv.left.get() == b"hello\nthere\n"
    assert srv.errors.empty()


async def test_our_goodbye_reaches_it_after_all_that_was_written(s_client, papers, version):
    """A whole file, and then the end by close_notify: without that it would complain."""
    data = noise(3_000_000)

    async def pour(f, ic, oc):
        await oc.write(data)

    async with serving(papers, pour) as srv:
        command = s_client(srv.port, OPTION[version], "-quiet", "-verify_quiet")
        assert await run(*command) == data
        async with Talking(*s_client(srv.port, OPTION[version], "-msg", "-ign_eof")) as talk:
            await talk.says("close_notify")
            await talk.says("closed\n")
            assert await talk.ended() == 0


async def test_client_that_is_killed_leaves_no_clean_end(s_client, papers, version):
    async with serving(papers) as srv:
        async with Talking(*s_client(srv.port, OPTION[version])) as talk:
            await talk.tell("hello\n")
            await talk.says("hello\n")
            talk.kill()
        error = await srv.errors.get()
    assert isinstance(error, TruncatedError)
    assert srv.left.empty()


@on_one_loop
async def test_alpn_is_the_servers_choice(s_client, papers, version):
    ctx = await papers.ctx(alpn=["h2", "http/1.1"])
    async with serving(papers, ctx=ctx) as srv:
        for offered, chosen in (("http/1.1,h2", "h2"), ("http/1.1,spdy/1", "http/1.1")):
            command = s_client(srv.port, OPTION[version], "-alpn", offered)
            async with Talking(*command) as talk:
                await talk.says(f"ALPN protocol: {chosen}\n")
            assert (await srv.met.get()).alpn == chosen


@on_one_loop
async def test_certificate_is_that_of_the_name_that_was_asked_for(s_client, papers, version):
    more = await papers.issue("a.example", "*.b.example")
    asked = {
        "a.example": "a.example",
        "x.b.example": "a.example",
        "X.B.EXAMPLE": "a.example",
        "x.y.b.example": "localhost",
        "unknown.example": "localhost",
        "localhost": "localhost",
    }
    async with serving(papers, certificates=[more]) as srv:
        for name, shown in asked.items():
            command = s_client(srv.port, OPTION[version], "-servername", name)
            verified = "-verify_hostname", shown
            async with Talking(*command, *verified) as talk:
                await talk.says(f"subject=CN = {shown}\n")
            assert (await srv.met.get()).sni == name
        async with Talking(*s_client(srv.port, OPTION[version], "-noservername")) as talk:
            await talk.says("subject=CN = localhost\n")
        assert (await srv.met.get()).sni is None


# Certificates of clients ------------------------------------------------------------------------


def pem_of(*chain: bytes) -> str:
    return "".join(map(ssl.DER_cert_to_PEM_cert, chain))


def text_of(*files: str) -> str:
    return "".join(Path(file).read_text() for file in files)


def shown(key: conduit.OwnKey) -> tuple[str, ...]:
    return "-cert", key.crt_file, "-key", key.key_file


@pytest.mark.parametrize("client_auth", ["optional", "required"])
async def test_client_certificate(s_client, papers, version, client_auth):
    async with serving(papers, client_auth=client_auth) as srv:
        async with Talking(*s_client(srv.port, OPTION[version], *shown(papers.client))) as talk:
            await talk.tell("hello\n")
            await talk.says("hello\n")
        facts = await srv.met.get()
    # It sends its authority's, too.
    assert pem_of(*facts.peer_chain) == text_of(papers.client.crt_file, papers.ca_file)


async def test_client_without_a_certificate(s_client, papers, version):
    async with serving(papers, client_auth="optional") as srv:
        async with Talking(*s_client(srv.port, OPTION[version])) as talk:
            await talk.tell("hello\n")
            await talk.says("hello\n")
        assert (await srv.met.get()).peer_certificate is None
    alert = {"TLSv1.2": "handshake failure", "TLSv1.3": "certificate required"}[version]
    async with serving(papers, client_auth="required") as srv:
        async with Talking(*s_client(srv.port, OPTION[version])) as talk:
            await talk.says(f"alert {alert}")
            assert await talk.ended() == 1
        error = await srv.errors.get()
        assert isinstance(error, CertificateError)
        assert srv.met.empty()


@pytest.mark.parametrize("client_auth", ["optional", "required"])
async def test_client_of_an_unknown_authority(s_client, papers, version, client_auth):
    key = papers.strange_client
    async with serving(papers, client_auth=client_auth) as srv:
        async with Talking(*s_client(srv.port, OPTION[version], *shown(key))) as talk:
            await talk.says("alert unknown ca")
            assert await talk.ended() == 1
        error = await srv.errors.get()
        assert isinstance(error, CertificateError)
        assert pem_of(*error.chain) == text_of(key.crt_file)
        assert srv.met.empty()


# What goes on in the protocol -------------------------------------------------------------------


@pytest.mark.parametrize("command", ["K", "k"], ids=["both", "its own"])
async def test_key_update(s_client, papers, command):
    """With "K" it asks for new keys of ours, too; each record after it is under new ones."""
    async with serving(papers) as srv:
        async with Talking(*s_client(srv.port, "-tls1_3", "-msg")) as talk:
            for n in range(3):
                await talk.tell(f"{command}\n")
                await talk.says(">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
                await talk.tell(f"hello {n}\n")
                if command == "K":
                    await talk.says("<<< TLS 1.3, Handshake [length 0005], KeyUpdate")
                await talk.says(f"hello {n}\n")
            await talk.tell("Q\n")
            assert await talk.ended() == 0
        assert await srv.left.get() == b"hello 0\nhello 1\nhello 2\n"


async def test_hello_retry_request(s_client, papers):
    """We insist on a group for which the client has sent no key: it must say hello twice."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.own.crt_file, papers.own.key_file)
    context.set_ecdh_curve("secp384r1")

    async def secure(f, ic, oc):
        await oc.start_tls(context)
        await oc.write(await ic.readline())

    async with conduit.listen(server.TCP(0, ip="127.0.0.1"), secure) as srv:
        async with Talking(*s_client(port_of(srv), "-tls1_3", "-msg")) as talk:
            for _ in range(2):
                await talk.says("ClientHello")
            await talk.says("Server Temp Key: ECDH, secp384r1")
            await talk.tell("hello\n")
            await talk.says("hello\n")
            await talk.says("close_notify")


async def test_sessions_of_tls_1_2_are_taken_up_again(s_client, papers):
    async with serving(papers) as srv:
        async with Talking(*s_client(srv.port, "-tls1_2", "-reconnect")) as talk:
            for _ in range(5):
                await talk.says("Reused, TLSv1.2")
            await talk.tell("hello\n")
            await talk.says("hello\n")
        assert [(await srv.met.get()).resumed for _ in range(6)] == [False] + [True] * 5


@on_one_loop
async def test_sessions_of_clients_with_certificates_are_taken_up_again(
    s_client, papers, version, tmp_path
):
    """In a new process each time; the certificate is remembered in the session."""
    session = str(tmp_path / "session")
    async with serving(papers, client_auth="required") as srv:
        for resumed in (False, True, True):
            options = OPTION[version], *shown(papers.client), "-sess_out", session
            if resumed:
                options += "-sess_in", session
            async with Talking(*s_client(srv.port, *options)) as talk:
                await talk.says("Reused, " if resumed else "New, ")
                await talk.tell("hello\n")
                await talk.says("hello\n")
                await talk.tell("Q\n")
                assert await talk.ended() == 0
            facts = await srv.met.get()
            assert facts.resumed == resumed
            assert facts.peer_certificate is not None
            assert await srv.left.get() == b"hello\n"


# What is refused --------------------------------------------------------------------------------


async def test_old_versions_are_refused(s_client, papers):
    async with serving(papers) as srv:
        for option in ("-tls1_1", "-tls1"):
            command = s_client(srv.port, option, "-cipher", "DEFAULT@SECLEVEL=0")
            async with Talking(*command) as talk:
                await talk.says("alert protocol version")
                assert await talk.ended() == 1
            error = await srv.errors.get()
            assert isinstance(error, TLSError)
            assert "1.2 or 1.3" in str(error)
        assert srv.met.empty()


async def test_suites_without_forward_secrecy_are_refused(s_client, papers):
    async with serving(papers) as srv:
        command = s_client(srv.port, "-tls1_2", "-cipher", "AES128-GCM-SHA256")
        async with Talking(*command) as talk:
            await talk.says("alert handshake failure")
            assert await talk.ended() == 1
        assert "no cipher suite in common" in str(await srv.errors.get())


async def test_renegotiation_is_refused(s_client, papers):
    async with serving(papers) as srv:
        async with Talking(*s_client(srv.port, "-tls1_2", "-msg")) as talk:
            await talk.tell("hello\n")
            await talk.says("hello\n")
            await talk.tell("R\n")
            await talk.says("<<< TLS 1.2, Alert [length 0002], warning no_renegotiation")
            assert await talk.ended() == 1
        error = await srv.errors.get()
        assert isinstance(error, TLSError)
        assert error.alert == "handshake_failure"


async def test_client_that_does_not_trust_us_says_so(s_client, papers, version):
    """Its alert by name, in what `on_exn` is told."""
    async with serving(papers) as srv:
        async with Talking(
            *s_client(srv.port, OPTION[version], "-CAfile", papers.stranger_file)
        ) as talk:
            assert await talk.ended() == 1
        error = await srv.errors.get()
        assert isinstance(error, TLSError)
        assert error.alert == "unknown_ca"
