"""`conduit demo`, as a user runs it."""

import contextlib
import fcntl
import functools
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections import Counter
from pathlib import Path
from textwrap import dedent
from unittest import mock

import pytest

from conduit import transports
from conduit.channels import Wire
from conduit.cli import main
from conduit.transports import unix
from tests.cli.command import COMMAND, environment, run, run_here, without_styles
from tests.vsock_loopback import lack_of_loopback

SMALL = ("--size", "0.05")

# (server, client) by the names of their classes, and how many forms of each are tried.
EVERYTHING = {
    ("server.TCP", "client.TCP"): 5,
    ("server.TCP", "endp.TCP"): 3,
    ("server.TCP", "client.Host"): 1,
    ("server.TCP", "endp.Host"): 1,
    ("endp.TCP", "endp.TCP"): 1,
    ("server.Handover", "client.TCP"): 1,
    ("server.Handover", "endp.TCP"): 1,
    ("server.ListeningSocket", "client.TCP"): 1,
    ("server.ListeningSocket", "endp.TCP"): 1,
    ("server.UnixDomainSocket", "client.UnixDomainSocket"): 2,
    ("server.UnixDomainSocket", "endp.UnixDomainSocket"): 2,
    ("endp.UnixDomainSocket", "endp.UnixDomainSocket"): 1,
    ("Memory", "Memory"): 1,
    ("server.TLS", "client.TLS"): 2,
    ("server.TLS", "endp.TLS"): 2,
    ("server.TLS", "client.TLSTunnel"): 1,
    ("server.OpenSSL", "client.OpenSSL"): 1,
    ("server.OpenSSL", "client.TLSNative"): 1,
    ("server.TLSNative", "client.OpenSSL"): 1,
    ("server.TLSNative", "client.TLSNative"): 1,
    ("server.TLSOver", "client.TLSOver"): 2,
    ("server.TLSOver", "endp.TLS"): 2,
}

WITH_TLS = 13

# What hosts have that run no tests, but for vsock.
NOT_HERE = {
    *("server.Systemd", "server.Launchd"),
    *("server.VchanDirect", "server.VchanDomainSocket"),
}

HAS_VSOCK = not lack_of_loopback()
if HAS_VSOCK:
    EVERYTHING |= {("server.Vsock", "client.Vsock"): 1, ("server.Vsock", "endp.Vsock"): 1}
else:
    NOT_HERE |= {"server.Vsock"}


def name(address: str) -> str:
    return address.partition("(")[0]


def rows_of(result: subprocess.CompletedProcess[str]) -> list[dict]:
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


def by_state(rows: list[dict], state: str) -> list[dict]:
    return [row for row in rows if row["state"] == state]


@functools.cache
def everything() -> subprocess.CompletedProcess[str]:
    """Run the whole of it, once for all that look at what it says."""
    return run_here("demo", "--json", *SMALL)


def test_every_transport_passes_in_every_form():
    result = everything()
    rows = rows_of(result)
    assert result.returncode == 0
    assert by_state(rows, "failed") == []
    passed = by_state(rows, "ok")
    assert Counter((name(r["server"]), name(r["address"])) for r in passed) == EVERYTHING
    for row in passed:
        assert row["sent"] == 2 * 50_000
        assert row["connect_seconds"] > 0
        assert row["transfer_seconds"] > 0
        assert row["flow"]


def test_tls_is_told_with_version_cipher_and_handshake():
    passed = by_state(rows_of(everything()), "ok")
    secured = [row for row in passed if row["tls"]]
    assert len(secured) == WITH_TLS
    for row in secured:
        assert re.fullmatch(r"TLSv1\.3 TLS_[A-Z0-9_]+( resumed)?", row["tls"])
        assert 0 < row["handshake_seconds"] < row["connect_seconds"]
    assert [row["tls"].endswith("resumed") for row in secured if row["address"][:8] == "endp.TLS"]
    servers = {row["server"] for row in secured}
    assert sum("client_auth='required'" in server for server in servers) == 1
    assert any("TLSOver(server.UnixDomainSocket(" in server for server in servers)
    assert any("TLSOver(server.TLS(" in server for server in servers)
    for row in passed:
        if row not in secured:
            assert row["tls"] is row["handshake_seconds"] is None


