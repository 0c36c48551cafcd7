"""`conduit relay` and the PROXY protocol, with TLS and without; haproxy and squid beside it."""

import contextlib
import socket
import ssl
from pathlib import Path

import pytest

from conduit.proxy_protocol import parse, wanted
from tests.cli.haproxy import haproxy
from tests.cli.running import serving
from tests.cli.sockets import accepted, connected, exactly, sees_its_end, upstream
from tests.peers.proxies import squid
from tests.peers.tls_server import Papers, on_one_loop


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return Papers(tmp_path_factory.mktemp("headers"))


@pytest.fixture(scope="module")
def files(papers) -> str:
    return f"crt={papers.own.crt_file}&key={papers.own.key_file}"


def header_of(sock: socket.socket):
    data = b""
    while more := wanted(data):
        data += exactly(sock, more)
    return parse(data)


def proxying(target: str, *args: str, listen: str = "tcp://127.0.0.1:0"):
    return serving("relay", *args, listen, target)


def passes(client: socket.socket, listener: socket.socket) -> None:
    """The target is told of this client, and gets what it sends."""
    client.sendall(b"data")
    with accepted(listener) as there:
        header = header_of(there)
        assert (str(header.source.ip), header.source.port) == client.getsockname()[:2]
        assert exactly(there, 4) == b"data"
        there.sendall(b"answer")
        assert exactly(client, 6) == b"answer"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_target_is_told_who_the_client_is(version):
    with upstream() as (target, listener):
        with proxying(target, "--proxy-to", version, listen="tcp://*:0") as relay:
            with connected(relay.port) as client:
                client.sendall(b"data")
                with accepted(listener) as there:
                    header = header_of(there)
                    assert (str(header.source.ip), header.source.port) == client.getsockname()
                    assert header.destination.port == relay.port
                    assert exactly(there, 4) == b"data"


def test_haproxy_sends_headers_and_they_are_passed_on(program, tmp_path: Path, files):
    trusting = ("--proxy-from", "127.0.0.0/8", "--proxy-to", "v2")
    ways_in = ("tcp://127.0.0.1:0", f"tls://127.0.0.1:0?{files}")
    with (
        upstream() as (target, listener),
        serving("relay", *trusting, *ways_in, target, listeners=2) as relay,
    ):
        plain, secure = relay.ports
        ways = [
            ("", plain, "send-proxy"),
            ("", plain, "send-proxy-v2"),
            ("", secure, "send-proxy ssl"),
            ("", secure, "send-proxy-v2 ssl"),
        ]
        with haproxy(program("haproxy"), tmp_path, ways) as ports:
            for port in ports:
                with connected(port) as client:
                    passes(client, listener)


@pytest.mark.parametrize(
    ("target", "version"),
    [
        ("tcp://127.0.0.1:{plain}", "v1"),
        ("tcp://127.0.0.1:{plain}", "v2"),
        ("tls://localhost:{secure}", "v1"),
        ("openssl://127.0.0.1:{secure}?hostname=localhost", "v2"),
        ("tls-native://127.0.0.1:{secure}?hostname=localhost", "v2"),
        ("https://localhost:{secure}", "v1"),
    ],
)
def test_haproxy_accepts_our_headers(target, version, told_haproxy, papers):
    plain, secure, listener = told_haproxy
    where = target.format(plain=plain, secure=secure)
    with (
        proxying(where, "--proxy-to", version, "--ca", papers.ca_file) as relay,
        connected(relay.port) as client,
    ):
        passes(client, listener)


@pytest.fixture(scope="module")
def told_haproxy(papers, tmp_path_factory):
    """The ports of a haproxy that demands headers, without TLS and with it; and where it leads."""
    import shutil

    path = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if path is None:
        pytest.skip("haproxy is not installed")
    pem = papers.directory / "both.pem"
    own = papers.own
    pem.write_text(Path(own.crt_file).read_text() + Path(own.key_file).read_text())
    with upstream() as (behind, listener):
        port = int(behind.rpartition(":")[2])
        ways = [
            ("accept-proxy", port, "send-proxy"),
            (f"accept-proxy ssl crt {pem}", port, "send-proxy-v2"),
        ]
        with haproxy(path, tmp_path_factory.mktemp("haproxy"), ways) as ports:
            yield (*ports, listener)


def test_header_precedes_all_layers_of_tls(papers, files):
    twice = "&".join(f"{part},{part.partition('=')[2]}" for part in files.split("&"))
    with upstream() as (target, listener):
        ways_in = f"tls+tls://127.0.0.1:0?{twice}"
        with proxying(
            target, "--proxy-from", "127.0.0.1", "--proxy-to", "v1", listen=ways_in
        ) as last:
            where = f"tls+tls://127.0.0.1:{last.port}?hostname=localhost,localhost"
            trusting = ("--ca", papers.ca_file)
            with proxying(where, "--proxy-to", "v2", *trusting) as first:
                with connected(first.port) as client:
                    passes(client, listener)


