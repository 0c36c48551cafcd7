"""Bytes from one socket to another inside the kernel: splice(2), over a pipe for each direction.

The transports keep the sockets, and are told nothing while this goes on: their reading is paused,
and nothing of theirs is unsent. The descriptors that are watched are copies, since the loops watch
the transports' own; so whoever closes a flow meanwhile is noticed by the flow's end.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from .channels import Wire
from .channels.above import TAKEN

# As much as an unprivileged process may have in a pipe; where that is used up, what a pipe has.
_PIPE = 1024 * 1024

# After so many bytes the others on the loop have their turn.
_TURN = 1024 * 1024


def can_splice(wire: Wire) -> bool:
    """Whether a flow is no more than a socket of the kernel's, and the system can do this."""
    return (
        wire.fd >= 0
        and hasattr(os, "splice")
        and not (wire.lost or wire.closing or wire.transport.is_closing())
    )


async def splice(a: Wire, b: Wire) -> None:
    """Move what comes in on each of two flows out on the other, until both have ended.

    a, b: flows that nobody else uses meanwhile; their reading is paused, and nothing is left unread
    or unsent in them. Their counters of bytes go on. An end of input goes out as an end of output.

    Raises OSError when one of them fails, or ConnectionError when it is closed from elsewhere.
    What is open here is closed again in any case; the flows are left as they are.
    """
    loop = a.loop
    done: asyncio.Future[None] = loop.create_future()
    descriptors: list[int] = []
    pumps: list[_Pump] = []

    def ended(error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        elif all(pump.ended for pump in pumps):
            done.set_result(None)

    watched = [_when_lost(wire, ended) for wire in (a, b)]
    try:
        for wire in (a, b):
            wire.reader = TAKEN
            descriptors.append(os.dup(wire.fd))
        for source, sink in ((0, 1), (1, 0)):
            wires = (a, b) if source == 0 else (b, a)
            pump = _Pump(*wires, descriptors[source], descriptors[sink], ended)
            pumps.append(pump)
        for pump in pumps:
            pump.start()
        await done
    finally:
        for pump in pumps:
            pump.close()
        for fd in descriptors:
            os.close(fd)
        for wire, lost in zip((a, b), watched, strict=True):
            wire.reader = None
            lost.cancel()
            if wire.closers is not None and lost in wire.closers:
                wire.closers.remove(lost)


def _when_lost(wire: Wire, ended: Callable[[BaseException | None], None]) -> asyncio.Future[None]:
    """Tell of the end of a flow that is closed by somebody else."""
    lost: asyncio.Future[None] = wire.loop.create_future()
    lost.add_done_callback(lambda lost: None if lost.cancelled() else ended(wire.gone()))
    if wire.closers is None:
        wire.closers = []
    wire.closers.append(lost)
    return lost


class _Pump:
    """One direction: from a socket into a pipe, from the pipe into the other socket.

    ended: called when its input has ended and all of it has left; with what it failed with if it
    did.
    """

    def __init__(
        self,
        source: Wire,
        sink: Wire,
        source_fd: int,
        sink_fd: int,
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self._source = source
        self._sink = sink
        self._source_fd = source_fd
        self._sink_fd = sink_fd
        self._tell = ended
        self._loop = source.loop
        self._in_pipe = 0
        self._reading = self._writing = False
        self._soon: asyncio.Handle | None = None
        self.ended = source.eof
        self._pipe_out, self._pipe_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._size = _enlarge(self._pipe_in)

    def start(self) -> None:
        """Begin."""
        if self.ended:
            # All that there was is out already, and so is the end.
            self._tell(None)
        else:
            self._watch(reading=True)

    def close(self) -> None:
        """Stop, and give back the pipe."""
        self._watch()
        if self._soon is not None:
            self._soon.cancel()
        os.close(self._pipe_in)
        os.close(self._pipe_out)

    def _watch(self, *, reading: bool = False, writing: bool = False) -> None:
        if reading != self._reading:
            self._reading = reading
            if reading:
                self._loop.add_reader(self._source_fd, self._go_on)
            else:
                self._loop.remove_reader(self._source_fd)
        if writing != self._writing:
            self._writing = writing
            if writing:
                self._loop.add_writer(self._sink_fd, self._go_on)
            else:
                self._loop.remove_writer(self._sink_fd)

    def _go_on(self) -> None:
        self._soon = None
        try:
            self._move()
        except OSError as error:
            self._watch()
            self._tell(error)

    def _move(self) -> None:
        left = _TURN
        while self._empty_pipe():
            if left <= 0:
                # What is watched calls again when the loop has turned; else nobody would.
                if not (self._reading or self._writing):
                    self._soon = self._loop.call_soon(self._go_on)
                return
            try:
                size = os.splice(
                    self._source_fd, self._pipe_in, self._size, flags=os.SPLICE_F_NONBLOCK
                )
            except BlockingIOError:
                self._watch(reading=True)
                return
            if not size:
                self._finish()
                return
            self._source.bytes_in += size
            self._in_pipe = size
            left -= size
        self._watch(writing=True)

    def _empty_pipe(self) -> bool:
        """Whether there was room for all that is in the pipe."""
        while self._in_pipe:
            try:
                size = os.splice(
                    self._pipe_out, self._sink_fd, self._in_pipe, flags=os.SPLICE_F_NONBLOCK
                )
            except BlockingIOError:
                return False
            self._in_pipe -= size
            self._sink.bytes_out += size
        return True

    def _finish(self) -> None:
        """The peer's end: it goes on to the other side."""
        self._watch()
        self.ended = True
        self._source.eof_received()
        self._sink.send_eof()
        self._tell(None)


def _enlarge(pipe: int) -> int:
    """Let more fit into a pipe. How much does."""
    import fcntl

    try:
        return fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    except OSError:
        # All pipes of a user together have a limit as well.
        return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