def test_without_cryptography_the_rows_of_tls_say_what_to_install():
    result = run("demo", "--json", *SMALL, before="import sys; sys.modules['cryptography'] = None")
    rows = rows_of(result)
    assert result.returncode == 0
    assert by_state(rows, "failed") == []
    assert len(by_state(rows, "ok")) == sum(EVERYTHING.values()) - WITH_TLS
    missing = {row["address"]: row["reason"] for row in by_state(rows, "missing")}
    for address in ("server.TLS", "server.OpenSSL", "server.TLSNative", "client.TLSTunnel"):
        assert 'pip install "conduit-net[testing]"' in missing[address]


def test_where_tls_is_turned_off_the_rows_say_so():
    result = run("demo", "--json", *SMALL, CONDUIT_TLS="none")
    rows = rows_of(result)
    assert result.returncode == 0
    assert by_state(rows, "failed") == []
    # Those that are asked for by their names.
    secured = [name(row["address"]) for row in by_state(rows, "ok") if row["tls"]]
    assert secured == ["client.OpenSSL", "client.TLSNative"] * 2
    off = [row for row in by_state(rows, "missing") if name(row["address"]) == "server.TLS"]
    assert len(off) == 2
    assert all(row["reason"].startswith("there is no TLS: CONDUIT_TLS or") for row in off)


def test_what_this_version_lacks_is_listed_with_the_reason():
    missing = by_state(rows_of(everything()), "missing")
    assert {name(row["address"]) for row in missing} == NOT_HERE
    reasons = {name(row["address"]): row["reason"] for row in missing}
    if not HAS_VSOCK:
        assert "vsock" in reasons["server.Vsock"]
    assert "systemd-socket-activate" in reasons["server.Systemd"]
    assert "launchd" in reasons["server.Launchd"]


def test_without_the_native_stack_its_rows_say_what_to_install():
    result = run("demo", "--json", *SMALL, before="import sys; sys.modules['tlslite'] = None")
    rows = rows_of(result)
    assert result.returncode == 0
    assert by_state(rows, "failed") == []
    missing = {name(row["address"]): row["reason"] for row in by_state(rows, "missing")}
    for address in ("server.TLSNative", "client.TLSNative"):
        assert 'pip install "conduit-net[native]"' in missing[address]


def test_runs_on_uvloop_where_it_is_installed():
    without = run("demo", "--json", *SMALL, before="import sys; sys.modules['uvloop'] = None")
    for result, loop in ((everything(), "uvloop"), (without, "asyncio")):
        assert result.returncode == 0
        loops = {row["versions"]["loop"].partition(" ")[0] for row in rows_of(result)}
        assert loops == {loop}


def test_through_a_pipe_it_is_text_of_80_columns():
    result = run_here("demo", *SMALL)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert "\r" not in result.stdout
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("✓ ") for line in lines) == 1 + sum(EVERYTHING.values())
    assert re.search(
        r"✓ client\.TCP\('127\.0\.0\.1', \d+\) +TCP\(\d+, '127\.0\.0\.1', ", result.stdout
    )
    assert "Not on this host, or not in this version" in lines
    assert any(re.fullmatch(r" +TLSv1\.3 TLS_\w+, handshake [\d.]+ ms", line) for line in lines)
    assert re.fullmatch(
        rf"✓ All {sum(EVERYTHING.values())} connections passed, in \d+\.\d s\.", lines[-1]
    )


