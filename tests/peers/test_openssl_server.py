"""A TLS client of ours against `openssl s_server`."""

import re

import pytest

import conduit
from conduit import CertificateError, TLSError, TruncatedError, client
from tests.peers.handlers import noise
from tests.peers.talking import Talking
from tests.peers.tls_server import VERSIONS, on_one_loop

OPTION = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}


@pytest.fixture(params=VERSIONS)
def version(request) -> str:
    return str(request.param)


@pytest.fixture
def s_server(program, papers):
    """A server of this kind: `async with s_server("-tls1_3") as talk`."""
    openssl = program("openssl")

    def start(*options: str) -> Talking:
        own = "-cert", papers.own.crt_file, "-key", papers.own.key_file
        command = openssl, "s_server", "-accept", "127.0.0.1:0", *own, *options
        return Talking(*command, says="ACCEPT 127.0.0.1:")

    return start


def at(talk: Talking) -> client.TLS:
    return client.TLS("localhost", "127.0.0.1", talk.port)


async def test_dialogue(s_server, papers, version):
    ctx = await papers.ctx()
    async with s_server(OPTION[version]) as talk:
        async with conduit.connect(at(talk), ctx=ctx) as (_, ic, oc):
            facts = oc.get_extra_info("tls")
            assert (facts.version, facts.sni, facts.alpn) == (version, "localhost", None)
            await talk.says(f"CIPHER is {facts.cipher}\n")
            for line in ("hello\n", "there\n"):
                await oc.write(line.encode())
                await talk.says(line)
                await talk.tell(line.upper())
                assert await ic.readline() == line.upper().encode()
        # Our goodbye is a proper end; without it this would be ERROR.
        await talk.says("DONE\n")


async def test_server_that_does_not_say_goodbye(s_server, papers, version):
    """Told to quit, this program closes its socket and no more."""
    for sloppy in (False, True):
        ctx = await papers.ctx(allow_truncation=sloppy)
        async with s_server(OPTION[version]) as talk:
            async with conduit.connect(at(talk), ctx=ctx) as (_, ic, _):
                await talk.tell("hello\n")
                assert await ic.readline() == b"hello\n"
                await talk.tell("Q\n")
                if sloppy:
                    assert await ic.read() == b""
                else:
                    with pytest.raises(TruncatedError):
                        await ic.read()


async def test_server_that_is_killed_leaves_no_clean_end(s_server, papers, version):
    ctx = await papers.ctx()
    async with s_server(OPTION[version]) as talk:
        async with conduit.connect(at(talk), ctx=ctx) as (_, ic, _):
            await talk.tell("hello\nthe")
            assert await ic.readexactly(7) == b"hello\nt"
            talk.kill()
            with pytest.raises(TruncatedError) as caught:
                await ic.read()
    assert caught.value.partial == b"he"


async def test_half_close(s_server, papers, version, tmp_path):
    """Our end is said, and then a file comes, and its end: this kind of server says goodbye."""
    file, data = tmp_path / "file", noise(5_000_000)
    file.write_bytes(data)
    ctx = await papers.ctx()
    async with s_server(OPTION[version], "-WWW", "-msg") as talk:
        async with conduit.connect(at(talk), ctx=ctx) as (_, ic, oc):
            oc.write(f"GET {file} HTTP/1.0\r\n\r\n".encode())
            oc.write_eof()
            assert await ic.readuntil(b"\r\n\r\n")
            assert await ic.read() == data


@on_one_loop
async def test_alpn_is_the_servers_choice(s_server, papers, version):
    async with s_server(OPTION[version], "-alpn", "h2,http/1.1") as talk:
        for offered, chosen in ((["http/1.1", "h2"], "h2"), (["spdy/1", "http/1.1"], "http/1.1")):
            ctx = await papers.ctx(alpn=offered)
            async with conduit.connect(at(talk), ctx=ctx) as (_, _, oc):
                assert oc.get_extra_info("alpn") == chosen
        ctx = await papers.ctx(alpn="spdy/1")
        with pytest.raises(TLSError) as caught:
            await conduit.connect(at(talk), ctx=ctx)
        assert caught.value.alert == "no_application_protocol"


@on_one_loop
async def test_certificate_is_that_of_the_name_that_we_ask_for(s_server, papers, version):
    ctx = await papers.ctx()
    key = await papers.issue("a.example")
    other = "-servername", "a.example", "-cert2", key.crt_file, "-key2", key.key_file
    async with s_server(OPTION[version], *other) as talk:
        for name in ("a.example", "localhost"):
            target = client.TLS(name, "127.0.0.1", talk.port)
            async with conduit.connect(target, ctx=ctx) as (_, _, oc):
                assert oc.get_extra_info("sni") == name
                await talk.says(f'Hostname in TLS extension: "{name}"')
        # No name goes out for an address, and the certificate is for it, too.
        target = client.TLS("127.0.0.1", "127.0.0.1", talk.port)
        async with conduit.connect(target, ctx=ctx) as (_, _, oc):
            assert oc.get_extra_info("sni") is None
            await talk.says("CIPHER is")
        assert talk.all.count("Hostname in TLS extension") == 2


# Our certificate --------------------------------------------------------------------------------


async def test_client_certificate(s_server, papers, version):
    ctx = await papers.ctx(tls_own_key=papers.client)
    for verify in ("-verify", "-Verify"):
        options = OPTION[version], verify, "1", "-verify_return_error", "-CAfile", papers.ca_file
        async with s_server(*options) as talk:
            async with conduit.connect(at(talk), ctx=ctx) as (_, _, oc):
                await talk.says("subject=CN = client.example\n")
                await oc.write(b"hello\n")
                await talk.says("hello\n")


