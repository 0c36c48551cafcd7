"""A TLS server of ours that a real client visits, and the certificates of both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import conduit
from conduit import OwnKey, server
from conduit.testing import Authority
from tests.endpoints import port_of
from tests.peers.programs import SECONDS

VERSIONS = ("TLSv1.2", "TLSv1.3")

# For tests whose other side sees what the loop does with sockets.
on_both_loops = pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"use_uvloop": used}) for used in (False, True)],
    ids=["asyncio", "uvloop"],
)

# For tests whose other side is a large program: which loop we run on makes no difference to it.
on_one_loop = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"]
)


class Papers:
    """An authority, and what it issued: files in a directory.

    ca_file: its certificate. own: for servers, "localhost" and 127.0.0.1. client: for clients.
    stranger_file, strange_client: another authority, and a client of its.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = Authority()
        self.ca_file = self.ca.write(directory)
        self.own = self.ca.issue("localhost", "127.0.0.1").write(directory, "own")
        self.client = self.ca.issue("client.example").write(directory, "client")
        # Of an authority with the same name, whom nobody has a reason to trust.
        stranger = Authority()
        self.stranger_file = stranger.write(directory, "stranger")
        self.strange_client = stranger.issue("client.example").write(directory, "strange-client")

    async def issue(self, *names: str) -> OwnKey:
        """Issue one more certificate for a server."""
        return await asyncio.to_thread(self.ca.issue(*names).write, self.directory, names[0])

    async def ctx(self, **options: Any) -> conduit.Context:
        """A context that trusts the authority."""
        return await conduit.init(tls_authenticator=conduit.trust.ca(self.ca_file), **options)


class Told(asyncio.Queue):
    """A queue that nobody waits for without end."""

    async def get(self):
        async with asyncio.timeout(SECONDS):
            return await super().get()


class TLSServer:
    """What a server of ours knows of its clients.

    port: where it is. met: the facts of each client whose handshake is done. errors: what `on_exn`
    was told. left: the clients that ended well, each as all that it had said.
    """

    def __init__(self, handler: Callable[..., Awaitable[object]] | None) -> None:
        self._handler = handler or self._echo
        self.port = 0
        self.met = Told()
        self.errors = Told()
        self.left = Told()

    async def handle(self, f, ic, oc):
        self.met.put_nowait(oc.get_extra_info("tls"))
        await self._handler(f, ic, oc)

    async def _echo(self, f, ic, oc):
        said = b""
        async for line in ic:
            said += line
            await oc.write(line)
        self.left.put_nowait(said)


@asynccontextmanager
async def serving(papers: Papers, handler=None, *, ctx=None, **options):
    """Serve on 127.0.0.1; by default an echo of lines. options: those of `listen`."""
    known = TLSServer(handler)
    own = papers.own
    mode = server.TLS(own.crt_file, own.key_file, own.password, 0, ip="127.0.0.1")
    on_exn = known.errors.put_nowait
    async with conduit.listen(
        mode, known.handle, ctx=ctx or await papers.ctx(), on_exn=on_exn, **options
    ) as srv:
        known.port = port_of(srv)
        yield known