def test_columns_of_the_environment_count():
    result = run_here("demo", *SMALL, COLUMNS="44")
    assert max(map(len, result.stdout.splitlines())) <= 44
    assert result.returncode == 0


@pytest.mark.parametrize(
    "ascii_only",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["encoding", "locale"],
)
def test_without_unicode_it_is_ascii(ascii_only):
    apart = "LC_ALL" in ascii_only
    result = (run if apart else run_here)("demo", *SMALL, **ascii_only)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.isascii()
    assert "\nok client.TCP" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


# In a terminal.


@functools.cache
def in_terminal(columns: int, **more: str) -> tuple[int, str]:
    """Run the demo in a terminal of so many columns: its status, and all that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    written = bytearray()

    def read() -> None:
        try:
            while piece := os.read(ours, 65536):
                written.extend(piece)
        except OSError:
            pass  # how Linux tells that nobody has the terminal open any more

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with (
            open(theirs, "w", encoding="utf-8") as screen,
            mock.patch.dict(os.environ, environment(**more), clear=True),
            contextlib.redirect_stdout(screen),
            contextlib.redirect_stderr(screen),
            mock.patch.object(sys, "__stdout__", screen),  # which is asked how wide it is
        ):
            status = main(["demo", *SMALL])
    finally:
        reader.join()
        os.close(ours)
    return status, written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [36, 80, 132])
def test_in_a_terminal_it_has_colours_and_fits(columns):
    status, text = in_terminal(columns)
    assert status == 0
    assert "\x1b[32m✓\x1b[m client." in text
    # A carriage return starts the line anew; an erased line leaves nothing.
    lines = [part.removeprefix("\x1b[K") for part in re.split("[\r\n]", without_styles(text))]
    assert max(map(len, lines)) <= columns
    assert "\x1b" not in "".join(lines)


def test_in_a_terminal_it_says_what_it_tries():
    _, text = in_terminal(80)
    tried = re.findall(r"(\w+\.\w+\([^\r\n]*[)…]) *\r(?!\n)", without_styles(text))
    assert len(tried) + 1 == sum(EVERYTHING.values())  # a Memory has no module in its name


def test_no_color_is_respected():
    status, text = in_terminal(80, NO_COLOR="1")
    assert status == 0
    assert "✓ client.TCP" in text
    assert without_styles(text) == text


def test_dumb_terminal_gets_no_escapes():
    status, text = in_terminal(80, TERM="dumb")
    assert status == 0
    assert "\x1b" not in text


# When something is wrong.

BROKEN = """
    from conduit import client, transports
    from conduit.channels import Wire
    from conduit.transports import unix

    class Flipping(Wire):
        __slots__ = ()

        def data_received(self, data):
            super().data_received(bytes([data[0] ^ 1]) + data[1:])

    unix.Wire = {wire}

    class Broken:
        listen = staticmethod(unix.listen)

        async def connect(self, *args):
            triple = await unix.connect(*args)
            wire = triple.oc._wire
            {fault}
            return triple

    transports.register(client.UnixDomainSocket, Broken())
