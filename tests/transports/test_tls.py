"""TLS over every other transport: connecting, serving, and whom each side believes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import ssl
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from textwrap import dedent
from typing import Any

import pytest

import conduit
from conduit import OwnKey, client, endp, flow, server, trust
from conduit.testing import Memory, memory_pair, self_signed
from conduit.tls import openssl
from conduit.tls import openssl_contexts as contexts
from tests.bare_client import BareClient
from tests.endpoints import port_of, tcp_endp
from tests.event_log import EventLog, until

LOCAL = "127.0.0.1"


async def hello(f, ic, oc):
    """Greets each client, and says what it knows of the connection."""
    facts = oc.get_extra_info("tls")
    await oc.write(
        f"{facts.sni} {facts.alpn} {int(bool(facts.peer_chain))} {facts.resumed}\n".encode()
    )
    await ic.read()


def tls(key: OwnKey, **more) -> server.TLS:
    return server.TLS(key.crt_file, key.key_file, key.password, 0, ip=LOCAL, **more)


@pytest.fixture
def key(certificates):
    return certificates.key()


@pytest.fixture
async def ctx(certificates) -> conduit.Context:
    """Trusts the authority of the tests."""
    return await conduit.init(tls_authenticator=trust.ca(certificates.trusted))


async def visit(target, ctx, **options) -> str:
    """Connect, and return what the server says."""
    async with conduit.connect(target, ctx=ctx, **options) as (_, ic, _):
        return (await ic.readline()).decode().strip()


async def fails(target, ctx) -> BaseException:
    """What connecting fails with."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 (whatever it is, it is looked at)
        await visit(target, ctx)
    return caught.value


# Every address ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["TLS", "OpenSSL"])
async def test_tls_over_tcp(key, ctx, kind):
    mode = getattr(server, kind)(key.crt_file, key.key_file, None, 0, ip=LOCAL)
    async with conduit.listen(mode, hello) as srv:
        at = tcp_endp(srv)
        assert srv.endps == (endp.TLS("localhost", at),)
        assert srv.endps[0].port == at.port
        target = getattr(client, kind)("localhost", at.ip, at.port)
        async with conduit.connect(target, ctx=ctx) as (f, ic, oc):
            assert await ic.readline() == b"localhost None 0 False\n"
            assert isinstance(f, flow.TCP)
            assert (f.ip, f.port) == (at.ip, at.port)
            assert conduit.endp_of_flow(f) == endp.TLS("localhost", at)
            assert oc.get_extra_info("peername") == (LOCAL, at.port)
            assert oc.get_extra_info("tls").library == "openssl"


async def test_endpoint_of_the_server_is_where_to_connect(key, ctx):
    async with conduit.listen(tls(key), hello) as srv:
        assert await visit(srv.endps[0], ctx) == "localhost None 0 False"
        # The same as text is the same peer, whose session is taken up.
        assert await visit(str(srv.endps[0]), ctx) == "localhost None 0 True"


async def test_endpoint_is_served_by_the_key_of_the_context(key, certificates):
    ctx = await conduit.init(tls_own_key=key, tls_authenticator=trust.ca(certificates.trusted))
    async with conduit.listen(endp.TLS("localhost", endp.TCP(LOCAL, 0)), hello, ctx=ctx) as srv:
        assert await visit(srv.endps[0], ctx) == "localhost None 0 False"


async def test_name_is_resolved_below(key, ctx):
    async with conduit.listen(tls(key), hello) as srv:
        target = client.TLSOver("localhost", client.Host("localhost", port_of(srv)))
        async with conduit.connect(target, ctx=ctx) as (f, _, _):
            expected = endp.TLS("localhost", endp.Host("localhost", port_of(srv)))
            assert conduit.endp_of_flow(f) == expected
            assert isinstance(f, flow.TCP)


async def test_tls_over_a_unix_socket(key, ctx, socket_path):
    mode = server.TLSOver(server.UnixDomainSocket(socket_path), key.crt_file, key.key_file)
    async with conduit.listen(mode, hello) as srv:
        assert srv.endps == (endp.TLS("localhost", endp.UnixDomainSocket(socket_path)),)
        target = client.TLSOver("localhost", client.UnixDomainSocket(socket_path))
        async with conduit.connect(target, ctx=ctx) as (f, ic, _):
            assert await ic.readline() == b"localhost None 0 False\n"
            assert isinstance(f, flow.DomainSocket)
            assert f.path == socket_path
            assert conduit.endp_of_flow(f) == srv.endps[0]


async def test_tls_over_a_transport_of_others(key, ctx):
    below: Any = Memory("below")
    async with conduit.listen(server.TLSOver(below, key.crt_file, key.key_file), hello) as srv:
        assert srv.endps == (endp.TLS("localhost", below),)
        assert await visit(client.TLSOver("localhost", below), ctx) == "localhost None 0 False"


async def test_tls_in_tls_in_tls(key, certificates, ctx):
    names = ("outer.example", "middle.example", "inner.example")
    mode: Any = server.TCP(0, ip=LOCAL)
    for name in names:
        own = certificates.key(name)
        mode = server.TLSOver(mode, own.crt_file, own.key_file)
    async with conduit.listen(mode, hello) as srv:
        [at] = srv.endps
        assert isinstance(at, endp.TLS)
        async with conduit.connect(at, ctx=ctx) as (f, ic, oc):
            assert await ic.readline() == b"inner.example None 0 False\n"
            assert conduit.endp_of_flow(f) == at
            assert oc.get_extra_info("sni") == "inner.example"
        # Each layer is checked for its own name.
        middle = at.endp
        assert isinstance(middle, endp.TLS)
        wrong = endp.TLS(at.host, endp.TLS("inner.example", middle.endp))
        error = await fails(wrong, ctx)
        assert isinstance(error, conduit.CertificateError)
        assert "not for 'inner.example'" in str(error)


