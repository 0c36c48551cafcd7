"""What TCP, Unix and inherited sockets have in common: the listener, the arrival, the names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

import conduit
from conduit import endp, flow
from conduit.transports.sockets import (
    SocketListener,
    endp_of_socket,
    ip_and_port,
    path_of_name,
)


@pytest.fixture(params=["tcp", "unix"])
def sock(request, socket_path) -> Iterator[socket.socket]:
    """A listening socket."""
    if request.param == "tcp":
        sock = socket.create_server(("127.0.0.1", 0))
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(socket_path)
        sock.listen()
    with sock:
        yield sock


@pytest.fixture
async def listener(sock):
    listener = SocketListener(sock, conduit.default_ctx())
    yield listener
    listener.close()


def client_of(sock: socket.socket) -> socket.socket:
    """A client that waits to be accepted."""
    peer = socket.socket(sock.family)
    peer.connect(sock.getsockname())
    peer.settimeout(5)
    return peer


# The listener -------------------------------------------------------------------------------------


async def test_accepting_nobody_does_not_wait(listener):
    with pytest.raises(BlockingIOError):
        listener.accept()


async def test_watching_tells_of_each_client_until_it_is_unwatched(sock, listener):
    told = asyncio.Event()
    calls = 0

    def ready():
        nonlocal calls
        calls += 1
        told.set()
        listener.accept().discard()

    listener.watch(ready)
    for count in (1, 2):
        with client_of(sock) as peer:
            await told.wait()
            told.clear()
            assert calls == count
            assert await asyncio.to_thread(peer.recv, 1) == b""
    listener.unwatch()
    listener.unwatch()
    with client_of(sock):
        for _ in range(5):
            await asyncio.sleep(0)
        assert calls == 2
        listener.watch(ready)  # who came meanwhile is told of
        await told.wait()
        assert calls == 3


async def test_closing_it_twice_is_no_error(sock, listener):
    listener.watch(lambda: pytest.fail("nobody came"))
    listener.close()
    assert sock.fileno() == -1
    listener.close()


async def test_arrival_that_is_discarded_is_closed(sock, listener):
    with client_of(sock) as peer:
        listener.accept().discard()
        assert await asyncio.to_thread(peer.recv, 1) == b""


async def test_arrival_is_opened(sock, listener):
    closed: list[str] = []
    with client_of(sock) as peer:
        arrival = listener.accept()
        f, ic, oc = await arrival.open(lambda: closed.append("closed"))
        assert f.fd == oc.get_extra_info("socket").fileno()
        if sock.family == socket.AF_UNIX:
            assert f == flow.DomainSocket(f.fd, sock.getsockname())
            assert f.origin == listener.endp
        else:
            ip, port = peer.getsockname()
            assert f == flow.TCP(f.fd, ip_address(ip), port)
            assert f.origin == endp.TCP(ip, port)
        peer.sendall(b"in")
        assert await ic.readexactly(2) == b"in"
        await oc.write(b"out")
        assert await asyncio.to_thread(peer.recv, 3) == b"out"
        peer.shutdown(socket.SHUT_WR)
        assert await ic.read() == b""
        assert closed == []
        await oc.close()
        assert closed == ["closed"]
        assert await asyncio.to_thread(peer.recv, 1) == b""


async def test_no_handshake_is_waited_for(sock, listener):
    with client_of(sock):
        arrival = listener.accept()
        assert not arrival.handshakes
        arrival.discard()


@pytest.mark.parametrize("turns", range(1, 7))
async def test_opening_can_be_cancelled_at_any_moment(sock, listener, turns):
    closed: list[str] = []
    with client_of(sock) as peer:
        peer.sendall(b"something to read")
        task = asyncio.create_task(listener.accept().open(lambda: closed.append("closed")))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            _, _, oc = await task
        except asyncio.CancelledError:
            assert closed == []
            await asyncio.to_thread(read_to_the_end, peer)
        else:
            oc.transport.abort()
            await oc.wait_closed()
            assert closed == ["closed"]


def read_to_the_end(sock: socket.socket) -> None:
    """It is a reset if the other side was closed before it had read what was sent."""
    try:
        while sock.recv(1000):
            pass
    except ConnectionResetError:
        pass


async def test_opening_that_fails_closes_it(sock, listener, monkeypatch):
    async def fail(factory, sock):
        raise OSError("no transport for you")

    closed: list[str] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "connect_accepted_socket", fail)
    with client_of(sock) as peer:
        with pytest.raises(OSError, match="no transport for you"):
            await listener.accept().open(lambda: closed.append("closed"))
        assert await asyncio.to_thread(peer.recv, 1) == b""
    assert closed == []


async def test_client_that_has_gone_before_it_is_opened(sock, listener):
    peer = client_of(sock)
    peer.sendall(b"farewell")
    peer.close()
    _, ic, oc = await listener.accept().open(lambda: None)
    assert await ic.read() == b"farewell"
    await oc.close()


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "address", "expected"),
    [
        (socket.AF_INET, ("127.0.0.1", 0), "127.0.0.1"),
        (socket.AF_INET6, ("::1", 0), "::1"),
        (socket.AF_INET6, ("::", 0), "::"),
        (socket.AF_INET6, ("::ffff:127.0.0.1", 0), "127.0.0.1"),
    ],
)
def test_endp_of_a_tcp_socket(family, address, expected):
    with socket.socket(family) as sock:
        sock.bind(address)
        assert endp_of_socket(sock) == endp.TCP(expected, sock.getsockname()[1])


def test_endp_of_a_unix_socket(socket_path):
    with socket.socket(socket.AF_UNIX) as sock:
        assert endp_of_socket(sock) == endp.Unknown("a Unix socket without a name")
        sock.bind(socket_path)
        assert endp_of_socket(sock) == endp.UnixDomainSocket(socket_path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0{socket_path}")
        assert endp_of_socket(sock) == endp.UnixDomainSocket(f"@{socket_path}")


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="only Linux has it")
def test_endp_of_another_socket_says_its_family():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock:
        assert endp_of_socket(sock) == endp.Unknown(f"a socket of family {sock.family}")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/run/x", "/run/x"),
        ("", ""),
        (b"", ""),
        (b"\0name", "@name"),
        ("\0name", "@name"),
        (b"\0n\0me", "@n\0me"),
        (b"\0\xff", "@\udcff"),
    ],
)
def test_path_of_a_name(name, path):
    assert path_of_name(name) == path


def test_path_that_starts_with_an_at_sign_is_no_abstract_name():
    assert path_of_name("@name") == "./@name"


@pytest.mark.parametrize(
    ("address", "ip", "port"),
    [
        (("127.0.0.1", 80), "127.0.0.1", 80),
        (("::1", 80, 0, 0), "::1", 80),
        (("::ffff:192.0.2.1", 80, 0, 0), "192.0.2.1", 80),
        (("::ffff:192.0.2.1", 80, 0, 3), "192.0.2.1", 80),
        (("fe80::1%lo", 80, 0, 1), "fe80::1%lo", 80),
        (("fe80::1", 80, 0, 0), "fe80::1", 80),
        (("fe80::1", 80, 0, 4_000_000), "fe80::1%4000000", 80),
    ],
)
def test_ip_and_port(address, ip, port):
    assert ip_and_port(address) == (ip_address(ip), port)


def test_ip_and_port_name_the_interface():
    index, name = socket.if_nameindex()[0]
    assert ip_and_port(("fe80::1", 80, 0, index)) == (ip_address(f"fe80::1%{name}"), 80)
