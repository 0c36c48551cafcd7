"""Listeners whose queue of waiting clients is full: another client waits for ever."""

import errno
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def full_tcp_queue(ip: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """Give an address where the kernel drops every further attempt to connect."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((ip, 0))
        listener.listen(0)
        stack.enter_context(socket.create_connection(listener.getsockname()[:2]))
        deadline = time.monotonic() + 5
        while queue_of(listener) != (1, 0):
            assert time.monotonic() < deadline, "the client never reached the queue"
        yield listener.getsockname()[:2]


@contextmanager
def full_unix_queue(path: str) -> Iterator[socket.socket]:
    """Listen at `path`, with a queue that is full until somebody accepts."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            answer = client.connect_ex(path)
            if answer == errno.EAGAIN:
                break
            assert answer == 0
        yield listener


def queue_of(listener: socket.socket) -> tuple[int, int]:
    """How many wait in the queue of a listening TCP socket, and its backlog."""
    # Linux tells it in the fields tcpi_unacked and tcpi_sacked.
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    waiting, backlog = struct.unpack_from("II", info, 24)
    return waiting, backlog
