"""What tests with real programs have in common when these speak TLS."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.peers.postgresql_program import postgres_running
from tests.peers.tls_server import Papers


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    """Certificates of an authority made for this test, and their files."""
    return Papers(tmp_path)


@pytest.fixture
def postgres(program, papers):
    """`async with postgres() as (port, path)`: a fresh database."""
    return functools.partial(postgres_running, program, papers)
