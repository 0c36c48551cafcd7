"""An attacking peer against both stacks in both roles: before, in, and after the handshake."""

from __future__ import annotations

import struct

import pytest

from conduit import TLSError
from conduit.tls.alerts import NUMBERS
from tests.tls.attacker import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    DATA,
    HANDSHAKE,
    against,
    ends,
    record,
    records,
    seal,
)
from tests.tls.engines import STACKS
from tests.tls.session import End, Session, load


@pytest.fixture(params=["client", "server"])
def role(request) -> str:
    """The victim's."""
    role: str = request.param
    return role


def refuses(victim: End, attacker: End | None = None) -> str | None:
    """Check that it has given up in order; the alert that it told the attacker, if it did."""
    assert isinstance(victim.failure, TLSError)
    assert str(victim.failure)
    assert "\n" not in str(victim.failure)
    told = victim.engine.to_send()
    if attacker is None or not told:
        return None
    attacker.take(told)
    assert isinstance(attacker.failure, TLSError)
    return attacker.failure.alert


# After the handshake ------------------------------------------------------------------------------


@pytest.fixture
def ready(stack, tls, identities, role):
    """A victim and an attacker after their handshake."""
    session = against(stack, role, tls, identities).run()
    victim, attacker = ends(session, role)
    assert victim.failure is attacker.failure is None
    assert victim.done
    return victim, attacker


def message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3) + body


# What is sealed: a type of record, and what is in it.
SEALED = {
    "a change of ciphers": (CHANGE_CIPHER_SPEC, b"\x01"),
    "a type that is none": (99, b"hello"),
    "a heartbeat": (24, b"\x01\x40\x00" + bytes(16)),
    "an empty alert": (ALERT, b""),
    "half an alert": (ALERT, b"\x02"),
    "a hello of a server": (HANDSHAKE, message(2, b"\x03\x03" + bytes(36))),
    "a certificate": (HANDSHAKE, message(11, bytes(4))),
    "a key exchange": (HANDSHAKE, message(16, b"\x01\x04")),
    "a second end": (HANDSHAKE, message(20, bytes(12))),
    "a message that is none": (HANDSHAKE, message(200, b"hello")),
    "a message of 16 MB": (HANDSHAKE, b"\x0b\xff\xff\xff"),
}


@pytest.mark.parametrize("name", SEALED)
def test_what_has_no_place_after_the_handshake(ready, name):
    victim, attacker = ready
    kind, content = SEALED[name]
    victim.take(seal(attacker, kind, content))
    if victim.failure is None and content[:1] == b"\x0b":
        # Some wait for a little more before they look.
        victim.take(seal(attacker, HANDSHAKE, bytes(16000)) * 1)
    refuses(victim)


KEY_UPDATES = {
    "of no known kind": message(24, b"\x02"),
    "too long": message(24, b"\x00\x00"),
    "empty": message(24, b""),
}


@pytest.mark.parametrize("tls", ["TLSv1.3"], indirect=True)
@pytest.mark.parametrize("name", KEY_UPDATES)
def test_bad_update_of_keys(ready, name):
    victim, attacker = ready
    victim.take(seal(attacker, HANDSHAKE, KEY_UPDATES[name]))
    refuses(victim)


@pytest.mark.parametrize("tls", ["TLSv1.3"], indirect=True)
def test_data_in_the_middle_of_a_message(ready):
    victim, attacker = ready
    victim.take(seal(attacker, HANDSHAKE, message(24, b"\x00")[:3]))
    assert victim.failure is None
    victim.take(seal(attacker, DATA, b"interleaved"))
    refuses(victim)
    assert not victim.got


def test_records_in_the_clear(ready):
    victim, _ = ready
    victim.take(record(DATA, b"injected" + bytes(40)))
    refuses(victim)
    assert not victim.got


@pytest.mark.parametrize("size", [0, 1, 15, 16])
def test_records_that_are_too_short(ready, size):
    victim, _ = ready
    victim.take(record(DATA, bytes(size)))
    refuses(victim)


def test_record_that_claims_to_be_too_long(ready):
    """It is refused at once, not when all of it has come."""
    victim, attacker = ready
    victim.take(bytes((DATA, 3, 3)) + (2**14 + 2049).to_bytes(2))
    assert refuses(victim, attacker) == "record_overflow"


