"""The native stack over real flows: the tests of addresses and of reloading.

Those that look at what only OpenSSL has, or at sessions, are left out.
"""

from __future__ import annotations

import pytest

import conduit
from conduit import client, endp, server, trust
from tests import test__reload as reloading
from tests.test__reload import files  # noqa: F401 (a fixture)
from tests.transports import test_tls as addresses
from tests.transports.test_tls import ctx, key  # noqa: F401

pytestmark = pytest.mark.usefixtures("native_by_default")

test_tls_over_a_unix_socket = addresses.test_tls_over_a_unix_socket
test_tls_in_tls_in_tls = addresses.test_tls_in_tls_in_tls
test_tunnel_owns_what_is_below = addresses.test_tunnel_owns_what_is_below
test_name_is_checked_as_certificates_write_it = (
    addresses.test_name_is_checked_as_certificates_write_it
)
test_pinned_server = addresses.test_pinned_server
test_nobody_is_verified_where_that_is_asked_for = (
    addresses.test_nobody_is_verified_where_that_is_asked_for
)
test_loading_that_failed_is_tried_again = addresses.test_loading_that_failed_is_tried_again
test_password_is_asked_for_in_a_thread_and_shown_nowhere = (
    addresses.test_password_is_asked_for_in_a_thread_and_shown_nowhere
)
test_handshake_is_an_event_on_both_sides = addresses.test_handshake_is_an_event_on_both_sides
test_certificate_is_chosen_by_the_name = addresses.test_certificate_is_chosen_by_the_name
test_client_certificate_is_asked_for = addresses.test_client_certificate_is_asked_for
test_client_that_is_not_believed_is_refused = addresses.test_client_that_is_not_believed_is_refused
test_key_log_of_the_context = addresses.test_key_log_of_the_context
test_peer_that_speaks_no_tls_is_told_with_the_address = (
    addresses.test_peer_that_speaks_no_tls_is_told_with_the_address
)

test_new_clients_are_shown_the_new_certificate = (
    reloading.test_new_clients_are_shown_the_new_certificate
)
test_file_that_is_broken_keeps_the_old_one_and_says_so = (
    reloading.test_file_that_is_broken_keeps_the_old_one_and_says_so
)
test_authorities_of_clients_are_read_again = reloading.test_authorities_of_clients_are_read_again
test_change_is_noticed = reloading.test_change_is_noticed


async def test_all_addresses_mean_it(certificates, tmp_path):
    """Whatever the form; and it is told which stack it is."""
    own = certificates.key()
    told = []

    async def tell(f, ic, oc):
        told.append(oc.get_extra_info("tls").library)
        assert oc.get_extra_info("sslcontext") is None
        await oc.write(b"hello")

    context = await conduit.init(tls_authenticator=trust.ca(certificates.trusted))
    path = str(tmp_path / "s")
    modes: list[server.Mode] = [
        server.TLS(own.crt_file, own.key_file, None, 0, ip="127.0.0.1"),
        server.TLSOver(server.UnixDomainSocket(path), own.crt_file, own.key_file),
        server.TLSNative(own.crt_file, own.key_file, None, 0, ip="127.0.0.1"),
    ]
    for mode in modes:
        async with conduit.listen(mode, tell, ctx=context) as srv:
            where = srv.endps[0]
            assert isinstance(where, endp.TLS)
            targets = [where, conduit.endp_to_client(where), str(where)]
            if isinstance(where.endp, endp.TCP):
                targets.append(client.TLSNative("localhost", "127.0.0.1", where.endp.port))
            for target in targets:
                async with conduit.connect(target, ctx=context) as (_, ic, oc):
                    assert await ic.read() == b"hello"
                    facts = oc.get_extra_info("tls")
                    assert (facts.library, facts.resumed) == ("native", False)
    assert set(told) == {"native"}
