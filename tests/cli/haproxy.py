"""A real haproxy, which speaks the PROXY protocol on either side of a relay."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

_HEAD = """\
global
 ssl-server-verify none
defaults
 mode tcp
 timeout connect 20s
 timeout client 20s
 timeout server 20s
"""


@contextlib.contextmanager
def haproxy(
    path: str, directory: Path, ways: Sequence[tuple[str, int, str]]
) -> Iterator[list[int]]:
    """Run haproxy while the block lasts: the ports at which it listens, one for each way.

    path: of the program. ways: for each what `bind` says more, the port of 127.0.0.1 that it leads
    to, and what `server` says more.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in ways]
        parts = [_HEAD]
        for sock, (bind, port, server) in zip(sockets, ways, strict=True):
            os.set_inheritable(sock.fileno(), True)
            parts.append(
                f"listen l{sock.fileno()}\n bind fd@{sock.fileno()} {bind}\n"
                f" server s 127.0.0.1:{port} {server}\n"
            )
        configuration = directory / "haproxy.cfg"
        configuration.write_text("".join(parts))
        with subprocess.Popen(
            [path, "-db", "-q", "-f", str(configuration)],
            pass_fds=[sock.fileno() for sock in sockets],
        ) as process:
            try:
                yield [sock.getsockname()[1] for sock in sockets]
            finally:
                process.kill()
