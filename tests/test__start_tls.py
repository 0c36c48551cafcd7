"""`start_tls`: TLS over a flow that is open already, in both roles, and in place."""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

import conduit
from conduit import client, endp, flow, server, trust
from conduit.testing import memory_pair
from tests.endpoints import port_of
from tests.event_log import EventLog, until

LOCAL = "127.0.0.1"


@pytest.fixture
def key(certificates):
    return certificates.key()


@pytest.fixture
async def ctx(certificates, key):
    """Trusts the authority of the tests, and has a key from it."""
    return await conduit.init(tls_authenticator=trust.ca(certificates.trusted), tls_own_key=key)


@asynccontextmanager
async def mail(ctx, **options):
    """A server that begins TLS when it is told to, then echoes; gives it and what failed there."""

    async def handler(f, ic, oc):
        await oc.write(b"220 ready\r\n")
        assert await ic.readline() == b"STARTTLS\r\n"
        await oc.write(b"220 go ahead\r\n")
        try:
            f, ic, oc = await conduit.start_tls(f, ic, oc, server_side=True, ctx=ctx, **options)
        except BaseException as error:
            failures.put_nowait(error)
            return
        async for line in ic:
            await oc.write(line)
        oc.close()

    failures: asyncio.Queue[BaseException] = asyncio.Queue()
    async with conduit.listen(server.TCP(0, ip=LOCAL), handler) as srv:
        yield srv, failures


async def ask(target):
    """Connect, and agree on TLS."""
    f, ic, oc = await conduit.connect(target)
    assert await ic.readline() == b"220 ready\r\n"
    oc.write(b"STARTTLS\r\n")
    assert await ic.readline() == b"220 go ahead\r\n"
    return f, ic, oc


async def echoed(ic, oc, line=b"EHLO\r\n") -> bool:
    oc.write(line)
    return bool(await ic.readline() == line)


# Both roles ---------------------------------------------------------------------------------------


async def test_both_sides_begin_tls(ctx):
    async with mail(ctx) as (srv, _):
        old, ic, oc = await ask(srv.endps[0])
        with EventLog() as log:
            f, ic2, oc2 = await conduit.start_tls(old, ic, oc, ctx=ctx)
            [told] = [one for one in log.of(conduit.events.Handshake) if one.flow is f]
        assert told.seconds > 0
        assert await echoed(ic2, oc2)
        assert isinstance(f, flow.TCP)
        assert (f.fd, f.ip, f.port) == (old.fd, old.ip, old.port)
        assert conduit.endp_of_flow(f) == endp.TLS(LOCAL, srv.endps[0])
        assert oc2.get_extra_info("tls").version == "TLSv1.3"
        assert oc2.get_extra_info("sni") is None  # an address is not sent
        await oc2.close()


@pytest.mark.parametrize("connected", ["address", "name", "endpoint"])
async def test_name_is_the_one_that_was_connected_to(ctx, connected):
    async with mail(ctx) as (srv, _):
        target = {
            "address": client.TCP(LOCAL, port_of(srv)),
            "name": client.Host("localhost", port_of(srv)),
            "endpoint": endp.Host("localhost", port_of(srv)),
        }[connected]
        f, ic, oc = await ask(target)
        f, ic, oc = await conduit.start_tls(f, ic, oc, ctx=ctx)
        assert oc.get_extra_info("sni") == (None if connected == "address" else "localhost")
        oc.close()


async def test_name_may_be_given_and_is_checked(certificates, ctx):
    async with mail(ctx, own_key=certificates.key("mail.example")) as (srv, failures):
        f, ic, oc = await ask(srv.endps[0])
        f, ic, oc = await conduit.start_tls(f, ic, oc, hostname="Mail.example.", ctx=ctx)
        assert oc.get_extra_info("sni") == "mail.example"
        oc.close()
        f, ic, oc = await ask(srv.endps[0])
        with pytest.raises(conduit.CertificateError, match="is not for the IP address") as caught:
            await conduit.start_tls(f, ic, oc, ctx=ctx)
        assert str(caught.value).startswith(f"start_tls on {f!r}: ")
        await oc.wait_closed()
        assert isinstance(await failures.get(), conduit.TLSError)


