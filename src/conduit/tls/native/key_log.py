"""The secrets of sessions, in the file that Wireshark reads."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Sequence

__all__ = ["KeyLog"]

logger = logging.getLogger("conduit")

_OF_HANDSHAKE = ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET")
_OF_DATA = ("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0")


class KeyLog:
    """A file that secrets are added to, a line each (SSLKEYLOGFILE, RFC 9850).

    file: its path. Raises OSError if it cannot be written.
    """

    def __init__(self, file: str) -> None:
        try:
            # Once, and so that whoever writes never waits, not even if it is a pipe.
            how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
            self._file = os.open(file, how, 0o600)
        except OSError as error:
            raise OSError(
                error.errno, f"cannot write TLS secrets to key_log={file}: {error.strerror}"
            ) from error
        weakref.finalize(self, os.close, self._file)
        logger.warning("the secrets of TLS sessions are written to %s", file)

    def write(
        self, client_random: bytes, secrets: Sequence[tuple[bytes, bytes]], master: bytes
    ) -> None:
        """Write those of one session. secrets: of TLS 1.3; master: of TLS 1.2."""
        lines = [f"CLIENT_RANDOM {client_random.hex()} {master.hex()}\n"] if master else []
        for labels, pair in zip((_OF_HANDSHAKE, _OF_DATA), secrets, strict=False):
            lines += [
                f"{label} {client_random.hex()} {secret.hex()}\n"
                for label, secret in zip(labels, pair, strict=True)
            ]
        try:
            # In one go, so that the lines of several writers stay whole.
            os.write(self._file, "".join(lines).encode())
        except OSError as error:
            # As with OpenSSL: the session does not fail for it.
            logger.warning("cannot write TLS secrets: %s", error)
