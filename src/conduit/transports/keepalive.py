"""TCP keepalive: how a connection on which nothing moves finds out that its peer has vanished."""

from __future__ import annotations

import math
import socket

# How often a silent peer is asked before it is given up.
_PROBES = 4


def keep_alive(sock: socket.socket, seconds: float) -> None:
    """Let TCP ask for the peer after `seconds` of silence.

    sock: a TCP socket, connected or not yet, or a listening one, from which those that it accepts
    inherit it. seconds: above 0; rounded up to whole ones, as the system counts.

    A peer that never answers is asked four times within the same time again; then the connection
    fails with ETIMEDOUT. Where the system has no setting for these times, it uses its own.
    """
    idle = math.ceil(seconds)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # macOS has another name for the first.
    for names, value in (
        (("TCP_KEEPIDLE", "TCP_KEEPALIVE"), idle),
        (("TCP_KEEPINTVL",), math.ceil(idle / _PROBES)),
        (("TCP_KEEPCNT",), _PROBES),
    ):
        option = next((getattr(socket, name) for name in names if hasattr(socket, name)), None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
