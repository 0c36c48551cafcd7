"""libxenvchan by ctypes: one end of a vchan, with the traps of the library disarmed.

See `libxenvchan.h` of Xen. What that does not say, and what is done about it here:

- `blocking` of the handle is never initialised: it is cleared.
- A server's handle removes its keys from xenstore when it is closed, also if they are those of
  another server by then: its path is taken from it, and the keys are the business of `rendezvous`.
- A failing `libxenvchan_server_init` unmaps and frees what uninitialised fields point to: the
  memory it is about to get is cleared before.
- `libxenvchan_wait` blocks when there is no event: the descriptor is made non-blocking.
- -1 may be the answer to a read although the last bytes came in between: they are looked for.

All of these calls are quick and none waits for a peer, but opening talks to xenstore.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from functools import lru_cache

from . import libraries

RING = 64 * 1024
"""Bytes under way in each direction, at most. Xen takes up to 1 MiB."""

NO_CLIENT_YET = 2

_READ_SIZE = 64 * 1024


class _Ring(ctypes.Structure):
    _fields_ = [("shr", c_void_p), ("buffer", c_void_p), ("order", c_int)]


class _Control(ctypes.Structure):
    """struct libxenvchan, the same from Xen 4.2 on."""

    _fields_ = [
        ("gnttab", c_void_p),
        ("ring", c_void_p),
        ("event", c_void_p),
        ("event_port", c_uint32),
        ("is_server", c_int, 1),
        ("server_persist", c_int, 1),
        ("blocking", c_int, 1),
        ("read", _Ring),
        ("write", _Ring),
        ("xs_path", c_void_p),
    ]


@lru_cache
def _library() -> ctypes.CDLL:
    library = libraries.find("xenvchan")
    if library is None:
        raise FileNotFoundError(errno.ENOENT, "libxenvchan is not installed")
    for name, result, *arguments in (
        ("server_init", c_void_p, c_void_p, c_int, c_char_p, c_size_t, c_size_t),
        ("client_init", c_void_p, c_void_p, c_int, c_char_p),
        ("read", c_int, c_void_p, c_void_p, c_size_t),
        ("write", c_int, c_void_p, c_void_p, c_size_t),
        ("wait", c_int, c_void_p),
        ("fd_for_select", c_int, c_void_p),
        ("is_open", c_int, c_void_p),
        ("data_ready", c_int, c_void_p),
        ("close", None, c_void_p),
    ):
        function = getattr(library, f"libxenvchan_{name}")
        function.restype = result
        function.argtypes = arguments
    return library


class End:
    """One end of a vchan. Use `serve` or `join`; `close` gives everything back."""

    __slots__ = ("_buffer", "_handle", "_library", "fd")

    def __init__(self, library: ctypes.CDLL, handle: int) -> None:
        self._library = library
        self._handle = handle
        control = ctypes.cast(handle, POINTER(_Control)).contents
        control.blocking = 0
        if control.is_server:
            libraries.libc().free(control.xs_path)
            control.xs_path = None
        self.fd: int = library.libxenvchan_fd_for_select(handle)
        """Readable when something has changed: input, room for output, or the peer has gone."""
        os.set_blocking(self.fd, False)
        self._buffer = ctypes.create_string_buffer(_READ_SIZE)

    def take_event(self) -> None:
        """What to do when `fd` is readable: the only way to be told again."""
        # -1 for an event that is none.
        self._library.libxenvchan_wait(self._handle)

    @property
    def has_client(self) -> bool:
        """Of a server: whether a client has come; it may have gone again."""
        return bool(self._library.libxenvchan_is_open(self._handle) != NO_CLIENT_YET)

    @property
    def is_dead(self) -> bool:
        """Whether the peer has closed its end, or has died."""
        return bool(self._library.libxenvchan_is_open(self._handle) == 0)

    def read(self) -> bytes | None:
        """What has come in; `b""` for nothing yet, None when no more will come."""
        library, handle = self._library, self._handle
        size = library.libxenvchan_read(handle, self._buffer, _READ_SIZE)
        if size < 0 and library.libxenvchan_data_ready(handle) > 0:
            size = library.libxenvchan_read(handle, self._buffer, _READ_SIZE)
        return None if size < 0 else ctypes.string_at(self._buffer, size)

    def write(self, data: bytes) -> int:
        """Send as much of `data` as there is room for: how many bytes. -1: the peer has gone."""
        return int(self._library.libxenvchan_write(self._handle, data, len(data)))

    def close(self) -> None:
        """Let go of it; the peer can still read what was sent. A second call does nothing."""
        handle, self._handle = self._handle, 0
        if handle:
            self._library.libxenvchan_close(handle)


def serve(client: int, path: str) -> End:
    """Make a vchan for a client, and write its keys.

    client: the domain that may come. path: where, in xenstore; it must exist.

    Raises OSError; its number may be 0, since the library does not always say.
    """
    library = _library()
    _clear_memory()
    ctypes.set_errno(0)
    handle = library.libxenvchan_server_init(None, client, path.encode(), RING, RING)
    if not handle:
        raise _failure("libxenvchan_server_init")
    return End(library, handle)


def join(server: int, path: str) -> End:
    """Connect to a vchan whose keys are there.

    Raises OSError: EINVAL when nobody answers there, or somebody else is connected.
    """
    library = _library()
    ctypes.set_errno(0)
    handle = library.libxenvchan_client_init(None, server, path.encode())
    if not handle:
        raise _failure("libxenvchan_client_init")
    return End(library, handle)


def _failure(function: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number) if number else f"{function} failed")


def _clear_memory() -> None:
    """See to it that the next handle is made in memory full of zeros.

    An allocator gives out first what a thread has freed last. As many pieces as glibc keeps at
    hand for a thread are filled and freed; in between here and there no memory of this size is
    asked for.
    """
    libc = libraries.libc()
    size = ctypes.sizeof(_Control)
    pieces = [libc.malloc(size) for _ in range(7)]
    for piece in pieces:
        if piece:
            ctypes.memset(piece, 0, size)
    for piece in pieces:
        libc.free(piece)
