"""launchd's sockets: a library of the same interface, made here, stands in for macOS's."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import conduit
from conduit import client, endp, server, testing
from conduit.transports import launchd

# What launch_activate_socket(3) says of itself: entries of a property list are given once, as an
# array that the caller frees. The array lies where a write past its end or a second free is seen.
SOURCE = r"""
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry { char name[64]; int fds[8]; size_t count; int taken; };
static struct entry entries[8];
static size_t known, freed, given;
static int *latest;

void stand_in_add(const char *name, const int *fds, size_t count) {
    struct entry *entry = &entries[known++];
    strcpy(entry->name, name);
    memcpy(entry->fds, fds, count * sizeof *fds);
    entry->count = count;
    entry->taken = 0;
}

void stand_in_clear(void) { known = freed = given = 0; latest = NULL; }
size_t stand_in_given(void) { return given; }
size_t stand_in_freed(void) { return freed; }

int launch_activate_socket(const char *name, int **fds, size_t *cnt) {
    if (!strcmp(name, "not managed")) return ESRCH;
    if (!strcmp(name, "odd")) return EINVAL;
    for (size_t i = 0; i < known; i++) {
        struct entry *entry = &entries[i];
        if (strcmp(entry->name, name)) continue;
        if (entry->taken) return EALREADY;
        entry->taken = 1;
        latest = malloc(entry->count * sizeof **fds + 1);
        memcpy(latest, entry->fds, entry->count * sizeof **fds);
        *fds = latest;
        *cnt = entry->count;
        given++;
        return 0;
    }
    return ENOENT;
}

void free(void *where) {
    extern void __libc_free(void *);
    if (where && where == latest) { freed++; latest = NULL; }
    __libc_free(where);
}
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> str:
    from shutil import which

    compiler = which("gcc") or which("cc")
    if compiler is None:
        if os.environ.get("CONDUIT_TEST_REQUIRE_PEERS"):
            pytest.fail("there is no C compiler, and nothing may be skipped here")
        pytest.skip("there is no C compiler")
    directory: Path = tmp_path_factory.mktemp("launchd")
    source, built = directory / "stand_in.c", directory / "stand_in.so"
    source.write_text(SOURCE)
    subprocess.run(
        [compiler, "-Wall", "-Werror", "-shared", "-fPIC", "-o", built, source], check=True
    )
    return str(built)


class Launchd:
    """The stand-in: what is in the property list."""

    def __init__(self, library: str) -> None:
        import ctypes

        self._ctypes = ctypes
        self._library = ctypes.CDLL(library)
        self.fds: list[int] = []

    def add(self, name: str, *sockets: socket.socket | int) -> None:
        fds = [one if isinstance(one, int) else one.detach() for one in sockets]
        self.fds += fds
        array = (self._ctypes.c_int * len(fds))(*fds)
        self._library.stand_in_add(name.encode(), array, self._ctypes.c_size_t(len(fds)))

    def clear(self) -> None:
        self._library.stand_in_clear()

    def arrays(self) -> tuple[int, int]:
        """How many were given, and how many of them were freed."""
        return self._library.stand_in_given(), self._library.stand_in_freed()


@pytest.fixture
def macos(library, monkeypatch) -> Launchd:
    monkeypatch.setattr(launchd, "library_path", lambda mode: library)
    stand_in = Launchd(library)
    stand_in.clear()
    return stand_in


async def greet(f, ic, oc):
    oc.write(b"hello")


async def greeting_at(where, ctx=None) -> bytes:
    async with conduit.connect(where, ctx=ctx) as (_, ic, _):
        return await ic.read()


async def refusal(mode, kind: type[OSError] = OSError) -> OSError:
    with pytest.raises(kind) as caught:
        async with conduit.listen(mode, greet):
            pytest.fail("listening")
    return caught.value


