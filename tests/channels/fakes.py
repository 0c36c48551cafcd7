"""Flows for tests: one over a transport made by hand, and one over a real socket."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from ipaddress import ip_address

from conduit.channels import Input, Output, Wire, pair
from conduit.flow import TCP, DomainSocket


class FakeTransport(asyncio.Transport):
    """Behaves as the socket transports of asyncio do, but the test plays the operating system.

    What is written goes to `sent` while there is `room`, and waits in `buffer` otherwise.
    """

    def __init__(self, protocol: asyncio.Protocol, can_write_eof: bool = True) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent = bytearray()
        self.buffer = bytearray()
        self.room = sys.maxsize
        self.pieces: list[bytes] = []  # one for each call of write
        self.broken: Exception | None = None  # what the next call of write finds out
        self.fin_sent = False
        self.reading = True
        self.aborted = False
        self.gone = False
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._eof = False
        self._can_write_eof = can_write_eof
        self._protocol_paused = False
        self._low, self._high = 16 * 1024, 64 * 1024

    # What the test does.

    def take(self, size: int = sys.maxsize) -> None:
        """The operating system takes `size` bytes more."""
        self.room = min(sys.maxsize, self.room + size)
        self._send()
        if self._protocol_paused and len(self.buffer) <= self._low:
            self._protocol_paused = False
            self.protocol.resume_writing()
        if not self.buffer and self._closing:
            self._lose(None)

    def fail(self, error: Exception | None) -> None:
        """Notice a failure; the protocol is told of it when the loop turns."""
        self.buffer.clear()
        self._closing = True
        self._loop.call_soon(self._lose, error)

    def _send(self) -> None:
        took = self.buffer[: self.room]
        self.sent += took
        self.room -= len(took)
        del self.buffer[: len(took)]
        if self._eof and not self.buffer:
            self.fin_sent = True

    def _lose(self, error: Exception | None) -> None:
        if not self.gone:
            self.gone = True
            self.protocol.connection_lost(error)

    # What a protocol may call.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert isinstance(data, bytes | bytearray | memoryview)
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing:
            return
        if self.broken is not None:
            self.fail(self.broken)
            return
        self.pieces.append(bytes(data))
        self.buffer += data
        self._send()
        self._maybe_pause()

    def write_eof(self) -> None:
        if not self._can_write_eof:
            raise NotImplementedError
        if not self._closing:
            self._eof = True
            self._send()

    def can_write_eof(self) -> bool:
        return self._can_write_eof

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high if high is not None else 64 * 1024
        self._low = low if low is not None else self._high // 4
        if not self._high >= self._low >= 0:
            raise ValueError("high must be at least low, and low at least 0")
        self._maybe_pause()

    def _maybe_pause(self) -> None:
        if len(self.buffer) > self._high and not self._protocol_paused:
            self._protocol_paused = True
            self.protocol.pause_writing()

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        assert not self.gone
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading and not self._closing

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self.buffer:
                self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self.aborted = True
        if not self.gone:
            self.buffer.clear()
            self._closing = True
            self._loop.call_soon(self._lose, None)


class FakeFlow:
    """A flow over a `FakeTransport`."""

    def __init__(self, close_timeout: float = 5.0, can_write_eof: bool = True) -> None:
        self.closed_calls = 0
        self.wire = Wire(asyncio.get_running_loop(), close_timeout, self._on_closed)
        self.wire.flow = DomainSocket(-1, "/fake")
        self.transport = FakeTransport(self.wire, can_write_eof)
        self.wire.connection_made(self.transport)
        self.ic, self.oc = pair(self.wire)

    def _on_closed(self) -> None:
        self.closed_calls += 1

    def receive(self, *chunks: bytes) -> None:
        """Bytes come in."""
        for chunk in chunks:
            assert self.transport.is_reading(), "no loop would deliver this now"
            self.wire.data_received(chunk)

    def receive_eof(self) -> None:
        """The peer's end comes in."""
        if not self.wire.eof_received():
            self.transport.close()

    def lose(self, error: Exception | None = None) -> None:
        """The transport is gone."""
        self.transport.buffer.clear()
        self.transport._closing = True
        self.transport._lose(error)


class SocketFlow:
    """A flow over one end of a connected pair of sockets; `peer` is the other end."""

    def __init__(self, ic: Input, oc: Output, wire: Wire, fd: int, peer: socket.socket) -> None:
        self.ic = ic
        self.oc = oc
        self.wire = wire
        self.fd = fd
        self.peer = peer

    async def peer_sends(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.peer, data)

    async def peer_reads(self, size: int) -> bytes:
        """Exactly so many bytes, fewer only at the end."""
        loop = asyncio.get_running_loop()
        found = bytearray()
        while len(found) < size:
            data = await loop.sock_recv(self.peer, min(256 * 1024, size - len(found)))
            if not data:
                break
            found += data
        return bytes(found)

    async def peer_reads_all(self) -> bytes:
        return await self.peer_reads(sys.maxsize)

    def peer_resets(self) -> None:
        reset(self.peer)


def reset(sock: socket.socket) -> None:
    """Close a TCP socket so that the other side sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return one, other


async def flow_over(ours: socket.socket, theirs: socket.socket, **options: float) -> SocketFlow:
    """Channels over the connected socket `ours`."""
    loop = asyncio.get_running_loop()
    for sock in (ours, theirs):
        sock.setblocking(False)
    wire = Wire(loop, options.get("close_timeout", 5.0))
    fd = ours.fileno()
    await loop.connect_accepted_socket(lambda: wire, ours)
    wire.flow = TCP(fd, ip_address("127.0.0.1"), 4711)
    return SocketFlow(*pair(wire), wire, fd, theirs)


async def turn(times: int = 3) -> None:
    """Let the loop do what is ready now, and what follows from it."""
    for _ in range(times):
        await asyncio.sleep(0)


async def begin(awaitable):
    """Start something that has to wait, and let it go as far as it can."""
    task = asyncio.ensure_future(awaitable)
    await turn()
    assert not task.done(), task
    return task