async def test_tunnel_owns_what_is_below(key, ctx):
    async with conduit.listen(tls(key), hello) as srv:
        _, ic, oc = await conduit.connect(tcp_endp(srv), ctx=ctx)
        tunnel = client.TLSTunnel("localhost", ic, oc)
        async with conduit.connect(tunnel, ctx=ctx) as (f2, ic2, oc2):
            assert await ic2.readline() == b"localhost None 0 False\n"
            assert f2 == flow.Tunnel("localhost", ic, oc)
            assert conduit.endp_of_flow(f2) == endp.TLSTunnel("localhost", ic, oc)
            assert oc2.get_extra_info("peername") == (LOCAL, port_of(srv))
        assert oc.is_closing()
        await oc.wait_closed()


async def test_tunnel_that_fails_closes_what_is_below(key, ctx):
    async with conduit.listen(tls(key), hello, on_exn=lambda error: None) as srv:
        _, ic, oc = await conduit.connect(tcp_endp(srv), ctx=ctx)
        error = await fails(client.TLSTunnel("other.example", ic, oc), ctx)
        assert isinstance(error, conduit.CertificateError)
        await oc.wait_closed()


# Flows that cannot carry TLS ----------------------------------------------------------------------


async def test_tunnel_needs_the_channels_of_one_open_flow(ctx):
    (_, ic, oc), (_, _, oc2) = memory_pair()
    channel: Any = "a channel"
    with pytest.raises(TypeError, match="ic and oc must be the channels of a flow"):
        await conduit.connect(client.TLSTunnel("h", channel, channel), ctx=ctx)
    with pytest.raises(ValueError, match="must be the two channels of one flow"):
        await conduit.connect(client.TLSTunnel("h", ic, oc2), ctx=ctx)
    await oc2.write(b"injected")
    await ic.readexactly(1)
    with pytest.raises(conduit.TLSError, match="7 bytes came in before TLS began"):
        await conduit.connect(client.TLSTunnel("h", ic, oc), ctx=ctx)
    # All the while it could be used.
    assert await ic.readexactly(7) == b"njected"
    oc.write_eof()
    with pytest.raises(conduit.TLSError, match="the output was ended already"):
        await conduit.connect(client.TLSTunnel("h", ic, oc), ctx=ctx)
    closed = oc.close()
    with pytest.raises(conduit.TLSError, match="the flow is closed already"):
        await conduit.connect(client.TLSTunnel("h", ic, oc), ctx=ctx)
    oc2.close()
    await closed
    with pytest.raises(conduit.ConnectError, match="the flow is closed"):
        await conduit.connect(client.TLSTunnel("h", ic, oc), ctx=ctx)
    await oc2.wait_closed()


async def test_tunnel_needs_a_flow_that_nobody_else_reads(ctx):
    (_, ic, oc), (_, _, oc2) = memory_pair()
    reading = asyncio.ensure_future(ic.read())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task is reading from this flow"):
        await conduit.connect(client.TLSTunnel("h", ic, oc), ctx=ctx)
    await oc2.write(b"goes on")
    oc2.close()
    assert await reading == b"goes on"
    await oc.close()


async def test_flow_carries_one_tunnel(key, ctx):
    async with conduit.listen(tls(key), hello) as srv:
        _, ic, oc = await conduit.connect(tcp_endp(srv), ctx=ctx)
        tunnel = client.TLSTunnel("localhost", ic, oc)
        async with conduit.connect(tunnel, ctx=ctx) as (_, ic2, _):
            with pytest.raises(RuntimeError, match="this flow carries another now"):
                await conduit.connect(tunnel, ctx=ctx)
            assert await ic2.readline() == b"localhost None 0 False\n"


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "asked", "sni"),
    [
        (["db.example"], "db.example", "db.example"),
        (["db.example"], "DB.Example", "db.example"),
        (["db.example"], "db.example.", "db.example"),
        (["*.db.example"], "a.db.example", "a.db.example"),
        (["a_b.example"], "a_b.example", "a_b.example"),
        (["xn--bcher-kva.example"], "Bücher.example", "xn--bcher-kva.example"),
        ([LOCAL], LOCAL, None),
        (["::1"], "0:0:0:0:0:0:0:1", None),
        (["fe80::1"], "fe80::1%eth0", None),
    ],
)
async def test_name_is_checked_as_certificates_write_it(certificates, ctx, names, asked, sni):
    async with conduit.listen(tls(certificates.key(*names)), hello) as srv:
        target = client.TLSOver(asked, client.TCP(LOCAL, port_of(srv)))
        assert await visit(target, ctx) == f"{sni} None 0 False"


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (["db.example"], "other.example"),
        (["db.example"], LOCAL),
        ([LOCAL], "127.0.0.2"),
        (["*.example"], "a.b.example"),
    ],
)
async def test_certificate_for_another_name_is_refused(certificates, ctx, names, asked):
    key = certificates.key(*names)
    async with conduit.listen(tls(key), hello, on_exn=lambda error: None) as srv:
        target = client.TLS(asked, LOCAL, port_of(srv))
        error = await fails(target, ctx)
        assert isinstance(error, conduit.CertificateError)
        assert str(error).startswith(f"{target}: ")
        assert f"'{asked}'" in str(error)
        assert len(error.chain) == 1


