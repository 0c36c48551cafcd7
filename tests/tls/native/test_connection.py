"""Handshakes of the native stack: what tlslite-ng would let pass, or does in another way."""

from __future__ import annotations

import gc
import tracemalloc
import zlib
from typing import Any

import pytest

from conduit import AddressError, CertificateError, TLSError
from conduit.testing import Authority
from conduit.tls import pem
from conduit.tls.native import tlslite_copy as tlslite
from conduit.tls.native.connection import _ConstantTime
from conduit.tls.native.engine import NativeEngine
from conduit.tls.native.handshake_records import (
    LARGEST_HANDSHAKE,
    LARGEST_HELLO,
    LARGEST_MESSAGE,
    MOST_RECORDS,
)
from tests.tls.attacker import HANDSHAKE, NATIVE, against, ends, record
from tests.tls.session import End, Session, load


@pytest.fixture(params=["client", "server"])
def role(request) -> str:
    """The victim's."""
    role: str = request.param
    return role


def connection(end: End) -> Any:
    """What does the handshake of an end."""
    assert isinstance(end.engine, NativeEngine)
    return end.engine._connection


def native(tls, identities, **more) -> Session:
    return load((NATIVE, NATIVE), tls, identities.server(), identities.trust, **more).session()


# Bounds -------------------------------------------------------------------------------------------


def bomb(size: int) -> bytes:
    """A compressed certificate (RFC 8879) that is small on its way."""
    squeezed = zlib.compress(bytes(size), 9)
    body = b"\x00\x01" + (2**24 - 1).to_bytes(3) + len(squeezed).to_bytes(3) + squeezed
    return bytes((25,)) + len(body).to_bytes(3) + body


class _Bomb:
    contentType = HANDSHAKE

    def __init__(self) -> None:
        self._message = bytearray(bomb(64 * 1024 * 1024))

    def write(self) -> bytearray:
        return self._message


@pytest.mark.parametrize("tls", ["TLSv1.3"], indirect=True)
def test_compressed_certificate_is_not_unpacked(tls, identities, role, monkeypatch):
    """It was not offered; tlslite-ng has no bound on what comes out."""
    session = against(
        NATIVE, role, tls, identities, client_key=identities.client(), client_auth="required"
    )
    victim, attacker = ends(session, role)
    shown = _Bomb()
    monkeypatch.setattr(connection(attacker), "_create_cert_msg", lambda *_, **__: shown)
    gc.collect()
    tracemalloc.start()
    try:
        session.run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(victim.failure, TLSError)
    assert peak < 16 * 1024 * 1024
    assert isinstance(attacker.failure, TLSError)
    assert attacker.failure.alert == "unexpected_message"


def test_a_message_is_refused_by_what_it_claims(tls, identities, role):
    victim, _ = ends(against(NATIVE, role, tls, identities), role)
    victim.take(b"")
    victim.engine.to_send()
    kind = 2 if role == "client" else 1
    victim.take(record(HANDSHAKE, bytes((kind,)) + (LARGEST_MESSAGE + 1).to_bytes(3)))
    assert "too long" in str(victim.failure)


def test_a_hello_is_refused_by_what_it_claims(identities):
    """It costs time, whoever it is from."""
    for size, good in ((LARGEST_HELLO, True), (LARGEST_HELLO + 1, False)):
        session = load((NATIVE, NATIVE), None, identities.server(), identities.trust).session()
        session.server.take(record(HANDSHAKE, b"\x01" + size.to_bytes(3) + bytes(10)))
        assert (session.server.failure is None) is good


def test_a_handshake_has_an_end(identities):
    """Of bytes and of records, whatever the messages are."""
    change = record(20, b"\x01")
    assert MOST_RECORDS * len(change) < LARGEST_HANDSHAKE
    session = load((NATIVE, NATIVE), None, identities.server(), identities.trust).session()
    session.client.take(b"")
    session.server.take(session.client.engine.to_send())
    taken = 0
    while session.server.failure is None and taken < 2 * MOST_RECORDS:
        session.server.take(change * 100)
        taken += 100
    assert isinstance(session.server.failure, TLSError)
    assert taken <= MOST_RECORDS + 100


@pytest.mark.parametrize("tls", ["TLSv1.3"], indirect=True)
def test_certificates_without_end(identities, tls, role):
    """A chain of 16 authorities is looked at, and no more."""
    below = identities.authority
    for number in range(30):
        below = below.intermediate(f"authority {number}", key="ed25519")
    issued = below.issue("db.example", key="ed25519")
    chain = []
    for der in pem.certificates(issued.crt_pem):
        certificate = tlslite.messages.X509()
        certificate.parseBinary(der)
        chain.append(certificate)
    assert len(chain) > 25
    session = against(
        NATIVE, role, tls, identities, client_key=identities.client(), client_auth="required"
    )
    victim, attacker = ends(session, role)
    own = connection(attacker)._create_cert_msg

    def create(peer: str, request: Any, algorithms: Any, _: Any, *more: Any, **named: Any) -> Any:
        made = tlslite.x509certchain.X509CertChain(chain)
        return own(peer, request, algorithms, made, *more, **named)

    connection(attacker)._create_cert_msg = create
    session.run()
    assert isinstance(victim.failure, CertificateError)
    assert len(victim.failure.chain) == len(chain)


