"""What `connect` and `serve` may be given: an address of their own kind, or an endpoint."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import socket
import stat
import traceback

import pytest

import conduit
from conduit import _server, client, endp, flow, server, transports
from tests.endpoints import port_of, tcp_endp
from tests.full_queue import full_tcp_queue


async def greet(f, ic, oc):
    oc.write(b"hello")


@pytest.fixture
def black_hole():
    """The text of an address where connecting waits for ever."""
    with full_tcp_queue() as (ip, port):
        yield f"tcp://{ip}:{port}"


async def connect(target):
    async with conduit.connect(target):
        pytest.fail("connected")


async def serve(mode, **options):
    async with conduit.listen(mode, greet, **options):
        pytest.fail("listening")


# What is taken ------------------------------------------------------------------------------------


async def test_both_take_an_endpoint(socket_path):
    for where in (endp.TCP("127.0.0.1", 0), endp.UnixDomainSocket(socket_path)):
        async with conduit.listen(where, greet) as srv:
            async with conduit.connect(srv.endps[0]) as (_, ic, _):
                assert await ic.read() == b"hello"


async def test_both_take_an_s_expression(socket_path):
    for mode in (
        f"(Unix_domain_socket(File {socket_path}))",
        "(TCP(Port 0))",
        "(TCP(127.0.0.1 0))",
    ):
        async with conduit.listen(mode, greet) as srv:
            where = srv.endps[0]
            for target in (where, conduit.endp_to_client(where)):
                to_sexp = conduit.sexp_of_endp if target is where else conduit.sexp_of_client
                written = conduit.sexp.to_string(to_sexp(target))  # type: ignore[arg-type]
                async with conduit.connect(written) as (_, ic, _):
                    assert await ic.read() == b"hello"


async def test_an_s_expression_that_says_no_address_is_refused_with_its_place():
    with pytest.raises(conduit.SexpError, match=r"port 70000 .* at line 2, column 7"):
        await serve("(TCP\n(Port 70000))")
    with pytest.raises(conduit.SexpError, match=r"port 70000 .* at line 2, column 7"):
        await connect("(TCP((IP ::1)\n(Port 70000)))")
    with pytest.raises(conduit.SexpError, match="not closed"):
        await connect("(TCP((IP ::1)")


async def test_endpoint_of_a_server_listens_where_it_says():
    async with conduit.listen(endp.TCP("127.0.0.2", 0), greet) as srv:
        assert str(tcp_endp(srv).ip) == "127.0.0.2"


async def test_a_name_can_be_connected_to_as_an_endpoint():
    async with conduit.listen(server.TCP(0), greet) as srv:
        async with conduit.connect(endp.Host("localhost", port_of(srv))) as (_, ic, _):
            assert await ic.read() == b"hello"


# Text ---------------------------------------------------------------------------------------------


async def test_both_take_text(socket_path):
    for text in ("tcp://127.0.0.1:0", "tcp://*:0", f"unix:{socket_path}", "unix:@conduit-test-{}"):
        async with conduit.listen(text.format(id(socket_path)), greet) as srv:
            where = str(srv.endps[0]).replace("[::]", "localhost")
            async with conduit.connect(where) as (_, ic, _):
                assert await ic.read() == b"hello"


async def test_serve_takes_text(socket_path):
    stop = asyncio.Event()
    stop.set()
    await conduit.serve(f"unix:{socket_path}", greet, stop=stop)


async def test_name_in_a_text_is_resolved():
    async with conduit.listen("tcp://127.0.0.1:0", greet) as srv:
        async with conduit.connect(f"tcp://LOCALHOST:{port_of(srv)}") as (f, ic, _):
            assert await ic.read() == b"hello"
            assert f.origin == endp.Host("localhost", port_of(srv))


@pytest.mark.parametrize("use", [connect, serve])
@pytest.mark.parametrize(
    "text", ["", "tcp://127.0.0.1", "/run/x", "tcp://h:1?nosuch=1", "unknown:x", "tcp://h:1?src=x"]
)
async def test_mistake_in_a_text_is_told_with_its_column(use, text):
    with pytest.raises(conduit.AddressError, match=r" at column \d+: "):
        await use(text)


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (connect, "tcp://*:1"), (connect, "fd:3"), (connect, "unix:/x?unix_mode=660"),
        (serve, "tcp://db.example:1"), (serve, "tcp://*:1?src=127.0.0.1"), (serve, "tls://*:1"),
    ],
)  # fmt: skip
async def test_text_of_the_other_side_is_refused(use, text):
    with pytest.raises(conduit.AddressError, match=" at column "):
        await use(text)


@pytest.mark.parametrize("text", ["https://example.com/s3cret", "redis://cache:6379"])
async def test_serve_refuses_a_service(text):
    with pytest.raises(conduit.AddressError, match=r"is a service .*say where to listen") as caught:
        await serve(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("use", [connect, serve])
@pytest.mark.parametrize(
    "text", ["https://me:s3cret@example.com", "tcp://me:s3cret@h:1", "x://s3cret@h"]
)
async def test_user_and_password_are_refused_and_not_shown(use, text):
    with pytest.raises(conduit.AddressError) as caught:
        await use(text)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)).replace(text, "")
    assert "s3cret" not in str(caught.value)


# Options of a text --------------------------------------------------------------------------------


async def test_timeout_of_a_text_counts(black_hole):
    with pytest.raises(conduit.ConnectTimeout, match=r"within 0\.05 s$"):
        await conduit.connect(f"{black_hole}?timeout=0.05")


async def test_timeout_of_the_call_counts_before_that_of_a_text(black_hole):
    with pytest.raises(conduit.ConnectTimeout, match=r"within 0\.05 s$"):
        await conduit.connect(f"{black_hole}?timeout=60", timeout=0.05)
    with pytest.raises(TimeoutError) as caught:
        await asyncio.wait_for(conduit.connect(f"{black_hole}?timeout=0.02", timeout=None), 0.1)
    assert not isinstance(caught.value, conduit.ConnectTimeout)


async def test_source_of_a_text_counts_before_that_of_the_context():
    async def who(f, ic, oc):
        oc.write(str(f.ip).encode())

    ctx = await conduit.init(src="127.0.0.3")
    async with conduit.listen("tcp://127.0.0.1:0", who) as srv:
        async with conduit.connect(f"{srv.endps[0]}?src=127.0.0.2", ctx=ctx) as (_, ic, _):
            assert await ic.read() == b"127.0.0.2"
        async with conduit.connect(str(srv.endps[0]), ctx=ctx) as (_, ic, _):
            assert await ic.read() == b"127.0.0.3"


async def test_source_of_the_wrong_family():
    with pytest.raises(conduit.AddressError, match="cannot reach ::1"):
        await connect("tcp://[::1]:1?src=127.0.0.2")


def keepalive_of(oc):
    sock = oc.get_extra_info("socket")
    on = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return on and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)


async def test_keepalive_of_a_text_counts_on_both_sides():
    found = []

    async def handler(f, ic, oc):
        found.append(keepalive_of(oc))

    async with conduit.listen("tcp://127.0.0.1:0?keepalive=77", handler) as srv:
        async with conduit.connect(f"{srv.endps[0]}?keepalive=66") as (_, ic, oc):
            found.append(keepalive_of(oc))
            await ic.read()
        async with conduit.connect(str(srv.endps[0])) as (_, ic, oc):
            found.append(keepalive_of(oc))
            await ic.read()
    assert sorted(found) == [0, 66, 77, 77]


async def test_unix_mode_of_a_text_counts(socket_path):
    async with conduit.listen(f"unix:{socket_path}?unix_mode=642", greet):
        assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o642
    async with conduit.listen(f"unix:{socket_path}?unix_mode=642", greet, unix_mode=0o600):
        assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o600


async def test_reuse_port_of_a_text_counts():
    async with conduit.listen("tcp://127.0.0.1:0?reuse_port=true", greet) as srv:
        where = str(srv.endps[0])
        async with conduit.listen(f"{where}?reuse_port=true", greet):
            with pytest.raises(OSError, match="in use"):
                await serve(f"{where}?reuse_port=true", reuse_port=False)
            with pytest.raises(OSError, match="in use"):
                await serve(where)


async def test_backlog_of_a_text_counts(socket_path):
    """So many clients can connect before the server has had a chance to accept one."""

    async def waiting(told, **options):
        clients = []
        async with conduit.listen(f"unix:{socket_path}?backlog={told}", greet, **options):
            for _ in range(20):
                client = socket.socket(socket.AF_UNIX)
                clients.append(client)
                client.setblocking(False)
                try:
                    client.connect(socket_path)
                except BlockingIOError:
                    break
            found = len(clients)
            for client in clients:
                client.close()
        return found

    assert await waiting(2) < await waiting(6)
    assert await waiting(2, backlog=6) == await waiting(6)


async def test_timeout_of_a_text_is_the_handlers_on_a_server():
    ended = asyncio.Event()

    async def handler(f, ic, oc):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with conduit.listen("tcp://127.0.0.1:0?timeout=0.05", handler) as srv:
        async with conduit.connect(srv.endps[0]) as (_, ic, _):
            assert await ic.read() == b""
    assert ended.is_set()
    with pytest.raises(ValueError, match="timeout is 0"):
        await serve("tcp://127.0.0.1:0?timeout=5", timeout=0)


PIN = "11" * 32


@pytest.mark.parametrize("option", ["ca=/ours.pem", f"fingerprint={PIN}"])
async def test_server_that_is_told_whom_to_trust_asks_for_certificates(option):
    with pytest.raises(conduit.AddressError, match=r"client_auth='none' would check nobody"):
        await serve(f"tls://*:0?crt=c&key=k&{option}", client_auth="none")


async def test_ca_of_a_text_would_replace_what_the_context_says():
    ctx = await conduit.init(tls_authenticator=conduit.trust.ca("/ours.pem"))
    with pytest.raises(conduit.AddressError, match="leave out one of the two"):
        await conduit.connect("tls://h:1?ca=/other.pem", ctx=ctx)
    with pytest.raises(conduit.AddressError, match="leave out one of the two"):
        await serve("tls://*:0?crt=c&key=k&ca=/other.pem", ctx=ctx)


def seen_by_a_transport(monkeypatch):
    """What the transports are given, which then refuse it."""
    seen = []

    async def refuse(address, ctx, *rest):
        seen.append((address, ctx, *rest))
        raise conduit.AddressError("seen")

    monkeypatch.setattr(transports, "connect", refuse)
    monkeypatch.setattr(_server, "listen", refuse)
    return seen


async def test_options_of_tls_come_by_the_context(monkeypatch):
    seen = seen_by_a_transport(monkeypatch)
    ctx = await conduit.init(alpn="x", tls_authenticator=conduit.trust.ca("/ours.pem"))
    with pytest.raises(conduit.AddressError, match="seen"):
        await conduit.connect(f"tls://h:1?alpn=h2,http/1.1&fingerprint={PIN}", ctx=ctx)
    with pytest.raises(conduit.AddressError, match="seen"):
        await serve("tls://*:1?crt=c&key=k&ca=/theirs.pem&alpn=h2")
    with pytest.raises(conduit.AddressError, match="seen"):
        await serve("tls://*:1?crt=c&key=k&ca=/theirs.pem", client_auth="optional")
    [(address, to, _), (mode, on, options), (_, _, optional)] = seen
    assert address == client.TLSOver("h", client.Host("h", 1))
    assert to.alpn == ("h2", "http/1.1")
    assert to.tls_authenticator == conduit.trust.ca("/ours.pem") & conduit.trust.fingerprint(PIN)
    assert mode == server.TLS("c", "k", None, 1)
    assert on.alpn == ("h2",)
    assert on.tls_authenticator == conduit.trust.ca("/theirs.pem")
    assert options.client_auth == "required"
    assert optional.client_auth == "optional"


async def test_without_a_text_the_defaults_are_as_documented(monkeypatch):
    seen = seen_by_a_transport(monkeypatch)
    with pytest.raises(conduit.AddressError, match="seen"):
        await serve(server.TCP(0))
    [(_, ctx, options)] = seen
    assert ctx is conduit.default_ctx()
    assert options == transports.ListenOptions(
        backlog=1024, reuse_port=False, unix_mode=None, client_auth="none"
    )
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(conduit.serve).parameters.items()
    }
    assert defaults["backlog"] == 1024
    assert defaults["client_auth"] == "none"
    assert inspect.signature(conduit.connect).parameters["timeout"].default == 30.0


# What is not --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        server.TCP(80),
        server.UnixDomainSocket("/run/x"),
        server.ListeningSocket(3),
        server.Systemd(),
        server.Port(80),
    ],
    ids=repr,
)
async def test_connect_refuses_a_way_to_serve(target):
    with pytest.raises(conduit.AddressError) as caught:
        await connect(target)
    assert repr(target) in str(caught.value)
    assert "use a value of conduit.client" in str(caught.value)


@pytest.mark.parametrize(
    "mode",
    [client.TCP("127.0.0.1", 80), client.Host("db.example", 80), client.UnixDomainSocket("/x")],
    ids=repr,
)
async def test_serve_refuses_where_to_connect(mode):
    with pytest.raises(conduit.AddressError) as caught:
        await serve(mode)
    assert repr(mode) in str(caught.value)
    assert "use a value of conduit.server" in str(caught.value)


@pytest.mark.parametrize(
    "part",
    [client.TLSConfig("h", "127.0.0.1", 443), server.TLSConfig("c", "k", None, 443)],
    ids=repr,
)
@pytest.mark.parametrize("use", [connect, serve])
async def test_a_part_of_an_address_is_refused(use, part):
    with pytest.raises(conduit.AddressError, match=re.escape(repr(part))):
        await use(part)


async def test_a_port_alone_is_refused():
    with pytest.raises(conduit.AddressError, match=r"server\.Port\(80\)"):
        await serve(server.Port(80))


@pytest.mark.parametrize("use", [connect, serve])
@pytest.mark.parametrize("value", [None, 80, ("127.0.0.1", 80), b"tcp://127.0.0.1:80", object])
async def test_what_is_no_address_is_refused(use, value):
    with pytest.raises(conduit.ConduitError, match="no address") as caught:
        await use(value)
    assert repr(value) in str(caught.value)
    assert "conduit.endp" in str(caught.value)


@pytest.mark.parametrize("use", [connect, serve])
async def test_a_flow_is_refused(use):
    connection = flow.Vchan(1, "p")
    with pytest.raises(conduit.ConduitError, match=re.escape(repr(connection))):
        await use(connection)


@pytest.mark.parametrize("use", [connect, serve])
async def test_unknown_gives_its_reason(use):
    with pytest.raises(conduit.ResolutionError, match=r"no such service$"):
        await use(endp.Unknown("no such service"))


async def test_serve_refuses_a_name():
    with pytest.raises(conduit.AddressError, match=r"'db\.example' is a name"):
        await serve(endp.Host("db.example", 80))


async def test_serve_refuses_tls_without_a_certificate():
    with pytest.raises(conduit.AddressError, match="a TLS server needs a certificate"):
        await serve(endp.TLS("h", endp.TCP("127.0.0.1", 0)))


async def test_serve_takes_the_key_of_its_context():
    ctx = await conduit.init(tls_own_key=conduit.OwnKey("c", "k"))
    with pytest.raises(FileNotFoundError, match=r"tls://127\.0\.0\.1:443\?.*: cannot read c: "):
        await serve(endp.TLS("h", endp.TCP("127.0.0.1", 443)), ctx=ctx)
