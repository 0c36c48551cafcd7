"""Vchans between domain 0 and itself, on a real Xen."""

import asyncio
import errno
import hashlib
import os
import random
import signal
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

import conduit
from conduit import TLSLibrary, client, endp, flow, server
from tests.children import Child
from tests.transports.vchan.conftest import VCHANS, wait_for
from tests.transports.vchan.peers import FOREIGN_SERVER

SIZE = 10_000_000


async def echo(f, ic, oc):
    while data := await ic.read(65536):
        await oc.write(data)


async def ask(port, what=b"x"):
    async with conduit.connect(client.VchanDirect(0, port), timeout=20) as (_, ic, oc):
        oc.write(what)
        return await ic.readexactly(len(what))


async def test_bytes_go_both_ways_and_the_flows_say_with_whom(port, in_xenstore):
    async def greet(f, ic, oc):
        served.append(f)
        oc.write(b"hello " + await ic.readline())

    served: list[flow.Flow] = []
    async with conduit.listen(server.VchanDirect(0, port), greet) as srv:
        assert srv.endps == (endp.VchanDirect(0, port),)
        assert f"{VCHANS}/0/{port}/ring-ref" in await in_xenstore(VCHANS)
        async with conduit.connect(f"vchan:0/{port}") as (f, ic, oc):
            assert f == flow.Vchan(0, port)
            assert conduit.endp_of_flow(f) == endp.VchanDirect(0, port)
            await oc.write(b"xen\n")
            assert await ic.read() == b"hello xen\n"
            assert not oc.can_write_eof()
    assert served == [flow.Vchan(0, port)]
    assert await in_xenstore(VCHANS) == ""


async def test_ten_megabytes_each_way_at_once(port):
    def digest(data):
        return hashlib.sha256(data).hexdigest()

    async def swap(ic, oc, data):
        async def read():
            hashed, missing = hashlib.sha256(), SIZE
            while missing:
                piece = await ic.read(65536)
                assert piece
                hashed.update(piece)
                missing -= len(piece)
            return hashed.hexdigest()

        async def write():
            for start in range(0, SIZE, 100_000):
                await oc.write(data[start : start + 100_000])

        return (await asyncio.gather(read(), write()))[0]

    async def serve(f, ic, oc):
        digests.append(await swap(ic, oc, theirs))

    digests: list[str] = []
    ours, theirs = random.Random(1).randbytes(SIZE), random.Random(2).randbytes(SIZE)
    async with conduit.listen(server.VchanDirect(0, port), serve):
        async with conduit.connect(client.VchanDirect(0, port)) as (_, ic, oc):
            assert await swap(ic, oc, ours) == digest(theirs)
    assert digests == [digest(ours)]


async def test_twenty_clients_one_after_another(port, in_xenstore):
    async with conduit.listen(server.VchanDirect(0, port), echo):
        for number in range(20):
            assert await ask(port, b"%d" % number) == b"%d" % number
    assert await in_xenstore(VCHANS) == ""


async def test_clients_at_once_wait_for_each_other(port):
    async with conduit.listen(server.VchanDirect(0, port), echo):
        answers = await asyncio.gather(*(ask(port, b"%d" % number) for number in range(4)))
    assert answers == [b"0", b"1", b"2", b"3"]


async def test_client_may_come_before_the_server(port):
    early = asyncio.ensure_future(ask(port))
    await asyncio.sleep(0)
    async with conduit.listen(server.VchanDirect(0, port), echo):
        assert await early == b"x"


async def test_connect_says_that_nobody_serves(port):
    with pytest.raises(conduit.ConnectTimeout) as caught:
        await conduit.connect(client.VchanDirect(0, port), timeout=0.5)
    assert f"domain 0 serves no '{port}' for domain 0" in str(caught.value)


async def test_cancelled_connect_leaves_nothing(port):
    for turns in (0, 1, 2, 5, 20, 100):
        waiting = asyncio.ensure_future(ask(port))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with conduit.listen(server.VchanDirect(0, port), echo):
        assert await ask(port) == b"x"


async def test_what_was_written_before_the_end_is_read(port):
    """Also what is more than fits into the ring, and although the writer has closed."""
    data = os.urandom(300_000)

    async def serve(f, ic, oc):
        oc.write(data)

    async with conduit.listen(server.VchanDirect(0, port), serve):
        async with conduit.connect(client.VchanDirect(0, port)) as (_, ic, _):
            assert await ic.read() == data


