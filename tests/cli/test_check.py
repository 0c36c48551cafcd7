"""`conduit check`: verdicts that a monitor can act on, and what a person sees."""

import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from conduit.testing import Authority
from tests.cli.command import run_here
from tests.cli.running import serving, terminal

# Days for which the certificates of the servers are valid.
FOREVER, SOON, NOW, LATE = 400, 10, 1, -1


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """TLS servers by how long their certificates are valid; and the options to trust them."""
    directory = tmp_path_factory.mktemp("check")
    ca = Authority(not_before=datetime.now(UTC) - timedelta(days=9))
    modes = []
    for days in (FOREVER, SOON, NOW, LATE):
        until = datetime.now(UTC) + timedelta(days=days)
        key = ca.issue("localhost", not_after=until).write(directory, str(days))
        modes.append(f"tls://127.0.0.1:0?crt={key.crt_file}&key={key.key_file}")
    # One process for all; its target ends when the client does, or that would wait for it.
    with (
        serving("serve", "tcp://127.0.0.1:0", "--echo") as target,
        serving("relay", *modes, target.addresses[0], listeners=4) as relay,
    ):
        ports = dict(zip((FOREVER, SOON, NOW, LATE), relay.ports, strict=True))
        yield ports, ("--ca", ca.write(directory))


def address_of(port: int) -> str:
    return f"tls://127.0.0.1:{port}?hostname=localhost"


@pytest.mark.parametrize(
    ("days", "status", "verdict"),
    [(FOREVER, 0, "ok"), (SOON, 1, "warning"), (NOW, 2, "critical"), (LATE, 2, "critical")],
)
def test_certificate_that_expires(days, status, verdict, servers):
    ports, trusted = servers
    result = run_here("check", "--json", *trusted, address_of(ports[days]))
    report = json.loads(result.stdout)
    assert (result.returncode, report["verdict"], result.stderr) == (status, verdict, "")
    assert report["chain"][0]["names"] == ["localhost"]
    assert report["versions"] == ["TLSv1.2", "TLSv1.3"]
    assert bool(report["findings"]) == (status != 0)
    if days == LATE:
        assert "expired" in report["findings"][0]["what"]


def test_waterfall_has_its_phases_in_order(servers):
    ports, trusted = servers
    port = ports[FOREVER]
    result = run_here("check", "--json", "--no-offers", *trusted, f"tls://localhost:{port}")
    phases = json.loads(result.stdout)["phases"]
    names = [phase["name"] for phase in phases]
    assert names[0] == "look up"
    assert f"try tcp://127.0.0.1:{port}" in names
    assert names[-1] == "TLS handshake"
    ends = [phase["start"] + phase["seconds"] for phase in phases]
    assert ends == sorted(ends)


def test_untrusted_one_shows_the_chain_and_what_to_do(servers):
    ports, _ = servers
    result = run_here("check", "--no-offers", address_of(ports[FOREVER]))
    assert result.returncode == 2
    assert "subject: CN=localhost" in result.stdout
    assert "not among the authorities trusted here" in " ".join(result.stdout.split())
    assert result.stdout.endswith("CRITICAL\n")


def test_plain_tcp_and_nobody_there():
    with serving("serve", "tcp://127.0.0.1:0", "--echo") as there:
        [address] = there.addresses
        result = run_here("check", address)
        assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "OK")
    result = run_here("check", address)
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
            result = run_here(
                "check", "--json", "--warn-days", "1", "--ca", ca.write(tmp_path), address
            )
        finally:
            server.kill()
    report = json.loads(result.stdout)
    assert (result.returncode, report["versions"], report["alpn"]) == (1, ["TLSv1.2"], ["h2"])
    assert report["findings"][0]["what"].startswith("TLSv1.3 is not offered")


def test_narrow_and_plain_terminals(servers):
    ports, trusted = servers
    args = ("check", *trusted, address_of(ports[FOREVER]))
    plain = run_here(*args, COLUMNS="40", PYTHONIOENCODING="ascii").stdout
    assert plain.isascii()
    assert "#" in plain
    assert max(map(len, plain.splitlines())) <= 40
    assert "\x1b" not in plain


def test_in_a_terminal_with_colours(program, servers):
    ports, trusted = servers
    with terminal(program("tmux"), columns=70) as screen:
        screen.run("check", *trusted, f"tls://localhost:{ports[FOREVER]}")
        screen.wait_for(r"\nOK\n")
        assert "\x1b[" in screen.screen(colours=True).partition("certificates")[2]
        assert screen.status() == 0
