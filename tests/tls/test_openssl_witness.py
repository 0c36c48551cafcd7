"""Certificates seen before OpenSSL judges them: pins in both roles, and chains for errors."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduit
from conduit import OwnKey, trust
from conduit.testing import Authority, Issued, self_signed
from conduit.tls import openssl
from conduit.tls.engine import ClientSettings, Engine, ServerSettings
from conduit.tls.openssl_witness import certificates_of

HOST = "db.example"
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)


def pin(issued: Issued) -> trust.Trust:
    return trust.fingerprint(hashlib.sha256(issued.der).digest())


# Handshakes ---------------------------------------------------------------------------------------


@pytest.fixture
def files(certificates, tmp_path):
    """Puts certificates into files."""
    count = 0

    def write(issued: Issued):
        nonlocal count
        count += 1
        return certificates.write(issued, tmp_path, f"own{count}")

    return write


def turn(engine: Engine, peer: Engine) -> BaseException | None:
    """Let one side go on, and hand over what it says; what it failed with, if it did."""
    failure: BaseException | None = None
    try:
        if engine.handshake():
            engine.read()
    except conduit.TLSError as error:
        failure = error
    peer.receive(engine.to_send())
    return failure


class Ends:
    """A client and a server that do a handshake, by one version of TLS.

    What each failed with is `client_error` and `server_error`, or None.
    """

    def __init__(self, client: openssl.Client, server: openssl.Server, version, host=HOST) -> None:
        for context in (client._checking, client._lax, server.context):
            if context is not None:
                context.minimum_version = context.maximum_version = version
        self.client, self.server = client.engine(host, None), server.engine()
        self.client_error: BaseException | None = None
        self.server_error: BaseException | None = None
        for _ in range(4):
            if self.client_error is None:
                self.client_error = turn(self.client, self.server)
            if self.server_error is None:
                self.server_error = turn(self.server, self.client)

    @property
    def agree(self) -> bool:
        return self.client_error is None and self.server_error is None


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
def version(request):
    return request.param


def client(trusted: trust.Trust, own_key: OwnKey | None = None) -> openssl.Client:
    return openssl.load_client(ClientSettings(trust=trusted, own_key=own_key))


def server(key: OwnKey, trusted: trust.Trust | None = None, client_auth="none") -> openssl.Server:
    return openssl.load_server(ServerSettings(keys=(key,), trust=trusted, client_auth=client_auth))


NOBODY = trust.insecure_no_verification()


# Pins of a server's certificate -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["self-signed", "issued", "below an intermediate"])
def test_pinned_server_is_trusted_whoever_signed_it(certificates, files, version, kind):
    issued = {
        "self-signed": lambda: self_signed(HOST),
        "issued": lambda: certificates.ca.issue(HOST),
        "below an intermediate": lambda: certificates.ca.intermediate().issue(HOST),
    }[kind]()
    known = client(pin(issued))
    serving = server(files(issued))
    for _ in range(2):  # the second time it is an anchor already
        assert Ends(known, serving, version).agree


@pytest.mark.parametrize("kind", ["self-signed", "issued"])
def test_another_server_is_refused_with_its_fingerprint(certificates, files, version, kind):
    issued = self_signed(HOST) if kind == "self-signed" else certificates.ca.issue(HOST)
    ends = Ends(client(pin(self_signed(HOST))), server(files(issued)), version)
    assert isinstance(ends.client_error, conduit.CertificateError)
    assert "is not among those whose fingerprints are accepted" in str(ends.client_error)
    assert ends.client_error.chain[0] == issued.der
    assert hashlib.sha256(issued.der).hexdigest() in str(ends.client_error).replace(":", "").lower()


def test_pinned_authority_is_no_pinned_server(certificates, files, version):
    """The pin is of the peer's own certificate, not of one that signed it."""
    issued = certificates.ca.issue(HOST)
    authority = trust.fingerprint(hashlib.sha256(certificates.ca.der).digest())
    ends = Ends(client(authority), server(files(issued)), version)
    assert isinstance(ends.client_error, conduit.CertificateError)


def test_pinned_certificate_does_not_vouch_for_others(files, version):
    """It becomes an anchor, but what it signs must not be trusted for that."""
    pinned = Authority("pinned")
    known = client(trust.fingerprint(hashlib.sha256(pinned.der).digest()))
    # It has been seen as a peer's own once, and is an anchor from then on.
    own = Issued(pinned.pem, _key_of(pinned), pinned.der)
    Ends(known, server(files(own)), version, host="localhost")
    ends = Ends(known, server(files(pinned.issue(HOST))), version)
    assert isinstance(ends.client_error, conduit.CertificateError)
    assert "fingerprints" in str(ends.client_error)


def _key_of(authority):
    from cryptography.hazmat.primitives import serialization as s

    return authority.private_key.private_bytes(
        s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()
    )


@pytest.mark.parametrize(
    ("issue", "said"),
    [
        (lambda: self_signed("other.example"), "not for 'db.example'"),
        (lambda: self_signed(HOST, not_after=NOW - HOUR), "expired on"),
        (lambda: self_signed(HOST, not_before=NOW + HOUR), "not valid before"),
        (lambda: self_signed(HOST, usages=["client"]), "not for a TLS server"),
    ],
    ids=["name", "expired", "early", "usage"],
)
def test_pinned_server_is_checked_for_all_else(files, version, issue, said):
    issued = issue()
    ends = Ends(client(pin(issued)), server(files(issued)), version)
    assert isinstance(ends.client_error, conduit.CertificateError)
    assert said in str(ends.client_error)


