"""asyncio protocols over flows: the transport that they see behaves as asyncio's own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduit
from conduit import server, trust
from conduit.ext import protocols
from conduit.ext.protocols import FlowTransport
from conduit.testing import memory_pair
from tests.certificates import Certificates
from tests.peers.handlers import noise

BIG = noise(3_000_000)


class Recorder(asyncio.Protocol):
    """Remembers all that it is told. keep_open: whether it goes on after the peer's end."""

    def __init__(self, keep_open: bool = False) -> None:
        self.told: list[Any] = []
        self.received = bytearray()
        self.keep_open = keep_open
        self.transport: Any = None
        self.changed = asyncio.Event()

    def _tell(self, what: Any) -> None:
        self.told.append(what)
        self.changed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._tell("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.received += data
        self.changed.set()

    def eof_received(self) -> bool:
        self._tell("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(("lost", type(exc)))

    def pause_writing(self) -> None:
        self._tell("pause")

    def resume_writing(self) -> None:
        self._tell("resume")

    async def until(self, met: Callable[[], object]) -> None:
        while not met():
            self.changed.clear()
            await self.changed.wait()

    async def until_told(self, what: Any) -> None:
        await self.until(lambda: what in self.told)

    async def until_received(self, size: int) -> None:
        await self.until(lambda: len(self.received) >= size)


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def until(met: Callable[[], object]) -> None:
    """Wait for what nobody tells of."""
    while not met():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


LOST = ("lost", type(None))


class Ends:
    """A flow, of which one end has a protocol and the other is ours."""

    def __init__(self, kind: str, certificates: Certificates, path: str) -> None:
        self._kind = kind
        self._certificates = certificates
        self._path = path
        self.triple: Any = None

    async def __call__(self, work: Callable[[Any, Any, Any], Any]) -> None:
        """Run `work(triple, ic, oc)`: a triple for a protocol, and the channels of its peer."""
        if self._kind == "memory":
            near, far = memory_pair()
            try:
                await work(near, far.ic, far.oc)
            finally:
                far.oc.close()
                await near.oc.close()
                await far.oc.close()
            return
        arrived: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done = asyncio.Event()

        async def handler(f: Any, ic: Any, oc: Any) -> None:
            arrived.set_result((ic, oc))
            await done.wait()

        key = self._certificates.key()
        mode: Any = server.UnixDomainSocket(self._path)
        target = f"unix:{self._path}"
        if self._kind == "tls":
            mode = server.TLSOver(mode, key.crt_file, key.key_file, None)
            target = f"tls+unix:{self._path}?hostname=localhost"
        ctx = await conduit.init(tls_authenticator=trust.ca(self._certificates.trusted))
        async with conduit.listen(mode, handler):
            async with conduit.connect(target, ctx=ctx) as triple:
                try:
                    await work(triple, *await arrived)
                finally:
                    done.set()


@pytest.fixture(params=["unix", "tls", "memory"])
def ends(request: Any, certificates: Certificates, socket_path: str) -> Ends:
    return Ends(request.param, certificates, socket_path)


def over(triple: Any, protocol: asyncio.BaseProtocol) -> FlowTransport:
    return FlowTransport(triple[1], triple[2], protocol)


async def test_a_protocol_of_a_server_talks_with_one_of_a_client() -> None:
    async with conduit.listen(server.TCP(0, ip="127.0.0.1"), protocols.Serving(Echo)) as srv:
        transport, protocol = await protocols.create_connection(Recorder, srv.endps[0])
        assert transport.get_extra_info("peername")[0] == "127.0.0.1"
        transport.write(BIG)
        await protocol.until_received(len(BIG))
        transport.close()
        await protocol.until_told(LOST)
    assert protocol.received == BIG
    assert [protocol.told[0], protocol.told[-1]] == ["made", LOST]


async def test_what_had_come_in_is_told_first(ends: Ends) -> None:
    async def work(triple: Any, ic: Any, oc: Any) -> None:
        await oc.write(b"early and ")
        assert await triple[1].readexactly(1) == b"e"
        protocol = Recorder()
        over(triple, protocol)
        assert (protocol.told, protocol.received) == (["made"], b"")
        await oc.write(b"late")
        oc.close()
        await protocol.until_told(LOST)
        assert protocol.received == b"arly and late"
        assert protocol.told == ["made", "eof", LOST]

    await ends(work)


async def test_a_flow_that_has_ended_before_is_told_of(ends: Ends) -> None:
    async def work(triple: Any, ic: Any, oc: Any) -> None:
        oc.write(b"all")
        oc.close()
        await until(lambda: triple[1]._wire.eof)
        protocol = Recorder()
        over(triple, protocol)
        await protocol.until_told(LOST)
        assert protocol.received == b"all"
        assert protocol.told == ["made", "eof", LOST]

    await ends(work)


async def test_a_protocol_may_go_on_writing_after_the_peers_end(ends: Ends) -> None:
    async def work(triple: Any, ic: Any, oc: Any) -> None:
        protocol = Recorder(keep_open=True)
        transport = over(triple, protocol)
        oc.write_eof()
        await protocol.until_told("eof")
        assert not transport.is_closing()
        transport.write(b"still here")
        transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            transport.write(b"too late")
        assert await ic.read() == b"still here"
        oc.close()
        transport.close()
        await protocol.until_told(LOST)

    await ends(work)


async def test_our_end_leaves_the_input_open(ends: Ends) -> None:
    async def work(triple: Any, ic: Any, oc: Any) -> None:
        protocol = Recorder()
        transport = over(triple, protocol)
        assert transport.can_write_eof()
        transport.writelines([b"a ", bytearray(b"request")])
        transport.write_eof()
        assert await ic.read() == b"a request"
        await oc.write(b"a reply")
        await protocol.until_received(7)
        oc.close()
        await protocol.until_told(LOST)

    await ends(work)


async def test_a_protocol_that_pauses_is_told_nothing_and_the_peer_waits(ends: Ends) -> None:
    async def work(triple: Any, ic: Any, oc: Any) -> None:
        await oc.write(b"early")
        protocol = Recorder()
        transport = over(triple, protocol)
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()

        async def flood() -> None:
            for start in range(0, len(BIG), 50_000):
                await oc.write(BIG[start : start + 50_000])

        flooding = asyncio.ensure_future(flood())
        done, _ = await asyncio.wait([flooding], timeout=0.1)
        assert not done
        assert protocol.received == b""
        transport.resume_reading()
        assert transport.is_reading()
        await flooding
        await protocol.until_received(5 + len(BIG))
        assert protocol.received == b"early" + BIG
        transport.abort()
        await protocol.until_told(LOST)

    await ends(work)


async def test_a_protocol_hears_when_to_write_no_more_and_when_again(ends: Ends) -> None:
    async def work(triple: Any, ic: Any, oc: Any) -> None:
        protocol = Recorder()
        transport = over(triple, protocol)
        transport.set_write_buffer_limits(high=10_000)
        data = bytearray(BIG)
        transport.write(data)
        data[:] = bytes(len(data))
        assert protocol.told == ["made", "pause"]
        assert transport.get_write_buffer_size() > 10_000
        assert await ic.readexactly(len(BIG)) == BIG
        await protocol.until_told("resume")
        assert transport.get_write_buffer_size() <= 10_000
        transport.abort()
        await protocol.until_told(LOST)
        assert protocol.told == ["made", "pause", "resume", LOST]

    await ends(work)


async def test_close_sends_what_was_written_and_abort_does_not_wait(ends: Ends) -> None:
    async def work(triple: Any, ic: Any, oc: Any) -> None:
        protocol = Recorder()
        transport = over(triple, protocol)
        transport.write(BIG)
        transport.close()
        assert transport.is_closing()
        transport.write(b"nowhere")
        transport.close()
        assert await ic.read() == BIG
        oc.close()
        await protocol.until_told(LOST)

    await ends(work)


async def test_a_reset_is_an_error() -> None:
    async def reset(f: Any, ic: Any, oc: Any) -> None:
        await ic.readexactly(1)
        oc.transport.abort()

    async with conduit.listen("tcp://127.0.0.1:0", reset) as srv:
        transport, protocol = await protocols.create_connection(Recorder, srv.endps[0])
        # More than is read: so the end is a reset.
        transport.write(BIG)
        await protocol.until(lambda: protocol.told[-1][0] == "lost")
        assert protocol.told[-1] == ("lost", ConnectionResetError)


async def test_tls_that_is_cut_short_is_an_error(
    certificates: Certificates, socket_path: str
) -> None:
    async def work(triple: Any, ic: Any, oc: Any) -> None:
        protocol = Recorder(keep_open=True)
        over(triple, protocol)
        await oc.write(b"half")
        await protocol.until_received(4)
        with socket.socket(fileno=socket.dup(triple[0].fd)) as sock:
            # As if the peer had ended without close_notify.
            sock.shutdown(socket.SHUT_RD)
        await protocol.until(lambda: protocol.told[-1][0] == "lost")
        assert protocol.told == ["made", ("lost", conduit.TruncatedError)]

    await Ends("tls", certificates, socket_path)(work)


async def test_a_protocol_with_buffers_of_its_own(ends: Ends) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(1000)
            self.received = bytearray()
            self.ended = asyncio.Event()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.received += self.buffer[:nbytes]

        def eof_received(self) -> None:
            self.ended.set()

    async def work(triple: Any, ic: Any, oc: Any) -> None:
        protocol = Buffered()
        over(triple, protocol)
        await oc.write(BIG)
        oc.write_eof()
        await protocol.ended.wait()
        assert protocol.received == BIG

    await ends(work)


async def test_another_protocol_takes_over(ends: Ends) -> None:
    async def work(triple: Any, ic: Any, oc: Any) -> None:
        first, second = Recorder(), Recorder()
        transport = over(triple, first)
        await oc.write(b"one")
        await first.until_received(3)
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        await oc.write(b"two")
        await second.until_received(3)
        assert (first.received, second.received) == (b"one", b"two")
        transport.abort()
        await second.until_told(LOST)
        assert first.told == ["made"]

    await ends(work)


async def test_a_protocol_that_fails_loses_its_connection(ends: Ends) -> None:
    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ValueError("a mistake")

    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))

    async def work(triple: Any, ic: Any, oc: Any) -> None:
        early, protocol = triple[1]._wire, Failing()
        await oc.write(b"early")
        await until(lambda: early.buffer)
        over(triple, protocol)
        await protocol.until(lambda: protocol.told[-1][0] == "lost")
        assert protocol.told[-1] == ("lost", ValueError)
        assert isinstance(complaints[0]["exception"], ValueError)

    await ends(work)