async def refusal(talk: Talking, ctx: conduit.Context) -> TLSError:
    """What a server's refusal is at our side: of TLS 1.3 it comes after the handshake."""
    with pytest.raises(TLSError) as caught:
        async with conduit.connect(at(talk), ctx=ctx) as (_, ic, _):
            await ic.read()
    return caught.value


async def test_client_without_a_certificate(s_server, papers, version):
    ctx = await papers.ctx()
    checks = OPTION[version], "-verify_return_error", "-CAfile", papers.ca_file
    async with s_server("-verify", "1", *checks) as talk:
        async with conduit.connect(at(talk), ctx=ctx) as (_, _, oc):
            await oc.write(b"hello\n")
            await talk.says("hello\n")
    async with s_server("-Verify", "1", *checks) as talk:
        error = await refusal(talk, ctx)
        assert (
            error.alert
            == {"TLSv1.2": "handshake_failure", "TLSv1.3": "certificate_required"}[version]
        )
        assert "certificate" in str(error)


async def test_certificate_of_an_unknown_authority(s_server, papers, version):
    ctx = await papers.ctx(tls_own_key=papers.strange_client)
    checks = "-Verify", "1", "-verify_return_error", "-CAfile", papers.ca_file
    async with s_server(OPTION[version], *checks) as talk:
        error = await refusal(talk, ctx)
    assert error.alert == "unknown_ca"


# What goes on in the protocol -------------------------------------------------------------------


@pytest.mark.parametrize("command", ["K", "k"], ids=["both", "its own"])
async def test_key_update(s_server, papers, command):
    ctx = await papers.ctx()
    async with s_server("-tls1_3", "-msg") as talk:
        async with conduit.connect(at(talk), ctx=ctx) as (_, ic, oc):
            await talk.says("CIPHER is")
            for n in range(3):
                await talk.tell(f"{command}\n")
                await talk.says(">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
                await talk.tell(f"hello {n}\n")
                assert await ic.readline() == b"hello %d\n" % n
                await oc.write(b"there %d\n" % n)
                if command == "K":
                    await talk.says("<<< TLS 1.3, Handshake [length 0005], KeyUpdate")
                await talk.says(f"there {n}\n")


async def test_hello_retry_request(s_server, papers):
    ctx = await papers.ctx()
    async with s_server("-tls1_3", "-groups", "P-384", "-msg") as talk:
        async with conduit.connect(at(talk), ctx=ctx) as (_, ic, _):
            for _ in range(2):
                await talk.says("ClientHello")
            await talk.says("Shared groups: secp384r1\n")
            await talk.tell("hello\n")
            assert await ic.readline() == b"hello\n"


async def test_renegotiation_is_refused(s_server, papers):
    ctx = await papers.ctx()
    async with s_server("-tls1_2", "-msg") as talk:
        async with conduit.connect(at(talk), ctx=ctx) as (_, _, _):
            await talk.says("CIPHER is")
            await talk.tell("r\n")
            await talk.says("<<< TLS 1.2, Alert [length 0002], warning no_renegotiation")


async def test_sessions_are_taken_up_again(s_server, papers, version):
    """Once each, and not by another context or for another name."""
    ctx = await papers.ctx(tls_own_key=papers.client)
    checks = "-Verify", "1", "-verify_return_error", "-CAfile", papers.ca_file

    async def visit(ctx: conduit.Context, target: client.TLS) -> bool:
        async with conduit.connect(target, ctx=ctx) as (_, ic, oc):
            # Tickets of TLS 1.3 come with what the server says first.
            await talk.says("CIPHER is")
            await talk.tell("hello\n")
            assert await ic.readline() == b"hello\n"
            assert oc.get_extra_info("peer_certificate") is not None
            return bool(oc.get_extra_info("resumed"))

    async with s_server(OPTION[version], *checks) as talk:
        assert [await visit(ctx, at(talk)) for _ in range(3)] == [False, True, True]
        assert talk.all.count("Reused session-id") == 2
        assert not await visit(ctx, client.TLS("127.0.0.1", "127.0.0.1", talk.port))
        assert not await visit(await papers.ctx(tls_own_key=papers.client), at(talk))


# What is refused --------------------------------------------------------------------------------


async def test_old_versions_are_refused(s_server, papers):
    ctx = await papers.ctx()
    async with s_server("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0") as talk:
        with pytest.raises(TLSError, match="version") as caught:
            await conduit.connect(at(talk), ctx=ctx)
        assert caught.value.alert == "protocol_version"
        assert str(at(talk)) in str(caught.value)


async def test_server_of_an_unknown_authority(s_server, papers, version):
    """It is told why, though the handshake is over for us."""
    trust = conduit.trust.ca(papers.stranger_file)
    ctx = await conduit.init(tls_authenticator=trust)
    async with s_server(OPTION[version]) as talk:
        with pytest.raises(CertificateError) as caught:
            await conduit.connect(at(talk), ctx=ctx)
        await talk.says("alert unknown ca")
    assert len(caught.value.chain) == 1


async def test_server_of_another_name(s_server, papers):
    ctx = await papers.ctx()
    async with s_server("-msg") as talk:
        with pytest.raises(CertificateError, match=re.escape("other.example")):
            await conduit.connect(client.TLS("other.example", "127.0.0.1", talk.port), ctx=ctx)
        await talk.says("Alert [length 0002], fatal bad_certificate")