async def test_half_a_write_when_the_peer_goes(port):
    """Who writes more than the ring takes is told; the other side has the first half of it."""

    async def serve(f, ic, oc):
        got.append(len(await ic.readexactly(10_000)))

    got: list[int] = []
    async with conduit.listen(server.VchanDirect(0, port), serve):
        async with conduit.connect(client.VchanDirect(0, port)) as (_, ic, oc):
            with pytest.raises(ConnectionResetError):
                await oc.write(bytes(1_000_000))
            assert await ic.read() == b""
    assert got == [10_000]


# What servers must not do to each other.


@pytest.mark.parametrize("after_a_client", [False, True])
async def test_second_server_is_refused(port, after_a_client):
    async with conduit.listen(server.VchanDirect(0, port), echo):
        if after_a_client:
            assert await ask(port) == b"x"
        with pytest.raises(OSError, match="another server of this domain is there") as caught:
            await conduit.serve(server.VchanDirect(0, port), echo)
        assert caught.value.errno == errno.EADDRINUSE
        assert await ask(port) == b"x"
    # And now it is free.
    async with conduit.listen(server.VchanDirect(0, port), echo):
        assert await ask(port) == b"x"


async def test_server_of_another_program_is_left_alone(port, in_xenstore):
    path = f"{VCHANS}/0/{port}"
    with Child(FOREIGN_SERVER, path) as child:
        assert await child.says() == "listening"
        before = await in_xenstore(path)
        assert "event-channel" in before
        with pytest.raises(OSError, match="another server of this domain is there"):
            await conduit.serve(server.VchanDirect(0, port), echo)
        assert await in_xenstore(path) == before
        await child.end(signal.SIGKILL)
    # It has left its keys: a client says what it found, the next server takes over.
    assert await in_xenstore(path) == before
    with pytest.raises(conduit.ConnectTimeout, match="was killed and has left its keys"):
        await conduit.connect(client.VchanDirect(0, port), timeout=1)
    async with conduit.listen(server.VchanDirect(0, port), echo):
        assert await ask(port) == b"x"


async def test_old_flow_does_not_take_away_the_next_servers_keys(port):
    """libxenvchan would, when the end of the first server is closed."""
    release = asyncio.Event()

    async def wait(f, ic, oc):
        await oc.write(b"here")
        await release.wait()

    stop = asyncio.Event()
    first = asyncio.ensure_future(conduit.serve(server.VchanDirect(0, port), wait, stop=stop))
    async with conduit.connect(client.VchanDirect(0, port)) as (_, ic, _):
        assert await ic.readexactly(4) == b"here"
        stop.set()
        async with await _listening(server.VchanDirect(0, port)) as second:
            release.set()
            await first
            assert await ask(port) == b"x"
            await second.stop()


async def _listening(mode):
    """A server of `mode`, as soon as the one before has stopped listening."""

    @asynccontextmanager
    async def serving():
        try:
            yield srv
        finally:
            await listening.__aexit__(None, None, None)

    while True:
        listening = conduit.listen(mode, echo)
        try:
            srv = await listening.__aenter__()
        except OSError:
            await asyncio.sleep(0.01)
        else:
            return serving()


# What Xen refuses.


async def test_no_such_domain_and_no_crash(port):
    """A failing libxenvchan_server_init, after vchans were opened and closed."""
    for _ in range(10):
        async with conduit.listen(server.VchanDirect(0, port), echo):
            assert await ask(port) == b"x"
        with pytest.raises(OSError, match=rf"cannot listen on vchan:777/{port}: ") as caught:
            await conduit.serve(server.VchanDirect(777, port), echo)
        assert "there is no domain 777" in str(caught.value)


async def test_no_memory_left_to_share(port):
    """The limit of gntalloc: told in words, and over when others have gone."""
    async with AsyncExitStack() as servers:

        async def serve(number):
            mode = server.VchanDirect(0, f"{port}-{number}")
            await servers.enter_async_context(conduit.listen(mode, echo))
            return number

        with pytest.raises(OSError, match="no memory to share: a vchan takes 33 pages") as caught:
            assert max([await serve(number) for number in range(100)]) < 0
        assert "xen_gntalloc/parameters/limit is 1024 pages" in str(caught.value)
    async with conduit.listen(server.VchanDirect(0, port), echo):
        assert await ask(port) == b"x"


async def test_longest_port(in_xenstore):
    longest = "p" * 20
    async with conduit.listen(server.VchanDirect(0, longest), echo):
        assert await ask(longest) == b"x"
    with pytest.raises(conduit.AddressError, match="the port has 21 characters"):
        await conduit.serve(server.VchanDirect(0, longest + "p"), echo)
    assert await in_xenstore(VCHANS) == ""


# Serving.


