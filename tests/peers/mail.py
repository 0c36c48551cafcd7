"""A mail server and its client for asyncio streams; nothing here knows of conduit.

Both use what such programs use: `readline`, `readuntil`, `readexactly`, `async for`, `writelines`,
`drain`, `get_extra_info`, `is_closing`, `close` and `wait_closed`.
"""

import asyncio
from collections.abc import Awaitable, Callable

CRLF = b"\r\n"


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class MailServer:
    """Enough of SMTP for a client to deliver. `delivered` has (sender, recipients, text).

    secure: what makes the two streams secure when the client says STARTTLS; None for no such thing.
    """

    def __init__(self, secure: Callable[..., Awaitable[Pair]] | None = None) -> None:
        self.delivered: list[tuple[bytes, list[bytes], bytes]] = []
        self.peers: list[object] = []
        self.secure = secure

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(writer.get_extra_info("peername"))
        writer.write(b"220 mail.example ready\r\n")
        await writer.drain()
        await self._dialogue(reader, writer, secure=self.secure)

    async def _dialogue(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        secure: Callable[..., Awaitable[Pair]] | None = None,
    ) -> None:
        sender = b""
        recipients: list[bytes] = []
        try:
            async for line in reader:
                verb, _, rest = line.rstrip(CRLF).partition(b" ")
                match verb.upper():
                    case b"EHLO":
                        extensions = [b"mail.example", b"CHUNKING", b"PIPELINING"]
                        if secure is not None:
                            extensions.insert(1, b"STARTTLS")
                        lines = [b"250-" + name + CRLF for name in extensions[:-1]]
                        writer.writelines([*lines, b"250 " + extensions[-1] + CRLF])
                    case b"STARTTLS" if secure is not None:
                        writer.write(b"220 go ahead\r\n")
                        await writer.drain()
                        # From the beginning, as if nothing had been said.
                        await self._dialogue(*await secure(reader, writer))
                        return
                    case b"HELO" | b"RSET" | b"NOOP":
                        writer.write(b"250 ok\r\n")
                    case b"MAIL":
                        sender, recipients = rest.partition(b":")[2], []
                        writer.write(b"250 ok\r\n")
                    case b"RCPT":
                        recipients.append(rest.partition(b":")[2])
                        writer.write(b"250 ok\r\n")
                    case b"DATA":
                        writer.write(b"354 go on, end with a dot\r\n")
                        await writer.drain()
                        text = await self._text(reader)
                        self.delivered.append((sender, recipients, text))
                        writer.write(b"250 %d bytes\r\n" % len(text))
                    case b"BDAT":
                        text = await reader.readexactly(int(rest.split()[0]))
                        self.delivered.append((sender, recipients, text))
                        writer.write(b"250 %d bytes\r\n" % len(text))
                    case b"QUIT":
                        writer.write(b"221 goodbye\r\n")
                        break
                    case _:
                        writer.write(b"500 what?\r\n")
                await writer.drain()
        finally:
            if not writer.is_closing():
                writer.close()
            await writer.wait_closed()

    async def _text(self, reader: asyncio.StreamReader) -> bytes:
        lines = []
        while (line := await reader.readuntil(CRLF)) != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        return b"".join(lines)


async def deliver(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes
) -> list[bytes]:
    """Deliver a mail twice, by DATA and by BDAT: what the server answered."""
    answers = [await reader.readline()]

    async def ask(*lines: bytes) -> None:
        writer.writelines(line + CRLF for line in lines)
        await writer.drain()

    await ask(b"EHLO client.example")
    while (line := await reader.readline())[3:4] == b"-":
        answers.append(line)
    answers.append(line)
    # All at once, as PIPELINING allows.
    await ask(b"MAIL FROM:<a@example>", b"RCPT TO:<b@example>", b"RCPT TO:<c@example>", b"DATA")
    answers += [await reader.readuntil(CRLF) for _ in range(4)]
    stuffed = b"".join(
        b"." + line if line.startswith(b".") else line for line in text.splitlines(keepends=True)
    )
    await ask(stuffed + b".")
    answers.append(await reader.readline())
    await ask(b"MAIL FROM:<a@example>", b"RCPT TO:<d@example>")
    answers += [await reader.readline() for _ in range(2)]
    writer.write(b"BDAT %d LAST\r\n" % len(text))
    writer.write(text)
    await writer.drain()
    answers.append(await reader.readline())
    await ask(b"DANCE", b"QUIT")
    answers += (await reader.read()).splitlines(keepends=True)
    assert reader.at_eof()
    writer.close()
    await writer.wait_closed()
    return answers