async def test_a_flow_that_somebody_uses_is_refused(ends: Ends) -> None:
    async def work(triple: Any, ic: Any, oc: Any) -> None:
        _, near_ic, near_oc = triple
        with pytest.raises(ValueError, match="one flow"):
            FlowTransport(near_ic, oc, Recorder())
        reading = asyncio.ensure_future(near_ic.read(1))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="is reading"):
            over(triple, Recorder())
        await oc.write(b"x")
        await reading
        over(triple, Recorder())
        with pytest.raises(RuntimeError, match="carries another"):
            over(triple, Recorder())
        with pytest.raises(RuntimeError, match="carries another"):
            near_oc.write(b"beside it")

    await ends(work)


async def test_a_factory_that_fails_leaves_nothing_open() -> None:
    def fail() -> asyncio.Protocol:
        raise ValueError("a mistake")

    async with conduit.listen("tcp://127.0.0.1:0", protocols.Serving(Echo)) as srv:
        with pytest.raises(ValueError, match="a mistake"):
            await protocols.create_connection(fail, srv.endps[0])


async def test_a_server_that_is_killed_drops_the_connections_of_protocols() -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    async with conduit.listen("tcp://127.0.0.1:0", protocols.Serving(factory)) as srv:
        async with conduit.connect(srv.endps[0]) as (_, _, oc):
            await oc.write(b"x")
            await until(lambda: made)
            await made[0].until_received(1)
            await srv.stop(drain=0)
            assert made[0].told == ["made", LOST]