def hello(papers) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A client of TLS that has its first words ready, and what goes to it and comes from it."""
    context = ssl.create_default_context(cafile=papers.ca_file)
    theirs, ours = ssl.MemoryBIO(), ssl.MemoryBIO()
    talking = context.wrap_bio(theirs, ours, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        talking.do_handshake()
    return talking, theirs, ours


@pytest.mark.parametrize("pieces", ["one", "many"])
def test_header_and_hello_in_whatever_pieces(pieces, papers, files):
    with upstream() as (target, listener):
        trusting = ("--proxy-from", "127.0.0.1", "--proxy-to", "v2")
        with proxying(target, *trusting, listen=f"tls://127.0.0.1:0?{files}") as relay:
            with connected(relay.port) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                talking, theirs, ours = hello(papers)
                first = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n" + ours.read()
                size = len(first) if pieces == "one" else 7
                for at in range(0, len(first), size):
                    client.sendall(first[at : at + size])
                while True:
                    try:
                        talking.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        theirs.write(client.recv(65536))
                client.sendall(ours.read())
                with accepted(listener) as there:
                    assert str(header_of(there).source.ip) == "192.0.2.1"


def test_tls_client_that_is_not_trusted_needs_no_header_and_has_none(papers, files):
    with upstream() as (target, listener):
        args = ("--proxy-from", "192.0.2.0/24", "--proxy-to", "v1")
        with proxying(target, *args, listen=f"tls://127.0.0.1:0?{files}") as relay:
            context = ssl.create_default_context(cafile=papers.ca_file)
            with connected(relay.port) as plain:
                own = plain.getsockname()[1]
                with context.wrap_socket(plain, server_hostname="localhost"):
                    with accepted(listener) as there:
                        assert header_of(there).source.port == own
            sees_its_end(relay.port, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
            _, err = relay.stop()
            assert "a client at" in err
            assert "192.0.2.1" not in err


def test_peer_that_is_not_trusted_cannot_say_who_it_is():
    forged = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    args = ("--proxy-from", "192.0.2.0/24", "--proxy-to", "v1")
    with upstream() as (target, listener), proxying(target, *args) as relay:
        with connected(relay.port) as client, accepted(listener) as there:
            client.sendall(forged)
            assert header_of(there).source.port == client.getsockname()[1]
            assert exactly(there, len(forged)) == forged  # it is data


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_trusted_peer_without_a_header_is_refused(tls, files):
    said = [
        (b"GET / HTTP/1.1\r\n\r\n", "no PROXY header"),
        (b"PROXY TCP4 1.2.3.4", "ended before its PROXY header did"),
        (b"PROXY UNKNOWN " + b"x" * 200, "more than 107 bytes"),
        (b"\x16\x03\x01\x02\x00\x01" + bytes(20), "no PROXY header"),
        (None, "no PROXY header within 1 s"),
    ]
    listen = f"tls://127.0.0.1:0?{files}" if tls else "tcp://127.0.0.1:0"
    args = ("--proxy-from", "127.0.0.1", "--proxy-timeout", "1")
    with upstream() as (target, _), proxying(target, *args, listen=listen) as relay:
        for words, _ in said:
            sees_its_end(relay.port, words)
        _, err = relay.stop()
    for line, (_, complaint) in zip(err.splitlines(), said, strict=True):
        assert complaint in line
        assert "a client at tcp://127.0.0.1:" in line


def test_target_that_keeps_silent_after_its_header_is_given_up(papers):
    with upstream() as (silent, listener):
        target = f"{silent.replace('tcp', 'tls')}?hostname=localhost&ca={papers.ca_file}"
        with proxying(target, "--proxy-to", "v1", "--timeout", "1") as relay:
            with connected(relay.port) as client, accepted(listener):
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
            _, err = relay.stop()
        assert "not done in 1 s" in err


@on_one_loop
async def test_squid_takes_the_relay_to_its_target(program, papers):
    """As two would use it: a relay through a proxy, to a server that wants to know the client."""
    async with squid(program, papers) as ports:
        with upstream() as (target, listener):
            to = target.removeprefix("tcp://")
            for proxy in (f"tcp://127.0.0.1:{ports.plain}", f"tls://localhost:{ports.secure}"):
                where = f"connect+{proxy}?to={to}"
                with proxying(where, "--proxy-to", "v2", "--ca", papers.ca_file) as relay:
                    with connected(relay.port) as client:
                        passes(client, listener)
                    _, err = relay.stop()
                    assert err == ""
            nobody = f"connect+tcp://127.0.0.1:{ports.plain}?to=127.0.0.1:9"  # forbidden
            with proxying(nobody) as relay:
                sees_its_end(relay.port)
                _, err = relay.stop()
                assert "the proxy refused: 403" in err
