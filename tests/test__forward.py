"""`forward`: clients are passed on to an address, or are told that they cannot be."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

import conduit
from conduit import AddressError, ConnectError, client, endp, server
from conduit.testing import Memory
from tests.certificates import Certificates
from tests.endpoints import port_of
from tests.event_log import until

LOCAL = server.TCP(0, ip="127.0.0.1")


async def shout(f, ic, oc):
    async for line in ic:
        await oc.write(line.upper())


async def say(where, words: bytes) -> bytes:
    """Say something, end, and return the answer."""
    async with conduit.connect(where) as (_, ic, oc):
        await oc.write(words)
        oc.write_eof()
        return await ic.read()


async def visit_until_refused(where) -> None:
    while True:
        async with conduit.connect(where):
            await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["unix", "memory", "tls"])
async def test_client_gets_what_the_target_says(kind, tmp_path, certificates: Certificates):
    own = certificates.key()
    path = str(tmp_path / "s")
    ca_file = tmp_path / "ca"
    ca_file.write_bytes(certificates.trusted)
    kinds: dict[str, tuple[Any, Any]] = {
        "unix": (server.UnixDomainSocket(path), client.UnixDomainSocket(path)),
        "memory": (Memory("m"), Memory("m")),
        "tls": (
            server.TLSOver(server.UnixDomainSocket(path), own.crt_file, own.key_file, own.password),
            f"tls+unix:{path}?hostname=localhost&ca={ca_file}",
        ),
    }
    mode, target = kinds[kind]
    words = b"hello\n" * 50_000
    async with conduit.listen(mode, shout), conduit.forward(LOCAL, target) as srv:
        assert port_of(srv)
        assert await say(srv.endps[0], words) == words.upper()
        assert await say(srv.endps[0], b"again\n") == b"AGAIN\n"


async def test_target_that_is_away_cuts_the_client_off(tmp_path):
    errors: list[BaseException] = []
    away = f"unix:{tmp_path}/away"
    async with conduit.forward(LOCAL, away, on_exn=errors.append) as srv:
        for count in (1, 2):
            async with conduit.connect(srv.endps[0]) as (_, ic, _oc):
                with pytest.raises(ConnectionResetError):
                    await ic.read()
            assert len(errors) == count
        await until(lambda: srv.active == 0)
    assert all(isinstance(error, ConnectError) for error in errors)
    assert f"cannot connect to {away}" in str(errors[0])


async def test_without_on_exn_the_log_says_what_failed(tmp_path, caplog):
    async with conduit.forward(LOCAL, f"unix:{tmp_path}/away") as srv:
        async with conduit.connect(srv.endps[0]) as (_, ic, _oc):
            with pytest.raises(ConnectionResetError):
                await ic.read()
    [record] = caplog.records
    assert f"cannot connect to unix:{tmp_path}/away" in record.getMessage()
    assert record.exc_info is None


async def test_client_of_a_unix_socket_sees_an_end(tmp_path):
    errors: list[BaseException] = []
    mode = server.UnixDomainSocket(str(tmp_path / "s"))
    async with conduit.forward(mode, f"unix:{tmp_path}/away", on_exn=errors.append) as srv:
        assert await say(srv.endps[0], b"") == b""
    assert len(errors) == 1


async def test_target_that_does_not_answer_takes_no_longer_than_its_timeout(tmp_path):
    # It lets TLS clients in and says nothing.
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        errors: list[BaseException] = []
        target = f"tls+unix:{tmp_path}/s?hostname=localhost"
        for forward in (
            conduit.forward(LOCAL, f"{target}&timeout=0.1", on_exn=errors.append),
            conduit.forward(LOCAL, target, timeout=0.1, on_exn=errors.append),
        ):
            async with forward as srv:
                async with conduit.connect(srv.endps[0]) as (_, ic, _oc):
                    with pytest.raises(ConnectionResetError):
                        await ic.read()
    assert [type(error) for error in errors] == [conduit.ConnectTimeout] * 2
    assert "within 0.1 s" in str(errors[0])


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        ("tcp://127.0.0.1", AddressError, "the port is missing"),
        (server.TCP(0), AddressError, "is a way to serve"),
        (endp.Unknown("gone"), conduit.ResolutionError, "gone"),
    ],
)
async def test_target_that_cannot_be_is_told_at_once(target, error, says):
    with pytest.raises(error, match=says):
        conduit.forward(LOCAL, target)


async def test_block_that_is_left_waits_for_connections_and_then_cuts_them(tmp_path):
    where = f"unix:{tmp_path}/s"
    async with conduit.listen(where, shout):
        async with conduit.forward(LOCAL, where) as srv:
            _, ic, oc = await conduit.connect(srv.endps[0])
            await oc.write(b"a\n")
            assert await ic.readline() == b"A\n"
            leaving = asyncio.create_task(srv.stop(drain=10))
            with pytest.raises(ConnectError):  # it lets nobody in any more
                await visit_until_refused(srv.endps[0])
            await oc.write(b"b\n")
            oc.write_eof()
            assert await ic.read() == b"B\n"
            await leaving
        await oc.close()

        async with conduit.forward(LOCAL, where, drain=0) as srv:
            _, ic, oc = await conduit.connect(srv.endps[0])
            await oc.write(b"a\n")
            assert await ic.readline() == b"A\n"
        with pytest.raises(ConnectionResetError):
            await ic.read()
        await oc.close()


async def test_peer_that_breaks_off_breaks_off_the_other(tmp_path):
    errors: list[BaseException] = []
    met = asyncio.get_running_loop().create_future()

    async def handler(*triple):
        met.set_result(triple)
        with pytest.raises(ConnectionResetError):
            await triple[1].read()

    async with conduit.listen(LOCAL, handler) as far:
        async with conduit.forward(LOCAL, far.endps[0], on_exn=errors.append) as srv:
            _, _, oc = await conduit.connect(srv.endps[0])
            await met
            sock = oc.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            oc.transport.abort()
            await until(lambda: srv.active == 0 and far.active == 0)
    assert [type(error) for error in errors] == [ConnectionResetError]


async def test_each_side_has_its_context(tmp_path, certificates: Certificates):
    own = certificates.key()
    far = server.TLSOver(
        server.UnixDomainSocket(str(tmp_path / "s")), own.crt_file, own.key_file, own.password
    )
    trusting = await conduit.init(tls_authenticator=conduit.trust.ca(certificates.trusted))
    target = f"tls+unix:{tmp_path}/s?hostname=localhost"
    errors: list[BaseException] = []
    async with conduit.listen(far, shout, on_exn=lambda _: None):
        async with conduit.forward(LOCAL, target, target_ctx=trusting) as srv:
            assert await say(srv.endps[0], b"a\n") == b"A\n"
        async with conduit.forward(LOCAL, target, ctx=trusting) as srv:
            assert await say(srv.endps[0], b"a\n") == b"A\n"
        async with conduit.forward(LOCAL, target, on_exn=errors.append) as srv:
            with pytest.raises(ConnectionResetError):
                await say(srv.endps[0], b"a\n")
    assert "certificate" in str(errors[0])


async def test_options_are_those_of_serve(tmp_path):
    where = f"unix:{tmp_path}/s"
    stop = asyncio.Event()
    async with conduit.listen(where, shout):
        mode = server.UnixDomainSocket(str(tmp_path / "f"))
        async with conduit.forward(mode, where, stop=stop, unix_mode=0o600, max_active=1) as srv:
            assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600
            async with conduit.connect(srv.endps[0]) as (_, ic, oc):
                second = asyncio.create_task(say(srv.endps[0], b"second\n"))
                await oc.write(b"first\n")
                assert await ic.readline() == b"FIRST\n"
                assert srv.active == 1
            assert await second == b"SECOND\n"
            stop.set()
            await srv.wait_stopped()
