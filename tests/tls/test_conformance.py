"""What every TLS stack does, as a client and as a server of every other, without any socket."""

from __future__ import annotations

import hashlib
import random
import ssl
from itertools import product

import pytest

from conduit import CertificateError, TLSError, trust
from conduit.testing import Authority
from tests.tls.identities import KINDS, Identities
from tests.tls.session import Loaded, Session, load

DATA = random.Random(1).randbytes(300_000)

# A name in the certificate, one below its wildcard, and an address of either family.
ASKED = ("db.example", "any.wild.example", "127.0.0.1", "::1")


@pytest.fixture(params=KINDS)
def loaded(request, stacks, tls, identities: Identities) -> Loaded:
    """A client and a server, of all stacks, versions and kinds of keys."""
    return load(
        stacks,
        tls,
        identities.server(request.param),
        identities.trust,
        client_key=identities.client(request.param),
        client_auth="optional",
        offered=("h2", "http/1.1"),
        alpn=("http/1.1", "h2"),
    )


@pytest.fixture
def ready(loaded: Loaded) -> Session:
    """A session whose handshake is done."""
    return done(loaded.session())


def done(session: Session) -> Session:
    session.run()
    for end in (session.client, session.server):
        assert end.failure is None
        assert end.done
        assert not end.ended
    return session


def both(session: Session):
    return (session.client, session.server), (session.server, session.client)


def test_data_arrives_whole_both_ways(ready):
    for sender, receiver in both(ready):
        for start in range(0, len(DATA), 60_000):
            sender.say(DATA[start : start + 60_000])
        ready.run()
        assert hashlib.sha256(receiver.read()).digest() == hashlib.sha256(DATA).digest()


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 65_536])
def test_what_is_written_is_read(ready, size):
    for sender, receiver in both(ready):
        for kind in (bytes, bytearray, memoryview):
            sender.say(kind(DATA[:size]))
            ready.run()
            assert receiver.read() == DATA[:size]


def test_each_piece_can_be_read_when_it_is_complete(ready):
    """And nothing waits for what comes after it."""
    for sender, receiver in both(ready):
        for piece in (b"one", b"two"):
            sender.say(piece)
            for byte in sender.engine.to_send():
                assert not receiver.read()
                receiver.take(bytes([byte]))
            assert receiver.read() == piece


def test_either_side_ends_alone(loaded):
    for role in (0, 1):
        session = done(loaded.session())
        ender, other = both(session)[role]
        ender.say(b"the last")
        ender.engine.close_notify()
        session.run()
        assert other.read() == b"the last"
        assert other.ended
        assert not ender.ended
        other.say(DATA[:100_000])
        session.run()
        assert ender.read() == DATA[:100_000]
        other.engine.close_notify()
        session.run()
        assert ender.ended
        assert ender.failure is None
        assert other.failure is None


@pytest.mark.parametrize("role", [0, 1], ids=["client", "server"])
def test_a_half_record_at_hand_does_not_spoil_the_end_of_the_other_way(loaded, role):
    session = done(loaded.session())
    ender, other = both(session)[role]
    other.say(b"on its way")
    under_way = other.engine.to_send()
    for cut in (1, 5, 6, len(under_way) - 1):
        ender.take(under_way[:cut])
        ender.engine.close_notify()
        ender.take(under_way[cut:])
        assert ender.read() == b"on its way"
        session.run()
        assert other.ended
        other.say(b"on its way")
        under_way = other.engine.to_send()
    ender.take(under_way)
    assert ender.failure is None


def test_goodbye_is_said_once(ready):
    for speaker, listener in both(ready):
        speaker.engine.close_notify()
        ready.run()
        speaker.engine.close_notify()
        assert not speaker.engine.to_send()
        assert listener.ended
        assert not listener.failure


