"""Headers of the PROXY protocol: what is printed is read again, and nothing else is."""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conduit.proxy_protocol import (
    LONGEST_V1,
    LONGEST_V2,
    Header,
    Peer,
    ProxyProtocolError,
    crc32c,
    parse,
    wanted,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

ports = st.integers(0, 0xFFFF)
v4 = st.builds(Peer, st.ip_addresses(v=4), ports)
v6 = st.builds(Peer, st.ip_addresses(v=6), ports)
paths = st.binary(max_size=108).filter(lambda path: not path.endswith(b"\0"))
tlvs = st.lists(
    st.tuples(st.integers(0, 0xFF).filter(lambda kind: kind != 3), st.binary(max_size=50)),
    max_size=5,
).map(tuple)
tcp = st.one_of(st.builds(Header, v4, v4), st.builds(Header, v6, v6))
said = st.one_of(
    st.builds(Header, v4, v4, tlvs=tlvs),
    st.builds(Header, v6, v6, tlvs=tlvs),
    st.builds(Header, paths, paths, tlvs=tlvs),
    st.just(Header()),
    st.just(Header(local=True)),
)


def of_stream(stream: bytes) -> tuple[Header, bytes]:
    """Read a header from the head of a stream, as a program does."""
    data = b""
    while more := wanted(data):
        assert len(stream) >= len(data) + more, "it would wait for more than there is"
        data = stream[: len(data) + more]
    return parse(data), stream[len(data) :]


@given(tcp, st.binary(max_size=20))
def test_version_1_is_read_as_it_was_written_and_not_a_byte_more(header, rest):
    written = header.v1()
    assert len(written) <= LONGEST_V1
    assert of_stream(written + rest) == (header, rest)


@given(said, st.binary(max_size=20))
def test_version_2_is_read_as_it_was_written_and_not_a_byte_more(header, rest):
    assert of_stream(header.v2() + rest) == (header, rest)


@given(said)
def test_no_part_of_a_header_is_one(header):
    for written in (header.v1(), header.v2()):
        for end in range(len(written)):
            assert 0 < wanted(written[:end]) <= len(written) - end
            with pytest.raises(ProxyProtocolError):
                parse(written[:end])


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda more: SIGNATURE + more),
        st.binary(max_size=120).map(lambda more: b"PROXY " + more),
        st.tuples(
            st.sampled_from([b"\x20", b"\x21", b"\x22"]), st.sampled_from(b"\x00\x11\x12\x21\x31"),
            st.binary(max_size=300),
        ).map(lambda t: SIGNATURE + t[0] + bytes([t[1]]) + struct.pack("!H", len(t[2])) + t[2]),
    )
)  # fmt: skip
@example(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n")
def test_any_bytes_are_a_header_or_refused(data):
    try:
        header = parse(data)
    except ProxyProtocolError:
        return
    again = header.v2()
    assert parse(again) == header


LONGEST = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def test_examples_of_the_specification():
    one = Peer(IPv6Address(LONGEST), 65535)
    assert len(Header(one, one).v1()) == 104
    assert parse(b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n") == Header()
    header = Header(Peer(IPv4Address("192.168.0.1"), 56324), Peer(IPv4Address("192.168.0.11"), 443))
    assert header.v1() == b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    assert len(header.v2()) == 28
    assert len(Header(b"/a", b"").v2()) == 16 + 216


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"GET / HTTP/1.1\r\n", "begins with b'GET"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "no CRLF"),
        (b"PROXY TCP4 1.2.3.4\r5.6.7.8 1 2\r\n", "that is none"),
        (b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", "that is none"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", "that is none"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", "65536"),
        (b"PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n", "1.2.3.04"),
        (b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", "1.2.3.4"),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", "::1"),
        (b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", "that is none"),
        (b"PROXY UNKNOWNS\r\n", "that is none"),
        (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "more than 107"),
        (SIGNATURE + b"\x11\x11\0\0", "version 1"),
        (SIGNATURE + b"\x22\x11\0\0", "command 2"),
        (SIGNATURE + b"\x21\x12\0\x0c" + bytes(12), "0x12"),
        (SIGNATURE + b"\x21\x11\0\x0b" + bytes(11), "11 of 12 bytes"),
        (SIGNATURE + b"\x21\x11\xff\xff", "65551 bytes"),
        (SIGNATURE + b"\x21\x11\0\x0e" + bytes(12) + b"\x04\0", "cut short"),
        (SIGNATURE + b"\x21\x11\0\x10" + bytes(12) + b"\x04\0\2x", "cut short"),
        (SIGNATURE + b"\x21\x11\0\0x", "behind"),
        (b"PROXY", "ends after 5"),
    ],
)
def test_what_is_no_header_is_refused_with_the_reason(line, complaint):
    with pytest.raises(ProxyProtocolError, match=complaint):
        parse(line)


def test_endless_line_is_refused_at_the_limit():
    line = b"PROXY UNKNOWN ".ljust(LONGEST_V1 - 2, b"x")
    assert wanted(line) == 2
    with pytest.raises(ProxyProtocolError, match="more than 107"):
        wanted(line + b"xx")


def test_checksum_is_checked():
    assert crc32c(b"123456789") == 0xE3069283
    body = bytes(12) + b"\x03\0\x04" + bytes(4)
    head = SIGNATURE + b"\x21\x11" + struct.pack("!H", len(body))
    right = head + body[:-4] + crc32c(head + body).to_bytes(4, "big")
    nowhere = Peer(IPv4Address(0), 0)
    assert parse(right) == Header(nowhere, nowhere)
    with pytest.raises(ProxyProtocolError, match="checksum"):
        parse(right[:-1] + bytes([right[-1] ^ 1]))


@pytest.mark.parametrize(
    "ends",
    [
        (Peer(ip_address("::1"), 1), Peer(ip_address("127.0.0.1"), 1)),
        (Peer(ip_address("::1"), 1), None),
        (b"/a", Peer(ip_address("::1"), 1)),
        (b"x" * 109, b""),
        (b"x\0", b""),
    ],
)
def test_ends_that_do_not_go_together(ends):
    with pytest.raises(ValueError, match=r"family|path"):
        Header(*ends)


def test_too_many_tlvs_cannot_be_written():
    with pytest.raises(ValueError, match="longer than"):
        Header(tlvs=((4, bytes(LONGEST_V2)),)).v2()
    with pytest.raises(ValueError, match="longer than"):
        Header(tlvs=((4, bytes(70_000)),)).v2()
    with pytest.raises(ValueError, match="type 3"):
        Header(tlvs=((3, b""),))