async def test_files_are_not_sent_by_the_kernel(ends: Ends, tmp_path: Path) -> None:
    async def work(triple: Any, ic: Any, oc: Any) -> None:
        transport = over(triple, Recorder())
        with (tmp_path / "file").open("wb+") as file:
            with pytest.raises(NotImplementedError):
                await asyncio.get_running_loop().sendfile(transport, file)

    await ends(work)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": False})], ids=["asyncio"])
async def test_the_loops_own_tls_can_be_put_over_it(
    certificates: Certificates, socket_path: str
) -> None:
    key = certificates.key()

    async def starting(f: Any, ic: Any, oc: Any) -> None:
        await oc.write(b"go ahead")
        ctx = await conduit.init()
        _, ic, oc = await conduit.start_tls(f, ic, oc, server_side=True, own_key=key, ctx=ctx)
        await oc.write(await ic.readexactly(5))
        await ic.read()
        await oc.close()

    context = ssl.create_default_context(cadata=certificates.trusted.decode())
    async with conduit.listen(f"unix:{socket_path}", starting):
        transport, protocol = await protocols.create_connection(Recorder, f"unix:{socket_path}")
        await protocol.until_received(8)
        secure: Any = await asyncio.get_running_loop().start_tls(
            transport, protocol, context, server_hostname="localhost"
        )
        secure.write(b"hello")
        await protocol.until_received(13)
        assert protocol.received == b"go aheadhello"
        secure.close()
        await protocol.until(lambda: protocol.told[-1][0] == "lost")


