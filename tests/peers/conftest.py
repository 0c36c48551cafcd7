"""What tests with real programs have in common: a loop, certificates, networks of their own."""

from __future__ import annotations

import functools
import os
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.postgresql_program import postgres_running
from tests.peers.tls_server import Papers


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Of both loops one for each test, by turns: to most programs it makes no difference."""
    uvloop = zlib.crc32(request.function.__name__.encode()) % 2 == 1
    return "asyncio", {"use_uvloop": uvloop}


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    """Certificates of an authority made for this test, and their files."""
    return Papers(tmp_path)


@pytest.fixture
def postgres(program, papers):
    """`async with postgres() as (port, path)`: a fresh database."""
    return functools.partial(postgres_running, program, papers)


@pytest.fixture
def own_network(program: Callable[..., str]) -> list[str]:
    """The command that gives a program its own network and mounts, where it may do all."""
    for name in ("ip", "nft", "mount", "dnsmasq"):
        program(name)
    # The last three: all that it starts ends with it, however it ends.
    command = [program("unshare"), "--net", "--mount", "--pid", "--fork", "--kill-child"]
    if os.getuid():
        command.append("--map-root-user")
    check = subprocess.run([*command, "nft", "list", "tables"], capture_output=True, text=True)
    if check.returncode:
        if os.environ.get("CONDUIT_TEST_REQUIRE_PEERS"):
            pytest.fail(f"no network of our own, and nothing may be skipped here: {check.stderr}")
        pytest.skip(f"a network of our own cannot be made here: {check.stderr}")
    return command
