"""vsock within this machine, where its kernel can; and what is said where it cannot."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
from types import SimpleNamespace

import pytest

import conduit
from conduit import client, endp, flow, server, testing
from conduit.testing import check_channels
from conduit.transports import vsock
from tests.transports.test_channels_conform import serving
from tests.vsock_loopback import ANY, LOCAL, lack_of_loopback, needs_vsock

# Of no machine: the kernel gives none that is so high.
FOREIGN = 0xFFFF_FF00


def port_of(where: endp.Endp) -> int:
    """The port of a vsock, below TLS or not."""
    match where:
        case endp.Vsock(_, port) | endp.TLS(_, endp.Vsock(_, port)):
            return port
        case _:
            pytest.fail(f"{where} is no vsock")


async def greet(f, ic, oc):
    oc.write(b"hello")


async def echo(f, ic, oc):
    while data := await ic.read(65536):
        await oc.write(data)


async def exchange(target, data: bytes, ctx=None) -> bytes:
    """Send it and its end while reading what comes back."""
    async with conduit.connect(target, ctx=ctx) as (_, ic, oc):

        async def write() -> None:
            await oc.write(data)
            oc.write_eof()

        async with asyncio.TaskGroup() as both:
            both.create_task(write())
            read = both.create_task(ic.read())
        return read.result()


# Where there is vsock -----------------------------------------------------------------------------


@needs_vsock
async def test_by_the_local_cid_and_by_any():
    flows = []

    async def note(f, ic, oc):
        flows.append(f)
        oc.write(b"hello")

    for cid in (LOCAL, ANY):
        async with conduit.listen(server.Vsock(cid, ANY), note) as srv:
            [where] = srv.endps
            assert isinstance(where, endp.Vsock)
            assert where.cid == cid
            assert 0 < where.port < ANY
            for target in (where, client.Vsock(LOCAL, where.port), f"vsock://1:{where.port}"):
                async with conduit.connect(target) as (f, ic, oc):
                    assert await ic.read() == b"hello"
                    assert f == flow.Vsock(LOCAL, where.port)
                    name = oc.get_extra_info("sockname")
                    assert tuple(oc.get_extra_info("peername")) == (LOCAL, where.port)
                    # As far as the kernel says who is at the other end of a vsock: it does not.
                    assert oc.get_extra_info("peercred") is None
                theirs = flows.pop()
                assert theirs == flow.Vsock(LOCAL, name[1])
                assert conduit.endp_of_flow(theirs) == endp.Vsock(LOCAL, name[1])


@needs_vsock
async def test_text_of_any_serves():
    async with conduit.listen(f"vsock://*:{ANY}?backlog=5", greet) as srv:
        async with conduit.connect(str(srv.endps[0])) as (_, ic, _):
            assert await ic.read() == b"hello"


@needs_vsock
async def test_ten_megabytes_each_way_arrive_as_they_were_sent():
    data = os.urandom(10 * 1024 * 1024)
    async with conduit.listen(server.Vsock(LOCAL, ANY), echo) as srv:
        back = await exchange(srv.endps[0], data)
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()


@needs_vsock
async def test_tls_over_it(tmp_path):
    authority = testing.Authority()
    own = authority.issue("vm.example").write(tmp_path)
    ctx = await conduit.init(tls_authenticator=conduit.trust.ca(authority.pem))
    data = os.urandom(1024 * 1024)
    mode = f"tls+vsock://*:{ANY}?crt={own.crt_file}&key={own.key_file}"
    async with conduit.listen(mode, echo) as srv:
        [where] = srv.endps
        assert isinstance(where, endp.TLS)
        target = client.TLSOver("vm.example", client.Vsock(LOCAL, port_of(where)))
        assert await exchange(target, data, ctx) == data


@needs_vsock
async def test_relay_between_a_vsock_and_tcp():
    """As between a machine and the network of its host."""
    data = os.urandom(1024 * 1024)
    async with conduit.listen(server.Vsock(LOCAL, ANY), echo) as inner:

        async def forward(*outer):
            async with conduit.connect(inner.endps[0]) as there:
                await conduit.relay(outer, there)

        async with conduit.listen(server.TCP(0, ip="127.0.0.1"), forward) as srv:
            assert await exchange(srv.endps[0], data) == data


@needs_vsock
async def test_many_clients_at_once_and_one_place():
    async with conduit.listen(server.Vsock(LOCAL, ANY), echo, max_active=1) as srv:
        where = srv.endps[0]
        results = await asyncio.gather(*(exchange(where, b"%d" % n) for n in range(20)))
    assert results == [b"%d" % n for n in range(20)]


@needs_vsock
async def test_channels_keep_their_promises():
    async with serving(server.Vsock(LOCAL, ANY)) as make:
        await check_channels(make)


@needs_vsock
async def test_inherited_by_descriptor():
    sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    sock.bind((LOCAL, ANY))
    port = sock.getsockname()[1]
    async with conduit.listen(server.ListeningSocket(sock.detach()), greet) as srv:
        assert srv.endps == (endp.Vsock(LOCAL, port),)
        async with conduit.connect(srv.endps[0]) as (_, ic, _):
            assert await ic.read() == b"hello"


@needs_vsock
async def test_peer_of_bare_sockets():
    async with conduit.listen(server.Vsock(LOCAL, ANY), echo) as srv:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            await asyncio.to_thread(sock.connect, (LOCAL, port_of(srv.endps[0])))
            sock.sendall(b"x")
            assert await asyncio.to_thread(sock.recv, 10) == b"x"
            sock.shutdown(socket.SHUT_WR)
            assert await asyncio.to_thread(sock.recv, 10) == b""


@needs_vsock
async def test_nobody_at_the_port():
    with pytest.raises(conduit.ConnectError, match="nobody listens on port 1023 there"):
        await conduit.connect(client.Vsock(LOCAL, 1023))


@needs_vsock
async def test_port_that_is_taken():
    async with conduit.listen(server.Vsock(LOCAL, ANY), greet) as srv:
        with pytest.raises(OSError, match="another program listens on this port") as caught:
            async with conduit.listen(server.Vsock(LOCAL, port_of(srv.endps[0])), greet):
                pytest.fail("listening")
    assert caught.value.errno == errno.EADDRINUSE


# Everywhere ---------------------------------------------------------------------------------------


@pytest.fixture
def _family() -> None:
    """Where the kernel knows vsock at all, as most do."""
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError as error:
        pytest.skip(f"this kernel has no vsock: {error}")


@pytest.mark.usefixtures("_family")
async def test_cid_of_another_machine_cannot_be_listened_on():
    with pytest.raises(OSError, match=f"{FOREIGN} is no CID of this machine") as caught:
        async with conduit.listen(server.Vsock(FOREIGN, 1024), greet):
            pytest.fail("listening")
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert f"vsock://{FOREIGN}:1024" in str(caught.value)


@pytest.mark.usefixtures("_family")
async def test_local_cid_without_its_module_says_which_is_missing():
    if not lack_of_loopback():
        pytest.skip("this machine has the module")
    with pytest.raises(conduit.UnsupportedTransport, match="module vsock_loopback"):
        async with conduit.listen(server.Vsock(LOCAL, 1024), greet):
            pytest.fail("listening")


async def use(how: str) -> None:
    if how == "connect":
        await conduit.connect(client.Vsock(3, 1024))
    else:
        async with conduit.listen(server.Vsock(3, 1024), greet):
            pytest.fail("listening")


def in_place_of_sockets(monkeypatch, make) -> None:
    """Let vsock alone make its sockets by `make`."""
    fake = SimpleNamespace(AF_VSOCK=40, SOCK_STREAM=socket.SOCK_STREAM, socket=make)
    monkeypatch.setattr(vsock, "socket", fake)


@pytest.mark.parametrize("how", ["connect", "listen"])
async def test_kernel_without_vsock(how, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    in_place_of_sockets(monkeypatch, refuse)
    with pytest.raises(conduit.UnsupportedTransport, match="this kernel has no vsock") as caught:
        await use(how)
    assert "vsock://3:1024" in str(caught.value)


@pytest.mark.parametrize("how", ["connect", "listen"])
async def test_python_without_vsock(how, monkeypatch):
    monkeypatch.setattr(vsock, "socket", SimpleNamespace())
    with pytest.raises(conduit.UnsupportedTransport, match=r"has no vsock$"):
        await use(how)


# What connecting to another machine fails with, and what it means.
FAILURES = [
    (3, errno.ENODEV, conduit.UnsupportedTransport, "module vhost_vsock"),
    (LOCAL, errno.ENODEV, conduit.UnsupportedTransport, "module vsock_loopback"),
    (ANY, errno.ENODEV, conduit.UnsupportedTransport, "module vsock_loopback"),
    (3, errno.ECONNRESET, conduit.ConnectError, "nobody listens on port 1024 there"),
    (77, errno.EHOSTUNREACH, conduit.ConnectError, "no machine with the CID 77"),
    (77, errno.ENETUNREACH, conduit.ConnectError, "no machine with the CID 77"),
    (77, errno.ETIMEDOUT, conduit.ConnectError, "no machine with the CID 77 answers$"),
    (LOCAL, errno.ETIMEDOUT, conduit.ConnectError, "needs the module vsock_loopback"),
    (3, errno.ENOMEM, conduit.ConnectError, "Cannot allocate memory"),
]


@pytest.mark.parametrize(("cid", "number", "kind", "words"), FAILURES)
async def test_failures_are_explained(cid, number, kind, words, monkeypatch):
    tried = []

    async def fail(sock, address):
        tried.append(address)
        raise OSError(number, os.strerror(number))

    in_place_of_sockets(monkeypatch, lambda family, kind: socket.socket())
    monkeypatch.setattr(vsock, "connect_socket", fail)
    with pytest.raises(kind, match=words) as caught:
        await conduit.connect(client.Vsock(cid, 1024))
    assert f"vsock://{cid}:1024" in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    if kind is conduit.ConnectError:
        assert caught.value.errno == number
    assert tried == [(LOCAL if cid == ANY else cid, 1024)]


@pytest.mark.parametrize(
    ("port", "words"), [(80, "need the right to bind reserved ports"), (1024, "denied$")]
)
async def test_reserved_port_is_explained(port, words, monkeypatch):
    class Refusing(socket.socket):
        def __init__(self, *args):
            super().__init__()

        def bind(self, address):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    in_place_of_sockets(monkeypatch, Refusing)
    with pytest.raises(OSError, match=words):
        async with conduit.listen(server.Vsock(ANY, port), greet):
            pytest.fail("listening")