def test_more_in_a_record_than_may_be(ready):
    victim, attacker = ready
    victim.take(seal(attacker, DATA, bytes(2**14 + 1)))
    assert refuses(victim, attacker) == "record_overflow"


def test_a_record_that_comes_twice_or_never(stack, tls, identities, role):
    for order in ((0, 0), (1,), (0, 2), (1, 0)):
        victim, attacker = ends(against(stack, role, tls, identities).run(), role)
        sealed = [seal(attacker, DATA, b"%d" % number) for number in range(3)]
        for number in order:
            victim.take(sealed[number])
        assert refuses(victim, attacker) == "bad_record_mac"
        assert bytes(victim.got) in (b"", b"0")


def test_every_fatal_alert_is_told_by_its_name(stack, tls, identities, role):
    """And those that nobody knows are told as well."""
    for number in (*(n for n in NUMBERS if n not in (0, 90)), 77):
        victim, attacker = ends(against(stack, role, tls, identities).run(), role)
        victim.take(seal(attacker, DATA, b"before") + seal(attacker, ALERT, bytes((2, number))))
        assert victim.read() == b"before"
        assert isinstance(victim.failure, TLSError)
        if number in NUMBERS and number not in (41, 60, 121):
            assert victim.failure.alert in (NUMBERS[number], None)


def test_nothing_counts_after_the_goodbye(ready):
    victim, attacker = ready
    said = seal(attacker, DATA, b"all"), seal(attacker, ALERT, b"\x01\x00")
    victim.take(b"".join(said) + seal(attacker, DATA, b"more") + b"\xff" * 99)
    assert (victim.read(), victim.ended, victim.failure) == (b"all", True, None)
    victim.take(seal(attacker, DATA, b"more"))
    assert not victim.got


def test_data_in_many_small_records_and_empty_ones(ready):
    victim, attacker = ready
    data = bytes(range(256))
    for byte in data:
        victim.take(seal(attacker, DATA, b"") + seal(attacker, DATA, bytes((byte,))))
    assert victim.read() == data
    assert victim.failure is None


# In the handshake ---------------------------------------------------------------------------------


def run_with(session: Session, role: str, change) -> int:
    """Let them speak, what the attacker sends changed; how many records it sent.

    change: gets the number of a record, and the record; gives what arrives instead.
    """
    victim, attacker = ends(session, role)
    count = 0
    session.client.take(b"")
    for _ in range(20):
        for one in records(attacker.engine.to_send()):
            victim.take(change(count, one))
            count += 1
        answer = victim.engine.to_send()
        if answer and attacker.failure is None:
            attacker.take(answer)
        elif not answer:
            break
    return count


HELLO = b"\x03\x03" + bytes(32) + b"\x00\x00\x02\x13\x01\x01\x00"

INJECTED = {
    "data in the clear": record(DATA, b"injected"),
    "a type that is none": record(99, b"hello"),
    "a hello": record(HANDSHAKE, message(1, HELLO)),
    "an end": record(HANDSHAKE, message(20, bytes(32))),
    "half a message": record(HANDSHAKE, b"\x0b\x00"),
    "a wrong change of ciphers": record(CHANGE_CIPHER_SPEC, b"\x02"),
}  # fmt: skip


@pytest.mark.parametrize("name", INJECTED)
def test_records_between_others_in_the_handshake(stack, tls, identities, role, name):
    """At every point: it never ends well, and never in another way than by an error of ours."""
    count = run_with(against(stack, role, tls, identities), role, lambda _, one: one)
    assert count
    for at in range(count):
        session = against(stack, role, tls, identities)
        run_with(session, role, lambda n, one, at=at: INJECTED[name] + one if n == at else one)
        victim, _ = ends(session, role)
        # What is not complete may be waited for.
        waits = name == "half a message" and not victim.done
        assert isinstance(victim.failure, TLSError) or waits, at
        assert not victim.got


EMPTY = record(HANDSHAKE, b"")


def test_empty_records_in_the_handshake(stack, tls, identities, role):
    """Some ignore them, which does no harm."""
    for at in range(4):
        session = against(stack, role, tls, identities)
        run_with(session, role, lambda n, one, at=at: EMPTY + one if n == at else one)
        victim, _ = ends(session, role)
        assert isinstance(victim.failure, TLSError) or victim.done
        assert not victim.got