# Who the peer is ----------------------------------------------------------------------------------


@pytest.mark.parametrize("asks", ["optional", "required"])
def test_certificate_of_a_stranger_is_refused_in_both_versions(tls, identities, tmp_path, asks):
    """tlslite-ng verifies no chain, and its server of TLS 1.3 has no place to do it in."""
    stranger = Authority("stranger").issue("client.example").write(tmp_path)
    session = native(tls, identities, client_key=stranger, client_auth=asks).run()
    assert isinstance(session.server.failure, CertificateError)
    assert not session.server.done
    assert session.client.failure is not None
    assert session.client.failure.alert == "unknown_ca"


def test_required_certificate_is_required(tls, identities):
    """`reqCert` of tlslite-ng asks for one, and takes none as well."""
    session = native(tls, identities, client_auth="required").run()
    assert isinstance(session.server.failure, CertificateError)
    alert = "certificate_required" if tls == "TLSv1.3" else "handshake_failure"
    assert session.client.failure is not None
    assert session.client.failure.alert == alert


def test_a_chain_is_judged_before_the_signature_is_looked_at(tls, identities, role):
    """So that nobody who is not trusted makes us compute."""
    session = against(
        NATIVE, role, tls, identities, client_key=identities.client(), client_auth="required"
    )
    victim, _ = ends(session, role)
    seen: list[str] = []
    judge = connection(victim)._judge

    def decide(shown: Any) -> Any:
        seen.append("judged")
        return judge(shown)

    connection(victim)._judge = decide
    own = connection(victim)._look_at

    def look(message: Any) -> None:
        seen.append(type(message).__name__)
        own(message)

    connection(victim)._look_at = look
    session.run()
    assert victim.failure is None
    at = seen.index("judged")
    assert seen[at - 1] == "Certificate"
    signed = "ServerKeyExchange" if (role, tls) == ("client", "TLSv1.2") else "CertificateVerify"
    assert seen.index(signed) > at


def test_a_signature_in_a_way_that_was_not_offered(tls, identities, role):
    session = against(
        NATIVE, role, tls, identities, client_key=identities.client("rsa"), client_auth="required"
    )
    victim, _ = ends(session, role)
    own = connection(victim)._look_at

    def look(message: Any) -> None:
        if type(message).__name__ == "CertificateVerify":
            message.signatureAlgorithm = (2, 1)  # RSA with SHA-1
        own(message)

    connection(victim)._look_at = look
    session.run()
    if (role, tls) == ("client", "TLSv1.2"):
        assert victim.failure is None  # it has none to look at
    else:
        assert "in a way that was not offered" in str(victim.failure)


def test_ends_of_handshakes_are_compared_in_constant_time():
    ours = _ConstantTime(b"abc")
    assert ours == b"abc"
    assert ours == bytearray(b"abc")
    assert not ours.__ne__(b"abc")
    assert ours != b"abd"
    assert ours != bytearray(b"ab")
    assert ours != "abc"


# What is offered and agreed on --------------------------------------------------------------------


def hello_of(identities, **more) -> Any:
    """What a client says first, read again."""
    client = load((NATIVE, NATIVE), None, identities.server(), identities.trust, **more)
    end = End(client.client.engine("db.example", None))
    end.take(b"")
    said = end.engine.to_send()
    parser = tlslite.messages.Parser(bytearray(said[6:]))
    return tlslite.messages.ClientHello().parse(parser)


def test_what_a_client_offers(identities):
    hello = hello_of(identities, client_key=identities.client())
    assert set(hello.cipher_suites) - {0xFF} == {
        0x1301, 0x1302, 0x1303, 0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9,
    }  # fmt: skip
    numbers = [one.extType for one in hello.extensions]
    # Not: heartbeat, tickets, compressed certificates, to be asked later, encrypt then MAC.
    assert not {15, 35, 27, 49, 22} & set(numbers)
    assert len(set(numbers)) == len(numbers)
    assert hello.getExtension(43).versions == [(3, 4), (3, 3)]
    assert hello.getExtension(10).groups == [29, 23, 24, 25]
    signatures = {tuple(one) for one in hello.getExtension(13).sigalgs}
    assert not any(one[0] in (1, 2, 3) for one in signatures)  # MD5, SHA-1, SHA-224


def test_request_of_a_certificate_has_no_empty_extension(identities):
    """Others take an empty list of compressions for an error."""
    session = load(
        (NATIVE, NATIVE), None, identities.server(), identities.trust, client_auth="optional"
    ).session()
    asked: list[Any] = []
    own = connection(session.client)._look_at

    def look(message: Any) -> None:
        if type(message).__name__ == "CertificateRequest":
            asked.extend(message.extensions)
        own(message)

    connection(session.client)._look_at = look
    session.run()
    assert session.client.failure is None
    assert [one.extType for one in asked] == [13]