async def test_max_active_keeps_the_next_server_port_waiting(port):
    """A client that is connected waits for its handler while there is no place."""
    conduit_ports = (port, f"{port}-b")
    entered: asyncio.Queue[str] = asyncio.Queue()
    release = asyncio.Event()

    async def handler(f, ic, oc):
        await entered.put(f.port)
        await release.wait()
        oc.write(b"done")

    conduit.set_max_active(1)
    try:
        async with conduit.listen(server.VchanDirect(0, conduit_ports[0]), handler):
            async with conduit.listen(server.VchanDirect(0, conduit_ports[1]), handler):
                async with conduit.connect(client.VchanDirect(0, conduit_ports[0])) as first:
                    assert await entered.get() == conduit_ports[0]
                    async with conduit.connect(client.VchanDirect(0, conduit_ports[1])) as second:
                        assert entered.empty()
                        release.set()
                        assert await first[1].read() == b"done"
                        assert await second[1].read() == b"done"
    finally:
        conduit.set_max_active(None)


async def test_timeout_ends_a_handler(port):
    async def handler(f, ic, oc):
        await ic.read()

    async with conduit.listen(server.VchanDirect(0, port), handler, timeout=0.3):
        async with conduit.connect(client.VchanDirect(0, port)) as (_, ic, _):
            assert await asyncio.wait_for(ic.read(), 5) == b""


async def test_stop_drains_and_lets_nobody_in(port, in_xenstore):
    started = asyncio.Event()
    release = asyncio.Event()

    async def handler(f, ic, oc):
        started.set()
        await release.wait()
        oc.write(b"done")

    stop = asyncio.Event()
    serving = asyncio.ensure_future(conduit.serve(server.VchanDirect(0, port), handler, stop=stop))
    async with conduit.connect(client.VchanDirect(0, port)) as (_, ic, _):
        await started.wait()
        stop.set()
        await asyncio.sleep(0)
        with pytest.raises(conduit.ConnectTimeout):
            await conduit.connect(client.VchanDirect(0, port), timeout=0.5)
        release.set()
        assert await ic.read() == b"done"
    await serving
    assert await in_xenstore(VCHANS) == ""


async def test_waiting_costs_no_time(port):
    """Neither a server without clients nor an idle flow turns the loop."""

    def used():
        return sum(os.times()[:2])

    async with conduit.listen(server.VchanDirect(0, port), echo):
        async with conduit.connect(client.VchanDirect(0, port)):
            before = used()
            await asyncio.sleep(1)
            assert used() - before < 0.3


@pytest.fixture(params=[TLSLibrary.OPENSSL, TLSLibrary.NATIVE], ids=lambda library: library.value)
def tls_library(request):
    before = conduit.tls_library()
    conduit.set_tls_library(request.param)
    yield request.param
    conduit.set_tls_library(before)


async def test_tls(port, certificates, tls_library):
    key = certificates.key("xen.example")
    ctx = await conduit.init(tls_authenticator=conduit.trust.ca(certificates.trusted))
    mode = server.TLSOver(server.VchanDirect(0, port), key.crt_file, key.key_file, None)
    async with conduit.listen(mode, echo):
        target = client.TLSOver("xen.example", client.VchanDirect(0, port))
        for size in (5, 500_000):
            async with conduit.connect(target, ctx=ctx) as (f, ic, oc):
                data = os.urandom(size)
                oc.write(data)
                oc.write_eof()
                assert await ic.read() == data
                assert conduit.endp_of_flow(f) == endp.TLS("xen.example", endp.VchanDirect(0, port))
                assert oc.get_extra_info("tls").library == tls_library.value


@pytest.mark.parametrize("role", ["ours listens", "theirs listens"])
async def test_xens_own_vchan_socket_proxy(port, role, socket_path):
    """A foreign peer: it bridges a vchan and a Unix socket."""
    theirs = "client" if role == "ours listens" else "server"
    path = f"{VCHANS}/0/{port}"
    command = ["vchan-socket-proxy", f"--mode={theirs}", "0", path, socket_path]
    if theirs == "client":
        async with conduit.listen(server.VchanDirect(0, port), echo):
            await _through_the_proxy(command, client.UnixDomainSocket(socket_path), socket_path)
    else:
        subprocess.run(["xenstore-write", path, ""], check=True)
        async with conduit.listen(server.UnixDomainSocket(socket_path), echo):
            await _through_the_proxy(command, client.VchanDirect(0, port), None)
        subprocess.run(["xenstore-rm", path], check=True)


async def _through_the_proxy(command, target, socket_path):
    data = os.urandom(200_000)
    with subprocess.Popen(command) as proxy:
        try:
            if socket_path is not None:
                await asyncio.to_thread(wait_for, Path(socket_path).exists)
            async with conduit.connect(target, timeout=20) as (_, ic, oc):
                oc.write(data)
                assert await asyncio.wait_for(ic.readexactly(len(data)), 20) == data
        finally:
            proxy.kill()
