"""The side of a handover that has the sockets: it waits for a successor at a path."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Any

from ..channels.names import PeerCredentials, peer_credentials
from .base import Listener, ListenOptions, Shared
from .descriptors import MOST, check_same_user, readable, receive, send
from .unix import Bound, bind

VERSION = 1

PRIVATE = ListenOptions(backlog=16, unix_mode=0o600)
"""How the socket of a path listens: for the same user alone."""

# How long one that connects may take to say what it wants; then the next one has its turn.
_SECONDS_TO_ASK = 10.0

# After how long one that has the sockets, and does not serve them yet, is told of. It is waited for
# all the same: as long as it lives, it may begin.
_SECONDS_TO_SERVE = 30.0

# When a successor could not be answered, for want of descriptors.
_PAUSE_SECONDS = 1.0

logger = logging.getLogger("conduit")


class Offer:
    """Listening sockets, for the process that comes for them.

    path: where it comes. listeners: what it gets. control: the listening socket of the path, which
    it gets as well; owned.
    """

    def __init__(self, path: str, listeners: list[Listener], control: Bound) -> None:
        self._path = path
        self._listeners = listeners
        self._control = control
        self._lent = False
        self._closed = False

    async def renew(self) -> None:
        """Listen at the path anew if its file is gone, which came with the sockets."""
        control = self._control
        if control.identity is None or await asyncio.to_thread(control.is_there):
            return
        try:
            renewed = await bind(self._path, PRIVATE)
        except OSError as error:
            logger.error("no later process can take over: %s", error)  # noqa: TRY400 (it says all)
            return
        control.sock.close()
        self._control = renewed

    async def wait(self) -> None:
        """Return when a process has the sockets and serves them."""
        while True:
            try:
                sock = await self._next()
            except OSError as error:
                logger.error("%s: cannot hand over for now: %s", self._path, error)  # noqa: TRY400
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            with sock:
                sock.setblocking(False)
                try:
                    await self._hand_to(sock)
                except (OSError, EOFError) as error:
                    logger.warning("%s: nothing was handed over: %s", self._path, error)
                else:
                    return

    def close(self) -> None:
        """Offer nothing any more; the path goes, unless a successor has it."""
        if self._closed:
            return
        self._closed = True
        control = self._control
        if not self._lent:
            control.remove()
        asyncio.get_running_loop().remove_reader(control.sock.fileno())
        control.sock.close()

    def lend(self, lent: bool) -> None:
        """Leave all names to another process when we close, if `lent`."""
        self._lent = lent
        for listener in self._listeners:
            listener.lend(lent)

    async def _next(self) -> socket.socket:
        """Whoever comes next."""
        while True:
            control = self._control.sock
            try:
                return control.accept()[0]
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                await readable(control)

    async def _hand_to(self, sock: socket.socket) -> None:
        """Give all to one process, and wait until it serves; raises if it does not."""
        check_same_user(sock)
        async with asyncio.timeout(_SECONDS_TO_ASK):
            asked, unasked = await receive(sock)
        for descriptor in unasked:
            os.close(descriptor)
        if asked.get("conduit handover") != VERSION:
            await send(sock, {"refused": f"this process speaks version {VERSION} of a handover"})
            raise OSError(f"the process at the other end speaks another version: {asked}")
        control = self._control
        shared = [listener.share() for listener in self._listeners]
        shared.append(
            Shared(control.sock.fileno(), control.identity and control.file, control.identity)
        )
        if len(shared) > MOST:
            await send(sock, {"refused": f"{len(shared)} sockets are more than {MOST}"})
            raise OSError(f"{len(shared)} sockets are more than {MOST}")
        self.lend(True)
        late = asyncio.get_running_loop().call_later(
            _SECONDS_TO_SERVE, self._complain, peer_credentials(sock)
        )
        try:
            told = [{"file": one.file, "identity": one.identity} for one in shared]
            await send(sock, {"sockets": told}, [one.fd for one in shared])
            ready, extra = await receive(sock)
            for descriptor in extra:
                os.close(descriptor)
            if "ready" not in ready:
                raise OSError(f"the process at the other end is not ready: {ready}")
        except Exception:
            # It has gone, and what it had with it. Cancelled, we cannot know.
            self.lend(False)
            raise
        finally:
            late.cancel()
        try:
            await send(sock, {"yours": os.getpid()})
        except OSError:
            pass  # It serves all the same.

    def _complain(self, peer: PeerCredentials | None) -> None:
        logger.warning(
            "%s: process %s has had the sockets for %g s and does not serve yet; this one goes on, "
            "and nobody else can follow it until then",
            self._path,
            "?" if peer is None else peer.pid,
            _SECONDS_TO_SERVE,
        )


def file_of(told: Any) -> tuple[str, tuple[int, int]] | None:
    """The file of a socket as the other process tells of it, and what the file is; None for none.

    Raises TypeError, ValueError or KeyError for what is not told in order.
    """
    if told["file"] is None:
        return None
    device, inode = told["identity"]
    return str(told["file"]), (int(device), int(inode))
