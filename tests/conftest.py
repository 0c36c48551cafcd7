"""What every test gets: both loops, a watch over descriptors and blocking calls, real programs."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from blockbuster import blockbuster_ctx
from hypothesis import settings

from tests.certificates import Certificates

# How long an example takes says more of the machine than of the code; each test has its limit. The
# suite runs on every Python and on both loops, so each run tries half as many as usual.
settings.register_profile("conduit", deadline=None, max_examples=50)
settings.load_profile("conduit")

LOOPS = ("asyncio", "uvloop")

# What a shell has us ignore in the background, or nohup, every program of a test would ignore too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Every async test runs on both loops."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Limit the time of an async test by its loop.

    The limit of pytest-timeout comes as a signal, which uvloop does not hear of while it waits.
    """
    function = getattr(item, "obj", None)
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(function):
        marker = item.get_closest_marker("timeout")
        seconds = float(marker.args[0] if marker else item.config.getini("timeout"))
        item.obj = _limited(function, seconds - 5 if seconds > 10 else seconds / 2)


def _limited(test: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    @functools.wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(seconds):
            return await test(*args, **kwargs)

    return limited


@pytest.fixture(scope="session", autouse=True)
def _warm() -> None:
    """Let uvloop open what it keeps for the life of the process before descriptors are counted."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))


def pytest_collection_finish() -> None:
    """Keep what was collected out of what the garbage collector looks through.

    Else each of its rounds, which some tests ask for, looks at thousands of tests first.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_blocking_call() -> Iterator[None]:
    """A call in conduit that would block the loop fails the test."""
    # The authority for tests writes its files at once, and may.
    with blockbuster_ctx("conduit", excluded_modules=["conduit.testing.ca"]) as blockbuster:
        for name in ("os.stat", "os.unlink"):
            # Two quick calls when a server goes; waiting for a thread there could be cancelled.
            if name in blockbuster.functions:
                blockbuster.functions[name].can_block_in("conduit/transports/unix.py", "_unlink")
        for function in blockbuster.functions.values():
            # redis-py looks up its own version for each connection, whoever makes that.
            function.can_block_in("redis/utils.py", "get_lib_version")
        yield


@pytest.fixture(autouse=True)
def _no_descriptor_leaks(_no_blocking_call: None) -> Iterator[None]:
    """A descriptor that a test leaves open fails it."""
    before = open_descriptors()
    yield
    left = open_descriptors().keys() - before.keys()
    if left:
        gc.collect()
        after = open_descriptors()
        left = after.keys() - before.keys()
        assert not left, f"left open: { {fd: after[fd] for fd in left} }"


def open_descriptors() -> dict[int, str]:
    """The descriptors of this process, and what each is."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the one that listed the directory
    return found


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and the keys that it has issued."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def program() -> Callable[..., str]:
    """Find a real program by name: its path. Missing, it skips the test; in CI it fails it.

    A second argument is more directories to look in, as PATH has them.
    """

    def find(name: str, directories: str = "") -> str:
        # Servers are often where only root looks.
        path = shutil.which(name) or shutil.which(name, path=f"/usr/sbin:{directories}")
        if path is None:
            if os.environ.get("CONDUIT_TEST_REQUIRE_PEERS"):
                pytest.fail(f"{name} is not installed, and nothing may be skipped here")
            pytest.skip(f"{name} is not installed")
        return path

    return find


@pytest.fixture
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A short path for a Unix socket: pytest's own are too long for one."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="conduit-") as directory:
        yield str(Path(directory) / "s")
