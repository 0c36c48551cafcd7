"""The first thing that a client says: held back until it is whole, and its server name read.

OpenSSL would do for the rest, but Python prints a traceback for a name that is not ASCII, so that
any client could fill a server's standard error.
"""

from __future__ import annotations

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_MAJOR_VERSION = 3
_RECORD_HEADER = 5
_LONGEST_RECORD = 16_384
_MESSAGE_HEADER = 4

# What OpenSSL takes (SSL3_RT_MAX_PLAIN_LENGTH and more); beyond, let it refuse it.
_LONGEST = 131_396


class HelloReader:
    """Collects a ClientHello (RFC 8446, 4.1.2) from the bytes of a connection, in any pieces."""

    __slots__ = ("_message", "_rest", "received")

    def __init__(self) -> None:
        self.received = bytearray()
        """All that was fed."""
        self._rest = bytearray()
        self._message = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> bool:
        """Take more in. Whether the hello is whole, or what comes is no hello."""
        self.received += data
        rest, message = self._rest, self._message
        rest += data
        while len(rest) >= _RECORD_HEADER and rest[0] == _HANDSHAKE:
            size = _RECORD_HEADER + int.from_bytes(rest[3:5])
            if rest[1] != _MAJOR_VERSION or not 0 < size - _RECORD_HEADER <= _LONGEST_RECORD:
                return True
            if len(rest) < size:
                return False
            message += rest[_RECORD_HEADER:size]
            del rest[:size]
            if len(message) > _LONGEST:
                return True
            if len(message) >= _MESSAGE_HEADER:
                whole = _MESSAGE_HEADER + int.from_bytes(message[1:4])
                if message[0] != _CLIENT_HELLO or whole > _LONGEST or len(message) >= whole:
                    return True
        return bool(rest) and rest[0] != _HANDSHAKE

    @property
    def server_name(self) -> bytes:
        """The name that the hello asks for (RFC 6066, 3); nothing where none can be found."""
        hello = memoryview(self._message)
        if not hello or hello[0] != _CLIENT_HELLO:
            return b""
        # The version and the random number; then the session, the suites and the compressions.
        at = _MESSAGE_HEADER + 2 + 32
        for width in (1, 2, 1):
            at += width + int.from_bytes(hello[at : at + width])
        at += 2
        while at + 4 <= len(hello):
            kind, size = int.from_bytes(hello[at : at + 2]), int.from_bytes(hello[at + 2 : at + 4])
            at += 4
            if kind == _SERVER_NAME:
                # A list of one, its kind, its length.
                return bytes(hello[at + 5 : at + size])
            at += size
        return b""
