"""Sockets that stand for clients and servers of a command."""

import contextlib
import errno
import socket
from collections.abc import Iterator

import pytest


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


@contextlib.contextmanager
def upstream() -> Iterator[tuple[str, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", listener


def accepted(listener: socket.socket) -> socket.socket:
    sock = listener.accept()[0]
    sock.settimeout(20)
    return sock


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data)) or pytest.fail(f"it ended after {data!r}")
    return data


def until_end(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def reset(sock: socket.socket) -> None:
    """Close it as if its program had been killed with bytes unread."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def sees_its_end(port: int, words: bytes | None = None) -> None:
    """A client that says something, and is cut off, which it may see at any point."""
    try:
        with connected(port) as sock:
            if words is not None:
                sock.sendall(words)
                sock.shutdown(socket.SHUT_WR)
            until_end(sock)
    except OSError as error:
        if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
            raise
