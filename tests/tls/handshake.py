"""A TLS handshake by Python's own ssl, in memory: what each side has to say about it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from conduit.testing import Issued

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@dataclass
class Side:
    """One side: its object, and what its handshake or first reading failed with."""

    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    error: ssl.SSLError | None = None
    done: bool = False

    def turn(self) -> None:
        """Go on as far as the bytes that are there allow."""
        if self.error is not None:
            return
        try:
            if not self.done:
                self.tls.do_handshake()
                self.done = True
            self.tls.read(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except ssl.SSLError as error:
            self.error = error

    @property
    def sent_chain(self) -> list[bytes]:
        """The certificates the peer sent, in DER, whether or not they were believed."""
        import _ssl

        chain = self.tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
        return [one.public_bytes(_ssl.ENCODING_DER) for one in chain or ()]


def shake(
    server: ssl.SSLContext, client: ssl.SSLContext, hostname: str | None = None
) -> tuple[Side, Side]:
    """Let them speak until neither has anything to say. Returns the client's and the server's."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = Side(client.wrap_bio(down, up, server_hostname=hostname), down, up)
    far = Side(server.wrap_bio(up, down, server_side=True), up, down)
    for _ in range(10):
        near.turn()
        far.turn()
    return near, far


def context(
    side: int,
    *,
    own: Issued | None = None,
    trusted: bytes | Iterable[bytes] | None = None,
    version: ssl.TLSVersion | None = None,
    level: int | None = None,
) -> ssl.SSLContext:
    """A context that checks the peer if it trusts somebody. level: OpenSSL's security level."""
    ctx = ssl.SSLContext(side)
    ctx.check_hostname = False
    ctx.hostname_checks_common_name = False
    ctx.verify_mode = ssl.CERT_NONE if trusted is None else ssl.CERT_REQUIRED
    if level is not None:
        ctx.set_ciphers(f"DEFAULT@SECLEVEL={level}")
    if version is not None:
        ctx.minimum_version = ctx.maximum_version = version
    for pem in [trusted] if isinstance(trusted, bytes) else trusted or ():
        ctx.load_verify_locations(cadata=pem.decode())
    if own is not None:
        with own.files() as key:
            password = None if key.password is None else key.password(False)
            ctx.load_cert_chain(key.crt_file, key.key_file, password)
    return ctx


def server(own: Issued | None, **more) -> ssl.SSLContext:
    return context(ssl.PROTOCOL_TLS_SERVER, own=own, **more)


def client(trusted: bytes | Iterable[bytes] | None, *, name=True, **more) -> ssl.SSLContext:
    """A client's context. name: whether the name is checked."""
    ctx = context(ssl.PROTOCOL_TLS_CLIENT, trusted=trusted, **more)
    ctx.check_hostname = name and trusted is not None
    return ctx