def test_fatal_alerts_at_every_point(stack, tls, identities, role):
    for at in range(8):
        session = against(stack, role, tls, identities)
        told = record(ALERT, bytes((2, 40)))
        count = run_with(session, role, lambda n, one, at=at, told=told: told if n == at else one)
        victim, _ = ends(session, role)
        if at >= count:
            break
        assert isinstance(victim.failure, TLSError)
        if at == 0 and role == "client":
            assert victim.failure.alert == "handshake_failure"


def test_records_left_out(stack, tls, identities, role):
    for at in range(8):
        session = against(stack, role, tls, identities)
        count = run_with(session, role, lambda n, one, at=at: b"" if n == at else one)
        victim, _ = ends(session, role)
        if at >= count:
            break
        assert isinstance(victim.failure, TLSError) or not victim.done or tls == "TLSv1.3"


@pytest.mark.parametrize("size", [1, 7])
def test_messages_in_small_pieces(stack, tls, identities, role, size):
    """Of what is in the clear: an honest peer may do that."""

    def split(_: int, one: bytes) -> bytes:
        if one[0] != HANDSHAKE or one[5] not in (1, 2, 11, 12, 14, 16):
            return one
        body = one[5:]
        return b"".join(
            record(HANDSHAKE, body[start : start + size]) for start in range(0, len(body), size)
        )

    session = against(stack, role, tls, identities)
    run_with(session, role, split)
    victim, attacker = ends(session, role)
    assert victim.failure is attacker.failure is None
    assert victim.done
    assert attacker.done


# Python's ssl has no other way to say that the name in a hello is not in ASCII.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_length_in_a_hello_is_looked_at(stack, tls, identities, role):
    """Each byte of it made larger: nothing but an error of ours comes of that."""
    first: list[bytes] = []

    def keep(_: int, one: bytes) -> bytes:
        first.append(one)
        return one

    run_with(against(stack, role, tls, identities), role, keep)
    hello = first[0]
    for at in range(5, len(hello), 7):
        for change in (1, 0x7F):
            changed = bytearray(hello)
            changed[at] = (changed[at] + change) % 256
            session = against(stack, role, tls, identities)
            victim, _ = ends(session, role)
            session.client.take(b"")
            if role == "client":
                victim.engine.to_send()
            victim.take(bytes(changed))
            assert not victim.done


# Versions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", STACKS, ids=lambda stack: stack.name)
@pytest.mark.parametrize("server", STACKS, ids=lambda stack: stack.name)
def test_a_downgrade_on_the_way_is_seen(client, server, identities):
    """Whoever is on the way takes TLS 1.3 out of what the client offers (RFC 8446, 4.1.3)."""
    session = load((client, server), None, identities.server(), identities.trust).session()
    offered = b"\x00\x2b\x00\x05\x04\x03\x04\x03\x03"
    session.on_the_way = lambda data: data.replace(offered, offered[:5] + b"\x03\x03\x03\x03"[:4])
    session.run()
    assert session.from_client.count(offered) == 1
    assert isinstance(session.client.failure, TLSError)
    assert not session.server.done


OLD = struct.pack("!BHHBBH", 22, 0x0301, 49, 1, 0, 45) + b"\x03\x02" + bytes(32) + (
    b"\x00\x00\x04\xc0\x13\xc0\x14\x01\x00\x00\x00"
)  # fmt: skip


def test_tls_1_1_is_refused(stack, identities):
    server = End(load((stack, stack), None, identities.server(), identities.trust).server.engine())
    server.take(OLD)
    assert isinstance(server.failure, TLSError)
    assert "no version of TLS that is safe" in str(server.failure)
    assert server.engine.to_send().endswith(b"\x02\x46")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "plain HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak TLS"),
        (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37), ""),  # SSL 2
        (bytes(16), ""),
        (b"\xff" * 300, ""),
    ],
)
def test_peer_that_speaks_something_else(stack, identities, role, said, words):
    session = load((stack, stack), None, identities.server(), identities.trust).session()
    session.client.take(b"")
    victim, _ = ends(session, role)
    victim.engine.to_send()
    victim.take(said)
    refuses(victim)
    if role == "server" or "HTTP" not in words:
        assert words in str(victim.failure)
