"""Standard streams that are closed, full or dumb; and what peers would have a terminal do."""

import os
import re
import signal
import subprocess
import time

import pytest

from conduit.cli.terminal import printable
from conduit.testing import Authority
from tests.cli.command import COMMAND, environment, run_here
from tests.cli.running import serving, talk
from tests.cli.test_connect import peer

NOBODY = "tcp://127.0.0.1:1"

EVIL = "\x1b]0;pwned\x07\x1b[2J\nOK\r\u202e"


def in_shell(line: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of sh, in which "$@" is the command."""
    return subprocess.run(
        ["sh", "-c", line, "sh", *COMMAND],
        env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=40,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f'"$@" resolve {NOBODY} >&-', 0),
        (f'"$@" check {NOBODY} >&- 2>&-', 2),
        (f'"$@" connect {NOBODY} <&- >&- 2>&-', 1),
        (f'"$@" bench --messages 0 {NOBODY} >&-', 1),
        ('"$@" connect nowhere 2>&-', 2),
        ('"$@" --help >&-', 0),
        (f'"$@" resolve {NOBODY} >/dev/full', 1),
        ('"$@" connect nowhere 2>/dev/full', 2),
        (f'"$@" connect {NOBODY} 2>/dev/full', 1),
    ],
)
def test_streams_that_are_closed_or_full_make_no_other_status(line, status):
    result = in_shell(line)
    assert (result.returncode, result.stdout) == (status, b"")
    assert b"Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 1


def test_server_without_streams_serves(socket_path):
    result = in_shell(f'"$@" serve unix:{socket_path} --echo <&- >/dev/null 2>&- & echo $!')
    pid = int(result.stdout)
    try:
        until = time.monotonic() + 20
        while not os.path.exists(socket_path):
            assert time.monotonic() < until, "it does not listen"
            time.sleep(0.02)  # it can tell nobody
        assert talk("connect", f"unix:{socket_path}", said=b"x").stdout == b"x"
    finally:
        os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("args", [("resolve",), ("check", "--no-offers"), ("bench",)])
def test_dumb_and_very_narrow_terminals(args):
    result = run_here(*args, NOBODY, TERM="dumb", COLUMNS="20", LANG="C")
    assert "\x1b" not in result.stdout + result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 20


def test_printable_is_one_line_that_moves_no_cursor():
    assert printable("a b é 語") == "a b é 語"
    assert printable(EVIL) == r"\x1b]0;pwned\x07\x1b[2J\nOK\r\u202e"


def test_names_in_certificates_cannot_speak_to_the_terminal(tmp_path):
    ca = Authority(EVIL)
    key = ca.issue("localhost").write(tmp_path)
    mode = f"tls://127.0.0.1:0?crt={key.crt_file}&key={key.key_file}"
    with serving("serve", mode, "--echo") as server:
        where = f"tls://127.0.0.1:{server.port}?hostname=localhost"
        trusting = ("--warn-days", "1", "--ca", ca.write(tmp_path))
        checked = run_here("check", *trusting, where, COLUMNS="200")
        refused = run_here("check", where, COLUMNS="200")
        told = talk("connect", "--facts", "--insecure", where).stderr.decode()
        wrong = talk("connect", where).stderr.decode()
    for shown in (checked.stdout, refused.stdout, told, wrong):
        assert not set(shown) & set("\x1b\x07\r\u202e")
        assert "pwned" in shown
    # A line of its own would be a verdict.
    assert re.findall("^OK$", checked.stdout, re.MULTILINE) == ["OK"]
    assert re.findall("^OK", refused.stdout + told + wrong, re.MULTILINE) == []


def test_a_proxy_that_refuses_cannot_speak_to_the_terminal():
    def refuse(sock) -> None:
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 403 \x1b[2Jno\r\n\r\n")

    address, thread = peer(refuse)
    result = talk("connect", f"connect+{address}?to=db.example:1")
    thread.join()
    assert result.returncode == 1
    assert b"403" in result.stderr
    assert b"\x1b" not in result.stderr
    assert len(result.stderr.splitlines()) == 1
