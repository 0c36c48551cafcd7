"""Unix sockets: by path, and by abstract name (`@name`, Linux only)."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import stat
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import NamedTuple, TypeAlias

from .. import client, endp, events, server
from ..channels import Wire, pair
from ..context import Context
from ..errors import AddressError, UnsupportedTransport
from . import lent
from .base import Attempts, Listener, ListenOptions, Shared, Triple
from .sockets import SocketListener, is_uvloop, unix_endp, unix_flow

# struct sockaddr_un, unix(7); a path ends with a NUL, an abstract name begins with one.
_LONGEST_NAME = 107 if sys.platform == "linux" else 103

# What of a stat result tells one file from another: device, inode.
_Identity: TypeAlias = tuple[int, int]


class Bound(NamedTuple):
    """A listening socket and its file, whose path is absolute: a program may change directory.

    identity: of the file, None for an abstract name, which has none.
    """

    sock: socket.socket
    file: str
    identity: _Identity | None

    def remove(self) -> None:
        """Remove the file, if it is still the same one."""
        if self.identity is not None:
            _unlink(self.file, self.identity)

    def is_there(self) -> bool:
        """Whether the file is still there, and the same one."""
        try:
            info = os.lstat(self.file)
        except OSError:
            return False
        return self.identity == (info.st_dev, info.st_ino)


# A listening socket whose queue is full has no event to wait for: ask again, ever more slowly.
_FIRST_RETRY = 0.001
_LONGEST_RETRY = 0.05

# Seconds to wait for another process that is about to listen on the same path.
_LOCK_TIMEOUT = 5.0


async def connect(target: client.UnixDomainSocket, ctx: Context, attempts: Attempts) -> Triple:
    """Connect to the socket at a path; while the server's queue is full, wait for room in it."""
    file = target.file
    origin = unix_endp(file)
    if events.observers:
        events.emit(events.Attempt(origin))
    name = _name(file)
    loop = asyncio.get_running_loop()
    wire = Wire(loop, ctx.close_timeout)
    fd = -1
    if type(name) is str and is_uvloop(loop) and hasattr(socket, "AF_UNIX"):
        # Its own way costs least.
        try:
            transport, _ = await loop.create_unix_connection(lambda: wire, name)
            fd = transport.get_extra_info("socket").fileno()
        except BlockingIOError:
            pass  # The queue is full.
    if fd < 0:
        fd = await _connect_when_there_is_room(name, wire)
    wire.fd = fd
    wire.flow = unix_flow(fd, file, origin)
    return Triple(wire.flow, *pair(wire))


async def _connect_when_there_is_room(name: str | bytes, wire: Wire) -> int:
    """Not by the loop: asyncio takes a full queue for a connection, uvloop knows no abstract names.

    Returns the descriptor.
    """
    sock = _new_socket()
    try:
        await _reach(sock, name)
        fd = sock.fileno()
        await wire.loop.create_unix_connection(lambda: wire, sock=sock)
    except BaseException:
        sock.close()
        raise
    return fd


async def listen(
    mode: server.UnixDomainSocket, ctx: Context, options: ListenOptions
) -> list[Listener]:
    """Listen at a path, taking it over from a server that has died, never from one that lives."""
    if lent.lender is not None:
        _name(mode.file)
        return await lent.lender.listen(lent.Wanted("unix", mode.file), ctx, options)
    bound = await bind(mode.file, options)
    if bound.identity is None:
        return [SocketListener(bound.sock, ctx)]
    return [UnixListener(mode.file, bound, ctx)]


async def bind(file: str, options: ListenOptions) -> Bound:
    """A socket that listens at a path, or for an abstract name; what `listen` does without flows.

    options: `backlog` and `unix_mode` count.
    """
    _name(file)
    if file.startswith("@"):
        return _bind_abstract(file, options)
    # In a thread: file systems can be slow, and the lock may have to be waited for.
    thread = ThreadPoolExecutor(1, thread_name_prefix="conduit-bind")
    claim = _Claim()
    binding = thread.submit(_bind, file, options, claim)
    thread.shutdown(wait=False)
    settled = asyncio.wrap_future(binding)
    try:
        return await asyncio.shield(settled)
    except asyncio.CancelledError:
        # The thread cannot be stopped; it gives back what it makes, or we do. If it fails, nobody
        # is there to be told.
        claim.abandon()
        settled.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


def bind_now(file: str, options: ListenOptions) -> Bound:
    """As `bind`, for a process without a loop: it waits for the file system, and for the lock."""
    if file.startswith("@"):
        return _bind_abstract(file, options)
    return _bind(file, options, _Claim())


def _bind_abstract(file: str, options: ListenOptions) -> Bound:
    sock = _new_socket()
    try:
        sock.bind(_name(file))
        sock.listen(options.backlog)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {file}: {error.strerror}") from error
    return Bound(sock, file, None)


async def dial_now(file: str) -> socket.socket:
    """A connected, non-blocking socket. Raises OSError as connect(2)."""
    sock = _new_socket()
    try:
        await _reach(sock, _name(file))
    except BaseException:
        sock.close()
        raise
    return sock


