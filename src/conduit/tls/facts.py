"""What is known of a TLS connection once its handshake is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Version: TypeAlias = Literal["TLSv1.2", "TLSv1.3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the two sides agreed on; `oc.get_extra_info("tls")` gives it.

    library: the stack at this side, "openssl" or "native". version: "TLSv1.2" or "TLSv1.3".
    cipher: the suite by its OpenSSL name. alpn: the protocol that both know, or None. sni: the name
    the client asked for, or None. peer_chain: the certificates that the peer showed, each in DER,
    its own first; nothing when it showed none, and on a resumed connection perhaps its own alone.
    resumed: whether an earlier session was taken up, without certificates being shown again.
    """

    library: str
    version: str
    cipher: str
    alpn: str | None
    sni: str | None
    peer_chain: tuple[bytes, ...]
    resumed: bool

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's own certificate in DER, or None."""
        return self.peer_chain[0] if self.peer_chain else None
