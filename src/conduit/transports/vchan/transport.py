"""An asyncio transport over one end of a vchan."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
from collections.abc import Callable, Mapping
from typing import Any, cast

from ..bounded import BoundedTransport, BytesLike, as_bytes
from . import worker
from .libxenvchan import End

_PIECE = 64 * 1024


class VchanTransport(BoundedTransport):
    """Reads and writes an end of a vchan when its event channel says that something has changed.

    end: owned from now on. protocol: gets its `connection_made` before this returns. extra: what
    `get_extra_info` knows.

    A vchan has no end of one direction alone: `can_write_eof` is false, and when the peer has gone
    the protocol gets its `eof_received`, and what is written then fails. Whether a peer has closed
    its end or was killed looks the same here.
    """

    def __init__(
        self, end: End, protocol: asyncio.Protocol, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(asyncio.get_running_loop(), protocol, extra)
        self._end = end
        self._variables = contextvars.copy_context()
        self._buffer = bytearray()
        self._paused = False
        self._at_end = False
        self._closing = False
        self._lost = False  # connection_lost was called, or is about to be
        self._broken = False  # the peer has gone, as writing has shown
        self.on_lost: Callable[[], object] | None = None
        """Called once, when it is about to be closed."""
        self._reading: asyncio.Handle | None = None
        self._loop.add_reader(end.fd, self._changed)
        protocol.connection_made(self)
        # What came before somebody was told of it.
        self._read_soon()

    def __repr__(self) -> str:
        state = "closed" if self._lost else "closing" if self._closing else "open"
        return f"<{state} vchan transport: {len(self._buffer)} bytes unsent>"

    def _changed(self) -> None:
        """The peer has sent something, or taken something, or has gone; nobody says which."""
        self._end.take_event()
        if self._reading is None:
            self._read()
        self._write_on()

    # Reading.

    def is_reading(self) -> bool:
        """Whether input is taken in."""
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        """Leave input where it is; the peer is held up when the ring is full."""
        self._paused = True

    def resume_reading(self) -> None:
        """Take input in again."""
        if self._paused:
            self._paused = False
            self._read_soon()

    def _read_soon(self) -> None:
        if self._reading is None and self.is_reading() and not self._at_end and not self._lost:
            self._reading = self._loop.call_soon(self._read, context=self._variables)

    def _read(self) -> None:
        """Take one piece in; others have their turn before the next."""
        self._reading = None
        if not self._at_end and not self._lost and self.is_reading() and self._take():
            self._read_soon()

    def _take(self) -> bool:
        """Hand over one piece, or the end. Whether there may be more."""
        data = self._end.read()
        if data is None:
            self._at_end = True
        elif not data:
            return False  # The event channel will tell.
        keep_open: object = True
        try:
            if data is None:
                keep_open = self._protocol.eof_received()
            else:
                self._protocol.data_received(data)
        except Exception as error:
            self._loop.call_exception_handler(
                {
                    "message": "a protocol failed to take its input",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
            self._lose(error)
            return False
        if not keep_open:
            self.close()
        return data is not None and not self._lost

    # Writing.

    def can_write_eof(self) -> bool:
        """Whether the output can be ended alone: not here."""
        return False

    def write_eof(self) -> None:
        """Refused with NotImplementedError."""
        raise NotImplementedError("a vchan cannot be closed one way")

    def write(self, data: BytesLike) -> None:
        """Send `data`, or keep it until there is room."""
        data = as_bytes(data)
        if self._lost or not data:
            return
        idle = not self._buffer
        self._buffer += data
        if idle:
            self._send()
        self._pause_if_full()

    def get_write_buffer_size(self) -> int:
        """How many bytes were written and are not yet under way."""
        return len(self._buffer)

    def _send(self) -> None:
        """Fill the ring. When it is full, the event channel tells of room in it."""
        buffer = self._buffer
        while buffer and not self._lost and not self._broken:
            sent = self._end.write(bytes(memoryview(buffer)[:_PIECE]))
            if sent < 0:
                self._broken = True
                self._loop.call_soon(self.give_up, context=self._variables)
            if sent <= 0:
                return
            del buffer[:sent]

    def give_up(self) -> None:
        """The peer is no more: nobody takes what is written; but the last it has sent is there.

        It is no more than the ring holds, so it is handed over also to who wants nothing now.
        """
        while not self._at_end and not self._closing and self._take():
            pass
        self._lose(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))

    def _write_on(self) -> None:
        if self._buffer and not self._lost:
            self._send()
            self._tell_of_room()

    def _tell_of_room(self) -> None:
        if not self._lost and not self._broken:
            self._resume_if_room()  # which may write more, or close
            self._close_if_done()

    # The end.

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing

    def close(self) -> None:
        """Take in no more, send what was written, then close."""
        if not self._closing:
            self._closing = True
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self._closing and not self._buffer:
            self._lose(None)

    def abort(self) -> None:
        """Close at once. What is in the ring already, the peer can read."""
        self._lose(None)

    def _lose(self, error: BaseException | None) -> None:
        if self._lost:
            return
        self._closing = self._lost = True
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()
        self._loop.remove_reader(self._end.fd)
        worker.later(lambda: self._let_go(error))

    def _let_go(self, error: BaseException | None) -> None:
        """In the worker's thread: closing asks the kernel for this and that."""
        self._end.close()
        try:
            self._loop.call_soon_threadsafe(self._gone, error, context=self._variables)
        except RuntimeError:
            pass  # The loop is closed, and with it all who could be told.

    def _gone(self, error: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(cast("Exception | None", error))
        finally:
            self._buffer.clear()