async def test_over_memory_and_within_tls(ctx):
    (f, ic, oc), (f2, ic2, oc2) = memory_pair()
    for _ in range(3):
        (f, ic, oc), (f2, ic2, oc2) = await asyncio.gather(
            conduit.start_tls(f, ic, oc, hostname="localhost", ctx=ctx),
            conduit.start_tls(f2, ic2, oc2, server_side=True, ctx=ctx),
        )
    await oc.write(b"hello")
    assert await ic2.readexactly(5) == b"hello"
    layers = conduit.endp_of_flow(f)
    assert isinstance(layers, endp.TLS)
    assert isinstance(layers.endp, endp.TLS)
    oc.close()
    assert await ic2.read() == b""
    await oc2.close()
    await oc.wait_closed()


@pytest.mark.parametrize("client_auth", ["none", "optional", "required"])
async def test_client_shows_its_certificate_if_asked(certificates, ctx, client_auth):
    own = certificates.key("me")
    (f, ic, oc), (f2, ic2, oc2) = memory_pair()
    (_, _, oc), (_, _, oc2) = await asyncio.gather(
        conduit.start_tls(f, ic, oc, hostname="localhost", own_key=own, ctx=ctx),
        conduit.start_tls(f2, ic2, oc2, server_side=True, client_auth=client_auth, ctx=ctx),
    )
    shown = oc2.get_extra_info("peercert")
    assert bool(shown) == (client_auth != "none")
    if shown:
        assert ("DNS", "me") in shown["subjectAltName"]
    oc.close()
    await oc2.close()
    await oc.wait_closed()


async def test_session_is_taken_up_only_where_the_server_kept_its_keys(ctx):
    """Each start_tls of a server reads its certificate anew, so it knows no session: no harm."""
    async with mail(ctx) as (srv, _):
        for _ in range(2):
            f, ic, oc = await ask(srv.endps[0])
            f, ic, oc = await conduit.start_tls(f, ic, oc, ctx=ctx)
            assert await echoed(ic, oc)
            assert oc.get_extra_info("resumed") is False
            await oc.close()


# What is refused, and leaves the flow as it is ----------------------------------------------------


@pytest.fixture
async def pair():
    """Two flows connected in memory; closed at the end."""
    left, right = memory_pair()
    yield left, right
    for one in (left, right):
        one.oc.transport.abort()
        await one.oc.wait_closed()


async def works(left, right) -> bool:
    left.oc.write(b"ping")
    right.oc.write(b"pong")
    return bool(await right.ic.readexactly(4) + await left.ic.readexactly(4) == b"pingpong")


@pytest.mark.parametrize("server_side", [False, True])
async def test_unread_bytes_may_be_injected(pair, ctx, server_side):
    left, right = pair
    await right.oc.write(b"250 injected\r\nmore")
    await left.ic.readline()
    with pytest.raises(conduit.TLSError, match="4 bytes came in before TLS began") as caught:
        await conduit.start_tls(*left, server_side=server_side, hostname="localhost", ctx=ctx)
    assert str(caught.value).startswith("start_tls on MemoryFlow('left'): ")
    assert await left.ic.readexactly(4) == b"more"
    assert await works(left, right)


async def test_hello_of_a_quick_client_is_for_the_handshake(pair, ctx):
    """It may be there before the server has begun, or while it reads its certificate."""
    left, right = pair
    ours = asyncio.ensure_future(conduit.start_tls(*left, hostname="localhost", ctx=ctx))
    await until(lambda: bool(right.oc._wire.buffer))
    (_, ic, oc), (_, ic2, oc2) = await asyncio.gather(
        ours, conduit.start_tls(*right, server_side=True, ctx=ctx)
    )
    await oc.write(b"hello")
    assert await ic2.readexactly(5) == b"hello"
    oc2.close()
    assert await ic.read() == b""
    await oc.close()


async def test_what_only_begins_like_a_hello_is_no_plaintext(pair, ctx):
    """Commands that somebody put behind it are a part of the handshake, and break it."""
    left, right = pair
    await right.oc.write(b"\x16\x03\x01RCPT TO:<victim@example>\r\n")
    with pytest.raises(conduit.TLSError):
        await conduit.start_tls(*left, server_side=True, ctx=ctx)
    await left.oc.wait_closed()


