"""A peer that has the keys of its session, and can say what no honest stack would.

The handshake is Python's own ssl; from then on records are made here (RFC 8446, 5.2 and 7.3;
RFC 5288 for TLS 1.2). It can be the client alone.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

ALERT, HANDSHAKE, DATA = 21, 22, 23
KEY_UPDATE_REQUESTED = bytes([24, 0, 0, 1, 1])
CLIENT_HELLO = 1


class Forger:
    """A client. key_log: a file of its own, for the secrets.

    `receive` what the server sends, send what it returns, until `done`; then `seal` anything.
    """

    def __init__(self, version: ssl.TLSVersion, key_log: Path) -> None:
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE
        ctx.minimum_version = ctx.maximum_version = version
        ctx.set_ciphers("ECDHE+AES256+AESGCM")
        ctx.keylog_filename = str(key_log)
        self._ctx = ctx
        self._tls13 = version == ssl.TLSVersion.TLSv1_3
        self._key_log = key_log
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = ctx.wrap_bio(self._in, self._out)
        self._heard = bytearray()
        self._said = bytearray()
        self.done = False
        # For what is sent: the latest secret (of TLS 1.3), and the number of the next record.
        self._secret = self._key = self._iv = b""
        self._number = 0

    def close(self) -> None:
        """Let go of the log."""
        self._ctx.keylog_filename = None  # type: ignore[assignment]

    def receive(self, data: bytes) -> bytes:
        """Go on with the handshake."""
        self._heard += data
        self._in.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        else:
            self.done = True
        said = self._out.read()
        self._said += said
        if self.done:
            self._take_keys()
        return said

    def read(self, data: bytes) -> bytes:
        """Decrypt what the server sends after the handshake."""
        self._in.write(data)
        got = b""
        try:
            while more := bytes(self._tls.read(65536)):
                got += more
        except ssl.SSLWantReadError:
            pass
        return got

    def seal(self, kind: int, content: bytes) -> bytes:
        """A record. Whatever it says, and be it empty."""
        number, self._number = self._number, self._number + 1
        if self._tls13:
            inner = content + bytes([kind])
            header = bytes([DATA, 3, 3]) + (len(inner) + 16).to_bytes(2)
            nonce = (int.from_bytes(self._iv) ^ number).to_bytes(12)
            return header + AESGCM(self._key).encrypt(nonce, inner, header)
        explicit = number.to_bytes(8)
        about = explicit + bytes([kind, 3, 3]) + len(content).to_bytes(2)
        sealed = explicit + AESGCM(self._key).encrypt(self._iv + explicit, content, about)
        return bytes([kind, 3, 3]) + len(sealed).to_bytes(2) + sealed

    def key_update(self) -> bytes:
        """Change the keys, and ask the peer to change its own."""
        record = self.seal(HANDSHAKE, KEY_UPDATE_REQUESTED)
        self._use(expand(self._secret, "traffic upd", 48))
        return record

    def hello_again(self) -> bytes:
        """A second ClientHello: the first one, in the middle of the session."""
        size = int.from_bytes(self._said[3:5])
        return self.seal(HANDSHAKE, bytes(self._said[5 : 5 + size]))

    def _take_keys(self) -> None:
        log = {
            line.split()[0]: bytes.fromhex(line.split()[2])
            for line in self._key_log.read_text().splitlines()
            if not line.startswith("#")
        }
        if self._tls13:
            self._use(log["CLIENT_TRAFFIC_SECRET_0"])
            return
        # The random numbers follow a record's header, a message's header, and the version.
        client, server = bytes(self._said[11:43]), bytes(self._heard[11:43])
        block = prf(log["CLIENT_RANDOM"], b"key expansion" + server + client, 72)
        self._key, self._iv = block[:32], block[64:68]
        self._number = 1  # after the Finished

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key, self._iv = expand(secret, "key", 32), expand(secret, "iv", 12)
        self._number = 0


def expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label without a context."""
    name = b"tls13 " + label.encode()
    info = size.to_bytes(2) + bytes([len(name)]) + name + b"\0"
    return HKDFExpand(SHA384(), size, info).derive(secret)


def prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """P_SHA384 of RFC 5246, 5."""
    made, each = b"", seed
    while len(made) < size:
        each = hmac.digest(secret, each, hashlib.sha384)
        made += hmac.digest(secret, each + seed, hashlib.sha384)
    return made[:size]
