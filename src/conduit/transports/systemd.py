"""Sockets that systemd opened, and handed to this program: sd_listen_fds(3).

Any supervisor may speak this protocol: LISTEN_FDS says how many descriptors there are, from 3 on,
LISTEN_FDNAMES what each is called, LISTEN_PID for which process they are.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field

from .. import server
from ..context import Context
from ..errors import AddressError, UnsupportedTransport
from .base import Attempts, Listener, ListenOptions, Triple
from .inherited import listen_on_all

_FIRST = 3  # SD_LISTEN_FDS_START
_UNNAMED = "unknown"  # what sd_listen_fds_with_names calls what has no name

# More than any process may have open is a mistake, and would take long to close.
_MOST = 1 << 16

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")

_HOW = (
    "start it by a .socket unit, or to try it by: "
    "systemd-socket-activate --listen=8080 --fdname=NAME PROGRAM"
)


@dataclass(slots=True)
class _Handed:
    """What this process was handed.

    free: descriptors that nobody serves yet, each with its name. names: all there were. why_none:
    in words, if there was nothing.
    """

    pid: int
    free: dict[int, str] = field(default_factory=dict[int, str])
    names: tuple[str, ...] = ()
    why_none: str = ""


_handed: _Handed | None = None
_lock = threading.Lock()  # loops of several threads may serve


async def connect(target: object, ctx: Context, attempts: Attempts) -> Triple:
    """Refused: a socket of systemd's is a way to serve."""
    raise UnsupportedTransport(f"{target!r} is a way to serve, not a place to connect to")


async def listen(mode: server.Systemd, ctx: Context, options: ListenOptions) -> list[Listener]:
    """Serve the sockets of a name, or all that nobody serves yet. Nothing is ever unlinked.

    Raises UnsupportedTransport where systemd has handed over nothing, AddressError for a name that
    it has not, or whose sockets are served already, or are none to accept clients from.
    """
    with _lock:
        handed = _take()
        descriptors = _chosen(mode, handed)
        listeners = listen_on_all(
            descriptors, ctx, options, what=lambda fd: _what(mode, fd, handed.free[fd])
        )
        for descriptor in descriptors:
            del handed.free[descriptor]
        return listeners


def _chosen(mode: server.Systemd, handed: _Handed) -> list[int]:
    if not handed.names:
        raise UnsupportedTransport(f"{mode!r}: systemd handed over no socket: {handed.why_none}")
    if mode.name is None:
        if handed.free:
            return list(handed.free)
        raise AddressError(f"{mode!r}: all sockets that systemd handed over are served already")
    chosen = [fd for fd, name in handed.free.items() if name == mode.name]
    if chosen:
        return chosen
    if mode.name in handed.names:
        raise AddressError(
            f"{mode!r}: the sockets of this name are served already, or were in this process; a "
            "socket is handed over once"
        )
    raise AddressError(
        f"{mode!r}: systemd handed over no socket of this name; there are "
        f"{', '.join(sorted(set(handed.names)))} (FileDescriptorName= in the socket unit, else the "
        "unit's own name)"
    )


def _what(mode: server.Systemd, fd: int, name: str) -> str:
    return f"{mode!r}: descriptor {fd}, {name!r},"


def _take() -> _Handed:
    """What was handed over; the variables are read once and are gone then, also for children."""
    global _handed
    if _handed is None:
        _handed = _read({name: os.environ.pop(name, "") for name in _VARIABLES})
    if _handed.pid != os.getpid():
        # The descriptors may be open here, too, but are the parent's to serve.
        return _Handed(
            os.getpid(), why_none=f"it was for process {_handed.pid}, whose forked child this is"
        )
    return _handed


def _read(told: dict[str, str]) -> _Handed:
    """Read the variables as sd_listen_fds does. Makes the descriptors close-on-exec."""
    mine = os.getpid()
    pid, count = _number(told["LISTEN_PID"]), _number(told["LISTEN_FDS"])
    if not told["LISTEN_PID"] or not told["LISTEN_FDS"]:
        return _Handed(mine, why_none=f"LISTEN_FDS is not set; {_HOW}")
    if pid != mine:
        return _Handed(
            mine,
            why_none=f"LISTEN_PID is {told['LISTEN_PID']!r} and this process is {mine}; a shell "
            "or wrapper that starts the program must do so by exec",
        )
    if count is None or not 0 < count <= _MOST:
        return _Handed(mine, why_none=f"LISTEN_FDS is {told['LISTEN_FDS']!r}; {_HOW}")
    descriptors = range(_FIRST, _FIRST + count)
    names = told["LISTEN_FDNAMES"].split(":") if told["LISTEN_FDNAMES"] else []
    names = [name or _UNNAMED for name in names]
    names += [_UNNAMED] * (count - len(names))
    free: dict[int, str] = {}
    for descriptor, name in zip(descriptors, names, strict=False):
        try:
            os.set_inheritable(descriptor, False)
        except OSError:
            continue  # not open, whatever was said
        free[descriptor] = name
    if not free:
        return _Handed(mine, why_none=f"LISTEN_FDS is {count}, and none of them is open")
    return _Handed(mine, free, tuple(free.values()))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
