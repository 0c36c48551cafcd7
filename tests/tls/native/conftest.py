"""What the tests of the native stack get."""

from __future__ import annotations

import pytest

import conduit


@pytest.fixture
def anyio_backend():
    """What the loop has to do with it was seen with the other stack."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def native_by_default():
    """While a test runs, `TLS` means the native stack."""
    before = conduit.tls_library()
    conduit.set_tls_library(conduit.TLSLibrary.NATIVE)
    yield
    conduit.set_tls_library(before)