@pytest.mark.parametrize(
    "asked", [".db.example", "db..example", "a b", "*.example", "db.example:443", "a/b", "1.2.3"]
)
async def test_what_is_no_name_of_a_host_is_refused_before_anybody_is_asked(ctx, asked):
    for target in (client.TLS(asked, LOCAL, 1), client.TLSOver(asked, client.TCP(LOCAL, 1))):
        with pytest.raises(conduit.AddressError, match="is no name of a host") as caught:
            await visit(target, ctx)
        assert str(target) in str(caught.value)


# Whom a client believes ---------------------------------------------------------------------------


async def test_authority_must_be_trusted(key, certificates):
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.other_ca.pem))
    async with conduit.listen(tls(key), hello, on_exn=lambda error: None) as srv:
        error = await fails(srv.endps[0], ctx)
        assert isinstance(error, conduit.CertificateError)
        assert "is not among the authorities trusted here" in str(error)
        # Nor does the operating system of the tests know it.
        assert isinstance(await fails(srv.endps[0], None), conduit.CertificateError)


async def test_pinned_server(certificates, tmp_path):
    issued = self_signed("localhost")
    pinned = trust.fingerprint(hashlib.sha256(issued.der).hexdigest())
    other = trust.fingerprint(bytes(32))
    key = certificates.write(issued, tmp_path)
    async with conduit.listen(tls(key), hello, on_exn=lambda error: None) as srv:
        for _ in range(2):
            ctx = await conduit.init(tls_authenticator=pinned)
            assert await visit(srv.endps[0], ctx) == "localhost None 0 False"
        error = await fails(srv.endps[0], await conduit.init(tls_authenticator=other))
        assert isinstance(error, conduit.CertificateError)
        assert "fingerprints" in str(error)


async def test_nobody_is_verified_where_that_is_asked_for(key):
    ctx = await conduit.init(tls_authenticator=trust.insecure_no_verification())
    async with conduit.listen(tls(key), hello) as srv:
        # The name goes out all the same.
        target = client.TLS("whatever.example", LOCAL, port_of(srv))
        assert await visit(target, ctx) == "whatever.example None 0 False"


async def test_what_is_no_trust_is_refused(key):
    ctx = await conduit.init(tls_authenticator="/etc/ssl/cert.pem")
    target = client.TLS("localhost", LOCAL, 1)
    with pytest.raises(conduit.TLSError, match=r"must be made by conduit\.trust .*ca,") as caught:
        await visit(target, ctx)
    assert str(caught.value).startswith(f"{target}: ")


OS_TRUST = """
    import asyncio, sys
    import conduit

    async def main():
        target = conduit.client.TLS("localhost", "127.0.0.1", int(sys.argv[1]))
        for ctx in (None, await conduit.init(tls_authenticator=conduit.trust.os())):
            try:
                async with conduit.connect(target, ctx=ctx) as (f, ic, oc):
                    print((await ic.readline()).decode().strip())
            except conduit.CertificateError as error:
                print("refused")

    asyncio.run(main())
"""


@pytest.mark.parametrize("trusts", [True, False])
async def test_by_default_the_operating_system_says_whom_to_trust(
    key, certificates, tmp_path, trusts
):
    """In a process of its own, whose operating system is told by the variables of OpenSSL."""
    authority = certificates.ca if trusts else certificates.other_ca
    await asyncio.to_thread(authority.write, tmp_path)
    (tmp_path / "none").mkdir()
    environment = {
        **os.environ,
        "SSL_CERT_FILE": str(tmp_path / "ca.crt"),
        "SSL_CERT_DIR": str(tmp_path / "none"),
    }
    async with conduit.listen(tls(key), hello, on_exn=lambda error: None) as srv:
        result = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-W", "error", "-c", dedent(OS_TRUST), str(port_of(srv))],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    assert result.stderr == ""
    expected = "localhost None 0 False" if trusts else "refused"
    assert result.stdout.split("\n") == [expected, expected, ""]


# A context of ssl ---------------------------------------------------------------------------------


def ssl_context(certificates, *, check_hostname=True, verify_mode=ssl.CERT_REQUIRED):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificates.trusted.decode())
    context.check_hostname = check_hostname
    context.verify_mode = verify_mode
    return context


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("asked", ["localhost", LOCAL])
async def test_ssl_ctx_is_used(key, certificates, checks, asked):
    ctx = await conduit.init(ssl_ctx=ssl_context(certificates, check_hostname=checks))
    async with conduit.listen(tls(key), hello) as srv:
        assert await visit(client.TLS(asked, LOCAL, port_of(srv)), ctx)


@pytest.mark.parametrize(
    ("asked", "verify", "accepted"),
    [
        ("other.example", conduit.Verify(), False),
        ("other.example", conduit.Verify(ip=False), False),
        ("other.example", conduit.Verify(hostname=False), True),
        ("127.0.0.2", conduit.Verify(), False),
        ("127.0.0.2", conduit.Verify(hostname=False), False),
        ("127.0.0.2", conduit.Verify(ip=False), True),
    ],
)
@pytest.mark.parametrize("by", ["trust", "ssl_ctx"])
async def test_verify_says_what_is_checked(key, certificates, asked, verify, accepted, by):
    """Also where the ssl_ctx does not check the name, as many are made."""
    if by == "trust":
        options: dict[str, Any] = {"tls_authenticator": trust.ca(certificates.trusted)}
    else:
        options = {"ssl_ctx": ssl_context(certificates, check_hostname=False)}
    ctx = await conduit.init(ssl_client_verify=verify, **options)
    async with conduit.listen(tls(key), hello, on_exn=lambda error: None) as srv:
        target = client.TLS(asked, LOCAL, port_of(srv))
        if accepted:
            sni = None if asked[0].isdigit() else asked
            assert await visit(target, ctx) == f"{sni} None 0 False"
        else:
            error = await fails(target, ctx)
            assert isinstance(error, conduit.CertificateError)
            assert f"'{asked}'" in str(error)


