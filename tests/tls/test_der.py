"""DER: what is read, and that nothing but DER is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.tls import der
from conduit.tls.der import DerError, Reader


def value(tag: int, inside: bytes) -> bytes:
    """Encode one, with a length in its shortest form."""
    size = len(inside)
    if size < 0x80:
        return bytes([tag, size]) + inside
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + inside


# Values one after another -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_a_value_of_any_length_is_read(size):
    reader = Reader(value(4, b"x" * size) + value(5, b""))
    assert reader.peek() == 4
    assert reader.read(4).rest == b"x" * size
    assert reader.element() == b"\x05\x00"
    assert reader.at_end
    assert reader.peek() is None
    reader.finish()


def test_nested_values_are_read_within_their_limits():
    reader = Reader(value(0x30, value(0x30, b"\x04\x01a") + b"\x04\x01b") + b"\x04\x01c")
    outer = reader.read(0x30)
    inner = outer.read(0x30)
    assert inner.read(4).rest == b"a"
    inner.finish()
    with pytest.raises(DerError, match="missing"):
        inner.next()
    assert outer.rest == b"\x04\x01b"
    assert outer.read(4).rest == b"b"
    outer.finish()
    assert reader.read(4).rest == b"c"


def test_what_is_optional_may_be_another():
    reader = Reader(b"\x04\x01a")
    assert reader.optional(5) is None
    inside = reader.optional(4)
    assert inside is not None
    assert inside.rest == b"a"
    assert reader.optional(4) is None


@pytest.mark.parametrize(("data", "why"), [
    (b"", "missing"),
    (b"\x04", "cut short"),
    (b"\x04\x02a", "of 2 bytes"),
    (b"\x04\x80a\0\0", "length that cannot be"),
    (b"\x04\x81", "length that cannot be"),
    (b"\x04\x85\x01\x00\x00\x00\x00", "length that cannot be"),
    (b"\x04\xff" + b"\x01" * 200, "length that cannot be"),
    (b"\x04\x81\x01a", "shortest form"),
    (b"\x04\x82\x00\x80" + b"a" * 128, "shortest form"),
    (b"\x04\x84\xff\xff\xff\xff", "of 4294967295 bytes"),
    (b"\x1f\x01a", "tag of many bytes"),
    (b"\x05\x00", "0x05 at 0, where 0x04"),
], ids=repr)  # fmt: skip
def test_what_is_no_value_is_refused(data, why):
    with pytest.raises(DerError, match=why):
        Reader(data).read(4)


def test_what_is_left_over_is_refused():
    reader = Reader(b"\x05\x00\x00")
    reader.next()
    with pytest.raises(DerError, match="1 bytes are left over at 2"):
        reader.finish()


@given(st.binary(max_size=64))
def test_any_bytes_are_read_to_the_end_or_refused(data):
    reader = Reader(data)
    read = b""
    try:
        while not reader.at_end:
            read += reader.element()
    except DerError:
        assert data.startswith(read)
        assert read + reader.rest == data
    else:
        assert read == data


# Kinds --------------------------------------------------------------------------------------------


def test_boolean():
    assert der.boolean(Reader(b"\xff")) is True
    assert der.boolean(Reader(b"\x00")) is False
    for bad in (b"", b"\x01", b"\xff\xff"):
        with pytest.raises(DerError):
            der.boolean(Reader(bad))


@given(st.integers(-(2**159), 2**159 - 1))
def test_integer(number):
    size = max(1, ((number if number >= 0 else -number - 1).bit_length() // 8) + 1)
    assert der.integer(Reader(number.to_bytes(size, "big", signed=True)), 20) == number


@pytest.mark.parametrize("bad", [b"", b"\x00\x01", b"\xff\xff", b"\x01" * 5])
def test_integer_refuses(bad):
    with pytest.raises(DerError):
        der.integer(Reader(bad), 4)


@pytest.mark.parametrize(("data", "dotted"), [
    ("550403", "2.5.4.3"),
    ("2a864886f70d010101", "1.2.840.113549.1.1.1"),
    ("00", "0.0"),
    ("27", "0.39"),
    ("28", "1.0"),
    ("8837", "2.999"),
])  # fmt: skip
def test_oid(data, dotted):
    assert der.oid(Reader(bytes.fromhex(data))) == dotted


@pytest.mark.parametrize("bad", ["", "55ff", "558003", "80", "01" * 65, "81" * 65 + "01"])
def test_oid_refuses(bad):
    with pytest.raises(DerError):
        der.oid(Reader(bytes.fromhex(bad)))


def test_bits():
    assert der.bits(Reader(b"\x00")) == b""
    assert der.bits(Reader(b"\x00\xff")) == b"\xff"
    assert der.bits(Reader(b"\x05\xa0")) == b"\xa0"
    for bad in (b"", b"\x08\x00", b"\x01", b"\x05\xa1"):
        with pytest.raises(DerError):
            der.bits(Reader(bad))


@pytest.mark.parametrize(("tag", "text", "moment"), [
    (0x17, b"491231235959Z", datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (0x17, b"500101000000Z", datetime(1950, 1, 1, tzinfo=UTC)),
    (0x17, b"991231235959Z", datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (0x17, b"000229000000Z", datetime(2000, 2, 29, tzinfo=UTC)),
    (0x18, b"20500101000000Z", datetime(2050, 1, 1, tzinfo=UTC)),
    (0x18, b"99991231235959Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
])  # fmt: skip
def test_time(tag, text, moment):
    assert der.time(Reader(value(tag, text))) == moment


@pytest.mark.parametrize(("tag", "bad"), [
    (0x17, b"4912312359Z"),
    (0x17, b"491231235959+0100"),
    (0x17, b"491231235959"),
    (0x17, b"490231235959Z"),
    (0x17, "49123123595\u0665Z".encode()),
    (0x17, b"20491231235959Z"),
    (0x18, b"491231235959Z"),
    (0x18, b"20500101000000.5Z"),
    (0x18, b"00000101000000Z"),
    (0x18, b"20500101240000Z"),
    (0x18, b"20500101000060Z"),
    (0x13, b"20500101000000Z"),
], ids=repr)  # fmt: skip
def test_time_refuses(tag, bad):
    with pytest.raises(DerError):
        der.time(Reader(value(tag, bad)))