async def test_bytes_that_come_while_the_certificate_is_read_count_as_well(pair, certificates):
    left, right = pair
    encrypted = certificates.key(password="hush")
    loop = asyncio.get_running_loop()

    def password(again):
        asyncio.run_coroutine_threadsafe(inject(), loop).result()
        return "hush"

    async def inject():
        await right.oc.write(b"injected")

    key = replace(encrypted, password=password)
    with pytest.raises(conduit.TLSError, match="8 bytes came in before TLS began"):
        await conduit.start_tls(*left, server_side=True, own_key=key)
    assert await left.ic.readexactly(8) == b"injected"
    assert await works(left, right)


async def test_server_without_a_key(pair):
    left, right = pair
    with pytest.raises(conduit.AddressError, match=r"needs a certificate: give own_key=OwnKey\("):
        await conduit.start_tls(*left, server_side=True)
    assert await works(left, right)


async def test_client_without_a_name(pair, ctx):
    left, right = pair
    with pytest.raises(conduit.AddressError, match="say by hostname= whom"):
        await conduit.start_tls(*left, ctx=ctx)
    with pytest.raises(conduit.AddressError, match="'a b' is no name of a host"):
        await conduit.start_tls(*left, hostname="a b", ctx=ctx)
    assert await works(left, right)


async def test_files_that_cannot_be_read(pair, tmp_path):
    left, right = pair
    key = conduit.OwnKey(tmp_path / "no.crt", tmp_path / "no.key")
    with pytest.raises(FileNotFoundError, match=r"cannot read .*no\.crt"):
        await conduit.start_tls(*left, server_side=True, own_key=key)
    ctx = await conduit.init(tls_authenticator=trust.ca(tmp_path / "no.pem"))
    with pytest.raises(FileNotFoundError, match=r"cannot read .*no\.pem"):
        await conduit.start_tls(*left, hostname="localhost", ctx=ctx)
    assert await works(left, right)


async def test_flow_that_could_not_be_told_of(pair, ctx):
    """Found out before the handshake, not after it."""
    left, right = pair
    with pytest.raises(conduit.AddressError, match="holds a NUL"):
        await conduit.start_tls(*left, server_side=True, hostname="a\0b", ctx=ctx)
    assert await works(left, right)


@pytest.mark.parametrize("wrong", ["requird", "", None, True])
async def test_client_auth_that_is_misspelt(pair, ctx, wrong):
    """It would protect less than was meant."""
    left, right = pair
    with pytest.raises(ValueError, match="it is one of none, optional, required"):
        await conduit.start_tls(*left, server_side=True, client_auth=wrong, ctx=ctx)
    assert await works(left, right)


async def test_client_auth_that_could_hold_nobody_to_it(pair, key):
    left, right = pair
    with pytest.raises(conduit.TLSError, match=r"start_tls on .*client_auth='required'"):
        await conduit.start_tls(*left, server_side=True, own_key=key, client_auth="required")
    assert await works(left, right)


async def test_channels_and_flow_belong_together(pair, ctx):
    left, right = pair
    wrong: list[Any] = [
        (right.flow, left.ic, left.oc),
        (None, left.ic, left.oc),
        (left.flow, right.ic, left.oc),
        (left.flow, left.ic, right.oc),
    ]
    for f, ic, oc in wrong:
        with pytest.raises(ValueError, match="ic and oc"):
            await conduit.start_tls(f, ic, oc, hostname="localhost", ctx=ctx)
    channel: Any = "a channel"
    with pytest.raises(TypeError, match="must be the channels of a flow"):
        await conduit.start_tls(left.flow, channel, channel, hostname="localhost", ctx=ctx)
    assert await works(left, right)


async def test_somebody_else_reads(pair, ctx):
    left, right = pair
    reading = asyncio.ensure_future(left.ic.readexactly(4))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task is reading"):
        await conduit.start_tls(*left, hostname="localhost", ctx=ctx)
    await right.oc.write(b"ping")
    assert await reading == b"ping"


async def test_flow_that_ends_or_has_ended(pair, ctx):
    left, right = pair
    left.oc.write_eof()
    with pytest.raises(conduit.TLSError, match="the output was ended already"):
        await conduit.start_tls(*left, hostname="localhost", ctx=ctx)
    closing = left.oc.close()
    with pytest.raises(conduit.TLSError, match="the flow is closed already"):
        await conduit.start_tls(*left, hostname="localhost", ctx=ctx)
    right.oc.close()
    await closing
    with pytest.raises(ConnectionError, match="the flow is closed"):
        await conduit.start_tls(*left, hostname="localhost", ctx=ctx)