async def test_verify_does_not_loosen_an_ssl_ctx(key, certificates):
    ctx = await conduit.init(
        ssl_ctx=ssl_context(certificates), ssl_client_verify=conduit.Verify(False, False)
    )
    async with conduit.listen(tls(key), hello, on_exn=lambda error: None) as srv:
        target = client.TLS("other.example", LOCAL, port_of(srv))
        assert isinstance(await fails(target, ctx), conduit.CertificateError)


async def test_ssl_ctx_that_verifies_nobody_checks_no_name(key, certificates):
    context = ssl_context(certificates, check_hostname=False, verify_mode=ssl.CERT_NONE)
    ctx = await conduit.init(ssl_ctx=context)
    async with conduit.listen(tls(key), hello) as srv:
        assert await visit(client.TLS("other.example", LOCAL, port_of(srv)), ctx)


async def test_the_chain_is_checked_whatever_verify_says(key, certificates):
    ctx = await conduit.init(
        tls_authenticator=trust.ca(certificates.other_ca.pem),
        ssl_client_verify=conduit.Verify(hostname=False, ip=False),
    )
    async with conduit.listen(tls(key), hello, on_exn=lambda error: None) as srv:
        assert isinstance(await fails(srv.endps[0], ctx), conduit.CertificateError)


async def test_own_key_is_loaded_into_the_ssl_ctx_once_by_init(key, certificates):
    asked = []

    def password(again):
        asked.append(threading.current_thread())
        return "hush"

    own = replace(certificates.key("me", password="hush"), password=password)
    ctx = await conduit.init(ssl_ctx=ssl_context(certificates), tls_own_key=own)
    assert len(asked) == 1
    assert asked[0] is not threading.main_thread()
    serving = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    async with conduit.listen(tls(key), hello, ctx=serving, client_auth="required") as srv:
        assert await visit(srv.endps[0], ctx) == "localhost None 1 False"
        assert await visit(srv.endps[0], ctx) == "localhost None 1 True"
    assert len(asked) == 1


async def test_own_key_that_cannot_be_loaded_fails_in_init(certificates, tmp_path):
    missing = OwnKey(str(tmp_path / "no.crt"), str(tmp_path / "no.key"))
    with pytest.raises(FileNotFoundError, match=r"cannot read .*no\.crt"):
        await conduit.init(ssl_ctx=ssl_context(certificates), tls_own_key=missing)


