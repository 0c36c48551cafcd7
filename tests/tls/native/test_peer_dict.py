"""A peer's certificate as the standard library has it."""

from __future__ import annotations

import pytest

from conduit import trust
from conduit.testing import Authority, self_signed
from conduit.tls.native.peer_dict import peer_dict
from tests.tls import handshake
from tests.tls.attacker import NATIVE
from tests.tls.session import load

CA = Authority("an authority")

ISSUED = [
    CA.issue("db.example", "*.more.example", "127.0.0.1", common_name="db"),
    CA.issue("someone", alternative_names=False),
    CA.issue("db.example", key="rsa"),
    CA.intermediate("middle").issue("db.example", key="ed25519"),
]


def of_ssl(issued) -> dict:
    near, _ = handshake.shake(handshake.server(issued), handshake.client(CA.pem, name=False))
    assert near.done
    found = near.tls.getpeercert()
    assert found
    return dict(found)


@pytest.mark.parametrize("issued", ISSUED)
def test_it_is_what_ssl_says(issued):
    assert peer_dict(issued.der) == of_ssl(issued)


def test_it_is_there_if_the_peer_was_verified(identities):
    for trusted, shown in ((identities.trust, True), (trust.insecure_no_verification(), False)):
        session = load((NATIVE, NATIVE), None, identities.server(), trusted).session().run()
        assert session.client.failure is None
        peercert = session.client.engine.extra("peercert")
        assert bool(peercert) is shown
        assert session.server.engine.extra("peercert") is None
        if shown:
            assert ("DNS", "db.example") in peercert["subjectAltName"]
        cipher = session.client.engine.extra("cipher")
        assert cipher == ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)
        assert session.client.engine.extra("ssl_object") is None


def test_a_bare_certificate():
    assert "subjectAltName" in peer_dict(self_signed("db.example").der)
