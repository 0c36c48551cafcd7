"""What the tests of vchans get: a Xen, or a reason to skip; and xenstore as it is."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from conduit.transports.vchan import worker

VCHANS = "/local/domain/0/data/vchan"

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


def listing(path: str) -> str:
    """What xenstore has at a path and below, by Xen's own program; empty if it is not there."""
    worker.settle()
    found = subprocess.run(["xenstore-ls", "-f", path], capture_output=True, text=True, check=False)
    return found.stdout


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so that nobody tells of. Blocks."""
    while not condition():
        time.sleep(0.01)


@pytest.fixture
def in_xenstore(xen: None) -> Callable[[str], Awaitable[str]]:
    """An async `listing`."""
    return lambda path: asyncio.to_thread(listing, path)


@pytest.fixture
def port(xen: None) -> Iterator[str]:
    """A port that no other test uses; nothing may be left of it."""
    name = f"t{next(_ports)}"
    yield name
    assert name not in listing("/local/domain/0/data")
