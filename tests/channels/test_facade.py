"""`Output.transport`: what code finds that reaches below its writer."""

from __future__ import annotations

import asyncio

import pytest

from tests.channels.fakes import begin, turn


async def test_is_an_asyncio_transport(flow):
    assert isinstance(flow.oc.transport, asyncio.Transport)
    assert "open flow" in repr(flow.oc.transport)


async def test_writes_as_the_output_does(flow):
    data = bytearray(b"one ")
    flow.transport.room = 0
    assert flow.oc.transport.write(data) is None
    assert flow.oc.transport.writelines([b"two ", memoryview(b"three")]) is None
    data[:] = b"ONE "
    flow.transport.take()
    assert flow.transport.sent == b"one two three"
    with pytest.raises(TypeError):
        flow.oc.transport.write("text")


async def test_writing_to_a_peer_that_has_gone_is_nothing(flow):
    flow.lose(ConnectionResetError("gone"))
    flow.oc.transport.write(b"x")
    flow.oc.transport.writelines([b"x"])
    flow.oc.transport.write_eof()
    assert flow.transport.sent == b""


async def test_ends_the_output(flow):
    transport = flow.oc.transport
    assert transport.can_write_eof()
    transport.write_eof()
    assert flow.transport.fin_sent
    with pytest.raises(RuntimeError, match="write_eof"):
        transport.write(b"x")


async def test_of_a_flow_without_half_close(make_flow):
    assert not make_flow(can_write_eof=False).oc.transport.can_write_eof()


async def test_closes_as_the_output_does(flow):
    transport = flow.oc.transport
    flow.transport.room = 0
    transport.write(b"last words")
    assert not transport.is_closing()
    assert transport.close() is None
    assert transport.is_closing()
    assert flow.oc.is_closing()
    flow.receive_eof()
    await turn()
    flow.transport.take()
    await flow.oc.wait_closed()
    assert flow.transport.sent == b"last words"
    transport.close()


async def test_aborts_at_once(flow):
    flow.transport.room = 0
    flow.oc.write(b"never sent")
    draining = await begin(flow.ic.read(100))
    flow.oc.transport.abort()
    assert flow.oc.is_closing()
    with pytest.raises(ConnectionAbortedError):
        await draining
    await flow.oc.wait_closed()
    assert flow.transport.sent == b""
    flow.oc.transport.abort()


async def test_tells_what_is_buffered(flow):
    flow.transport.room = 4
    flow.oc.write(b"0123456789")
    assert flow.oc.transport.get_write_buffer_size() == 6
    for _ in range(3):
        flow.oc.write(b"x" * 100_000)
    assert flow.oc.transport.get_write_buffer_size() == 300_006
    flow.transport.take()
    assert flow.oc.transport.get_write_buffer_size() == 0


async def test_drain_keeps_to_the_limits_that_are_set(flow):
    transport = flow.oc.transport
    flow.transport.room = 0
    transport.set_write_buffer_limits(high=100, low=10)
    assert transport.get_write_buffer_limits() == (10, 100)
    flow.oc.write(b"x" * 100)
    await asyncio.wait_for(flow.oc.drain(), 5)
    draining = await begin(flow.oc.write(b"x"))
    flow.transport.take(90)
    await turn()
    assert not draining.done()
    flow.transport.take(1)
    await draining


async def test_limits_that_cannot_be_are_a_value_error(flow):
    with pytest.raises(ValueError, match="high"):
        flow.oc.transport.set_write_buffer_limits(high=1, low=2)


@pytest.mark.parametrize("end", ["close", "abort", "lose"])
async def test_limits_set_after_the_end_change_nothing(flow, end):
    flow.transport.room = 0
    flow.oc.write(b"0123456789")
    if end == "close":
        flow.oc.close()
    elif end == "abort":
        flow.oc.transport.abort()
    else:
        flow.lose()
    flow.oc.transport.set_write_buffer_limits(high=1000)
    if end == "close":
        # It still finds out when all has left.
        flow.transport.take()
        await turn()
        assert flow.transport.fin_sent


async def test_pausing_is_the_flows_own_business(flow):
    flow.oc.transport.pause_reading()
    assert flow.oc.transport.is_reading()
    flow.oc.transport.resume_reading()
    flow.receive(b"x")
    assert await flow.ic.read(100) == b"x"


async def test_is_reading_tells_whether_input_comes_in(flow):
    transport = flow.oc.transport
    assert transport.is_reading()
    flow.receive(b"x" * 200_000)
    assert not transport.is_reading()
    await flow.ic.readexactly(200_000)
    assert transport.is_reading()
    flow.receive_eof()
    assert not transport.is_reading()


async def test_its_protocol_cannot_be_taken_over(flow):
    transport = flow.oc.transport
    assert isinstance(transport.get_protocol(), asyncio.BaseProtocol)
    with pytest.raises(RuntimeError, match="protocol"):
        transport.set_protocol(asyncio.Protocol())


async def test_tells_what_the_output_tells(socket_flow):
    transport = socket_flow.oc.transport
    for name in ("peername", "sockname"):
        assert transport.get_extra_info(name) == socket_flow.oc.get_extra_info(name)
    assert transport.get_extra_info("socket").fileno() == socket_flow.fd
    assert transport.get_extra_info("nothing", "default") == "default"


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_over_a_socket_everything_can_be_asked_at_any_time(socket_flow, end):
    """Also of a flow that is closing, and of one that is gone: code does so in its clean-up."""
    transport = socket_flow.oc.transport
    transport.set_write_buffer_limits(high=200_000)
    assert transport.get_write_buffer_limits() == (50_000, 200_000)
    transport.set_write_buffer_limits()

    def ask() -> None:
        assert transport.is_closing()
        assert not transport.is_reading()
        assert transport.get_write_buffer_size() >= 0
        assert isinstance(transport.can_write_eof(), bool)
        assert len(transport.get_write_buffer_limits()) == 2
        transport.set_write_buffer_limits(high=1000)
        transport.pause_reading()
        transport.resume_reading()
        transport.get_protocol()
        transport.write(b"x")
        transport.write_eof()
        transport.get_extra_info("peername")
        transport.get_extra_info("peercred")
        repr(transport)

    transport.write(b"x" * 1_000_000)
    if end == "close":
        transport.close()
    else:
        transport.abort()
    ask()
    await turn()
    ask()
    if end == "close":
        assert len(await socket_flow.peer_reads_all()) == 1_000_000
    socket_flow.peer.close()
    await socket_flow.oc.wait_closed()
    ask()


async def test_over_a_socket_the_limits_bound_what_is_buffered(socket_flow):
    socket_flow.oc.transport.set_write_buffer_limits(high=1000)
    written = 0
    while True:
        draining = asyncio.ensure_future(socket_flow.oc.write(b"x" * 10_000))
        written += 10_000
        done, _ = await asyncio.wait([draining], timeout=0.05)
        if not done:
            break
        assert written < 50_000_000
    assert socket_flow.oc.transport.get_write_buffer_size() <= 11_000
    assert len(await socket_flow.peer_reads(written)) == written
    await draining
