"""The native stack with `openssl` and GnuTLS: the tests of these programs, and what is its own.

Those of resumption are left out, which it does not do, and those of OpenSSL's own context.
"""

from __future__ import annotations

import pytest

import conduit
from conduit import TLSLibrary, client
from tests.peers import test_gnutls as gnutls
from tests.peers import test_openssl_client as their_client
from tests.peers import test_openssl_server as their_server
from tests.peers.talking import Talking
from tests.peers.test_gnutls import gnutls_cli, gnutls_serv  # noqa: F401 (fixtures)
from tests.peers.test_openssl_client import s_client, version  # noqa: F401
from tests.peers.test_openssl_server import s_server  # noqa: F401
from tests.peers.tls_server import serving


@pytest.fixture
def anyio_backend():
    """Which loop we run on makes no difference to these programs."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def _native():
    """While a test runs, `TLS` means the native stack."""
    before = conduit.tls_library()
    conduit.set_tls_library(TLSLibrary.NATIVE)
    yield
    conduit.set_tls_library(before)


test_client_talks = their_client.test_dialogue
test_client_gets_all = their_client.test_our_goodbye_reaches_it_after_all_that_was_written
test_client_is_killed = their_client.test_client_that_is_killed_leaves_no_clean_end
test_client_chooses_by_name = their_client.test_certificate_is_that_of_the_name_that_was_asked_for
test_client_shows_a_certificate = their_client.test_client_certificate
test_client_shows_none = their_client.test_client_without_a_certificate
test_client_is_not_known = their_client.test_client_of_an_unknown_authority
test_client_updates_its_keys = their_client.test_key_update
test_old_client_is_refused = their_client.test_old_versions_are_refused
test_client_without_forward_secrecy_is_refused = (
    their_client.test_suites_without_forward_secrecy_are_refused
)
test_client_begins_anew = their_client.test_renegotiation_is_refused
test_client_does_not_trust_us = their_client.test_client_that_does_not_trust_us_says_so

test_server_talks = their_server.test_dialogue
test_server_hears_the_end_of_one_way = their_server.test_half_close
test_server_wants_a_certificate = their_server.test_client_certificate
test_server_gets_none = their_server.test_client_without_a_certificate
test_server_updates_its_keys = their_server.test_key_update
test_server_insists_on_another_group = their_server.test_hello_retry_request
test_server_begins_anew = their_server.test_renegotiation_is_refused
test_old_server_is_refused = their_server.test_old_versions_are_refused
test_server_is_not_known = their_server.test_server_of_an_unknown_authority

test_gnutls_client = gnutls.test_client
test_gnutls_client_with_a_certificate = gnutls.test_client_with_a_certificate
test_gnutls_client_renews_its_keys = gnutls.test_client_renews_its_keys
test_gnutls_server = gnutls.test_server
test_gnutls_server_wants_a_certificate = gnutls.test_server_that_wants_a_certificate


SUITES = {
    "TLS_CHACHA20_POLY1305_SHA256": ("-tls1_3", "-ciphersuites"),
    "TLS_AES_128_GCM_SHA256": ("-tls1_3", "-ciphersuites"),
    "TLS_AES_256_GCM_SHA384": ("-tls1_3", "-ciphersuites"),
    "ECDHE-ECDSA-CHACHA20-POLY1305": ("-tls1_2", "-cipher"),
    "ECDHE-ECDSA-AES128-GCM-SHA256": ("-tls1_2", "-cipher"),
    "ECDHE-ECDSA-AES256-GCM-SHA384": ("-tls1_2", "-cipher"),
}


@pytest.mark.parametrize("suite", SUITES)
async def test_every_suite_can_be_forced(s_client, s_server, papers, suite):  # noqa: F811
    only, option = SUITES[suite]
    async with serving(papers) as srv:
        async with Talking(*s_client(srv.port, only, option, suite)) as talk:
            await talk.tell("hello\n")
            await talk.says("hello\n")
            await talk.tell("Q\n")
        assert (await srv.met.get()).cipher == suite
    ctx = await papers.ctx()
    async with s_server(only, option, suite) as talk:
        target = client.TLS("localhost", "127.0.0.1", talk.port)
        async with conduit.connect(target, ctx=ctx) as (_, ic, oc):
            facts = oc.get_extra_info("tls")
            assert (facts.library, facts.cipher) == ("native", suite)
            await talk.tell("hello\n")
            assert await ic.readline() == b"hello\n"


@pytest.mark.parametrize("group", ["P-256", "P-384", "P-521", "X25519"])
async def test_client_that_has_another_group(s_client, papers, group):  # noqa: F811
    """Its key is taken as it is; nobody is asked to say hello twice for nothing."""
    async with serving(papers) as srv:
        async with Talking(*s_client(srv.port, "-tls1_3", "-groups", group)) as talk:
            await talk.tell("hello\n")
            await talk.says("hello\n")


async def test_client_is_asked_to_say_hello_again(s_client, papers):  # noqa: F811
    """It knows our group, and has sent no key for it."""
    async with serving(papers) as srv:
        groups = "X448:P-256"
        async with Talking(*s_client(srv.port, "-tls1_3", "-msg", "-groups", groups)) as talk:
            for _ in range(2):
                await talk.says("ClientHello")
            await talk.tell("hello\n")
            await talk.says("hello\n")