def test_both_may_say_goodbye_at_once(ready):
    ready.client.say(b"from the client")
    ready.client.engine.close_notify()
    ready.server.say(b"from the server")
    ready.server.engine.close_notify()
    ready.run()
    assert (ready.client.read(), ready.client.ended) == (b"from the server", True)
    assert (ready.server.read(), ready.server.ended) == (b"from the client", True)


def test_what_comes_after_the_goodbye_is_not_kept(ready):
    for speaker, listener in both(ready):
        speaker.say(b"early")
        late = speaker.engine.to_send()
        speaker.engine.close_notify()
        listener.take(late + speaker.engine.to_send())
        listener.engine.receive(bytes(1000))
        assert listener.engine.read() == b""
        assert listener.read() == b"early"


def test_what_came_before_a_failure_can_be_read(loaded):
    for role in (0, 1):
        session = done(loaded.session())
        speaker, listener = both(session)[role]
        speaker.say(b"good")
        listener.take(speaker.engine.to_send() + b"\x17\x03\x03\x00\x20" + bytes(32))
        assert listener.read() == b"good"
        assert isinstance(listener.failure, TLSError)
        # And the other side is told, by an alert that has a name.
        alert = listener.engine.to_send()
        assert alert
        speaker.take(alert)
        assert isinstance(speaker.failure, TLSError)
        assert speaker.failure.alert == "bad_record_mac"


def test_facts(ready, tls, identities):
    for end, peer in ((ready.client, "server"), (ready.server, "client")):
        facts = end.engine.facts()
        assert facts.version == tls
        assert facts.sni == "db.example"
        assert facts.alpn == "http/1.1"  # the server's preference
        assert not facts.resumed
        shown = {
            ssl.PEM_cert_to_DER_cert(path.read_text())
            for path in identities.directory.glob(f"{peer}-*.crt")
        }
        assert facts.peer_certificate in shown
    assert ready.client.engine.facts().cipher == ready.server.engine.facts().cipher
    assert ready.client.engine.facts().cipher


@pytest.mark.parametrize("asked", ASKED)
def test_names_and_addresses(loaded, asked):
    session = done(loaded.session(asked))
    # Addresses are no names for SNI (RFC 6066, 3).
    name = asked if asked.endswith("example") else None
    assert session.server.engine.facts().sni == name
    assert session.client.engine.facts().sni == name


@pytest.mark.parametrize("asked", ["other.example", "a.b.wild.example", "127.0.0.2", "::2"])
def test_another_name_is_refused(stacks, tls, identities, asked):
    loaded = load(stacks, tls, identities.server(), identities.trust)
    session = loaded.session(asked).run()
    assert isinstance(session.client.failure, CertificateError)
    assert asked in str(session.client.failure)
    assert session.client.failure.chain[0] == pem_to_der(identities.server().crt_file)
    assert isinstance(session.server.failure, TLSError)
    assert session.server.failure.alert is not None


def pem_to_der(file: str) -> bytes:
    with open(file) as opened:
        return ssl.PEM_cert_to_DER_cert(opened.read())


def test_the_certificate_is_chosen_by_name(stacks, tls, identities, tmp_path):
    other = identities.authority.issue("other.example").write(tmp_path)
    loaded = load(stacks, tls, identities.server(), identities.trust, more_keys=(other,))
    for asked, key in (("other.example", other), ("db.example", identities.server())):
        session = done(loaded.session(asked))
        assert session.client.engine.facts().peer_certificate == pem_to_der(key.crt_file)


@pytest.mark.parametrize(
    ("offered", "known", "agreed"),
    [
        (("a", "b"), ("b", "a"), "b"),
        (("a",), ("b", "a"), "a"),
        (("a",), (), None),
        ((), ("a",), None),
    ],
)
def test_alpn(stacks, tls, identities, offered, known, agreed):
    loaded = load(stacks, tls, identities.server(), identities.trust, offered=offered, alpn=known)
    session = done(loaded.session())
    assert session.client.engine.facts().alpn == agreed
    assert session.server.engine.facts().alpn == agreed