def test_pin_and_authority_must_both_hold(certificates, files, version):
    issued, other = certificates.ca.issue(HOST), certificates.ca.issue(HOST)
    by_us = trust.ca(certificates.trusted)
    by_others = trust.ca(certificates.other_ca.pem)
    assert Ends(client(by_us & pin(issued)), server(files(issued)), version).agree
    wrong_pin = Ends(client(by_us & pin(other)), server(files(issued)), version)
    assert isinstance(wrong_pin.client_error, conduit.CertificateError)
    assert "fingerprints" in str(wrong_pin.client_error)
    wrong_authority = Ends(client(by_others & pin(issued)), server(files(issued)), version)
    assert isinstance(wrong_authority.client_error, conduit.CertificateError)
    assert "is not among the authorities trusted here" in str(wrong_authority.client_error)


# Pins of a client's certificate -------------------------------------------------------------------


@pytest.mark.parametrize("client_auth", ["optional", "required"])
@pytest.mark.parametrize("kind", ["self-signed", "issued"])
def test_pinned_client_is_trusted(certificates, files, version, kind, client_auth):
    own = self_signed("me") if kind == "self-signed" else certificates.ca.issue("me")
    ends = Ends(
        client(NOBODY, files(own)),
        server(files(self_signed(HOST)), pin(own), client_auth),
        version,
    )
    assert ends.agree, ends.server_error
    assert ends.server.facts().peer_chain == (own.der,)


@pytest.mark.parametrize("client_auth", ["optional", "required"])
def test_another_client_is_refused_and_its_chain_told(files, version, client_auth):
    own = self_signed("me")
    ends = Ends(
        client(NOBODY, files(own)),
        server(files(self_signed(HOST)), pin(self_signed("me")), client_auth),
        version,
    )
    assert isinstance(ends.server_error, conduit.CertificateError)
    assert "fingerprints" in str(ends.server_error)
    assert ends.server_error.chain == (own.der,)


def test_client_without_a_certificate(files, version):
    serving = files(self_signed(HOST))
    pinned = pin(self_signed("me"))
    required = Ends(client(NOBODY), server(serving, pinned, "required"), version)
    assert isinstance(required.server_error, conduit.CertificateError)
    assert "the client showed no certificate" in str(required.server_error)
    optional = Ends(client(NOBODY), server(serving, pinned, "optional"), version)
    assert optional.agree
    assert optional.server.facts().peer_certificate is None


@pytest.mark.parametrize(
    ("issue", "said"),
    [
        (lambda: self_signed("me", not_after=NOW - HOUR), "expired on"),
        (lambda: self_signed("me", usages=["server"]), "not for a TLS client"),
    ],
    ids=["expired", "usage"],
)
def test_pinned_client_is_checked_for_all_else(files, version, issue, said):
    own = issue()
    ends = Ends(
        client(NOBODY, files(own)), server(files(self_signed(HOST)), pin(own), "required"), version
    )
    assert isinstance(ends.server_error, conduit.CertificateError)
    assert said in str(ends.server_error)


def test_refused_clients_whole_chain_is_told(certificates, files, version):
    between = certificates.other_ca.intermediate()
    own = between.issue("me")
    ends = Ends(
        client(NOBODY, files(own)),
        server(files(self_signed(HOST)), trust.ca(certificates.trusted), "required"),
        version,
    )
    assert isinstance(ends.server_error, conduit.CertificateError)
    assert ends.server_error.chain == (own.der, between.der)


# The message --------------------------------------------------------------------------------------


def message(*chain: bytes, tls13: bool, context=b"", extensions=b"") -> bytes:
    """A Certificate message, as a peer sends it."""
    entries = b"".join(
        len(one).to_bytes(3) + one + (len(extensions).to_bytes(2) + extensions if tls13 else b"")
        for one in chain
    )
    body = (bytes([len(context)]) + context if tls13 else b"") + len(entries).to_bytes(3) + entries
    return b"\x0b" + len(body).to_bytes(3) + body


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.booleans(), st.binary(max_size=9)
)
def test_certificates_are_found(chain, tls13, more):
    sent = message(*chain, tls13=tls13, context=more, extensions=more)
    assert certificates_of(sent, tls13) == tuple(chain)


@given(st.binary(max_size=200), st.booleans())
def test_what_is_malformed_is_left_out(garbage, tls13):
    for found in certificates_of(garbage, tls13):
        assert found in garbage


@given(st.data(), st.booleans())
def test_message_cut_short_gives_no_more_than_was_there(data, tls13):
    chain = [b"one" * 50, b"two" * 50, b"three" * 50]
    whole = message(*chain, tls13=tls13)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    found = certificates_of(cut, tls13)
    assert all(one in whole for one in found)
    assert list(found[:-1]) == chain[: max(len(found) - 1, 0)]


@pytest.mark.parametrize("tls13", [False, True])
def test_chain_without_end_is_bounded(tls13):
    assert len(certificates_of(message(*[b"x"] * 5000, tls13=tls13), tls13)) == 32


def test_sizes_that_lie_are_bounded_by_the_message():
    assert certificates_of(b"\x0b\0\0\x09\xff\xff\xff\xff\xff\xffabc", False) == (b"abc",)
    assert certificates_of(b"\x0b\0\0\x03\0\0\0\0\0\0", False) == ()
    assert certificates_of(b"", False) == certificates_of(b"", True) == ()
