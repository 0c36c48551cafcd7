"""What tests with real programs have in common when these speak TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.tls_server import Papers


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    """Certificates of an authority made for this test, and their files."""
    return Papers(tmp_path)
