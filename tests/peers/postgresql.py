"""A little of PostgreSQL's protocol (version 3.0), of either side; nothing here knows of TLS."""

import struct

SSL_REQUEST = struct.pack("!II", 8, 80877103)
READY = b"Z" + struct.pack("!I", 5) + b"I"


def startup(**parameters: str) -> bytes:
    """A client's first packet."""
    words = "".join(f"{name}\0{value}\0" for name, value in parameters.items())
    return packet(b"", struct.pack("!I", 196608) + words.encode() + b"\0")


def packet(kind: bytes, body: bytes) -> bytes:
    """A packet; the first of a client has no kind."""
    return kind + struct.pack("!I", len(body) + 4) + body


async def read_packet(ic) -> tuple[bytes, bytes]:
    """The kind and the body of the next packet."""
    kind, size = struct.unpack("!cI", await ic.readexactly(5))
    return kind, await ic.readexactly(size - 4)


async def answers(ic, until: bytes) -> dict[bytes, bytes]:
    """The packets up to one of a kind, by their kinds; fails if there is an error before."""
    got: dict[bytes, bytes] = {}
    while until not in got:
        kind, body = await read_packet(ic)
        got[kind] = body
        assert kind != b"E" or until == b"E", body
    return got


async def serve_one_query(ic, oc) -> None:
    """Let anybody in, and answer a query with itself in capitals."""
    [size] = struct.unpack("!I", await ic.readexactly(4))
    await ic.readexactly(size - 4)
    await oc.write(packet(b"R", struct.pack("!I", 0)) + READY)
    kind, query = await read_packet(ic)
    assert kind == b"Q"
    text = query.rstrip(b"\0").upper()
    column = b"text\0" + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0)
    await oc.write(
        packet(b"T", struct.pack("!h", 1) + column)
        + packet(b"D", struct.pack("!hI", 1, len(text)) + text)
        + packet(b"C", b"SELECT 1\0")
        + READY
    )
    assert await read_packet(ic) == (b"X", b"")
