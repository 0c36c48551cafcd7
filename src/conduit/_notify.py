"""Telling systemd how the program is doing: sd_notify(3), without its library.

A service of Type=notify is told to be started when its servers listen, and a watchdog is fed while
the loop turns. It happens by itself where NOTIFY_SOCKET is set, and nothing is sent where it is
not. The variables are taken out of the environment, so that child processes do not speak for us.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

# When systemd's queue is full.
_SECONDS_BETWEEN_TRIES = 0.05

logger = logging.getLogger("conduit")


class Notifier:
    """What tells a supervisor of this process; made once for it by `notifier`.

    address: that of its datagram socket, as `socket.sendto` takes it; None where nobody wants to
    know. watchdog: seconds after which it takes the program for dead, None for no watchdog.
    """

    def __init__(self, address: str | bytes | None, watchdog: float | None) -> None:
        self._address = address
        self._watchdog = watchdog
        self._pid = os.getpid()
        self._lock = threading.Lock()  # servers may run in loops of several threads
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = 0
        self._serving = 0
        self._reloading = 0
        self._ready = False
        self._stopping = False
        self._unsent: deque[str] = deque()

    @property
    def is_heard(self) -> bool:
        """Whether somebody wants to know of this process; not of one it was forked from."""
        return self._address is not None and self._pid == os.getpid()

    @property
    def watchdog(self) -> float | None:
        """Seconds after which the program is taken for dead; None for no watchdog."""
        return self._watchdog

    def tell_now(self, message: str) -> None:
        """Send a message without a loop; it is lost where there is no room for it."""
        if self.is_heard:
            self._sent(message)

    # What servers tell.

    def turn(self) -> None:
        """The running loop turns: feed the watchdog from it, unless another loop does already."""
        if self._watchdog is None or not self.is_heard:
            return
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._loop is not None and not self._loop.is_closed():
                return
            self._loop = loop
        self._feed(loop, self._watchdog)

    def server_starts(self) -> None:
        """A server is about to listen."""
        self._starting += 1
        self.turn()

    def server_started(self, listens: bool) -> None:
        """It listens now, or cannot."""
        with self._lock:
            self._starting -= 1
            self._serving += listens
        if self.is_heard:
            # Not at once: another server may be about to start in this turn of the loop, too.
            asyncio.get_running_loop().call_soon(self._look)

    def server_stops(self) -> None:
        """A server that listened begins its stop."""
        with self._lock:
            self._serving -= 1
            last = self._ready and not (self._serving or self._starting or self._stopping)
            self._stopping = self._stopping or last
        if last:
            self._tell(STOPPING)

    @contextmanager
    def reload(self) -> Generator[None]:
        """Files are read again in the block; when it fails, what was read before is in use."""
        with self._lock:
            begins = not self._reloading
            self._reloading += 1
        if begins and self._ready and not self._stopping:
            # The time makes sure that a message of before is not taken for the end of this.
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._tell(f"RELOADING=1\nMONOTONIC_USEC={now}")
        try:
            yield
        finally:
            with self._lock:
                self._reloading -= 1
                ends = not self._reloading
            if ends and self._ready and not self._stopping:
                self._tell(READY)

    def _look(self) -> None:
        with self._lock:
            ready = bool(self._serving) and not self._starting and not self._ready
            self._ready = self._ready or ready
        if ready:
            self._tell(READY)

    def _feed(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        if self.is_heard:
            if not self._unsent:
                self._tell(WATCHDOG)
            loop.call_later(seconds / 2, self._feed, loop, seconds)

    # How it gets there.

    def _tell(self, message: str) -> None:
        """Send a message without waiting, or when there is room for it. Never raises."""
        if self.is_heard:
            self._unsent.append(message)
            self._send()

    def _send(self) -> None:
        with self._lock:
            while self._unsent:
                if not self._sent(self._unsent[0]):
                    asyncio.get_running_loop().call_later(_SECONDS_BETWEEN_TRIES, self._send)
                    return
                self._unsent.popleft()

    def _sent(self, message: str) -> bool:
        """Whether it is sent, or never will be."""
        assert self._address is not None
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(message.encode(), self._address)
        except BlockingIOError:
            return False
        except OSError as error:
            logger.warning(
                "cannot tell systemd %r at NOTIFY_SOCKET=%r: %s",
                message.partition("\n")[0],
                self._address,
                error.strerror,
            )
        return True


_notifier: Notifier | None = None


def notifier() -> Notifier:
    """That of this process. The first call takes the variables out of the environment."""
    global _notifier
    if _notifier is None:
        told = {name: os.environ.pop(name, "") for name in _VARIABLES}
        address = _address(told["NOTIFY_SOCKET"])
        watchdog = _watchdog(told["WATCHDOG_USEC"], told["WATCHDOG_PID"])
        _notifier = Notifier(address, None if address is None else watchdog)
    return _notifier


def _address(where: str) -> str | bytes | None:
    if not where:
        return None
    if not where.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        logger.warning("NOTIFY_SOCKET=%r is neither a path nor an abstract name: unused", where)
        return None
    return b"\0" + os.fsencode(where[1:]) if where.startswith("@") else where


def _watchdog(microseconds: str, pid: str) -> float | None:
    """Seconds of the watchdog; None where there is none, or for another process."""
    if pid and pid != str(os.getpid()):
        return None
    if not (microseconds.isascii() and microseconds.isdigit()) or len(microseconds) > 19:
        return None
    return int(microseconds) / 1e6 or None
