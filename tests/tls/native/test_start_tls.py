"""TLS by the native stack over flows that are open."""

from __future__ import annotations

import pytest

from tests import test__start_tls as starting
from tests.test__start_tls import ctx, key, pair  # noqa: F401 (fixtures)

pytestmark = pytest.mark.usefixtures("native_by_default")

test_both_sides_begin_tls = starting.test_both_sides_begin_tls
test_over_memory_and_within_tls = starting.test_over_memory_and_within_tls
test_client_shows_its_certificate_if_asked = starting.test_client_shows_its_certificate_if_asked
test_unread_bytes_may_be_injected = starting.test_unread_bytes_may_be_injected
test_hello_of_a_quick_client_is_for_the_handshake = (
    starting.test_hello_of_a_quick_client_is_for_the_handshake
)
test_peer_that_speaks_no_tls = starting.test_peer_that_speaks_no_tls