async def test_what_an_ssl_ctx_excludes_is_refused(certificates):
    context = ssl_context(certificates)
    with pytest.raises(conduit.TLSError, match="exclude each other"):
        await conduit.init(ssl_ctx=context, tls_authenticator=trust.os())
    ctx = await conduit.init(ssl_ctx=context, alpn="h2")
    with pytest.raises(conduit.TLSError, match="to its set_alpn_protocols instead of alpn="):
        await visit(client.TLS("localhost", LOCAL, 1), ctx)
    ctx = await conduit.init(ssl_ctx=context)
    with pytest.raises(conduit.TLSError, match="which only OpenSSL can use"):
        await visit(client.TLSNative("localhost", LOCAL, 1), ctx)
    ctx = await conduit.init(ssl_ctx=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    with pytest.raises(conduit.TLSError, match="cannot connect by this ssl_ctx"):
        await visit(client.TLS("localhost", LOCAL, 1), ctx)


# Loading ------------------------------------------------------------------------------------------


@pytest.fixture
def loaded(monkeypatch) -> list[threading.Thread]:
    """In which threads credentials of clients were loaded."""
    threads: list[threading.Thread] = []
    load = openssl.load_client

    def load_client(settings):
        threads.append(threading.current_thread())
        return load(settings)

    monkeypatch.setattr(openssl, "load_client", load_client)
    return threads


async def test_credentials_are_loaded_once_and_off_the_loop(key, ctx, loaded):
    async with conduit.listen(tls(key), hello) as srv:
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(visit(srv.endps[0], ctx))
        await visit(srv.endps[0], ctx)
    assert len(loaded) == 1
    assert loaded[0] is not threading.main_thread()


async def test_one_that_is_cancelled_does_not_stop_the_others(key, ctx, loaded):
    async with conduit.listen(tls(key), hello) as srv:
        first = asyncio.ensure_future(visit(srv.endps[0], ctx))
        second = asyncio.ensure_future(visit(srv.endps[0], ctx))
        await until(lambda: bool(loaded))
        first.cancel()
        assert await second == "localhost None 0 False"
        assert len(loaded) == 1
        await asyncio.wait([first])


async def test_loading_that_failed_is_tried_again(key, certificates, tmp_path):
    path = tmp_path / "ca.pem"
    ctx = await conduit.init(tls_authenticator=trust.ca(path))
    async with conduit.listen(tls(key), hello) as srv:
        port = port_of(srv)
        targets = [client.TLS(host, LOCAL, port) for host in ("localhost", LOCAL)]
        # Each is told with its own address, though they wait for the same.
        errors = await asyncio.gather(
            *(visit(target, ctx) for target in targets), return_exceptions=True
        )
        for target, error in zip(targets, errors, strict=True):
            assert isinstance(error, conduit.ConnectError)
            assert str(error).startswith(f"cannot connect to {target}: ")
            assert f"cannot read {path}: No such file" in str(error)
        path.write_bytes(b"")
        errors = await asyncio.gather(
            *(visit(target, ctx) for target in targets), return_exceptions=True
        )
        for target, error in zip(targets, errors, strict=True):
            assert isinstance(error, conduit.TLSError)
            assert str(error).startswith(f"{target}: {path}: no certificate of an authority")
        path.write_bytes(certificates.trusted)
        assert await visit(targets[0], ctx) == "localhost None 0 False"


async def test_own_key_of_a_client_is_told_with_the_address(certificates, tmp_path):
    other = certificates.key("other.example")
    own = replace(certificates.key("me"), key_file=other.key_file)
    ctx = await conduit.init(tls_own_key=own)
    target = client.TLS("localhost", LOCAL, 1)
    with pytest.raises(conduit.TLSError, match="is not that of the certificate") as caught:
        await visit(target, ctx)
    assert str(caught.value).startswith(f"{target}: ")


async def test_key_of_a_server_is_told_with_the_address(certificates, tmp_path):
    key = certificates.key()
    missing = tls(replace(key, crt_file=str(tmp_path / "no.crt")))
    with pytest.raises(FileNotFoundError, match=r"cannot read .*no\.crt") as caught:
        await conduit.serve(missing, hello)
    assert str(missing) in str(caught.value)
    wrong = tls(replace(key, key_file=certificates.key("other.example").key_file))
    with pytest.raises(conduit.TLSError, match="is not that of the certificate") as told:
        await conduit.serve(wrong, hello)
    assert str(told.value).startswith(f"cannot serve {wrong}: ")


async def test_password_is_asked_for_in_a_thread_and_shown_nowhere(certificates, ctx):
    asked = []

    def password(again):
        asked.append((again, threading.current_thread()))
        return "hush-hush"

    key = replace(certificates.key(password="hush-hush"), password=password)
    async with conduit.listen(tls(key), hello) as srv:
        assert "hush" not in f"{srv!r} {srv.endps} {tls(key)}"
        assert await visit(srv.endps[0], ctx) == "localhost None 0 False"
    [(again, thread)] = asked
    assert again is False
    assert thread is not threading.main_thread()


# What both sides agree on -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "known", "agreed"),
    [
        (("h2", "http/1.1"), ("http/1.1", "h2"), "http/1.1"),
        ((), ("h2",), None),
        (("h2",), (), None),
        (("h3",), ("h2",), None),
    ],
)
async def test_the_server_prefers_among_the_protocols(key, certificates, offered, known, agreed):
    serving = await conduit.init(alpn=known)
    ctx = await conduit.init(alpn=offered, tls_authenticator=trust.ca(certificates.trusted))
    async with conduit.listen(tls(key), hello, ctx=serving) as srv:
        async with conduit.connect(srv.endps[0], ctx=ctx) as (_, ic, oc):
            assert await ic.readline() == f"localhost {agreed} 0 False\n".encode()
            assert oc.get_extra_info("alpn") == agreed


async def test_facts_are_told_to_both_sides(key, certificates):
    own = certificates.key("me")
    served = asyncio.get_running_loop().create_future()

    async def handler(f, ic, oc):
        served.set_result((f, oc.get_extra_info("tls"), oc.get_extra_info("peercert")))

    ctx = await conduit.init(
        tls_own_key=own, tls_authenticator=trust.ca(certificates.trusted), alpn="h2"
    )
    async with conduit.listen(tls(key), handler, ctx=ctx, client_auth="required") as srv:
        async with conduit.connect(srv.endps[0], ctx=ctx) as (_, ic, oc):
            await ic.read()
            facts = oc.get_extra_info("tls")
            theirs, their_facts, their_peer = await served
            assert conduit.endp_of_flow(theirs) == endp.TLS(
                LOCAL, endp.TCP(LOCAL, oc.get_extra_info("sockname")[1])
            )
            for one in (facts, their_facts):
                assert (one.version, one.alpn, one.sni) == ("TLSv1.3", "h2", "localhost")
                assert not one.resumed
                assert one.peer_chain
            assert facts.cipher == their_facts.cipher
            assert facts.cipher.startswith("TLS_")
            with open(key.crt_file) as file:
                assert facts.peer_certificate == ssl.PEM_cert_to_DER_cert(file.read())
            # As asyncio has it.
            assert oc.get_extra_info("cipher")[0] == facts.cipher
            assert ("DNS", "localhost") in oc.get_extra_info("peercert")["subjectAltName"]
            assert ("DNS", "me") in their_peer["subjectAltName"]
            assert isinstance(oc.get_extra_info("ssl_object"), ssl.SSLObject)
            assert oc.get_extra_info("no such thing", "default") == "default"
            assert oc.get_extra_info("tls_version") == "TLSv1.3"