class Watchful(Recorder):
    """Holds the transport to what asyncio promises a protocol."""

    def data_received(self, data: bytes) -> None:
        assert data
        assert self.told[0] == "made"
        assert self.transport.is_reading() or self.transport.is_closing()
        assert "eof" not in self.told
        assert self.told[-1] != LOST
        super().data_received(data)

    def eof_received(self) -> bool:
        assert "eof" not in self.told
        return super().eof_received()

    def pause_writing(self) -> None:
        assert [one for one in self.told if one in ("pause", "resume")][-1:] != ["pause"]
        super().pause_writing()

    def resume_writing(self) -> None:
        assert [one for one in self.told if one in ("pause", "resume")][-1:] == ["pause"]
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        assert LOST not in self.told
        super().connection_lost(exc)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["say", "hear", "write"]), st.integers(1, 200_000)),
        st.tuples(st.sampled_from(["pause", "resume", "turn", "attach"]), st.integers(0, 3)),
    ),
    max_size=25,
)


@given(steps=STEPS, ended=st.sampled_from(["near", "far", "both"]))
def test_whatever_happens_nothing_is_lost_or_told_twice(
    steps: list[tuple[str, int]], ended: str
) -> None:
    async def limited() -> None:
        # Not by the test's own limit, after which other steps would be tried.
        async with asyncio.timeout(10):
            await _go_through(steps, ended)

    asyncio.run(limited())


async def _go_through(steps: list[tuple[str, int]], ended: str) -> None:
    near, far = memory_pair()
    protocol = Watchful(keep_open=True)
    transport: FlowTransport | None = None
    said, written, heard = b"", b"", b""
    for what, size in [*steps, ("attach", 0), ("resume", 0)]:
        match what:
            case "say":
                far.oc.write(noise(size, len(said)))
                said += noise(size, len(said))
            case "hear":
                if len(heard) < len(written):
                    heard += await far.ic.read(size)
            case "turn":
                for _ in range(size):
                    await asyncio.sleep(0)
            case "attach" if transport is None:
                transport = over(near, protocol)
            case "write" if transport is not None:
                transport.write(noise(size, len(written)))
                written += noise(size, len(written))
            case "pause" if transport is not None:
                transport.pause_reading()
            case "resume" if transport is not None:
                transport.resume_reading()
            case _:
                pass
    assert transport is not None
    if ended != "far":
        transport.write_eof()
        heard += await far.ic.read()
        assert heard == written
    if ended != "near":
        far.oc.write_eof()
        await protocol.until_told("eof")
    await protocol.until_received(len(said))
    assert protocol.received == said
    far.oc.close()
    transport.close()
    await protocol.until_told(LOST)
    assert protocol.told[-1] == LOST
    await far.oc.wait_closed()
