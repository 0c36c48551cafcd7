"""As much of LDAP (RFC 4511) as beginning TLS and asking who one is takes; short messages alone."""

START_TLS = b"1.3.6.1.4.1.1466.20037"
WHO_AM_I = b"1.3.6.1.4.1.4203.1.11.3"

# The kinds of requests and of results.
BIND, BOUND, UNBIND, EXTENDED, DONE = 0x60, 0x61, 0x42, 0x77, 0x78

SUCCESS = b"\x0a\x01\x00\x04\x00\x04\x00"


def message(number: int, kind: int, body: bytes) -> bytes:
    inner = b"\x02\x01" + bytes((number, kind, len(body))) + body
    return b"\x30" + bytes((len(inner),)) + inner


def extended(number: int, oid: bytes) -> bytes:
    """The request of an extended operation."""
    return message(number, EXTENDED, b"\x80" + bytes((len(oid),)) + oid)


async def read_message(ic) -> tuple[int, int, bytes]:
    """The number, the kind and the body of the next message."""
    tag, size = await ic.readexactly(2)
    assert tag == 0x30
    assert size < 0x80
    inner = await ic.readexactly(size)
    assert inner[:2] == b"\x02\x01"
    return inner[2], inner[3], inner[5:]
