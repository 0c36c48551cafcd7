"""Programs written for asyncio streams run over our channels as they are, and meet real clients."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import pytest

import conduit
from conduit import client, server
from tests.endpoints import port_of
from tests.peers.handlers import noise
from tests.peers.mail import MailServer, deliver
from tests.peers.programs import run_python

TEXT = b"".join(b".%d " % n + noise(60, n).hex().encode() + b"\r\n" for n in range(4000))

ANSWERS = [
    b"220 mail.example ready\r\n",
    b"250-mail.example\r\n",
    b"250-CHUNKING\r\n",
    b"250 PIPELINING\r\n",
    *[b"250 ok\r\n"] * 3,
    b"354 go on, end with a dot\r\n",
    b"250 %d bytes\r\n" % len(TEXT),
    *[b"250 ok\r\n"] * 2,
    b"250 %d bytes\r\n" % len(TEXT),
    b"500 what?\r\n",
    b"221 goodbye\r\n",
]


@contextlib.asynccontextmanager
async def serving(whose: str, mail: MailServer, path: str) -> AsyncIterator[None]:
    if whose == "asyncio":
        async with await asyncio.start_unix_server(mail.session, path) as running:
            yield
            running.close()
        return

    async def handler(f, ic, oc):
        await mail.session(ic, oc)

    async with conduit.listen(server.UnixDomainSocket(path), handler):
        yield


@pytest.mark.parametrize("serves", ["asyncio", "conduit"])
@pytest.mark.parametrize("connects", ["asyncio", "conduit"])
async def test_same_dialogue_whoever_carries_it(serves, connects, socket_path):
    mail = MailServer()
    async with serving(serves, mail, socket_path):
        if connects == "asyncio":
            reader, writer = await asyncio.open_unix_connection(socket_path)
            answers = await deliver(reader, writer, TEXT)
        else:
            _, ic, oc = await conduit.connect(client.UnixDomainSocket(socket_path))
            answers = await deliver(
                cast("asyncio.StreamReader", ic), cast("asyncio.StreamWriter", oc), TEXT
            )
    assert answers == ANSWERS
    assert mail.delivered == [
        (b"<a@example>", [b"<b@example>", b"<c@example>"], TEXT),
        (b"<a@example>", [b"<d@example>"], TEXT),
    ]


async def test_mail_from_pythons_own_client():
    """`smtplib`, in a process of its own."""
    mail = MailServer()

    async def handler(f, ic, oc):
        await mail.session(ic, oc)

    program = """
        import smtplib, sys
        text = sys.stdin.buffer.read()
        with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), local_hostname="x", timeout=20) as smtp:
            refused = smtp.sendmail("a@example", ["b@example", "c@example"], text)
            assert refused == {}
            print(smtp.has_extn("chunking"), *smtp.noop())
    """
    async with conduit.listen(server.TCP(0), handler) as srv:
        out = await run_python(program, str(port_of(srv)), stdin=TEXT)
    assert out == b"True 250 b'ok'\n"
    assert mail.delivered == [(b"<a@example>", [b"<b@example>", b"<c@example>"], TEXT)]
    # IPv4 on a socket of both families.
    (peer,) = mail.peers
    assert isinstance(peer, tuple)
    assert peer[0] == "127.0.0.1"
