"""What the tests of TLS get."""

from __future__ import annotations

import pytest

from conduit.testing import Authority
from tests.tls.engines import PAIRS, STACKS, VERSIONS, Stack, Version
from tests.tls.identities import Identities


@pytest.fixture(params=STACKS, ids=lambda stack: stack.name)
def stack(request: pytest.FixtureRequest) -> Stack:
    """Every stack that there is."""
    stack: Stack = request.param
    return stack


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def stacks(request: pytest.FixtureRequest) -> tuple[Stack, Stack]:
    """Every stack as a client, with every stack as its server."""
    pair: tuple[Stack, Stack] = request.param
    return pair


@pytest.fixture(params=VERSIONS)
def tls(request: pytest.FixtureRequest) -> Version:
    """Both versions of TLS."""
    version: Version = request.param
    return version


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    """An authority and what it has issued."""
    return Identities(Authority(), tmp_path_factory.mktemp("identities"))
