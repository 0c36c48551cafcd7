"""A web server on a page.

python web.py tcp://127.0.0.1:8080
python web.py 'tls://*:8443?crt=web.crt&key=web.key'      (or unix:/run/web.sock, systemd:web)
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import conduit
from conduit import Input, Output, flow


@dataclass
class Request:
    method: str
    path: str
    body: bytes
    peer: str


class Refused(Exception):
    """A request that is answered with this status, and the connection with it."""


async def hello(request: Request) -> str:
    return f"Hello, {request.peer}!\n"


async def add(request: Request) -> str:
    return f"{sum(json.loads(request.body))}\n"


PAGES: dict[tuple[str, str], Callable[[Request], Awaitable[str]]] = {
    ("GET", "/"): hello,
    ("POST", "/sum"): add,
}


async def handle(f: flow.Flow, ic: Input, oc: Output) -> None:
    """One connection, with as many requests as the client likes."""
    try:
        while True:
            request = await read(ic, str(conduit.endp_of_flow(f)))
            await answer(oc, *await result(request))
    except Refused as error:
        await answer(oc, error.args[0], close=True)
    except asyncio.IncompleteReadError:
        pass  # the client has left


async def read(ic: Input, peer: str) -> Request:
    try:
        head = await ic.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    fields = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    length = headers.get("content-length", "0")
    if first.count(" ") != 2 or not length.isdecimal() or "transfer-encoding" in headers:
        raise Refused(HTTPStatus.BAD_REQUEST)
    if int(length) > 1024 * 1024:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    method, path, _ = first.split(" ")
    return Request(method, path, await ic.readexactly(int(length)), peer)


async def result(request: Request) -> tuple[HTTPStatus, str]:
    handler = PAGES.get((request.method, request.path))
    if handler is None:
        return HTTPStatus.NOT_FOUND, f"There is no {request.method} {request.path} here.\n"
    try:
        return HTTPStatus.OK, await handler(request)
    except Exception as error:
        return HTTPStatus.INTERNAL_SERVER_ERROR, f"{error!r}\n"


async def answer(oc: Output, status: HTTPStatus, text: str = "", close: bool = False) -> None:
    body = text.encode()
    head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Length: {len(body)}\r\n"
    head += "Connection: close\r\n\r\n" if close else "\r\n"
    await oc.write(head.encode() + body)


async def main(address: str) -> None:
    async with conduit.listen(address, handle, max_active=1000, idle_timeout=60) as srv:
        print("listening on", *srv.endps, flush=True)
        await srv.wait_stopped()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    conduit.run(main(sys.argv[1]))