async def test_handshake_is_an_event_on_both_sides(key, ctx):
    with EventLog() as log:
        async with conduit.listen(tls(key), hello) as srv:
            async with conduit.connect(srv.endps[0], ctx=ctx) as (f, ic, _):
                await ic.readline()
                ours, theirs = sorted(
                    await log.wait(conduit.events.Handshake, 2), key=lambda told: told.flow is not f
                )
    assert ours.flow is f
    assert isinstance(theirs.flow, flow.TCP)
    assert 0 < ours.seconds < 10
    assert 0 < theirs.seconds < 10
    # A flow is told of once, not once for each layer.
    assert len(log.of(conduit.events.Closed)) == 2
    assert len(log.of(conduit.events.Accepted)) == len(log.of(conduit.events.Connected)) == 1


# Certificates by name -----------------------------------------------------------------------------


@dataclass
class Shown:
    """Which certificate a server shows to whoever asks for a name."""

    ctx: conduit.Context
    port: int

    async def to(self, hostname: str) -> str:
        async with conduit.connect(client.TLS(hostname, LOCAL, self.port), ctx=self.ctx) as (
            _,
            _,
            oc,
        ):
            names = oc.get_extra_info("peercert")["subjectAltName"]
            return str(names[0][1])


async def test_certificate_is_chosen_by_the_name(certificates):
    first = certificates.key("first.example")
    more = [
        certificates.key("Second.example", "also.example"),
        certificates.key("*.wild.example"),
        certificates.key("exact.wild.example"),
        certificates.key("first.example", "late.example"),
    ]
    ctx = await conduit.init(
        tls_authenticator=trust.ca(certificates.trusted),
        ssl_client_verify=conduit.Verify(hostname=False, ip=False),
    )
    async with conduit.listen(tls(first), hello, certificates=more) as srv:
        shown = Shown(ctx, port_of(srv))
        assert srv.endps[0].host == "first.example"  # type: ignore[union-attr]
        assert await shown.to("first.example") == "first.example"
        assert await shown.to("second.example") == "Second.example"
        assert await shown.to("ALSO.example") == "Second.example"
        assert await shown.to("a.wild.example") == "*.wild.example"
        assert await shown.to("exact.wild.example") == "exact.wild.example"
        # A wildcard is one label; whom nobody is for, and who does not say, gets the first.
        assert await shown.to("a.b.wild.example") == "first.example"
        assert await shown.to("wild.example") == "first.example"
        assert await shown.to("nobody.example") == "first.example"
        assert await shown.to(LOCAL) == "first.example"


async def test_every_certificate_agrees_on_protocols_and_asks_the_client(certificates):
    ctx = await conduit.init(
        tls_authenticator=trust.ca(certificates.trusted),
        tls_own_key=certificates.key("me"),
        alpn="h2",
    )
    keys = certificates.key("first.example"), certificates.key("second.example")
    async with conduit.listen(
        tls(keys[0]), hello, ctx=ctx, certificates=keys[1:], client_auth="required"
    ) as srv:
        for name in ("first.example", "second.example"):
            target = client.TLS(name, LOCAL, port_of(srv))
            assert await visit(target, ctx) == f"{name} h2 1 False"


@pytest.mark.parametrize(
    "wrong", [OwnKey("a.crt", "a.key"), ["a.crt"], "a.crt", [("a.crt", "a.key")], [None]], ids=repr
)
async def test_certificates_must_be_several_keys(key, wrong):
    with pytest.raises(TypeError, match="certificates must be several OwnKey"):
        await conduit.serve(tls(key), hello, certificates=wrong)


async def test_wildcard_is_no_name_of_an_endpoint(certificates):
    async with conduit.listen(tls(certificates.key("*.example")), hello) as srv:
        assert srv.endps[0].host == "localhost"  # type: ignore[union-attr]
    async with conduit.listen(tls(certificates.key("*.example", "a.example")), hello) as srv:
        assert srv.endps[0].host == "a.example"  # type: ignore[union-attr]


# Certificates of clients --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client_auth", "shows", "outcome"),
    [
        ("none", False, "localhost None 0 False"),
        ("none", True, "localhost None 0 False"),
        ("optional", False, "localhost None 0 False"),
        ("optional", True, "localhost None 1 False"),
        ("required", True, "localhost None 1 False"),
    ],
)
async def test_client_certificate_is_asked_for(key, certificates, client_auth, shows, outcome):
    trusts = trust.ca(certificates.trusted)
    serving = await conduit.init(tls_authenticator=trusts)
    own = certificates.key("me") if shows else None
    ctx = await conduit.init(tls_authenticator=trusts, tls_own_key=own)
    async with conduit.listen(tls(key), hello, ctx=serving, client_auth=client_auth) as srv:
        assert await visit(srv.endps[0], ctx) == outcome


@pytest.mark.parametrize("client_auth", ["optional", "required"])
@pytest.mark.parametrize("shown", ["nothing", "of a stranger"])
async def test_client_that_is_not_believed_is_refused(
    key, certificates, tmp_path, client_auth, shown
):
    if (client_auth, shown) == ("optional", "nothing"):
        return
    errors: asyncio.Queue[BaseException] = asyncio.Queue()
    trusts = trust.ca(certificates.trusted)
    serving = await conduit.init(tls_authenticator=trusts)
    stranger = certificates.other_ca.issue("me")
    own = None if shown == "nothing" else certificates.write(stranger, tmp_path)
    ctx = await conduit.init(tls_authenticator=trusts, tls_own_key=own)
    async with conduit.listen(
        tls(key), hello, ctx=serving, client_auth=client_auth, on_exn=errors.put_nowait
    ) as srv:
        # By TLS 1.3 a client is done before the server has looked at it.
        error = await fails(srv.endps[0], ctx)
        told = await errors.get()
    assert isinstance(told, conduit.CertificateError)
    assert str(told).startswith("a client at ")
    assert told.chain == (() if own is None else (stranger.der,))
    assert isinstance(error, conduit.TLSError)
    assert error.alert == ("certificate_required" if own is None else "unknown_ca")


