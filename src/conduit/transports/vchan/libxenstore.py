"""libxenstore by ctypes: reading, writing and watching Xen's store. See `xenstore.h` of Xen.

Every call waits for xenstored, so none is for the loop; except `Store.changes`, which only looks
at what has come already.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import POINTER, c_bool, c_char_p, c_int, c_uint, c_uint32, c_ulong, c_void_p
from functools import lru_cache
from typing import Any

from . import libraries

READ, WRITE = 1, 2
"""What a permission allows; their sum is both."""


class _Permission(ctypes.Structure):
    _fields_ = [("id", c_uint), ("perms", c_int)]


@lru_cache
def _library() -> ctypes.CDLL:
    library = libraries.find("xenstore")
    if library is None:
        raise FileNotFoundError(errno.ENOENT, "libxenstore is not installed")
    for name, result, *arguments in (
        ("open", c_void_p, c_ulong),
        ("close", None, c_void_p),
        ("read", c_void_p, c_void_p, c_uint32, c_char_p, POINTER(c_uint)),
        ("write", c_bool, c_void_p, c_uint32, c_char_p, c_char_p, c_uint),
        ("rm", c_bool, c_void_p, c_uint32, c_char_p),
        ("directory", c_void_p, c_void_p, c_uint32, c_char_p, POINTER(c_uint)),
        ("set_permissions", c_bool, c_void_p, c_uint32, c_char_p, POINTER(_Permission), c_uint),
        ("watch", c_bool, c_void_p, c_char_p, c_char_p),
        ("check_watch", c_void_p, c_void_p),
        ("fileno", c_int, c_void_p),
        ("is_domain_introduced", c_bool, c_void_p, c_uint),
        ("transaction_start", c_uint32, c_void_p),
        ("transaction_end", c_bool, c_void_p, c_uint32, c_bool),
    ):
        function = getattr(library, f"xs_{name}")
        function.restype = result
        function.argtypes = arguments
    return library


class Store:
    """A connection to xenstored; `close` it. Raises OSError where there is none to be had."""

    def __init__(self) -> None:
        self._library = _library()
        self._handle: int | None = self._call("xenstored", "open", 0)
        self._transaction = 0

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it, and of its watches. A second call does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._library.xs_close(handle)

    def read(self, path: str) -> str | None:
        """What stands at a path; None if it is not there, or not for us."""
        size = c_uint()
        try:
            found = self._on("read", path, size)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES):
                return None
            raise
        try:
            return ctypes.string_at(found, size.value).decode("utf-8", "replace")
        finally:
            libraries.libc().free(found)

    def write(self, path: str, value: str) -> None:
        """Write it, and the directories above it. Raises OSError."""
        data = value.encode()
        self._on("write", path, data, len(data))

    def remove(self, path: str) -> None:
        """Remove it, if it is there, and all below it. Raises OSError."""
        try:
            self._on("rm", path)
        except FileNotFoundError:
            pass  # as asked for

    def children(self, path: str) -> list[str]:
        """The names below a path; none if it is not there."""
        size = c_uint()
        try:
            found = self._on("directory", path, size)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES):
                return []
            raise
        try:
            names = ctypes.cast(found, POINTER(c_char_p))
            return [(names[i] or b"").decode("utf-8", "replace") for i in range(size.value)]
        finally:
            libraries.libc().free(found)

    def allow(self, path: str, owner: int, others: int = 0) -> None:
        """Let nobody but its owner use a path, or every domain. others: READ, WRITE, both or 0."""
        self._permit(path, [_Permission(owner, others)])

    def allow_one(self, path: str, owner: int, reader: int) -> None:
        """Let its owner and one domain more read a path."""
        self._permit(path, [_Permission(owner, 0), _Permission(reader, READ)])

    def _permit(self, path: str, permissions: list[_Permission]) -> None:
        array = (_Permission * len(permissions))(*permissions)
        self._on("set_permissions", path, array, len(permissions))

    def has_domain(self, domid: int) -> bool:
        """Whether there is a domain of this number; True where only domain 0 may know."""
        ctypes.set_errno(0)
        found = bool(self._library.xs_is_domain_introduced(self._handle, domid))
        return found or ctypes.get_errno() in (errno.EACCES, errno.EPERM)

    def remove_empty(self, path: str) -> bool:
        """Remove a path that has nothing below it. Says whether it is gone.

        In a transaction, so that what another process puts there meanwhile is not lost.
        """
        self._transaction = self._call(path, "transaction_start", self._handle)
        try:
            empty = not self.children(path)
            if empty:
                self.remove(path)
        except BaseException:
            self._end(abort=True)
            raise
        return self._end(abort=not empty) and empty

    def _end(self, *, abort: bool) -> bool:
        transaction, self._transaction = self._transaction, 0
        return bool(self._library.xs_transaction_end(self._handle, transaction, abort))

    # Watching.

    def watch(self, path: str) -> None:
        """Be told of every change at a path and below it, and once right away."""
        if not self._library.xs_watch(self._handle, path.encode(), b"conduit"):
            raise _failure(path)

    @property
    def fd(self) -> int:
        """Readable when `changes` has something to tell."""
        return int(self._library.xs_fileno(self._handle))

    def changes(self) -> list[str]:
        """The paths that have changed, of those watched. Never waits."""
        paths: list[str] = []
        while self._handle and (found := self._library.xs_check_watch(self._handle)):
            paths.append(ctypes.cast(found, POINTER(c_char_p))[0].decode("utf-8", "replace"))
            libraries.libc().free(found)
        return paths

    # Calls.

    def _on(self, function: str, path: str, *rest: Any) -> Any:
        arguments = [ctypes.byref(part) if isinstance(part, c_uint) else part for part in rest]
        return self._call(
            path, function, self._handle, self._transaction, path.encode(), *arguments
        )

    def _call(self, path: str, function: str, *arguments: Any) -> Any:
        if None in arguments:
            # The library would not survive it.
            raise OSError(errno.EBADF, "the connection to xenstored is closed")
        ctypes.set_errno(0)
        result = getattr(self._library, f"xs_{function}")(*arguments)
        if not result:
            raise _failure(path)
        return result


def _failure(path: str) -> OSError:
    number = ctypes.get_errno() or errno.EIO
    return OSError(number, f"{os.strerror(number)} ({path} in xenstore)")
