"""Sockets that macOS's launchd opened for this program: launch_activate_socket(3)."""

from __future__ import annotations

import ctypes
import errno
import os
import sys

from .. import server
from ..context import Context
from ..errors import AddressError, UnsupportedTransport
from .base import Attempts, Listener, ListenOptions, Triple
from .inherited import listen_on_all


async def connect(target: object, ctx: Context, attempts: Attempts) -> Triple:
    """Refused: a socket of launchd's is a way to serve."""
    raise UnsupportedTransport(f"{target!r} is a way to serve, not a place to connect to")


async def listen(mode: server.Launchd, ctx: Context, options: ListenOptions) -> list[Listener]:
    """Serve every socket of an entry, which may have one for each family or address.

    Raises UnsupportedTransport on other systems, and where launchd did not start the program;
    OSError for an entry that is none or was taken before; AddressError for sockets that are none to
    accept clients from.
    """
    # Not in a thread: it asks launchd once, at the start, and descriptors could be lost there.
    descriptors = activate(mode, library_path(mode))
    try:
        return listen_on_all(
            descriptors, ctx, options, what=lambda fd: f"{mode!r}: descriptor {fd} of launchd's"
        )
    except BaseException:
        # launchd gives them but once, so nobody can have them any more.
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def library_path(mode: server.Launchd) -> str:
    """Where launchd's function is. Raises UnsupportedTransport on all systems but macOS."""
    if sys.platform == "darwin":
        return "/usr/lib/libSystem.B.dylib"
    raise UnsupportedTransport(
        f"{mode!r}: launchd is of macOS, and this is {sys.platform}; on Linux there is "
        "server.Systemd"
    )


def activate(mode: server.Launchd, library: str) -> list[int]:
    """Take the descriptors of an entry; they are ours from now on, and closed on exec.

    library: the path of one that has `launch_activate_socket`.
    """
    try:
        name = mode.name.encode()
    except UnicodeEncodeError:
        raise AddressError(f"{mode!r}: the name is no UTF-8, so no property list has it") from None
    try:
        system = ctypes.CDLL(library)
        take = system.launch_activate_socket
        free = system.free
    except (OSError, AttributeError) as error:
        raise UnsupportedTransport(
            f"{mode!r}: {library} has no launch_activate_socket, which macOS has since 10.10"
        ) from error
    take.argtypes = [
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.POINTER(ctypes.c_int)),
        ctypes.POINTER(ctypes.c_size_t),
    ]
    take.restype = ctypes.c_int
    free.argtypes = [ctypes.c_void_p]
    free.restype = None
    array, count = ctypes.POINTER(ctypes.c_int)(), ctypes.c_size_t()
    failure = take(name, ctypes.byref(array), ctypes.byref(count))
    if failure:
        raise _explained(mode, failure)
    try:
        descriptors = [array[index] for index in range(count.value)]
    finally:
        free(array)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    if not descriptors:
        raise OSError(errno.ENOENT, f"{mode!r}: the entry in the property list has no socket")
    return descriptors


def _explained(mode: server.Launchd, failure: int) -> OSError:
    match failure:
        case errno.ENOENT:
            why = f"the Sockets of the property list have no entry {mode.name!r}"
        case errno.ESRCH:
            lacking = UnsupportedTransport(
                f"{mode!r}: launchd does not manage this process; load its property list by "
                "launchctl, and let launchd start it"
            )
            lacking.errno = failure
            return lacking
        case errno.EALREADY:
            why = "the sockets of this entry were taken before; launchd gives them once a process"
        case _:
            why = os.strerror(failure)
    return OSError(failure, f"{mode!r}: {why}")
