"""The line of a worker to its parent, which lends it listening sockets.

One asks in a line of JSON and is answered by one, whose descriptors come along (SCM_RIGHTS).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from threading import Lock
from typing import Any

from .. import endp
from ..context import Context
from ..errors import AddressError, UnsupportedTransport
from .base import Arrival, Listener, ListenOptions
from .descriptors import MOST
from .lent import Wanted
from .sockets import SocketListener
from .turns import PAUSE_SECONDS, Turns

_PIECE = 65536


class Lender:
    """The line of this process to its parent.

    sock: the line, which blocks; owned. turns: of the workers at sockets that they share.
    """

    def __init__(self, sock: socket.socket, turns: Turns) -> None:
        self._sock = sock
        self._turns = turns
        self._sending = Lock()
        self._asking = Lock()  # loops of several threads may listen
        self._open: dict[Wanted, set[int]] = {}
        self._keeps = False

    async def listen(self, wanted: Wanted, ctx: Context, options: ListenOptions) -> list[Listener]:
        """Listen on sockets of the parent's. Raises what binding them raises there."""
        taken = self._open.setdefault(wanted, set())
        # The parent knows the sockets by their number, so that each worker gets the same ones.
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        taken.add(number)
        message = {
            "want": wanted,
            "number": number,
            "backlog": options.backlog,
            "reuse_port": options.reuse_port,
            "unix_mode": options.unix_mode,
        }
        # In a thread, for the answer may take a while: a path may be locked by another process.
        asking = asyncio.ensure_future(asyncio.to_thread(self._ask, message))
        try:
            answer, sockets = await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(lambda done: self._take_back(done, wanted, number))
            raise
        except BaseException:
            taken.discard(number)
            raise
        if not sockets:
            taken.discard(number)
            raise _told(answer)
        loan = _Loan(self, wanted, number, len(sockets))
        if wanted.kind == "tcp":  # Each worker has its own.
            return [LentListener(sock, ctx, loan) for sock in sockets]
        return [SharedListener(sock, ctx, loan, self._turns) for sock in sockets]

    def tell(self, message: dict[str, Any]) -> None:
        """Send the parent a message that needs no answer. Never raises."""
        try:
            with self._sending:
                self._sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # It has gone, and this process is about to.

    def keep(self) -> None:
        """Give back nothing any more: this worker ends, and the next one is to serve it all."""
        self._keeps = True

    def give_back(self, wanted: Wanted, number: int) -> None:
        """Serve them no more."""
        self._open[wanted].discard(number)
        if not self._keeps:
            self.tell({"release": wanted, "number": number})

    def _ask(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[socket.socket]]:
        with self._asking:
            self.tell(message | {"directory": os.getcwd()})
            data, descriptors = b"", list[int]()
            while not data.endswith(b"\n"):
                piece, more, _, _ = socket.recv_fds(self._sock, _PIECE, MOST)
                descriptors += more
                if not piece:
                    raise OSError("the parent of this worker has gone")
                data += piece
        return json.loads(data), [socket.socket(fileno=one) for one in descriptors]

    def _take_back(self, done: asyncio.Future[Any], wanted: Wanted, number: int) -> None:
        if done.cancelled() or done.exception() is not None:
            self._open[wanted].discard(number)
            return
        _, sockets = done.result()
        for sock in sockets:
            sock.close()
        self.give_back(wanted, number)


class _Loan:
    """Sockets that were lent together, and go back together."""

    def __init__(self, lender: Lender, wanted: Wanted, number: int, count: int) -> None:
        self._lender = lender
        self.wanted = wanted
        self._number = number
        self._left = count

    def close_one(self) -> None:
        self._left -= 1
        if not self._left:
            self._lender.give_back(self.wanted, self._number)


class LentListener(SocketListener):
    """A listening socket of the parent's."""

    __slots__ = ("_loan",)

    def __init__(self, sock: socket.socket, ctx: Context, loan: _Loan) -> None:
        super().__init__(sock, ctx)
        self._loan: _Loan | None = loan
        if loan.wanted.kind == "unix":
            self.endp = endp.UnixDomainSocket(str(loan.wanted.where))

    def close(self) -> None:
        """As every listener."""
        super().close()
        loan, self._loan = self._loan, None
        if loan is not None:
            loan.close_one()


class SharedListener(LentListener):
    """One that other workers have as well, and at which they take turns."""

    __slots__ = ("_pause", "_ready", "_turns")

    def __init__(self, sock: socket.socket, ctx: Context, loan: _Loan, turns: Turns) -> None:
        super().__init__(sock, ctx, loan)
        self._turns: Turns | None = turns
        self._ready: Callable[[], None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        turns.join()

    def watch(self, ready: Callable[[], None]) -> None:
        """As every listener."""
        self._ready = ready
        super().watch(ready)

    def unwatch(self) -> None:
        """As every listener."""
        self._ready = None
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        super().unwatch()

    def accept(self) -> Arrival:
        """As every listener; it also says that there is nobody when it is another's turn."""
        turns = self._turns
        if turns is None:
            return super().accept()
        if turns.is_anothers():
            self._leave_it_to_others()
            raise BlockingIOError
        arrival = super().accept()
        turns.took_one()
        return arrival

    def unpublish(self) -> None:
        """Wait for nobody's turn any more."""
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.leave()

    def close(self) -> None:
        """As every listener."""
        self.unpublish()
        super().close()

    def _leave_it_to_others(self) -> None:
        if self._ready is not None and self._pause is None:
            super().unwatch()
            self._pause = self.loop.call_later(PAUSE_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        if self._ready is not None:
            super().watch(self._ready)


def _told(answer: dict[str, Any]) -> Exception:
    """What the parent said that went wrong."""
    text = str(answer["error"])
    match answer["kind"]:
        case "UnsupportedTransport":
            return UnsupportedTransport(text)
        case "AddressError":
            return AddressError(text)
        case _:
            return OSError(int(answer["errno"]), text) if answer["errno"] else OSError(text)
