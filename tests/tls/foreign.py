"""A TLS peer that knows nothing of conduit: Python's own ssl on blocking sockets, in a thread.

Unlike conduit it can be made to speak one version only, to show a certificate that is too weak, and
to tell the alert that it was refused by.
"""

from __future__ import annotations

import socket
import ssl
import threading

TIMEOUT = 10.0


class ForeignServer:
    """Listens on 127.0.0.1 and serves one client: says hello, and reads to its end.

    Use it as a context manager; on leaving, `error` is what the handshake or the reading failed
    with, None if neither did.
    """

    def __init__(self, ctx: ssl.SSLContext) -> None:
        self.error: OSError | None = None
        self._ctx = ctx
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(TIMEOUT)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> ForeignServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(TIMEOUT)
        self._socket.close()
        assert not self._thread.is_alive(), "the client neither came nor went"

    def _serve(self) -> None:
        sock, _ = self._socket.accept()
        with sock:
            sock.settimeout(TIMEOUT)
            self.error = _speak(sock, self._ctx, server_side=True)


def foreign_client(ctx: ssl.SSLContext, port: int, hostname: str) -> OSError | None:
    """Connect to 127.0.0.1, say hello, and read to the end. Blocks: call it in a thread.

    Returns what the handshake or the reading failed with, None if neither did.
    """
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
        return _speak(sock, ctx, server_hostname=hostname)


def _speak(sock: socket.socket, ctx: ssl.SSLContext, **more) -> OSError | None:
    try:
        with ctx.wrap_socket(sock, **more) as tls:
            tls.sendall(b"hello\n")
            while tls.recv(4096):
                pass
    except OSError as error:
        return error
    return None
