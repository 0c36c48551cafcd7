"""What the tests of vchans get: a Xen, or a reason to skip."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from conduit.transports.vchan import worker

_ports = itertools.count()


@pytest.fixture(autouse=True)
def _tidied(_no_descriptor_leaks: None) -> Iterator[None]:
    """Descriptors are closed in a thread, which may have some left to close."""
    yield
    worker.settle()


@pytest.fixture
def xen() -> None:
    """The test needs Xen below: `make test-xen` has one."""
    if not os.path.exists("/proc/xen/capabilities"):
        pytest.skip("this machine does not run on Xen; `make test-xen` does")


@pytest.fixture
def port(xen: None) -> str:
    """A port that no other test uses."""
    return f"t{next(_ports)}"
