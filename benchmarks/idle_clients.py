"""Connections that do nothing, held open by plain sockets in a process of their own.

    python idle_clients.py PORT-OR-PATH

For each number on a line of standard input, that many connections are opened to 127.0.0.1 or
to the path; each sends one message and receives it back, so that it is known to be handled,
and then stays silent. A byte on standard output says that they are all open. The end of the
input ends the process, and with it the connections.
"""

from __future__ import annotations

import resource
import socket
import sys

MESSAGE = b"conduit!" * 8


def connect(where: str) -> socket.socket:
    if where.isdecimal():
        return socket.create_connection(("127.0.0.1", int(where)), timeout=30)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(where)
    return connection


def main() -> None:
    where = sys.argv[1]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = []
    for line in sys.stdin:
        for _ in range(int(line)):
            connection = connect(where)
            connection.sendall(MESSAGE)
            received = 0
            while received < len(MESSAGE):
                data = connection.recv(len(MESSAGE))
                if not data:
                    sys.exit("the server closed a connection that should stay open")
                received += len(data)
            held.append(connection)
        print(".", end="", flush=True)


if __name__ == "__main__":
    main()
