"""A small HTTP/1.1 server, as much as curl needs to be at home."""

import asyncio
import hashlib

from tests.peers.handlers import noise

BIG = noise(10_000_000)


async def http(f, ic, oc):
    """The handler: one request after the other, until the client leaves or wants to."""
    while True:
        try:
            head = await ic.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return
        request, *lines = head.decode("ascii").split("\r\n")
        method, path, _ = request.split(" ")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        if headers.get("expect") == "100-continue":
            oc.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding") == "chunked":
            body = await read_chunks(ic)
        else:
            body = await ic.readexactly(int(headers.get("content-length", "0")))
        if path == "/big":
            reply = BIG
        elif method in ("PUT", "POST"):
            reply = f"{len(body)} {hashlib.sha256(body).hexdigest()}\n".encode()
        else:
            reply = f"{method} {path}\n".encode()
        if path == "/until-the-end":
            await oc.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BIG)
            return
        await oc.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(reply)}\r\n\r\n".encode() + reply)
        if headers.get("connection") == "close":
            return


async def read_chunks(ic) -> bytes:
    body = b""
    while size := int((await ic.readline()).split(b";")[0], 16):
        body += await ic.readexactly(size)
        assert await ic.readexactly(2) == b"\r\n"
    while await ic.readline() != b"\r\n":
        pass
    return body
