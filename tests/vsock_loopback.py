"""Whether this machine can talk to itself by vsock, and the mark of what needs that."""

from __future__ import annotations

import socket

import pytest

LOCAL = 1
ANY = 2**32 - 1


def lack_of_loopback() -> str:
    """Why it cannot; empty if it can."""
    try:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as sock:
            sock.bind((LOCAL, ANY))
    except (OSError, AttributeError) as error:
        return f"this machine has no vsock loopback: {error}"
    return ""


_LACK = lack_of_loopback()


def needs_vsock(test):
    """Mark a test `vsock`, and skip it where there is none."""
    return pytest.mark.vsock(pytest.mark.skipif(bool(_LACK), reason=_LACK)(test))
