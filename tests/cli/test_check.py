"""`conduit check`: verdicts that a monitor can act on, and what a person sees."""

import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from conduit.testing import Authority
from tests.cli.command import run
from tests.cli.running import serving, terminal


def served(directory, days: float):
    """A TLS server whose certificate is valid for so long, and the options to trust it."""
    ca = Authority(not_before=datetime.now(UTC) - timedelta(days=9))
    until = datetime.now(UTC) + timedelta(days=days)
    key = ca.issue("localhost", not_after=until).write(directory)
    mode = f"tls://127.0.0.1:0?crt={key.crt_file}&key={key.key_file}"
    return serving("serve", mode, "--echo"), ("--ca", ca.write(directory))


@pytest.mark.parametrize(
    ("days", "status", "verdict"),
    [(400, 0, "ok"), (10, 1, "warning"), (1, 2, "critical"), (-1, 2, "critical")],
)
def test_certificate_that_expires(days, status, verdict, tmp_path):
    server, trusted = served(tmp_path, days)
    with server as running:
        result = run("check", "--json", *trusted, running.addresses[0])
    report = json.loads(result.stdout)
    assert (result.returncode, report["verdict"], result.stderr) == (status, verdict, "")
    assert report["chain"][0]["names"] == ["localhost"]
    assert report["versions"] == ["TLSv1.2", "TLSv1.3"]
    assert bool(report["findings"]) == (status != 0)
    if days == -1:
        assert "expired" in report["findings"][0]["what"]


def test_waterfall_has_its_phases_in_order(tmp_path):
    server, trusted = served(tmp_path, 400)
    with server as running:
        port = running.port
        result = run("check", "--json", *trusted, f"tls://localhost:{port}")
    phases = json.loads(result.stdout)["phases"]
    names = [phase["name"] for phase in phases]
    assert names[0] == "look up"
    assert f"try tcp://127.0.0.1:{port}" in names
    assert names[-1] == "TLS handshake"
    ends = [phase["start"] + phase["seconds"] for phase in phases]
    assert ends == sorted(ends)


def test_untrusted_one_shows_the_chain_and_what_to_do(tmp_path):
    server, _ = served(tmp_path, 400)
    with server as running:
        result = run("check", running.addresses[0])
    assert result.returncode == 2
    assert "subject: CN=localhost" in result.stdout
    assert "not among the authorities trusted here" in " ".join(result.stdout.split())
    assert result.stdout.endswith("CRITICAL\n")


def test_plain_tcp_and_nobody_there():
    with serving("serve", "tcp://127.0.0.1:0", "--echo") as running:
        result = run("check", running.addresses[0])
        assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "OK")
    result = run("check", running.addresses[0])
    assert result.returncode == 2
    assert "refused" in result.stdout


def test_openssl_that_speaks_only_1_2(program, tmp_path):
    ca = Authority()
    key = ca.issue("localhost").write(tmp_path)
    with subprocess.Popen(
        [program("openssl"), "s_server", "-accept", "127.0.0.1:0", "-cert", key.crt_file,
         "-key", key.key_file, "-tls1_2", "-alpn", "h2", "-rev"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            while not (line := server.stdout.readline()).startswith(b"ACCEPT"):
                assert line
            port = line.rpartition(b":")[2].decode().strip()
            address = f"tls://127.0.0.1:{port}?hostname=localhost"
            result = run("check", "--json", "--warn-days", "1", "--ca", ca.write(tmp_path), address)
        finally:
            server.kill()
    report = json.loads(result.stdout)
    assert (result.returncode, report["versions"], report["alpn"]) == (1, ["TLSv1.2"], ["h2"])
    assert report["findings"][0]["what"].startswith("TLSv1.3 is not offered")


def test_narrow_and_plain_terminals(tmp_path):
    server, trusted = served(tmp_path, 400)
    with server as running:
        args = ("check", *trusted, running.addresses[0])
        plain = run(*args, COLUMNS="40", PYTHONIOENCODING="ascii").stdout
    assert plain.isascii()
    assert "#" in plain
    assert max(map(len, plain.splitlines())) <= 40
    assert "\x1b" not in plain


def test_in_a_terminal_with_colours(program, tmp_path):
    server, trusted = served(tmp_path, 400)
    with server as running, terminal(program("tmux"), columns=70) as screen:
        screen.run("check", *trusted, f"tls://localhost:{running.port}")
        screen.wait_for(r"\nOK\n")
        assert "\x1b[" in screen.screen(colours=True).partition("certificates")[2]
        assert screen.status() == 0
