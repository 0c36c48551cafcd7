"""Listening sockets handed from one process to the next, so that no client finds nobody there.

The process that serves offers its sockets at a path. The one that is to follow connects there, gets
them, begins to serve, and says so; only then the first one stops. Between these two moments both
accept from the same queue, so no client is lost, and if the second fails, the first just goes on.
The socket of the path itself is handed over, too: the third process finds the second there.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable

from .. import endp, server
from ..context import Context
from ..errors import AddressError, UnsupportedTransport
from . import lent
from . import listen as listen_below
from .base import Attempts, Listener, ListenOptions, Triple
from .descriptors import (
    Message,
    NotUnderstood,
    check_platform,
    check_same_user,
    close_all,
    receive,
    send,
)
from .inherited import start_listening
from .offer import PRIVATE, VERSION, Offer, file_of
from .over import ListenerOver
from .sockets import SocketListener
from .unix import Bound, UnixListener, bind, dial_now

# How long the process before may take to answer; its loop may be busy.
_SECONDS_TO_ANSWER = 10.0


async def connect(target: object, ctx: Context, attempts: Attempts) -> Triple:
    """Refused: sockets that are handed over are a way to serve."""
    raise UnsupportedTransport(f"{target!r} is a way to serve, not a place to connect to")


async def listen(mode: server.Handover, ctx: Context, options: ListenOptions) -> list[Listener]:
    """Take the sockets of the process before, or listen otherwise; then offer them at the path.

    Raises OSError where nobody offers any and the mode has no `otherwise`, or where the process
    before does not answer; PermissionError for one of another user; AddressError if it has other
    sockets than those of `otherwise`. It goes on then.
    """
    check_platform(str(mode))
    lent.refuse(str(mode))
    before = await _process_before(mode)
    if before is None:
        return await _first(mode, ctx, options)
    try:
        wanted = await _wanted_path(mode)
        message, descriptors = await _ask(before)
        listeners, control = _made_of(mode, wanted, message, descriptors, ctx, options)
    except BaseException as error:
        before.close()
        if isinstance(error, EOFError | TimeoutError | NotUnderstood):
            raise OSError(errno.EPROTO, f"{mode}: no sockets were handed over: {error}") from error
        if isinstance(error, PermissionError):
            raise PermissionError(errno.EACCES, f"{mode}: {error}") from error
        raise
    return _with_offer(listeners, Succession(mode.path, listeners, control, before))


async def _process_before(mode: server.Handover) -> socket.socket | None:
    """A connection to the process that serves now; None where there is none."""
    try:
        async with asyncio.timeout(_SECONDS_TO_ANSWER):
            return await dial_now(mode.path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
            raise OSError(
                error.errno or errno.ETIMEDOUT,
                f"{mode}: cannot ask the process before: {error.strerror or 'it does not answer'}",
            ) from error
        if mode.otherwise is None:
            raise OSError(
                error.errno,
                f"{mode}: no process offers its sockets there; for the first one say how to be "
                "reached otherwise, as in Handover(path, server.TCP(8080))",
            ) from error
        return None


async def _first(mode: server.Handover, ctx: Context, options: ListenOptions) -> list[Listener]:
    listeners = await listen_below(mode.otherwise, ctx, options)
    try:
        for listener in listeners:
            listener.share()
        control = await bind(mode.path, PRIVATE)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return _with_offer(listeners, Succession(mode.path, listeners, control, None))


async def _ask(before: socket.socket) -> tuple[Message, list[int]]:
    check_same_user(before)
    try:
        async with asyncio.timeout(_SECONDS_TO_ANSWER):
            await send(before, {"conduit handover": VERSION})
            message, descriptors = await receive(before)
    except TimeoutError:
        raise TimeoutError(
            f"the process before did not answer in {_SECONDS_TO_ANSWER:g} s"
        ) from None
    except ConnectionError as error:
        raise EOFError(f"the process before has gone ({error.strerror})") from error
    if "refused" in message or not descriptors:
        close_all(descriptors)
        raise NotUnderstood(str(message.get("refused", "the process before sent no socket")))
    return message, descriptors


async def _wanted_path(mode: server.Handover) -> str:
    """The absolute path of a Unix socket that the mode wants; empty if it wants none."""
    below = mode.otherwise
    if not isinstance(below, server.UnixDomainSocket) or below.file.startswith("@"):
        return ""
    # In a thread, since it asks the file system where we are.
    return await asyncio.to_thread(os.path.abspath, below.file)


def _made_of(
    mode: server.Handover,
    wanted: str,
    message: Message,
    descriptors: list[int],
    ctx: Context,
    options: ListenOptions,
) -> tuple[list[Listener], Bound]:
    """Listeners of the descriptors that came, and the last as the socket of the path."""
    sockets: list[socket.socket] = []
    try:
        sockets += [socket.socket(fileno=descriptor) for descriptor in descriptors]
        files = [file_of(told) for told in message["sockets"]]
        if len(files) != len(sockets):
            raise NotUnderstood(f"{len(sockets)} descriptors came, and {len(files)} were told of")
        for sock in sockets:
            start_listening(sock, options)
        made: list[Listener] = [
            SocketListener(sock, ctx)
            if file is None
            else UnixListener(file[0], Bound(sock, *file), ctx)
            for sock, file in zip(sockets[:-1], files, strict=False)
        ]
        _check_agreement(mode, wanted, [listener.endp for listener in made])
        sockets[-1].setblocking(False)
        return made, Bound(sockets[-1], *files[-1] or (mode.path, None))
    except BaseException as error:
        for sock in sockets:
            sock.detach()
        close_all(descriptors)
        if isinstance(error, KeyError | TypeError | ValueError) and not isinstance(
            error, AddressError
        ):
            raise NotUnderstood("the process before does not say what its sockets are") from error
        raise


def _check_agreement(mode: server.Handover, path: str, endps: list[endp.Endp]) -> None:
    """Raise AddressError if the mode says clearly that it wants other sockets than there are."""
    wanted = mode.otherwise
    match wanted:
        case server.TCP(server.Port(port), ip=ip):
            agree = all(
                isinstance(one, endp.TCP) and port in (0, one.port) and ip in (None, one.ip)
                for one in endps
            )
        case server.UnixDomainSocket(file):
            agree = all(
                isinstance(one, endp.UnixDomainSocket) and one.path in (file, path) for one in endps
            )
        case server.Vsock():
            agree = all(isinstance(one, endp.Vsock) for one in endps)
        case _:
            agree = True
    if not agree:
        there = ", ".join(map(str, endps))
        raise AddressError(
            f"{mode}: the process before serves {there}, which is not {wanted}; to serve that, "
            "stop it first"
        )


def _with_offer(listeners: list[Listener], succession: Succession) -> list[Listener]:
    return [HandedListener(listener, succession) for listener in listeners]


class Succession:
    """One process in a row of them: whom it follows, and that it waits for the next.

    path: where sockets are offered. listeners: what is served. control: the socket of the path.
    before: the connection to the process before, None for the first one. It owns the last two.
    """

    def __init__(
        self,
        path: str,
        listeners: list[Listener],
        control: Bound,
        before: socket.socket | None,
    ) -> None:
        self._offer = Offer(path, listeners, control)
        self._before = before
        # Until we are to be the ones who serve, the names belong to whom we follow.
        self._offer.lend(before is not None)
        self._task: asyncio.Task[None] | None = None

    def begin(self, succeeded: Callable[[], None]) -> None:
        """We serve: let the process before stop, then wait for the next. A second call is none."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._run(succeeded), name="conduit handover"
            )

    def end(self) -> None:
        """Offer nothing any more. A second call does nothing."""
        self._offer.close()
        if self._task is not None:
            self._task.cancel()
        elif self._before is not None:
            self._before.close()

    async def _run(self, succeeded: Callable[[], None]) -> None:
        if self._before is not None:
            with self._before as before:
                await self._relieve(before)
            self._offer.lend(False)
            await self._offer.renew()
        await self._offer.wait()
        succeeded()

    async def _relieve(self, before: socket.socket) -> None:
        """Tell the process before that it may stop, and wait until it has heard, or has gone."""
        try:
            await send(before, {"ready": os.getpid()})
            await receive(before)
        except (EOFError, OSError):
            pass  # It has gone, and all is ours.


class HandedListener(ListenerOver):
    """A listener whose sockets the next process may have.

    below: the listener itself. succession: shared with the others of this server.
    """

    __slots__ = ("_succession",)

    def __init__(self, below: Listener, succession: Succession) -> None:
        super().__init__(below)
        self._succession = succession

    def served(self, succeeded: Callable[[], None]) -> None:
        self._succession.begin(succeeded)

    def unpublish(self) -> None:
        self._succession.end()
        super().unpublish()

    def close(self) -> None:
        self._succession.end()
        super().close()


async def offer_once(path: str, listeners: list[Listener], stopped: asyncio.Future[None]) -> bool:
    """Offer the sockets of a running server. Whether a process that took them is ready.

    path: where. stopped: done when the server has stopped, which ends the offer.
    """
    check_platform(f"handover at {path}")
    lent.refuse(f"handover at {path}")
    for listener in listeners:
        listener.share()
    offer = Offer(path, listeners, await bind(path, PRIVATE))
    waiting = asyncio.ensure_future(offer.wait())
    try:
        await asyncio.wait((waiting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            return False
        waiting.result()
        return True
    finally:
        waiting.cancel()
        offer.close()
