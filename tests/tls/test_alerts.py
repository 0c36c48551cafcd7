"""Alerts: each is recognised when a peer really sends it."""

from __future__ import annotations

import asyncio
import ssl

import pytest

import conduit
from conduit.tls.alerts import NUMBERS, alert_of, explain_alert

FATAL, WARNING = 2, 1

# OpenSSL has no words for these.
NAMELESS = {"close_notify", "ech_required"}


def error_after(number: int, level: int = FATAL) -> ssl.SSLError:
    """What a client's handshake fails with when a server answers by an alert."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ctx.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    incoming.write(bytes([21, 3, 3, 0, 2, level, number]))
    with pytest.raises(ssl.SSLError) as caught:
        tls.do_handshake()
    return caught.value


@pytest.mark.parametrize(("number", "name"), NUMBERS.items())
def test_what_a_peer_sends_is_recognised(number, name):
    error = error_after(number)
    expected = None if name in NAMELESS else name
    assert alert_of(error.reason or str(error)) == expected
    assert alert_of(str(error)) == expected


async def test_each_is_named_by_the_error_of_connecting(stack):
    number = 0

    async def refuse(reader, writer):
        writer.write(bytes([21, 3, 3, 0, 2, FATAL, number]))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as srv:
        target = stack.client("db.example", *srv.sockets[0].getsockname())
        for number, name in NUMBERS.items():  # noqa: B007
            with pytest.raises(conduit.TLSError) as caught:
                await conduit.connect(target)
            assert not isinstance(caught.value, conduit.CertificateError)
            if name not in NAMELESS:
                assert caught.value.alert == name
                assert explain_alert(name) in str(caught.value)


@pytest.mark.parametrize("number", [5, 52, 255])
def test_a_number_that_is_no_alert_has_no_name(number):
    assert number not in NUMBERS
    assert alert_of(str(error_after(number))) is None


@pytest.mark.parametrize("said", [
    "",
    "WRONG_VERSION_NUMBER",
    "CERTIFICATE_VERIFY_FAILED",
    "TLSV1_ALERT_",
    "TLSV1_ALERT_NO_SUCH_THING",
    "[SSL] unknown error (_ssl.c:1006)",
    "XTLSV1_ALERT_UNKNOWN_CA",
    "unknown ca",
])  # fmt: skip
def test_what_is_no_alert_is_none(said):
    assert alert_of(said) is None


def test_names_are_those_of_the_standard():
    assert NUMBERS[48] == "unknown_ca"
    assert NUMBERS[90] == "user_canceled"
    assert NUMBERS[116] == "certificate_required"
    assert alert_of("TLSV1_ALERT_USER_CANCELLED") == "user_canceled"
    assert len(set(NUMBERS.values())) == len(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS.values())
def test_each_is_explained_in_one_line_with_its_name(name):
    explained = explain_alert(name)
    assert explained.endswith(f" (alert {name})")
    assert explained.isprintable()
    assert len(explained) < 200


def test_one_that_nobody_knows_goes_by_its_name():
    assert explain_alert("no_such_thing") == "alert no_such_thing"