@pytest.mark.parametrize(
    ("asks", "shows"), list(product(["none", "optional", "required"], [True, False]))
)
def test_certificates_of_clients(stacks, tls, identities, asks, shows):
    key = identities.client("rsa") if shows else None
    loaded = load(
        stacks, tls, identities.server(), identities.trust, client_auth=asks, client_key=key
    )
    session = loaded.session().run()
    if asks == "required" and not shows:
        assert isinstance(session.server.failure, CertificateError)
        assert isinstance(session.client.failure, TLSError)
        assert session.client.failure.alert is not None
        return
    assert session.client.failure is None
    chain = session.server.engine.facts().peer_chain
    assert bool(chain) == (shows and asks != "none")


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_nobody_knows_is_refused(stacks, tls, identities, tmp_path, kind):
    stranger = Authority("stranger").issue("client.example", key=kind).write(tmp_path)
    loaded = load(
        stacks,
        tls,
        identities.server(),
        identities.trust,
        client_auth="optional",
        client_key=stranger,
    )
    session = loaded.session().run()
    assert isinstance(session.server.failure, CertificateError)
    assert session.server.failure.chain == (pem_to_der(stranger.crt_file),)
    assert isinstance(session.client.failure, TLSError)
    assert session.client.failure.alert == "unknown_ca"


def test_fingerprints(stacks, tls, identities):
    own = identities.server()
    pin = hashlib.sha256(pem_to_der(own.crt_file)).digest()
    done(load(stacks, tls, own, trust.fingerprint(pin)).session())
    refused = load(stacks, tls, own, trust.fingerprint(bytes(32))).session().run()
    assert isinstance(refused.client.failure, CertificateError)


def test_a_session_is_taken_up_again(loaded, tls):
    first = done(loaded.session(peer="peer"))
    for speaker, _ in both(first):
        speaker.say(b"x")
        first.run()
    first.client.engine.close_notify()
    second = done(loaded.session(peer="peer"))
    assert second.client.engine.facts().resumed
    assert second.server.engine.facts().resumed
    assert second.client.engine.facts().peer_certificate is not None
    assert len(second.from_server) < len(first.from_server)
    for sender, receiver in both(second):
        sender.say(DATA[:1000])
        second.run()
        assert receiver.read() == DATA[:1000]
    # Not of another peer, and not without being asked for.
    assert not done(loaded.session(peer="another")).client.engine.facts().resumed
    assert not done(loaded.session(peer=None)).client.engine.facts().resumed


def test_a_session_is_taken_up_once(loaded):
    first = done(loaded.session(peer="peer"))
    first.server.say(b"x")
    first.run()
    first.client.engine.close_notify()
    sessions = [done(loaded.session(peer="peer")) for _ in range(2)]
    assert [one.client.engine.facts().resumed for one in sessions] == [True, False]


@pytest.mark.parametrize("name", [b"\xff\xfe.example", b"db\0example"])
def test_a_name_that_is_none_is_refused(loaded, name):
    """Quietly: only the client, and whoever asked for the failure, hear of it."""
    session = loaded.session()
    session.client.take(b"")
    hello = session.client.engine.to_send()
    session.server.take(hello.replace(b"db.example", name))
    assert isinstance(session.server.failure, TLSError)
    session.client.take(session.server.engine.to_send())
    assert isinstance(session.client.failure, TLSError)
    assert session.client.failure.alert is not None


@pytest.mark.parametrize("name", [b"..........", b"a b\x7f\n<>\"'&"])
def test_an_odd_name_is_a_name(loaded, name):
    assert len(name) == len("db.example")
    session = loaded.session()
    session.client.take(b"")
    hello = session.client.engine.to_send()
    session.server.take(hello.replace(b"db.example", name))
    assert session.server.failure is None
    assert session.server.engine.to_send()