async def test_old_channels_are_of_no_use(ctx):
    async with mail(ctx) as (srv, _):
        f, ic, oc = await ask(srv.endps[0])
        _, ic2, oc2 = await conduit.start_tls(f, ic, oc, ctx=ctx)
        with pytest.raises(RuntimeError, match="this flow carries another now"):
            oc.write(b"in the clear")
        with pytest.raises(RuntimeError):
            await ic.read(1)
        with pytest.raises(RuntimeError, match="this flow carries another now"):
            await conduit.start_tls(f, ic, oc, ctx=ctx)
        with pytest.raises(RuntimeError, match="this flow carries another now"):
            await oc.start_tls(ssl.create_default_context())
        assert await echoed(ic2, oc2)
        await oc2.close()
        assert oc.is_closing()


# A handshake that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize("server_side", [False, True])
async def test_silent_peer_runs_into_the_limit(pair, ctx, server_side):
    left, _ = pair
    with pytest.raises(TimeoutError):
        await conduit.start_tls(
            *left, server_side=server_side, hostname="localhost", ctx=ctx, timeout=0.02
        )
    assert left.oc.is_closing()


@pytest.mark.parametrize("server_side", [False, True])
async def test_peer_that_speaks_no_tls(pair, ctx, server_side):
    left, right = pair
    beginning = asyncio.ensure_future(
        conduit.start_tls(*left, server_side=server_side, hostname="localhost", ctx=ctx)
    )
    if not server_side:
        await right.ic.read(1)
    else:
        await asyncio.sleep(0.01)  # the certificate is read in a thread; it makes no difference
    right.oc.write(b"500 what?\r\n")
    right.oc.close()
    with pytest.raises(conduit.TLSError) as caught:
        await beginning
    assert str(caught.value).startswith("start_tls on MemoryFlow('left'): ")
    assert left.oc.is_closing()


async def test_cancelled_handshake_closes_the_flow(pair, ctx):
    left, right = pair
    beginning = asyncio.ensure_future(conduit.start_tls(*left, hostname="localhost", ctx=ctx))
    await right.ic.read(1)  # the hello has come
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    await left.oc.wait_closed()


# In place, as asyncio's StreamWriter --------------------------------------------------------------


def contexts(certificates, key) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the server and for the client, as a program for asyncio makes them."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(key.crt_file, key.key_file)
    connecting = ssl.create_default_context(cadata=certificates.trusted.decode())
    return serving, connecting


@pytest.fixture
def of_ssl(certificates, key):
    return contexts(certificates, key)


@asynccontextmanager
async def over_asyncio(handler):
    listening = await asyncio.start_server(handler, LOCAL, 0)

    async def connect():
        return await asyncio.open_connection(*listening.sockets[0].getsockname())

    async with listening:
        yield connect


@asynccontextmanager
async def over_conduit(handler):
    async def handle(f, ic, oc):
        await handler(ic, oc)

    async with conduit.listen(server.TCP(0, ip=LOCAL), handle) as srv:

        async def connect():
            _, ic, oc = await conduit.connect(srv.endps[0])
            return ic, oc

        yield connect


@pytest.mark.parametrize("streams", [over_asyncio, over_conduit], ids=["asyncio", "conduit"])
async def test_program_for_streams_begins_tls(of_ssl, streams):
    """The same program over asyncio's streams and over ours."""
    serving, connecting = of_ssl

    async def handler(reader, writer):
        assert await reader.readline() == b"STARTTLS\r\n"
        writer.write(b"220\r\n")
        await writer.drain()
        await writer.start_tls(serving)
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with streams(handler) as connect:
        reader, writer = await connect()
        writer.write(b"STARTTLS\r\n")
        assert await reader.readline() == b"220\r\n"
        await writer.start_tls(connecting, server_hostname="localhost", ssl_handshake_timeout=10)
        assert writer.get_extra_info("cipher")
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.write(b"hello\r\n")
        await writer.drain()
        assert await reader.readline() == b"HELLO\r\n"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def in_place(pair, of_ssl, **options):
    """Begin TLS in place on both ends of a pair."""
    left, right = pair
    serving, connecting = of_ssl
    await asyncio.gather(
        left.oc.start_tls(connecting, **{"server_hostname": "localhost", **options}),
        right.oc.start_tls(serving),
        return_exceptions=False,
    )


