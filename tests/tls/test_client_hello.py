"""Reading the name in a ClientHello."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.tls.client_hello import HelloReader


def hello(name: str | None) -> bytes:
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ctx.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


HELLO = hello("db.example")


def in_records(message: bytes, size: int) -> bytes:
    pieces = (message[at : at + size] for at in range(0, len(message), size))
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2) + piece for piece in pieces)


@pytest.mark.parametrize("name", [None, "a", "db.example", "x" * 60 + ".example"])
def test_a_name_is_found(name):
    reader = HelloReader()
    assert reader.feed(hello(name))
    assert reader.server_name == (name or "").encode()


@pytest.mark.parametrize("size", [1, 3, 100, 10_000])
def test_in_any_records_and_any_pieces(size):
    data = in_records(HELLO[5:], size)
    reader = HelloReader()
    for byte in data[:-1]:
        assert not reader.feed(bytes([byte]))
    assert reader.feed(data[-1:] + b"more")
    assert reader.server_name == b"db.example"
    assert reader.received == data + b"more"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1",
        b"\x80",
        b"\x16\x03\x01RCPT TO:",  # a record longer than any
        b"\x16\x03\x01\0\0",  # an empty one
        b"\x16\x02\x01\0\1",  # of SSL 2
        b"\x16\x03\x01\x00\x04\x02\0\0\0",
        b"\x16\x03\x01\0\x04\1\xff\xff\xff",
    ],
)
def test_what_is_no_hello_is_let_pass(data):
    reader = HelloReader()
    assert reader.feed(data)
    assert reader.server_name == b""
    assert reader.received == data


def test_a_hello_without_an_end_is_not_kept():
    reader = HelloReader()
    # Up to the longest hello and a record.
    fed = 0
    data = in_records(b"\x01\x01\xff\xf0" + bytes(200_000), 16_000)
    while not reader.feed(data[fed : fed + 1000]):
        fed += 1000
    assert fed <= 144_000


@given(st.binary(max_size=600), st.integers(0, len(HELLO)))
def test_whatever_comes_is_read(garbage, cut):
    for data in (garbage, HELLO[:cut] + garbage, in_records(b"\1\0\2\0" + garbage, 300)):
        reader = HelloReader()
        reader.feed(data)
        assert isinstance(reader.server_name, bytes)
        assert reader.received == data
