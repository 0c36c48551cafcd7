"""Connections that do nothing, held open by plain sockets in a process of their own.

    python idle_clients.py PORT-OR-PATH [AUTHORITY]

With the file of an authority the connections are TLS.

For each number on a line of standard input, that many connections are opened to 127.0.0.1 or
to the path; each sends one message and receives it back, so that it is known to be handled,
and then stays silent. A byte on standard output says that they are all open. The end of the
input ends the process, and with it the connections.
"""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

MESSAGE = b"conduit!" * 8


NAME = "one.bench.example"  # as in peers/tls_contexts.py: nothing is imported from there


def connector(where: str, authority: str | None) -> Callable[[], socket.socket]:
    """What opens a connection."""
    if authority is None:
        return partial(connect, where)
    import ssl

    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return lambda: context.wrap_socket(connect(where), server_hostname=NAME)


def say_goodbye(connection: socket.socket) -> None:
    """End the input of a server in order: of TLS that takes more than the end of the process."""
    if hasattr(connection, "unwrap"):
        connection.setblocking(False)
        with suppress(OSError):  # It would now wait for the server's goodbye.
            connection.unwrap()


def connect(where: str) -> socket.socket:
    if where.isdecimal():
        return socket.create_connection(("127.0.0.1", int(where)), timeout=30)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(where)
    return connection


def main() -> None:
    open_one = connector(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = []
    for line in sys.stdin:
        for _ in range(int(line)):
            connection = open_one()
            connection.sendall(MESSAGE)
            received = 0
            while received < len(MESSAGE):
                data = connection.recv(len(MESSAGE))
                if not data:
                    sys.exit("the server closed a connection that should stay open")
                received += len(data)
            held.append(connection)
        print(".", end="", flush=True)
    for connection in held:
        say_goodbye(connection)


if __name__ == "__main__":
    main()