def tcp(ip: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return socket.create_server((ip, 0), family=family)


async def test_every_socket_of_the_entry_is_served_and_nothing_is_unlinked(macos, socket_path):
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(socket_path)
    unix.listen()
    macos.add("Listeners", tcp(), tcp("::1"), unix)
    macos.add("Other", tcp())
    async with conduit.listen("launchd:Listeners", greet) as srv:
        v4, v6, path = srv.endps
        assert isinstance(v4, endp.TCP)
        assert isinstance(v6, endp.TCP)
        assert (str(v4.ip), str(v6.ip)) == ("127.0.0.1", "::1")
        assert path == endp.UnixDomainSocket(socket_path)
        for where in srv.endps:
            assert await greeting_at(where) == b"hello"
        for fd in macos.fds[:3]:
            assert not os.get_inheritable(fd)
        async with conduit.listen(server.Launchd("Other"), greet) as other:
            assert await greeting_at(other.endps[0]) == b"hello"
    assert os.path.exists(socket_path)
    assert macos.arrays() == (2, 2)
    for fd in macos.fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


async def test_tls_over_it(macos, tmp_path):
    authority = testing.Authority()
    own = authority.issue("mac.example").write(tmp_path)
    macos.add("Secure", tcp())
    ctx = await conduit.init(tls_authenticator=conduit.trust.ca(authority.pem))
    mode = server.TLSOver(server.Launchd("Secure"), own.crt_file, own.key_file)
    async with conduit.listen(mode, greet) as srv:
        [where] = srv.endps
        assert isinstance(where, endp.TLS)
        assert isinstance(where.endp, endp.TCP)
        target = client.TLS("mac.example", where.endp.ip, where.endp.port)
        assert await greeting_at(target, ctx) == b"hello"


async def test_entry_that_is_none(macos):
    error = await refusal(server.Launchd("Nothing"), FileNotFoundError)
    assert error.errno == errno.ENOENT
    assert "the Sockets of the property list have no entry 'Nothing'" in str(error)


async def test_entry_that_was_taken_before(macos):
    macos.add("Listeners", tcp())
    async with conduit.listen(server.Launchd("Listeners"), greet):
        error = await refusal(server.Launchd("Listeners"))
    assert error.errno == errno.EALREADY
    assert "were taken before" in str(error)


async def test_process_that_launchd_did_not_start(macos):
    error = await refusal(server.Launchd("not managed"), conduit.UnsupportedTransport)
    assert error.errno == errno.ESRCH
    assert "launchd does not manage this process" in str(error)
    assert "launchctl" in str(error)


async def test_other_failures_are_the_systems(macos):
    error = await refusal(server.Launchd("odd"))
    assert error.errno == errno.EINVAL
    assert os.strerror(errno.EINVAL) in str(error)


async def test_entry_without_sockets(macos):
    macos.add("Empty")
    assert "has no socket" in str(await refusal(server.Launchd("Empty"), FileNotFoundError))
    assert macos.arrays() == (1, 1)


async def test_sockets_of_another_kind_are_refused_and_closed(macos):
    """launchd gives them once, so nobody could ever serve them."""
    macos.add("Datagrams", tcp(), socket.socket(type=socket.SOCK_DGRAM))
    with pytest.raises(conduit.AddressError, match="is a socket for datagrams") as caught:
        async with conduit.listen(server.Launchd("Datagrams"), greet):
            pytest.fail("listening")
    assert "server.Launchd('Datagrams'): descriptor " in str(caught.value)
    assert macos.arrays() == (1, 1)
    for fd in macos.fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


async def test_name_that_no_property_list_can_have(macos):
    with pytest.raises(conduit.AddressError, match="no UTF-8"):
        async with conduit.listen(server.Launchd("\udcff"), greet):
            pytest.fail("listening")


@pytest.mark.parametrize("path", ["/no/such/library", "libc.so.6"])
async def test_system_without_the_function(path, monkeypatch):
    monkeypatch.setattr(launchd, "library_path", lambda mode: path)
    error = await refusal(server.Launchd("Listeners"), conduit.UnsupportedTransport)
    assert f"{path} has no launch_activate_socket" in str(error)


@pytest.mark.skipif(sys.platform == "darwin", reason="here there is launchd")
async def test_other_systems_have_no_launchd():
    error = await refusal(server.Launchd("Listeners"), conduit.UnsupportedTransport)
    assert "launchd is of macOS, and this is linux" in str(error)
    assert "server.Systemd" in str(error)


def test_where_it_is_on_macos(monkeypatch):
    monkeypatch.setattr("conduit.transports.launchd.sys.platform", "darwin")
    assert launchd.library_path(server.Launchd("x")) == "/usr/lib/libSystem.B.dylib"
