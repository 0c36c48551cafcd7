"""What is left of TLS flows when they are over: nothing, and that without collecting garbage."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections import Counter
from contextlib import contextmanager

import pytest

import conduit
from conduit import client, server
from conduit.channels import Wire
from conduit.testing import Authority
from conduit.tls.layer import TLSTransport
from tests.bare_client import BareClient
from tests.event_log import until
from tests.tls.flows import NAME, Kinds, carrier, tls_to

KEPT = (Wire, TLSTransport, ssl.SSLObject)

# Of those over memory the testing transport itself waits for the garbage collector.
OVER_SOCKETS = ["tcp", "unix", "tls_in_tls", "start_tls_twice", "tunnel_over_tls"]


def alive() -> Counter[type]:
    return Counter(type(each) for each in gc.get_objects() if type(each) in KEPT)


@contextmanager
def nothing_stays(ctx):
    """Everything that the block makes is gone when it ends, before garbage is collected.

    ctx: what it connects by, whose sessions to take up again are forgotten before.
    """
    gc.collect()
    gc.disable()
    # What there is so far stays out of sight: to look through it took most of the time.
    gc.freeze()
    try:
        yield
        ctx.tls_loaded.clear()
        assert not alive()
    finally:
        gc.enable()


@pytest.fixture
def ctx(identities):
    return conduit.Context(tls_authenticator=identities.trust)


async def orderly(ends):
    ends.client.oc.close()
    assert await ends.server.ic.read() == b""
    ends.server.oc.close()
    await ends.client.oc.wait_closed()
    await ends.server.oc.wait_closed()


async def aborted(ends):
    ends.client.oc.transport.abort()
    await fails(ends.server.ic.read())
    await ends.client.oc.wait_closed()


async def failed(ends):
    ends.client.oc._wire.transport.below.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    await fails(ends.server.ic.read())
    await fails(ends.client.ic.read())


async def greeted(srv, ctx):
    async with conduit.connect(tls_to(srv), ctx=ctx) as (_, ic, oc):
        oc.write(b"hello")
        assert await ic.read() == b"hello"


async def fails(doing):
    """As pytest.raises, which would make a circle of the exception and this test."""
    try:
        await doing
    except (ConnectionError, EOFError):
        return
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("ending", [orderly, aborted, failed])
@pytest.mark.parametrize("kind", OVER_SOCKETS)
async def test_flows(identities, ctx, socket_path, kind, ending):
    kinds = Kinds(identities, ctx, socket_path)
    with nothing_stays(ctx):
        for _ in range(3):
            async with kinds.by(kind) as ends:
                ends.client.oc.write(bytes(100_000))
                await ends.server.ic.readexactly(100_000)
                await ending(ends)
            del ends
        await asyncio.sleep(0)


async def test_five_hundred_connections(identities, ctx):
    key = identities.server()

    async def handler(f, ic, oc):
        oc.write(await ic.readexactly(5))

    mode = server.TLS(key.crt_file, key.key_file, None, 0, ip="127.0.0.1")
    async with conduit.listen(mode, handler, ctx=ctx) as srv:
        with nothing_stays(ctx):
            for _ in range(500):
                await greeted(srv, ctx)
            await until(lambda: srv.active == 0)


async def test_handshakes_that_fail(identities, ctx, caplog):
    key = identities.server()
    failures: list[str] = []
    strict = conduit.Context(tls_authenticator=conduit.trust.ca(Authority().pem))

    async def handler(f, ic, oc):
        pytest.fail("there is no handshake")

    mode = server.TLS(key.crt_file, key.key_file, None, 0, ip="127.0.0.1")
    async with conduit.listen(
        mode, handler, ctx=ctx, on_exn=lambda error: failures.append(str(error))
    ) as srv:
        found = carrier(srv)
        with nothing_stays(ctx):
            for _ in range(5):
                await fails(conduit.connect(tls_to(srv), ctx=strict))
                with BareClient(found) as bare:
                    await bare.say(b"GET / HTTP/1.1\r\n\r\n")
                    assert await bare.hear_all() == b""
                with BareClient(found) as bare:
                    bare.vanish()
            await until(lambda: srv.active == 0)
        assert len(failures) == 15


@pytest.mark.parametrize("tunnel", [False, True], ids=["tls", "tunnel"])
async def test_a_flow_that_is_dropped_is_aborted(identities, ctx, tunnel):
    """Both channels of it; those of the flow below a tunnel may go before."""
    key = identities.server()
    ended = asyncio.Event()

    async def handler(f, ic, oc):
        with pytest.raises(ConnectionError):
            await ic.read()
        ended.set()

    mode = server.TLS(key.crt_file, key.key_file, None, 0, ip="127.0.0.1")
    async with conduit.listen(mode, handler, ctx=ctx) as srv:
        found = carrier(srv)
        if tunnel:
            _, ic, oc = await conduit.connect(found)
            f, ic, oc = await conduit.connect(client.TLSTunnel(NAME, ic, oc), ctx=ctx)
        else:
            f, ic, oc = await conduit.connect(tls_to(srv), ctx=ctx)
        del f, ic
        await asyncio.sleep(0)
        with pytest.warns(ResourceWarning, match="dropped without being closed") as warned:
            del oc
        assert len(warned) == 1
        await ended.wait()
