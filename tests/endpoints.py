"""What a test knows of a server and its type does not: that it is one of TCP, or of TLS over it."""

from __future__ import annotations

from conduit import Server, endp


def tcp_endp(srv: Server) -> endp.TCP:
    """Where a server of TCP can be reached, by its first listener."""
    where = srv.endps[0]
    if isinstance(where, endp.TLS):
        where = where.endp
    assert isinstance(where, endp.TCP)
    return where


def port_of(srv: Server) -> int:
    """The port of a server of TCP."""
    return tcp_endp(srv).port