class _Claim:
    """Who has what a thread binds: the thread, until it settles; then who waits for it."""

    __slots__ = ("_abandoned", "_bound", "_lock")

    def __init__(self) -> None:
        self._lock = Lock()
        self._abandoned = False
        self._bound: Bound | None = None

    def settle(self, bound: Bound) -> Bound:
        """Hand it over; if nobody wants it any more, give it back at once."""
        with self._lock:
            self._bound = bound
            if self._abandoned:
                self._give_back(bound)
        return bound

    def abandon(self) -> None:
        """Let the thread give it back, or do so now."""
        with self._lock:
            self._abandoned = True
            if self._bound is not None:
                self._give_back(self._bound)

    def _give_back(self, bound: Bound) -> None:
        # In this order: once it is closed, another file may get its inode.
        bound.remove()
        bound.sock.close()


class UnixListener(SocketListener):
    """A Unix socket with a file, which goes when the server does, if it is still this server's."""

    __slots__ = ("_bound", "_lent")

    def __init__(self, file: str, bound: Bound, ctx: Context) -> None:
        super().__init__(bound.sock, ctx)
        self.endp = endp.UnixDomainSocket(file)
        self._bound: Bound | None = bound
        self._lent = False

    def share(self) -> Shared:
        """As every listener; the file is the successor's to remove."""
        if self._bound is None:
            return super().share()
        return Shared(self._bound.sock.fileno(), self._bound.file, self._bound.identity)

    def lend(self, lent: bool) -> None:
        """As every listener."""
        self._lent = lent

    def unpublish(self) -> None:
        """Remove the file, if it is still this server's."""
        bound, self._bound = self._bound, None
        if bound is not None and not self._lent:
            bound.remove()

    def close(self) -> None:
        """As every listener; the file goes too."""
        self.unpublish()
        super().close()


def _new_socket() -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise UnsupportedTransport(f"Python on {sys.platform} has no Unix sockets")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


@lru_cache(maxsize=256)
def _name(file: str) -> str | bytes:
    """The name to bind or connect to."""
    if not file:
        # Linux would make up an abstract name.
        raise AddressError("unix: the path is empty")
    size = len(os.fsencode(file.removeprefix("@")))
    if size > _LONGEST_NAME:
        raise AddressError(
            f"unix:{file} is too long: {size} bytes, and this system takes {_LONGEST_NAME}"
        )
    if file.startswith("@"):
        if sys.platform != "linux":
            raise UnsupportedTransport(f"unix:{file}: abstract sockets exist on Linux only")
        return b"\0" + os.fsencode(file[1:])
    return file


async def _reach(sock: socket.socket, name: str | bytes) -> None:
    delay = _FIRST_RETRY
    while True:
        try:
            sock.connect(name)
        except BlockingIOError:
            # Not all at the same time, if many wait.
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(2 * delay, _LONGEST_RETRY)
        else:
            return


def _bind(file: str, options: ListenOptions, claim: _Claim) -> Bound:
    """A listening socket at a path. Blocks."""
    sock = _new_socket()
    try:
        with _lock(file):
            _remove_dead(file)
            sock.bind(file)
            info = os.lstat(file)
            identity = info.st_dev, info.st_ino
            try:
                # Nobody can connect before listen(), so nobody sees other permissions.
                if options.unix_mode is not None:
                    os.chmod(file, options.unix_mode)
                sock.listen(options.backlog)
                # Still under the lock: the next server is to find either a live one or nothing.
                return claim.settle(Bound(sock, os.path.abspath(file), identity))
            except BaseException:
                _unlink(file, identity)
                raise
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {file}: {error.strerror}") from error
    except BaseException:
        sock.close()
        raise


def _remove_dead(file: str) -> None:
    """Remove the file of a server that is no more. Raises OSError(EADDRINUSE) for anything else."""
    try:
        info = os.lstat(file)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise OSError(errno.EADDRINUSE, "there is a file of this name that is no socket")
    with _new_socket() as probe:
        answer = probe.connect_ex(file)
    if answer == errno.ENOENT:
        return
    if answer in (errno.EACCES, errno.EPERM):
        raise OSError(errno.EADDRINUSE, "there is a socket, and no right to see whether it is dead")
    if answer == errno.EPROTOTYPE:
        raise OSError(errno.EADDRINUSE, "there is a socket of another type")
    if answer != errno.ECONNREFUSED:
        raise OSError(errno.EADDRINUSE, "another server is listening there")
    _unlink(file, (info.st_dev, info.st_ino))


@contextmanager
def _lock(file: str) -> Generator[None]:
    """Hold `file`.lock, so that of two servers that start at once one sees the other."""
    import fcntl

    path = file + ".lock"
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror} (its lock file {path})") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before has removed the file: then this is a lock on nothing.
            if _same_file(path, lock):
                break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise OSError(
                    errno.EADDRINUSE, f"another process has held {path} for {_LOCK_TIMEOUT:g} s"
                ) from None
            time.sleep(_FIRST_RETRY)
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
    try:
        yield
    finally:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # Somebody tidied up; the lock was ours all the same.
        os.close(lock)


def _same_file(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _unlink(file: str, identity: _Identity) -> None:
    """Remove `file` if it is still the same one."""
    try:
        info = os.lstat(file)
        if (info.st_dev, info.st_ino) == identity:
            os.unlink(file)
    except FileNotFoundError:
        pass
