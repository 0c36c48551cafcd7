"""A client that is a plain socket: it knows nothing of conduit, and can misbehave."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Any

from conduit import Server, endp

CHUNK = 256 * 1024


class BareClient:
    """A connected socket. Use it as a context manager, which closes it.

    It is connected as soon as it is made, without a turn of the loop: the kernel's queue takes it
    in, whether the server has accepted it yet or not.
    """

    def __init__(self, where: endp.Endp, receive_buffer: int | None = None) -> None:
        match where:
            case endp.TCP(ip, port):
                family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
                address: Any = (str(ip), port)
                if ip.is_unspecified:
                    address = ("127.0.0.1" if ip.version == 4 else "::1", port)
            case endp.UnixDomainSocket(path):
                family = socket.AF_UNIX
                address = b"\0" + os.fsencode(path[1:]) if path.startswith("@") else path
            case _:
                raise ValueError(f"a bare client cannot reach {where}")
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            if receive_buffer is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.settimeout(5)
            self.socket.connect(address)
        except BaseException:
            self.socket.close()
            raise
        self.socket.setblocking(False)

    def __enter__(self) -> BareClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def say(self, data: bytes) -> None:
        """Send all of it."""
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def hear(self, size: int) -> bytes:
        """Receive so many bytes; fewer if the server ends before."""
        loop = asyncio.get_running_loop()
        heard = bytearray()
        while len(heard) < size:
            data = await loop.sock_recv(self.socket, min(CHUNK, size - len(heard)))
            if not data:
                break
            heard += data
        return bytes(heard)

    async def hear_all(self) -> bytes:
        """Receive until the server ends. Raises ConnectionResetError if it resets instead."""
        loop = asyncio.get_running_loop()
        heard = bytearray()
        while data := await loop.sock_recv(self.socket, CHUNK):
            heard += data
        return bytes(heard)

    async def gone(self) -> bool:
        """Wait until the server has ended or reset the connection."""
        try:
            return not await self.hear_all()
        except ConnectionResetError:
            return True

    def end(self) -> None:
        """Say no more, but go on listening."""
        self.socket.shutdown(socket.SHUT_WR)

    def vanish(self) -> None:
        """Close without a goodbye: over TCP the server gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close properly. A second call does nothing."""
        self.socket.close()


def tcp_endps(srv: Server) -> list[endp.TCP]:
    """The endpoints of a server that serves nothing but TCP."""
    found = [one for one in srv.endps if isinstance(one, endp.TCP)]
    assert len(found) == len(srv.endps)
    return found
