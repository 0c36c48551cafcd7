"""Real clients that begin TLS with a server of ours in the middle of a connection."""

import ssl
from contextlib import asynccontextmanager

import pytest

import conduit
from conduit import server
from tests.endpoints import port_of
from tests.peers import ldap, postgresql
from tests.peers.mail import MailServer
from tests.peers.programs import run, run_python
from tests.peers.talking import Talking
from tests.peers.tls_server import on_one_loop

TEXT = b"".join(b"line %d\r\n" % n for n in range(5000))


# SMTP -------------------------------------------------------------------------------------------


@pytest.fixture(params=["a new pair", "in place"])
async def mail(request, papers):
    """A mail server, and its port; made secure by each of the two ways that there are."""
    own = papers.own
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.crt_file, own.key_file)
    failures: list[BaseException] = []

    async def handler(f, ic, oc):
        async def anew(ic, oc):
            _, *pair = await conduit.start_tls(f, ic, oc, server_side=True, own_key=own)
            return pair

        async def in_place(ic, oc):
            await oc.start_tls(context)
            return ic, oc

        served.secure = anew if request.param == "a new pair" else in_place
        await served.session(ic, oc)

    served = MailServer()
    mode = server.TCP(0, ip="127.0.0.1")
    async with conduit.listen(mode, handler, on_exn=failures.append) as srv:
        yield served, port_of(srv)
    assert failures == []


async def test_curl_delivers(mail, program, papers, tmp_path):
    served, port = mail
    file = tmp_path / "text"
    file.write_bytes(TEXT)
    tls = "--ssl-reqd", "--cacert", papers.ca_file
    letter = "--mail-from", "a@example", "--mail-rcpt", "b@example", "-T", str(file)
    command = program("curl"), "-q", "-sS", "--noproxy", "*", *tls, *letter
    await run(*command, f"smtp://localhost:{port}/client.example")
    assert served.delivered == [(b"<a@example>", [b"<b@example>"], TEXT)]


async def test_python_delivers(mail, papers):
    served, port = mail
    program = """
        import smtplib, ssl, sys
        port, ca_file = sys.argv[1:]
        text = sys.stdin.buffer.read()
        with smtplib.SMTP("localhost", int(port), local_hostname="x", timeout=20) as smtp:
            smtp.starttls(context=ssl.create_default_context(cafile=ca_file))
            assert not smtp.has_extn("starttls")
            assert smtp.sendmail("a@example", ["b@example"], text) == {}
    """
    await run_python(program, str(port), papers.ca_file, stdin=TEXT)
    assert served.delivered == [(b"<a@example>", [b"<b@example>"], TEXT)]


@pytest.mark.parametrize("name", ["openssl", "gnutls-cli"])
async def test_dialogue(mail, program, papers, name):
    _, port = mail
    if name == "openssl":
        options = ["s_client", "-starttls", "smtp", "-crlf", "-quiet", "-verify_return_error"]
        options += ["-CAfile", papers.ca_file, "-connect", f"localhost:{port}"]
    else:
        options = ["--starttls-proto", "smtp", "--crlf", "--x509cafile", papers.ca_file]
        options += ["--port", str(port), "localhost"]
    async with Talking(program(name), *options) as talk:
        if name == "gnutls-cli":
            await talk.says("Handshake was completed")
        await talk.tell("NOOP\n")
        await talk.says("250 ok\r\n")
        await talk.tell("QUIT\n")
        await talk.says("221 goodbye\r\n")
        assert await talk.ended() == 0


# PostgreSQL and LDAP ----------------------------------------------------------------------------


@asynccontextmanager
async def serving(handler):
    failures: list[BaseException] = []
    mode = server.TCP(0, ip="127.0.0.1")
    async with conduit.listen(mode, handler, on_exn=failures.append) as srv:
        yield port_of(srv)
    assert failures == []


@on_one_loop
async def test_psql(program, papers):
    """It checks whom it speaks to, and shows its own certificate."""
    ctx = await papers.ctx(tls_own_key=papers.own)
    shown: list[bytes] = []

    async def handler(f, ic, oc):
        assert await ic.readexactly(8) == postgresql.SSL_REQUEST
        oc.write(b"S")
        f, ic, oc = await conduit.start_tls(
            f, ic, oc, server_side=True, client_auth="required", ctx=ctx
        )
        shown.append(oc.get_extra_info("peer_certificate"))
        await postgresql.serve_one_query(ic, oc)
        await oc.close()

    files = f"sslrootcert={papers.ca_file} sslcert={papers.client.crt_file}"
    files += f" sslkey={papers.client.key_file}"
    async with serving(handler) as port:
        where = f"host=localhost hostaddr=127.0.0.1 port={port} user=x dbname=x"
        how = "sslmode=verify-full gssencmode=disable"
        out = await run(program("psql"), "-XAt", f"{where} {how} {files}", "-c", "select hello")
    assert out == b"SELECT HELLO\n"
    assert len(shown) == 1


@on_one_loop
async def test_ldapwhoami(program, papers):
    ctx = await papers.ctx(tls_own_key=papers.own)

    async def handler(f, ic, oc):
        number, kind, body = await ldap.read_message(ic)
        assert kind == ldap.EXTENDED
        assert ldap.START_TLS in body
        oc.write(ldap.message(number, ldap.DONE, ldap.SUCCESS))
        f, ic, oc = await conduit.start_tls(f, ic, oc, server_side=True, ctx=ctx)
        number, kind, _ = await ldap.read_message(ic)
        assert kind == ldap.BIND
        oc.write(ldap.message(number, ldap.BOUND, ldap.SUCCESS))
        number, kind, body = await ldap.read_message(ic)
        assert ldap.WHO_AM_I in body
        oc.write(ldap.message(number, ldap.DONE, ldap.SUCCESS + b"\x8b\x06u:anna"))
        number, kind, _ = await ldap.read_message(ic)
        assert kind == ldap.UNBIND
        await oc.close()

    async with serving(handler) as port:
        # Not by "localhost", for which it would take the name of this host.
        environment = {"LDAPTLS_CACERT": papers.ca_file}
        command = program("ldapwhoami"), "-x", "-ZZ", "-H", f"ldap://127.0.0.1:{port}"
        async with Talking(*command, environment=environment) as talk:
            await talk.says("u:anna\n")
            assert await talk.ended() == 0
