"""Sockets that systemd hands over: by what it sets in the environment, and by its real program."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduit
from conduit import client, endp, server, testing
from conduit.transports import systemd
from tests.vsock_loopback import ANY, LOCAL, needs_vsock

FIRST = 700


async def greet(f, ic, oc):
    oc.write(b"hello")


def greeting(word: bytes):
    async def handler(f, ic, oc):
        oc.write(word)

    return handler


async def greeting_at(where, ctx=None) -> bytes:
    async with conduit.connect(where, ctx=ctx) as (_, ic, _):
        return await ic.read()


async def refusal(mode, kind=conduit.AddressError) -> str:
    with pytest.raises(kind) as caught:
        async with conduit.listen(mode, greet):
            pytest.fail("listening")
    return str(caught.value)


# As if systemd had started this process -----------------------------------------------------------


@pytest.fixture
def hand_over(monkeypatch) -> Iterator:
    """Put sockets where systemd would, and say so in the environment as it would."""
    monkeypatch.setattr(systemd, "_FIRST", FIRST)
    monkeypatch.setattr(systemd, "_handed", None)
    numbers: list[int] = []

    def hand(sockets: Sequence[socket.socket | int], **variables: str) -> None:
        for number, sock in enumerate(sockets, FIRST):
            fd = sock if isinstance(sock, int) else sock.detach()
            os.dup2(fd, number)
            os.close(fd)
            numbers.append(number)
        told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(sockets)), **variables}
        for name, value in told.items():
            monkeypatch.setenv(name, value)

    yield hand
    for number in numbers:
        try:
            os.close(number)
        except OSError:
            pass  # a server had it


def tcp(ip="127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return socket.create_server((ip, 0), family=family)


def unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    return sock


async def test_all_of_every_family_are_served_and_nothing_is_unlinked(hand_over, socket_path):
    hand_over([tcp(), tcp("::1"), unix(socket_path), unix(f"\0{socket_path}")])
    async with conduit.listen(server.Systemd(), greet) as srv:
        v4, v6, *names = srv.endps
        assert isinstance(v4, endp.TCP)
        assert isinstance(v6, endp.TCP)
        assert (str(v4.ip), str(v6.ip)) == ("127.0.0.1", "::1")
        assert names == [
            endp.UnixDomainSocket(socket_path),
            endp.UnixDomainSocket(f"@{socket_path}"),
        ]
        for where in srv.endps:
            assert await greeting_at(where) == b"hello"
    assert os.path.exists(socket_path)
    for number in range(FIRST, FIRST + 4):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


@needs_vsock
async def test_vsock_is_served(hand_over):
    sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    sock.bind((LOCAL, ANY))
    where = endp.Vsock(LOCAL, sock.getsockname()[1])
    hand_over([sock])
    async with conduit.listen(server.Systemd(), greet) as srv:
        assert srv.endps == (where,)
        assert await greeting_at(where) == b"hello"


async def test_servers_share_them_by_name(hand_over):
    hand_over([tcp(), tcp(), tcp("::1"), tcp()], LISTEN_FDNAMES="web:admin:web:rest")
    async with (
        conduit.listen("systemd:web", greeting(b"web")) as web,
        conduit.listen("systemd:admin", greeting(b"admin")) as admin,
        conduit.listen("systemd:", greeting(b"rest")) as rest,
    ):
        assert (len(web.endps), len(admin.endps), len(rest.endps)) == (2, 1, 1)
        for srv, word in ((web, b"web"), (admin, b"admin"), (rest, b"rest")):
            for where in srv.endps:
                assert await greeting_at(where) == word
        assert "web' are served" not in await refusal(server.Systemd("other"))
        text = await refusal(server.Systemd("web"))
        assert "served already" in text
        assert "all sockets" in await refusal(server.Systemd())


async def test_environment_is_read_once_and_children_do_not_see_it(hand_over):
    hand_over([tcp(), tcp()], LISTEN_FDNAMES="a:b", LISTEN_PIDFDID="12345")
    async with conduit.listen(server.Systemd("a"), greet):
        assert not [name for name in os.environ if name.startswith("LISTEN_")]
        for number in (FIRST, FIRST + 1):
            assert not os.get_inheritable(number)
        os.environ["LISTEN_FDS"] = "99"
        try:
            async with conduit.listen(server.Systemd("b"), greet) as srv:
                assert await greeting_at(srv.endps[0]) == b"hello"
        finally:
            del os.environ["LISTEN_FDS"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"LISTEN_PID": "1"}, "LISTEN_PID is '1' and this process is"),
        ({"LISTEN_PID": "x"}, "LISTEN_PID is 'x'"),
        ({"LISTEN_PID": ""}, "LISTEN_FDS is not set"),
        ({"LISTEN_FDS": ""}, "LISTEN_FDS is not set"),
        ({"LISTEN_FDS": "0"}, "LISTEN_FDS is '0'"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS is '-1'"),
        ({"LISTEN_FDS": "999999999999"}, "LISTEN_FDS is '999999999999'"),
        ({"LISTEN_FDS": "1" * 5000}, "LISTEN_FDS is"),
    ],
)
async def test_what_is_not_for_this_process_is_ignored(hand_over, variables, words):
    sock = tcp()
    number = sock.fileno()
    hand_over([], **{"LISTEN_FDS": "1", **variables})
    with sock:
        assert words in await refusal(server.Systemd(), conduit.UnsupportedTransport)
        # The next time it says the same.
        assert words in await refusal(server.Systemd("a"), conduit.UnsupportedTransport)
        os.fstat(number)
    assert "LISTEN_PID" not in os.environ


ENVIRONMENT = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=20)


@given(
    pid=st.just("mine") | ENVIRONMENT,
    count=st.integers(0, 9).map(str) | ENVIRONMENT,
    names=st.lists(st.sampled_from(["a", "b", "", "é", " "])).map(":".join) | ENVIRONMENT,
)
def test_whatever_the_environment_says_is_read(pid, count, names):
    told = {"LISTEN_PID": pid, "LISTEN_FDS": count, "LISTEN_FDNAMES": names}
    if pid == "mine":
        told["LISTEN_PID"] = str(os.getpid())
    with socket.socket() as sock, pytest.MonkeyPatch.context() as patches:
        # Of those that are said to be there, one is.
        patches.setattr(systemd, "_FIRST", FIRST)
        os.dup2(sock.fileno(), FIRST + 1)
        try:
            handed = systemd._read(told)
        finally:
            os.close(FIRST + 1)
    if handed.free:
        assert pid == "mine"
        assert int(count) >= 2
        assert handed.free.keys() == {FIRST + 1}
        wanted = [*names.split(":"), "", ""][1] or "unknown"
        assert handed.names == tuple(handed.free.values()) == (wanted,)
    else:
        assert handed.why_none
        assert handed.names == ()


async def test_without_sockets_it_says_how_to_start(hand_over, monkeypatch):
    for name in ("LISTEN_PID", "LISTEN_FDS"):
        monkeypatch.delenv(name, raising=False)
    text = await refusal(server.Systemd(), conduit.UnsupportedTransport)
    assert "systemd-socket-activate --listen=" in text
    assert ".socket unit" in text


async def test_descriptors_that_are_not_open_are_passed_over(hand_over):
    hand_over([tcp()], LISTEN_FDS="3", LISTEN_FDNAMES="a")
    async with conduit.listen(server.Systemd(), greet) as srv:
        assert await greeting_at(srv.endps[0]) == b"hello"
    hand_over([], LISTEN_FDS="3")
    systemd._handed = None
    assert "none of them is open" in await refusal(server.Systemd(), conduit.UnsupportedTransport)


async def test_names_that_are_missing_are_unknown(hand_over):
    hand_over([tcp(), tcp(), tcp()], LISTEN_FDNAMES=":b")
    assert "there are b, unknown" in await refusal(server.Systemd("c"))
    async with conduit.listen(server.Systemd("unknown"), greet) as srv:
        assert len(srv.endps) == 2


def connection() -> socket.socket:
    with tcp() as listening:
        left = socket.create_connection(listening.getsockname())
        right, _ = listening.accept()
        left.close()
        return right


def pipe() -> int:
    read, write = os.pipe()
    os.close(write)
    return read


WRONG = {
    "datagrams": (
        lambda path: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "write ListenStream= in place of ListenDatagram=",
    ),
    "packets": (
        lambda path: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET),
        "ListenSequentialPacket=",
    ),
    "accepted": (lambda path: connection(), "write Accept=no"),
    "pipe": (lambda path: pipe(), "is no open socket"),
    "raw": (lambda path: os.open(path, os.O_RDWR | os.O_CREAT), "is no open socket"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_nobody_can_be_accepted_from_is_refused_with_words(
    hand_over, wrong, socket_path
):
    """And the others under this name are left alone, so that they can still be served."""
    make, words = WRONG[wrong]
    good, bad = tcp(), make(socket_path)
    hand_over([good, bad], LISTEN_FDNAMES="mine:odd")
    text = await refusal(server.Systemd())
    assert words in text
    assert f"descriptor {FIRST + 1}, 'odd'" in text
    assert f"descriptor {FIRST + 1}, 'odd'" in await refusal(server.Systemd("odd"))
    async with conduit.listen(server.Systemd("mine"), greet) as srv:
        assert await greeting_at(srv.endps[0]) == b"hello"


async def test_sockets_stay_when_the_certificate_cannot_be_read(hand_over, tmp_path):
    hand_over([tcp()])
    with pytest.raises(OSError, match=r"no\.crt"):
        async with conduit.listen(
            f"tls+systemd:?crt={tmp_path}/no.crt&key={tmp_path}/no.key", greet
        ):
            pytest.fail("listening")
    async with conduit.listen(server.Systemd(), greet) as srv:
        assert await greeting_at(srv.endps[0]) == b"hello"


async def test_tls_over_them(hand_over, tmp_path):
    authority = testing.Authority()
    key = authority.issue("db.example").write(tmp_path)
    hand_over([tcp()], LISTEN_FDNAMES="secure")
    ctx = await conduit.init(tls_authenticator=conduit.trust.ca(authority.pem))
    mode = f"tls+systemd:secure?crt={key.crt_file}&key={key.key_file}"
    async with conduit.listen(mode, greet) as srv:
        [where] = srv.endps
        assert isinstance(where, endp.TLS)
        assert isinstance(where.endp, endp.TCP)
        target = client.TLS("db.example", where.endp.ip, where.endp.port)
        assert await greeting_at(target, ctx) == b"hello"


async def test_forked_child_is_told_whose_they_are(hand_over, monkeypatch):
    hand_over([tcp()])
    async with conduit.listen(server.Systemd(), greet):
        child = os.getpid() + 1
        monkeypatch.setattr("conduit.transports.systemd.os.getpid", lambda: child)
        with pytest.raises(conduit.UnsupportedTransport, match="whose forked child this is"):
            await systemd.listen(
                server.Systemd(), conduit.Context(), conduit.transports.ListenOptions()
            )
        monkeypatch.undo()


async def test_nobody_connects_to_them():
    with pytest.raises(conduit.AddressError, match="is a way to serve"):
        await conduit.connect(server.Systemd("a"))  # type: ignore[arg-type]


# By systemd's own program -------------------------------------------------------------------------

PROGRAM = """
    import asyncio, json, os, subprocess, sys
    import conduit

    def saying(word):
        async def handler(f, ic, oc):
            oc.write(word)
        return handler

    async def main():
        async with (
            conduit.listen("systemd:web", saying(b"web")) as web,
            conduit.listen("systemd:admin", saying(b"admin")) as admin,
        ):
            # What a child of the program is left.
            child = (
                "import json, os;"
                "print(json.dumps([list(os.environ), os.listdir('/proc/self/fd')]))"
            )
            told = await asyncio.to_thread(
                subprocess.run, [sys.executable, "-c", child], capture_output=True, close_fds=False
            )
            names, fds = json.loads(told.stdout)
            print(json.dumps({
                "web": [str(one) for one in web.endps],
                "admin": [str(one) for one in admin.endps],
                "variables": [name for name in names if name.startswith(("LISTEN", "NOTIFY"))],
                "descriptors": sorted(map(int, fds)),
            }), flush=True)
            await asyncio.Event().wait()

    conduit.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_systemd_socket_activate(program, socket_path, loop):
    activate = program("systemd-socket-activate")
    before = "" if loop == "uvloop" else "import sys; sys.modules['uvloop'] = None\n"
    web, admin = f"{socket_path}-web", f"{socket_path}-admin"
    with tcp() as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [
            activate,
            *(f"--listen={where}" for where in (web, admin, f"127.0.0.1:{port}")),
            "--fdname=web:admin:web",
            f"--setenv=HOME={os.environ.get('HOME', '/')}",
            *(sys.executable, "-c", before + dedent(PROGRAM)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stdout is not None
            for line in process.stderr:
                if line.startswith(f"Listening on 127.0.0.1:{port}"):
                    break

            def heard(family: int, address: str | tuple[str, int]) -> bytes:
                with socket.socket(family) as sock:
                    sock.settimeout(30)
                    sock.connect(address)
                    return sock.recv(100)

            # The client that has it started is served, too.
            assert heard(socket.AF_UNIX, admin) == b"admin"
            told = json.loads(process.stdout.readline())
            assert told["web"] == [f"unix:{web}", f"tcp://127.0.0.1:{port}"]
            assert told["admin"] == [f"unix:{admin}"]
            assert told["variables"] == []
            assert set(told["descriptors"]) <= {0, 1, 2, 3}  # 3 is the folder it lists
            assert heard(socket.AF_UNIX, web) == b"web"
            assert heard(socket.AF_INET, ("127.0.0.1", port)) == b"web"
            process.terminate()
            assert process.wait(20) == 0
            assert Path(web).exists()
            assert Path(admin).exists()
        finally:
            process.kill()
            process.communicate()


async def test_accepted_socket_of_systemd_socket_activate_is_refused(program, socket_path):
    activate = program("systemd-socket-activate")
    source = """
        import conduit
        async def handler(f, ic, oc): pass
        try:
            conduit.run(conduit.serve("systemd:", handler))
        except conduit.AddressError as error:
            print(error, flush=True)
    """
    with subprocess.Popen(
        [activate, "--accept", f"--listen={socket_path}", sys.executable, "-c", dedent(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stdout is not None
            await asyncio.to_thread(process.stderr.readline)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(socket_path)
                line = await asyncio.to_thread(process.stdout.readline)
            assert "write Accept=no" in line
        finally:
            process.kill()
            await asyncio.to_thread(process.communicate)