"""


def broken(fault="pass", wire="Wire") -> str:
    """Code for faulty Unix clients. fault: what befalls each. wire: what they are made of."""
    return BROKEN.replace("{fault}", fault).replace("{wire}", wire)


@pytest.fixture
def spoil(monkeypatch):
    """Runs such code; when the test is over, all is as it was."""
    monkeypatch.setattr(transports, "_known", dict(transports._known))
    monkeypatch.setattr(unix, "Wire", Wire)
    return lambda code: exec(dedent(code), {})


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (broken("wire.abort(); raise OSError(5, 'the wire was cut')"), "the wire was cut"),
        (broken("wire.abort(); raise TypeError('a bug\\nof ours')"), "TypeError: a bug of ours"),
        (broken("wire.abort()"), "was aborted"),
        (broken(wire="Flipping"), "what the client got is not what was sent: 50000 bytes"),
        (
            broken("wire.transport.write(b'!')"),
            "what the server got is not what was sent: 50001 bytes",
        ),
    ],
    ids=["connect fails", "bug", "cut", "corrupted", "too much"],
)
def test_failing_rows_are_told_and_the_others_go_on(before, reason, spoil):
    spoil(before)
    result = run_here("demo", "--json", *SMALL)
    rows = rows_of(result)
    assert result.returncode == 1
    failed = by_state(rows, "failed")
    # Endpoints become the same client addresses; TLS over such a socket fails in its own way.
    assert [name(row["address"]).partition(".")[2] for row in failed] == [
        *(["UnixDomainSocket"] * 5),
        "TLSOver",
        "TLS",
    ]
    assert all(reason in row["reason"] for row in failed[:5])
    assert all(row["reason"] for row in failed[5:])
    assert len(by_state(rows, "ok")) == sum(EVERYTHING.values()) - 7


def test_failing_row_in_the_table(spoil):
    spoil(broken("wire.abort(); raise OSError(5, 'the wire was cut')"))
    result = run_here("demo", *SMALL)
    assert (result.returncode, result.stderr) == (1, "")
    assert "\n✗ client.UnixDomainSocket('/tmp/" in result.stdout
    assert "the wire was cut" in result.stdout
    assert f"\n✗ 7 of {sum(EVERYTHING.values())} connections failed, in " in result.stdout


def test_server_that_cannot_listen_is_a_failed_row(spoil):
    spoil(
        """
        import os
        from conduit import server, transports

        class Deaf:
            async def listen(self, mode, *args):
                os.close(mode.fd)
                raise PermissionError(1, "the ears are shut")

        transports.register(server.ListeningSocket, Deaf())
        """
    )
    result = run_here("demo", "--json", *SMALL)
    (failed,) = by_state(rows_of(result), "failed")
    assert result.returncode == 1
    assert name(failed["address"]) == "server.ListeningSocket"
    assert "the ears are shut" in failed["reason"]


def test_host_without_ipv6_says_so(program):
    """In a network of its own, where IPv6 is switched off."""
    setup = 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && ip link set lo up && exec "$@"'
    unshare = (program("unshare"), "--map-root-user", "--net")
    program("ip")
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a network namespace")
    result = run("demo", "--json", *SMALL, wrapper=(*unshare, "sh", "-ec", setup, "sh"))
    rows = rows_of(result)
    assert by_state(rows, "failed") == []
    assert result.returncode == 0
    missing = {row["address"]: row["reason"] for row in by_state(rows, "missing")}
    assert missing["server.TCP(0, ip='::1')"].startswith("this host has no IPv6: ")
    (client,) = (address for address in missing if address.startswith("client.TCP('::1'"))
    assert missing[client].startswith("this host has no IPv6: ")
    # The server on all addresses is reached by the other family all the same.
    assert [r["address"] for r in by_state(rows, "ok") if name(r["address"]) == "client.Host"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_at_once_and_leaves_nothing(number, socket_path):
    directory = Path(socket_path).parent
    process = subprocess.Popen(
        [*COMMAND, "demo", "--json", "--size", "30"],
        env=environment(TMPDIR=str(directory)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (128 + number, "")
    assert json.loads(first)["state"] == "ok"
    # It did not go on as if only a server had been stopped.
    assert not [line for line in out.splitlines() if json.loads(line)["state"] != "ok"]
    assert list(directory.iterdir()) == []


def test_reader_that_leaves_ends_it_quietly(socket_path):
    directory = Path(socket_path).parent
    process = subprocess.Popen(
        [*COMMAND, "demo", *SMALL],
        env=environment(TMPDIR=str(directory)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 1
    assert list(directory.iterdir()) == []


def test_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [*COMMAND, "demo", *SMALL],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
            timeout=20,
        )
    assert result.returncode == 1
    assert result.stderr == "conduit: No space left on device\n"