async def test_channels_stay_the_same(pair, of_ssl):
    left, right = pair
    with EventLog() as log:
        await in_place(pair, of_ssl)
    assert len(log.of(conduit.events.Handshake)) == 2
    assert await works(left, right)
    assert left.oc.get_extra_info("tls").version == "TLSv1.3"
    left.oc.write_eof()
    assert await right.ic.read() == b""
    await right.oc.write(b"still here")
    right.oc.close()
    assert await left.ic.read() == b"still here"


async def test_hello_of_a_quick_client_in_place(pair, of_ssl):
    left, right = pair
    serving, connecting = of_ssl
    ours = asyncio.ensure_future(left.oc.start_tls(connecting, server_hostname="localhost"))
    await until(lambda: bool(right.oc._wire.buffer))
    await asyncio.gather(ours, right.oc.start_tls(serving))
    assert await works(left, right)


async def test_name_in_place_is_checked(pair, of_ssl):
    left, right = pair
    serving, connecting = of_ssl
    theirs = asyncio.ensure_future(right.oc.start_tls(serving))
    with pytest.raises(conduit.CertificateError, match=r"not for 'other\.example'"):
        await left.oc.start_tls(connecting, server_hostname="other.example")
    with pytest.raises(conduit.TLSError):
        await theirs
    await left.oc.wait_closed()


async def test_name_in_place_is_the_one_that_was_connected_to(of_ssl):
    serving, connecting = of_ssl

    async def handler(f, ic, oc):
        await oc.start_tls(serving)
        await oc.write(f"{oc.get_extra_info('sni')}\n".encode())

    async with conduit.listen(server.TCP(0, ip=LOCAL), handler) as srv:
        async with conduit.connect(client.Host("localhost", port_of(srv))) as (_, ic, oc):
            await oc.start_tls(connecting)
            assert await ic.readline() == b"None\n"
            assert oc.get_extra_info("peercert")


async def test_unread_bytes_in_place(pair, of_ssl):
    left, right = pair
    await right.oc.write(b"!injected")
    await left.ic.readexactly(1)
    with pytest.raises(conduit.TLSError, match=r"^start_tls: 8 bytes came in before TLS began"):
        await left.oc.start_tls(of_ssl[1], server_hostname="localhost")
    assert await left.ic.readexactly(8) == b"injected"
    assert await works(left, right)


async def test_bytes_that_come_while_ours_leave_count_as_well(of_ssl):
    """What was written before has to leave first, and the peer may use the time."""
    (_, _, oc), (_, ic2, oc2) = memory_pair()
    size = 1_000_000
    oc.write(bytes(size))
    beginning = asyncio.ensure_future(oc.start_tls(of_ssl[1], server_hostname="localhost"))
    await asyncio.sleep(0)
    assert not beginning.done()
    await oc2.write(b"injected")
    assert len(await ic2.readexactly(size)) == size
    with pytest.raises(conduit.TLSError, match="8 bytes came in before TLS began"):
        await beginning
    oc.close()
    await oc2.close()
    await oc.wait_closed()


async def test_flow_that_ends_or_has_ended_in_place(pair, of_ssl):
    left, right = pair
    left.oc.write_eof()
    with pytest.raises(conduit.TLSError, match="the output was ended already"):
        await left.oc.start_tls(of_ssl[1], server_hostname="localhost")
    closing = left.oc.close()
    with pytest.raises(conduit.TLSError, match="the flow is closed already"):
        await left.oc.start_tls(of_ssl[1], server_hostname="localhost")
    right.oc.close()
    await closing
    with pytest.raises(ConnectionError, match="the flow is closed"):
        await left.oc.start_tls(of_ssl[1], server_hostname="localhost")


async def test_limit_in_place(pair, of_ssl):
    left, _ = pair
    with pytest.raises(TimeoutError):
        await left.oc.start_tls(of_ssl[1], server_hostname="localhost", ssl_handshake_timeout=0.02)
    await left.oc.wait_closed()


@pytest.mark.parametrize("hostname", [".example", "a b", ""])
async def test_name_in_place_that_cannot_be(pair, of_ssl, hostname):
    left, right = pair
    with pytest.raises(ValueError, match=re.escape("name") + "|hostname"):
        await left.oc.start_tls(of_ssl[1], server_hostname=hostname)
    assert await works(left, right)
