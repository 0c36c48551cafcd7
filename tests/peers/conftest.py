"""What tests with real programs have in common: on which loop they run, and certificates."""

from __future__ import annotations

import functools
import zlib
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
