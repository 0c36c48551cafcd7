"""`conduit.start_tls` as the client of real servers: PostgreSQL, Exim and OpenLDAP."""

import asyncio
import os
import pwd

import pytest

import conduit
from conduit import CertificateError, client
from tests.peers import ldap, postgresql
from tests.peers.programs import Listening, until_listening
from tests.peers.talking import Talking
from tests.peers.tls_server import on_one_loop

# That start_tls does the same on both loops is seen with clients, which start faster.
pytestmark = on_one_loop


# PostgreSQL -------------------------------------------------------------------------------------


async def test_postgresql(postgres, papers):
    async def open_tls(ctx: conduit.Context, hostname: str = "localhost"):
        f, ic, oc = await conduit.connect(client.TCP("127.0.0.1", port))
        await oc.write(postgresql.SSL_REQUEST)
        assert await ic.readexactly(1) == b"S"
        return await conduit.start_tls(f, ic, oc, hostname=hostname, ctx=ctx)

    async with postgres() as (port, _):
        # Without a certificate: it wants a password, and says so inside of TLS.
        f, ic, oc = await open_tls(await papers.ctx())
        assert str(conduit.endp_of_flow(f)) == f"tls://127.0.0.1:{port}?hostname=localhost"
        await oc.write(postgresql.startup(user="nobody", database="postgres"))
        assert b"SCRAM-SHA-256" in (await postgresql.answers(ic, b"R"))[b"R"]
        await oc.close()

        # With one it lets us in, and tells what it thinks of the connection.
        key = papers.ca.issue("certified", common_name="certified")
        own_key = await asyncio.to_thread(key.write, papers.directory, "certified")
        f, ic, oc = await open_tls(await papers.ctx(tls_own_key=own_key))
        await oc.write(postgresql.startup(user="certified", database="postgres"))
        await postgresql.answers(ic, b"Z")
        query = b"SELECT version || client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()\0"
        await oc.write(postgresql.packet(b"Q", query))
        row = (await postgresql.answers(ic, b"Z"))[b"D"]
        assert row.endswith(b"TLSv1.3/CN=certified")
        await oc.write(postgresql.packet(b"X", b""))
        await oc.close()

        with pytest.raises(CertificateError, match=r"far\.example"):
            await open_tls(await papers.ctx(), hostname="far.example")


# SMTP -------------------------------------------------------------------------------------------

EXIM = """
primary_hostname = localhost
spool_directory = {home}
log_file_path = {home}/%slog
exim_user = {user}
exim_group = {group}
never_users =
keep_environment =
tls_advertise_hosts = *
tls_certificate = {crt_file}
tls_privatekey = {key_file}
"""


async def test_smtp(program, papers):
    """Exim, which uses GnuTLS; socat gives it the connection, as inetd would."""
    socat, exim = program("socat"), program("exim4")
    own, home = papers.own, papers.directory
    (home / "exim.conf").write_text(
        EXIM.format(
            home=home,
            user=pwd.getpwuid(os.geteuid()).pw_name,
            group=os.getegid(),
            crt_file=own.crt_file,
            key_file=own.key_file,
        )
    )

    async def ask(line: bytes) -> bytes:
        await oc.write(line + b"\r\n")
        return await answer()

    async def answer() -> bytes:
        lines = [await ic.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(await ic.readline())
        return b"".join(lines)

    listens = "TCP4-LISTEN:0,bind=127.0.0.1", f"EXEC:{exim} -bs -C {home}/exim.conf,nofork"
    async with Listening(socat, "-d", "-d", *listens, says="listening on") as talk:
        f, ic, oc = await conduit.connect(client.TCP("127.0.0.1", talk.port))
        assert (await answer()).startswith(b"220 ")
        assert b"STARTTLS" in await ask(b"EHLO client.example")
        assert (await ask(b"STARTTLS")).startswith(b"220 ")
        f, ic, oc = await conduit.start_tls(f, ic, oc, hostname="localhost", ctx=await papers.ctx())
        hello = await ask(b"EHLO client.example")
        assert hello.startswith(b"250-localhost Hello ")
        assert b"STARTTLS" not in hello
        assert (await ask(b"QUIT")).startswith(b"221 ")
        assert await ic.read() == b""
        await oc.close()


# LDAP -------------------------------------------------------------------------------------------


async def test_ldap(program, papers, socket_path):
    """Over a Unix socket, so only `hostname` tells who must be there."""
    slapd = program("slapd")
    own = papers.own
    file = papers.directory / "slapd.conf"
    file.write_text(f"TLSCertificateFile {own.crt_file}\nTLSCertificateKeyFile {own.key_file}\n")
    where = f"ldapi://{socket_path.replace('/', '%2F')}"
    command = slapd, "-d", "stats", "-f", str(file), "-h", where
    async with Talking(*command, says="slapd starting") as talk:
        await until_listening(socket_path)
        f, ic, oc = await conduit.connect(client.UnixDomainSocket(socket_path))
        await oc.write(ldap.extended(1, ldap.START_TLS))
        number, kind, body = await ldap.read_message(ic)
        assert (number, kind, body[:3]) == (1, ldap.DONE, b"\x0a\x01\x00")
        f, ic, oc = await conduit.start_tls(f, ic, oc, hostname="localhost", ctx=await papers.ctx())
        await talk.says("TLS established")
        await oc.write(ldap.extended(2, ldap.WHO_AM_I))
        number, kind, body = await ldap.read_message(ic)
        assert (number, kind, body[:3]) == (2, ldap.DONE, b"\x0a\x01\x00")
        await oc.write(ldap.message(3, ldap.UNBIND, b""))
        assert await ic.read() == b""
        await oc.close()
