"""Sockets between a virtual machine and its host, or within one machine: vsock(7) of Linux.

A context identifier (CID) says which machine, a port what on it. 2 is the host, 1 the machine
itself, and 2**32 - 1 any of this machine's.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys

from .. import client, endp, events, flow, server
from .._fields import unchecked
from ..channels import Wire, pair
from ..context import Context
from ..errors import UnsupportedTransport
from . import lent
from .base import Attempts, Listener, ListenOptions, Triple
from .dial import connect_socket
from .sockets import SocketListener, family_for_loops

ANY = 0xFFFF_FFFF
LOCAL = 1
_HIGHEST_RESERVED_PORT = 1023

_NO_LOOPBACK = "it is this machine itself, for which Linux needs the kernel module vsock_loopback"


async def connect(target: client.Vsock, ctx: Context, attempts: Attempts) -> Triple:
    """Connect to a port of a machine; any CID of this machine is reached by its local one."""
    origin = unchecked(endp.Vsock, cid=target.cid, port=target.port)
    if events.observers:
        events.emit(events.Attempt(origin))
    # As 0.0.0.0 for TCP: what listens on any of this machine is at home here.
    cid = LOCAL if target.cid == ANY else target.cid
    sock = _new_socket(target)
    try:
        try:
            await connect_socket(sock, (cid, target.port))
        except OSError as error:
            raise _explained(f"cannot connect to {target}", error, cid, target.port) from error
        peer_cid, peer_port = sock.getpeername()
        loop = asyncio.get_running_loop()
        wire = Wire(loop, ctx.close_timeout)
        sock = socket.socket(family_for_loops(sock), socket.SOCK_STREAM, fileno=sock.detach())
        fd = sock.fileno()
        await loop.create_unix_connection(lambda: wire, sock=sock)
    except BaseException:
        sock.close()
        raise
    wire.fd = fd
    wire.flow = flow.Vsock(peer_cid, peer_port, origin=origin)
    return Triple(wire.flow, *pair(wire))


async def listen(mode: server.Vsock, ctx: Context, options: ListenOptions) -> list[Listener]:
    """Listen on a port of one of this machine's CIDs, or of all."""
    if lent.lender is not None:
        return await lent.lender.listen(lent.Wanted("vsock", (mode.cid, mode.port)), ctx, options)
    return [SocketListener(bind(mode, options), ctx)]


def bind(mode: server.Vsock, options: ListenOptions) -> socket.socket:
    """A listening socket. options: `backlog` counts."""
    sock = _new_socket(mode)
    try:
        sock.bind((mode.cid, mode.port))
        sock.listen(options.backlog)
    except OSError as error:
        sock.close()
        raise _explained(f"cannot listen on {mode}", error, mode.cid, mode.port) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _new_socket(address: client.Vsock | server.Vsock) -> socket.socket:
    family = getattr(socket, "AF_VSOCK", None)
    if family is None:
        raise UnsupportedTransport(f"{address}: Python on {sys.platform} has no vsock")
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EINVAL):
            raise
        raise UnsupportedTransport(
            f"{address}: this kernel has no vsock ({error.strerror}); load the module vsock, or in "
            "a container allow the address family"
        ) from error
    sock.setblocking(False)
    return sock


def _explained(what: str, error: OSError, cid: int, port: int) -> OSError:
    """The error with what to do about it; one of what the machine lacks is UnsupportedTransport."""
    number = error.errno or 0
    reason = os.strerror(number) if number else str(error)
    hint = _hint(what, number, cid, port)
    text = f"{what}: {reason}" + (f"; {hint}" if hint else "")
    if number == errno.ENODEV or (number == errno.EADDRNOTAVAIL and cid == LOCAL):
        return UnsupportedTransport(text)
    return OSError(number, text)


def _hint(what: str, number: int, cid: int, port: int) -> str:
    listening = what.startswith("cannot listen")
    match number:
        case errno.ENODEV | errno.EADDRNOTAVAIL if cid == LOCAL:
            return _NO_LOOPBACK
        case errno.ENODEV:
            return (
                "no vsock device leads there: a guest needs a virtio-vsock device (on QEMU "
                "vhost-vsock-pci), a host the module vhost_vsock"
            )
        case errno.EADDRNOTAVAIL:
            return f"{cid} is no CID of this machine; '*' is any of them"
        case errno.EADDRINUSE:
            return "another program listens on this port"
        case errno.EACCES | errno.EPERM if listening and port <= _HIGHEST_RESERVED_PORT:
            return f"ports up to {_HIGHEST_RESERVED_PORT} need the right to bind reserved ports"
        case errno.ECONNRESET:
            return f"nobody listens on port {port} there, or has room for another client"
        case errno.EHOSTUNREACH | errno.ENETUNREACH:
            return f"there is no machine with the CID {cid}"
        case errno.ETIMEDOUT:
            there = "; this machine itself needs the module vsock_loopback" if cid == LOCAL else ""
            return f"no machine with the CID {cid} answers{there}"
        case _:
            return ""
