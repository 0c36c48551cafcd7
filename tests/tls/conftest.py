"""What the tests of TLS get."""

import pytest

from tests.tls.engines import STACKS, Stack


@pytest.fixture(params=STACKS, ids=lambda stack: stack.name)
def stack(request: pytest.FixtureRequest) -> Stack:
    """Every stack that there is."""
    stack: Stack = request.param
    return stack
