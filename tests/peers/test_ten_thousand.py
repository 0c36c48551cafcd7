"""Ten thousand connections open at once, and what one of them costs in memory."""

import resource
from statistics import median

import pytest

from tests.children import Child

MANY = 10_000
# Descriptors that a process has besides its connections.
SPARE = 100

FOR_MEMORY = 2_000
ROUNDS = 3

# Both programs first raise their limit on descriptors, and then do as they are told, line by line.
BEGIN = """
    import resource, sys
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
"""

SERVER = f"""{BEGIN}
    import asyncio, gc, os
    import conduit

    handlers = 0

    async def echo(reader, writer):
        global handlers
        handlers += 1
        try:
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        finally:
            handlers -= 1

    async def handler_of_ours(f, ic, oc):
        await echo(ic, oc)

    async def handler_of_streams(reader, writer):
        await echo(reader, writer)
        writer.close()
        await writer.wait_closed()

    def answer(line):
        match line:
            case "handlers":
                return handlers
            case "descriptors":
                return len(os.listdir("/proc/self/fd"))
            case "memory":
                gc.collect()
                with open("/proc/self/statm") as statm:
                    return int(statm.read().split()[1]) * resource.getpagesize()

    async def talk(port):
        print(port, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(answer(line.strip()), flush=True)

    async def ours():
        mode = conduit.server.TCP(0, ip="127.0.0.1")
        async with conduit.listen(mode, handler_of_ours) as srv:
            await talk(srv.endps[0].port)

    async def streams():
        async with await asyncio.start_server(
            handler_of_streams, "127.0.0.1", 0, backlog=1024
        ) as srv:
            await talk(srv.sockets[0].getsockname()[1])

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run({{"conduit": ours, "asyncio": streams}}[sys.argv[1]]())
"""

CLIENT = f"""{BEGIN}
    import socket
    port = int(sys.argv[1])
    socks = []

    IP_BIND_ADDRESS_NO_PORT = 24  # Linux; Python names it from 3.12 on

    def connect(n):
        sock = socket.socket()
        # A source address has only so many ports. The port is chosen when it connects: then those
        # of connections that were closed just now are no obstacle.
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.1.{{1 + n // 2000}}", 0))
        sock.connect(("127.0.0.1", port))
        return sock

    def echo(word, socks):
        messages = [f"{{word}} {{n}}".encode().ljust(32) for n in range(len(socks))]
        for sock, message in zip(socks, messages):
            sock.sendall(message)
        answers = [sock.recv(32, socket.MSG_WAITALL) for sock in socks]
        return sum(answer == message for answer, message in zip(answers, messages))

    for line in sys.stdin:
        match line.split():
            case ["open", count]:
                while len(socks) < int(count):
                    # Not more than may wait to be accepted: the kernel would pause for seconds.
                    there = len(socks)
                    more = [connect(n) for n in range(there, min(there + 500, int(count)))]
                    assert echo("welcome", more) == len(more)
                    socks += more
                print(len(socks), flush=True)
            case ["echo", word]:
                print(echo(word, socks), flush=True)
            case ["close"]:
                for sock in socks:
                    sock.shutdown(socket.SHUT_WR)
                # The server's end comes to all of them.
                print(sum(sock.recv(1) == b"" for sock in socks), flush=True)
                for sock in socks:
                    sock.close()
                socks = []
"""


@pytest.fixture
def loop(anyio_backend) -> str:
    """The loop of the servers."""
    return "uvloop" if anyio_backend[1]["use_uvloop"] else "asyncio"


async def ask(child: Child, line: str) -> int:
    await child.tell(line)
    return int(await child.says())


async def warm_up(client: Child) -> None:
    """Let the server open and allocate what it needs once, which is not counted."""
    for command in ("open 50", "echo warm", "close"):
        assert await ask(client, command) == 50


async def test_ten_thousand_connections_at_once(loop, capsys):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    many = min(MANY, hard - SPARE)
    if many < MANY:
        with capsys.disabled():
            print(f"\nonly {many} connections instead of {MANY}: RLIMIT_NOFILE is {hard}")
    with Child(SERVER, "conduit", loop=loop) as server:
        port = await server.says()
        with Child(CLIENT, port) as client:
            await warm_up(client)
            before = await ask(server, "descriptors")
            assert await ask(client, f"open {many}") == many
            assert await ask(client, "echo first") == many
            # All of them are open, and each is served.
            assert await ask(server, "handlers") == many
            assert await ask(server, "descriptors") == before + many
            assert await ask(client, "echo again") == many
            assert await ask(client, "close") == many
        assert await ask(server, "handlers") == 0
        assert await ask(server, "descriptors") == before


async def memory_per_connection(whose: str, loop: str) -> float:
    """How much a fresh server process grows for each of its connections, in bytes."""
    with Child(SERVER, whose, loop=loop) as server:
        port = await server.says()
        with Child(CLIENT, port) as client:
            await warm_up(client)
            before = await ask(server, "memory")
            assert await ask(client, f"open {FOR_MEMORY}") == FOR_MEMORY
            assert await ask(client, "echo hello") == FOR_MEMORY
            assert await ask(server, "handlers") == FOR_MEMORY
            grown = await ask(server, "memory") - before
            assert await ask(client, "close") == FOR_MEMORY
    return grown / FOR_MEMORY


async def test_connection_takes_no_more_memory_than_with_asyncio_streams(loop):
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(await memory_per_connection("conduit", loop))
        theirs.append(await memory_per_connection("asyncio", loop))
    print("bytes per connection:", ours, theirs)
    assert median(ours) <= median(theirs), (ours, theirs)