def test_server_answers_what_was_not_asked(identities):
    session = load((NATIVE, NATIVE), "TLSv1.3", identities.server(), identities.trust).session()
    own = connection(session.server)._queue_message

    def queue(message: Any) -> None:
        if type(message).__name__ == "EncryptedExtensions":
            message.extensions.append(tlslite.messages.TLSExtension(extType=15).create(b"\x01"))
        own(message)

    connection(session.server)._queue_message = queue
    session.run()
    assert session.server.failure is not None
    assert session.server.failure.alert == "unsupported_extension"


def test_version_that_is_chosen_in_the_way_of_another(identities):
    """TLS 1.2 in the extension of TLS 1.3, where the checks of neither would be made."""
    session = load((NATIVE, NATIVE), "TLSv1.2", identities.server(), identities.trust).session()
    own = connection(session.server)._sendMsgs

    def send(messages: list[Any]) -> Any:
        kind = tlslite.tlsconnection.SrvSupportedVersionsExtension
        messages[0].extensions.append(kind().create((3, 3)))
        return own(messages)

    connection(session.server)._sendMsgs = send
    session.run()
    assert session.server.failure is not None
    assert session.server.failure.alert == "illegal_parameter"


def test_handshake_may_be_asked_for_again(tls, identities):
    session = native(tls, identities).run()
    for end, other in ((session.client, session.server), (session.server, session.client)):
        assert end.engine.handshake()
        end.say(b"hello")
        session.run()
        assert other.read() == b"hello"


def test_protocol_that_was_not_offered(identities):
    """tlslite-ng's client of TLS 1.3 takes any."""
    session = load(
        (NATIVE, NATIVE),
        "TLSv1.3",
        identities.server(),
        identities.trust,
        offered=("h2",),
        alpn=("h2",),
    ).session()
    own = connection(session.server)._queue_message

    def queue(message: Any) -> None:
        if type(message).__name__ == "EncryptedExtensions":
            (alpn,) = [one for one in message.extensions if one.extType == 16]
            alpn.protocol_names[:] = [bytearray(b"smtp")]
        own(message)

    connection(session.server)._queue_message = queue
    session.run()
    assert session.server.failure is not None
    assert session.server.failure.alert == "illegal_parameter"


def test_server_without_protection_from_renegotiation_is_refused(identities):
    session = load((NATIVE, NATIVE), "TLSv1.2", identities.server(), identities.trust).session()
    session.on_the_way = lambda data: data.replace(b"\xff\x01\x00\x01\x00", b"\xff\x02\x00\x01\x00")
    session.run()
    assert isinstance(session.client.failure, TLSError)


@pytest.mark.parametrize(
    "name", ["a_b.example", "localhost", "x" * 63 + ".example", "xn--nxa.example"]
)
def test_names_that_are_in_use(identities, tls, name):
    """tlslite-ng refuses an underscore, as a client and as a server."""
    session = native(tls, identities)
    session.client.engine = load(
        (NATIVE, NATIVE), tls, identities.server(), identities.trust
    ).client.engine(name, None)
    session.run()
    assert session.server.engine.facts().sni == name if session.server.done else True
    if name != "localhost":
        assert isinstance(session.client.failure, CertificateError)


@pytest.mark.parametrize("name", ["a b", "\0", ".example", "a\nb", "x" * 300])
def test_names_that_cannot_be(identities, name):
    loaded = load((NATIVE, NATIVE), None, identities.server(), identities.trust)
    with pytest.raises(AddressError):
        loaded.client.engine(name, None)


def test_what_escapes_from_the_library_is_an_error_of_ours(identities, tls, role):
    """It lets KeyError, ValueError and others through, without an alert."""
    for wrong in (KeyError("x"), ValueError("x"), IndexError(), AssertionError(), TypeError("x")):
        session = against(NATIVE, role, tls, identities)
        victim, attacker = ends(session, role)

        def fail(message: object, wrong: Exception = wrong) -> None:
            raise wrong

        connection(victim)._look_at = fail
        session.run()
        assert type(victim.failure) is TLSError
        assert victim.failure.__cause__ is wrong
        assert isinstance(attacker.failure, TLSError)
        assert attacker.failure.alert == "internal_error"


def test_warnings_before_the_end_are_ignored_and_not_for_ever(identities):
    """As a server may send for a name that it does not know (RFC 6066, 3)."""
    warning = record(21, bytes((1, 112)))
    for count, good in ((1, True), (4, True), (5, False)):
        session = load((NATIVE, NATIVE), "TLSv1.2", identities.server(), identities.trust).session()
        session.client.take(b"")
        session.server.take(session.client.engine.to_send())
        session.client.take(warning * count + session.server.engine.to_send())
        session.run()
        assert session.client.done is good
        assert (session.client.failure is None) is good