@pytest.mark.parametrize("client_auth", ["optional", "required"])
@pytest.mark.parametrize("by", ["nothing", "os", "insecure"])
async def test_nobody_could_be_held_to_these(key, client_auth, by):
    authenticator = {
        "nothing": None,
        "os": trust.os(),
        "insecure": trust.insecure_no_verification(),
    }[by]
    ctx = await conduit.init(tls_authenticator=authenticator)
    with pytest.raises(conduit.TLSError, match=f"client_auth='{client_auth}'") as caught:
        await conduit.serve(tls(key), hello, ctx=ctx, client_auth=client_auth)
    assert "trust.ca" in str(caught.value)
    assert str(tls(key)) in str(caught.value)


async def test_client_of_an_os_authority_must_be_pinned(key, certificates, tmp_path):
    """Anchors of the operating system count beside a pin, which says who it is."""
    ctx = await conduit.init(tls_authenticator=trust.os() & trust.fingerprint(bytes(32)))
    async with conduit.listen(tls(key), hello, ctx=ctx, client_auth="required"):
        pass


async def test_what_has_no_tls_checks_nobody(socket_path):
    for mode in (server.TCP(0), server.UnixDomainSocket(socket_path)):
        with pytest.raises(conduit.AddressError, match="has no TLS: client_auth='required' would"):
            await conduit.serve(mode, hello, client_auth="required")


# Sessions -----------------------------------------------------------------------------------------


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request, monkeypatch) -> str:
    """Both versions: what a server speaks."""
    make = contexts.server_context

    def server_context(settings, key):
        context = make(settings, key)
        context.maximum_version = ssl.TLSVersion[request.param.replace(".", "_")]
        return context

    monkeypatch.setattr(contexts, "server_context", server_context)
    return str(request.param)


async def test_session_is_taken_up_again(key, ctx, version):
    async with conduit.listen(tls(key), hello) as srv:
        assert await visit(srv.endps[0], ctx) == "localhost None 0 False"
        for _ in range(3):
            async with conduit.connect(srv.endps[0], ctx=ctx) as (_, ic, oc):
                assert await ic.readline() == b"localhost None 0 True\n"
                facts = oc.get_extra_info("tls")
                assert (facts.version, facts.resumed) == (version, True)
                assert facts.peer_certificate is not None


async def test_session_is_kept_by_whoever_ends_before_reading(key, ctx, version):
    """As many protocols do: the request, its end, then the answer."""

    async def answer(f, ic, oc):
        await oc.write(await ic.read())

    async with conduit.listen(tls(key), answer) as srv:
        for resumed in (False, True, True):
            async with conduit.connect(srv.endps[0], ctx=ctx) as (_, ic, oc):
                oc.write(b"request")
                oc.write_eof()
                assert await ic.read() == b"request"
                assert oc.get_extra_info("resumed") is resumed


async def test_session_is_of_one_peer_and_of_one_context(key, certificates, ctx):
    async with conduit.listen(tls(key), hello) as srv:
        port = port_of(srv)
        assert "False" in await visit(srv.endps[0], ctx)
        # By another name, by another way, by another context, by other protocols.
        assert "False" in await visit(client.TLS(LOCAL, LOCAL, port), ctx)
        host = client.TLSOver("localhost", client.Host("localhost", port))
        assert "False" in await visit(host, ctx)
        trusts = trust.ca(certificates.trusted)
        assert "False" in await visit(srv.endps[0], await conduit.init(tls_authenticator=trusts))
        assert "False" in await visit(srv.endps[0], replace(ctx, alpn=("h2",)))
        assert "True" in await visit(srv.endps[0], ctx)
        assert "True" in await visit(host, ctx)


async def test_sessions_are_bounded(key, ctx, monkeypatch):
    monkeypatch.setattr("conduit.tls.sessions.MOST_SESSIONS", 2)
    async with conduit.listen(tls(key), hello) as srv:
        targets = [client.TLS(name, LOCAL, port_of(srv)) for name in ("localhost", LOCAL)]
        third = client.TLSOver("localhost", client.Host("localhost", port_of(srv)))
        for target in (*targets, third):
            assert "False" in await visit(target, ctx)
        assert "True" in await visit(third, ctx)
        assert "True" in await visit(targets[1], ctx)
        assert "False" in await visit(targets[0], ctx)


async def test_resumed_client_is_still_known(key, certificates):
    trusts = trust.ca(certificates.trusted)
    ctx = await conduit.init(tls_authenticator=trusts, tls_own_key=certificates.key("me"))
    async with conduit.listen(tls(key), hello, ctx=ctx, client_auth="required") as srv:
        assert await visit(srv.endps[0], ctx) == "localhost None 1 False"
        assert await visit(srv.endps[0], ctx) == "localhost None 1 True"


async def test_server_that_was_restarted_knows_no_session(key, ctx):
    async with conduit.listen(tls(key), hello) as srv:
        target = client.TLS("localhost", LOCAL, port_of(srv))
        assert "False" in await visit(target, ctx)
    async with conduit.listen(replace(tls(key), port=target.port), hello):
        assert "False" in await visit(target, ctx)
        assert "True" in await visit(target, ctx)


