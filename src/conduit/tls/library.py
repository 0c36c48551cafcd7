"""Which TLS stack a plain `TLS` address means."""

from __future__ import annotations

from enum import Enum

__all__ = ["TLSLibrary"]


class TLSLibrary(Enum):
    """A TLS stack, or none."""

    OPENSSL = "openssl"
    NATIVE = "native"
    NO_TLS = "none"