async def test_address_that_is_not_hashable_has_no_sessions(key, ctx):
    @dataclass
    class Elsewhere:
        port: int

    class Transport:
        async def connect(self, target, *more):
            return await conduit.transports.connect(client.TCP(LOCAL, target.port), *more)

    conduit.transports.register(Elsewhere, Transport())  # type: ignore[arg-type]
    async with conduit.listen(tls(key), hello) as srv:
        target: Any = client.TLSOver("localhost", Elsewhere(port_of(srv)))  # type: ignore[arg-type]
        for _ in range(2):
            assert await visit(target, ctx) == "localhost None 0 False"


# Key logs -----------------------------------------------------------------------------------------


async def test_key_log_of_the_context(key, certificates, tmp_path, caplog):
    path = tmp_path / "keys.log"
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted), key_log=path)
    with caplog.at_level(logging.WARNING, "conduit"):
        async with conduit.listen(tls(key), hello) as srv:
            await visit(srv.endps[0], ctx)
    assert caplog.messages == [f"the secrets of TLS sessions are written to {path}"]
    assert "CLIENT_TRAFFIC_SECRET_0" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_key_log_of_a_server(key, ctx, tmp_path):
    path = tmp_path / "keys.log"
    async with conduit.listen(tls(key), hello, ctx=await conduit.init(key_log=path)) as srv:
        await visit(srv.endps[0], ctx)
    assert "SERVER_TRAFFIC_SECRET_0" in path.read_text()


async def test_key_log_of_the_environment(key, certificates, tmp_path, monkeypatch, caplog):
    path = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    ctx = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    with caplog.at_level(logging.WARNING, "conduit"):
        async with conduit.listen(tls(key), hello) as srv:
            await visit(srv.endps[0], ctx)
    assert caplog.messages == [f"the secrets of TLS sessions are written to {path}"] * 2
    assert "CLIENT_TRAFFIC_SECRET_0" in path.read_text()


async def test_key_log_beside_an_ssl_ctx(key, certificates, tmp_path):
    path = tmp_path / "keys.log"
    ctx = await conduit.init(ssl_ctx=ssl_context(certificates), key_log=path)
    async with conduit.listen(tls(key), hello) as srv:
        await visit(srv.endps[0], ctx)
    assert "CLIENT_TRAFFIC_SECRET_0" in path.read_text()


async def test_by_default_there_is_no_key_log(key, ctx, tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    async with conduit.listen(tls(key), hello) as srv:
        async with conduit.connect(srv.endps[0], ctx=ctx) as (_, _, oc):
            assert oc.get_extra_info("sslcontext").keylog_filename is None
    assert caplog.messages == []


async def test_key_log_that_cannot_be_written_is_told(certificates, key, tmp_path):
    ctx = await conduit.init(key_log=tmp_path / "no" / "keys.log")
    with pytest.raises(OSError, match="cannot write TLS secrets to key_log=") as caught:
        await conduit.serve(tls(key), hello, ctx=ctx)
    assert str(tls(key)) in str(caught.value)
    with pytest.raises(conduit.ConnectError, match="cannot write TLS secrets to key_log="):
        await visit(client.TLS("localhost", LOCAL, 1), ctx)


# What fails below ---------------------------------------------------------------------------------


async def test_peer_that_speaks_no_tls_is_told_with_the_address(ctx):
    async def plain(f, ic, oc):
        await oc.write(b"220 mail.example ready\r\n")
        await ic.read()

    async with conduit.listen(server.TCP(0, ip=LOCAL), plain) as srv:
        target = client.TLS("localhost", LOCAL, port_of(srv))
        error = await fails(target, ctx)
        assert isinstance(error, conduit.TLSError)
        assert str(error).startswith(f"{target}: the peer does not speak TLS here")


async def test_peer_that_hangs_up_is_told_with_the_address(ctx):
    async def leave(f, ic, oc):
        await ic.read(1)

    async with conduit.listen(server.TCP(0, ip=LOCAL), leave) as srv:
        target = client.TLS("localhost", LOCAL, port_of(srv))
        error = await fails(target, ctx)
        assert isinstance(error, conduit.ConduitError)
        assert str(target) in str(error)


async def test_nobody_there(ctx):
    async with conduit.listen(server.TCP(0, ip=LOCAL), hello) as srv:
        target = client.TLS("localhost", LOCAL, port_of(srv))
    with pytest.raises(conduit.ConnectError, match=r"Errno 111") as caught:
        await visit(target, ctx)
    assert str(target) in str(caught.value)


async def test_silent_peer_runs_into_the_limit(ctx):
    async def silent(f, ic, oc):
        await ic.read()

    async with conduit.listen(server.TCP(0, ip=LOCAL), silent) as srv:
        target = client.TLS("localhost", LOCAL, port_of(srv))
        with pytest.raises(conduit.ConnectTimeout, match=r"within 0\.05 s"):
            await visit(target, ctx, timeout=0.05)


async def test_a_failed_handshake_is_told_before_the_flow_is_closed(key):
    """Its place is given back only when it is closed."""
    told: asyncio.Queue[tuple[BaseException, int]] = asyncio.Queue()

    def on_exn(error):
        told.put_nowait((error, srv.active))

    async with conduit.listen(tls(key), hello, on_exn=on_exn, max_active=1) as srv:
        with BareClient(tcp_endp(srv)) as bare:
            await bare.say(b"GET / HTTP/1.1\r\n\r\n")
            error, active = await asyncio.wait_for(told.get(), 0.9)  # it lingers for a second
            assert isinstance(error, conduit.TLSError)
            assert active == 1
            await until(lambda: srv.active == 0)
        await until(lambda: srv.active == 0)
