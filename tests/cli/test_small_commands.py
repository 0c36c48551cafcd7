"""`conduit resolve`, `cert` and `completion`; wrong invocations; and what start-up costs."""

import json
import os
import resource
import stat
import subprocess
import sys

import pytest

from conduit import endp
from conduit.cli import main
from conduit.cli.subcommands import SUBCOMMANDS
from tests.cli.command import run, run_here
from tests.cli.running import serving, talk, terminal

ADDRESS = "tcp://127.0.0.1:1"


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["connect"], "Missing argument 'ADDRESS'"),
        (["connect", ADDRESS, ADDRESS], "unexpected extra argument"),
        (["connect", "db.example"], "an address starts with its scheme"),
        (["connect", "tcp://*:1"], "ADDRESS"),
        (["connect", "tcp://127.0.0.1:99999"], "99999"),
        (["connect", "(TCP"], "ADDRESS"),
        (["connect", "(TCP((IP 1.2.3.4)))"], "line 1, column 5"),
        (["connect", "@/nonexistent"], "cannot read the address in '/nonexistent'"),
        (["connect", "@/dev/zero"], "too long"),
        (["connect", "--time", "1", ADDRESS], "--timeout"),
        (["connect", "--timeout", "0", ADDRESS], "'0' is no number of more than 0"),
        (["connect", "--timeout", "nan", ADDRESS], "'nan' is no number"),
        (["connect", "--wait", "-1", ADDRESS], "'-1' is no number of at least 0"),
        (["connect", "--ca", "/nonexistent", ADDRESS], "'/nonexistent' does not exist"),
        (["connect", "--fingerprint", "00", ADDRESS], "--fingerprint: "),
        (["connect", "--insecure", "--ca", "/dev/null", ADDRESS], "--insecure excludes"),
        (["connect", "--key", "/dev/null", ADDRESS], "about a --cert"),
        (["connect", "--alpn", "", ADDRESS], "--alpn: ''"),
        (["serve", ADDRESS], "say one of --echo, --exec CMD and --to ADDRESS"),
        (["serve", ADDRESS, "--echo", "--to", ADDRESS], "say one of"),
        (["serve", ADDRESS, "--exec", "no-such-program x"], "no program 'no-such-program'"),
        (["serve", ADDRESS, "--exec", "'"], "No closing quotation"),
        (["serve", ADDRESS, "--exec", ""], "no program ''"),
        (["serve", "https://example.com", "--echo"], "is a service to connect to"),
        (["serve", "--max-active", "0", ADDRESS, "--echo"], "--max-active"),
        (["relay", ADDRESS], "Missing argument 'LISTEN...'"),
        (["relay", ADDRESS, "nowhere"], "'TARGET'"),
        (["relay", "nowhere", ADDRESS], "'LISTEN..."),
        (["relay", "--proxy-from", "here", ADDRESS, ADDRESS], "'here' is no network"),
        (["relay", "--proxy-to", "v3", ADDRESS, ADDRESS], "'v3' is not one of"),
        (
            ["relay", "--proxy-from", "unix", "tls-native://*:0?crt=a&key=b", ADDRESS],
            "a PROXY header comes before tls:// alone",
        ),
        (["resolve"], "Missing argument"),
        (["resolve", "what"], "an address starts with its scheme"),
        (["check"], "Missing argument"),
        (["check", "--warn-days", "soon", ADDRESS], "'soon' is no number"),
        (["cert"], "Missing argument 'NAME...'"),
        (["cert", "--dir", "/nonexistent", "localhost"], "/nonexistent"),
        (["cert", "--out", "../x", "localhost"], "'../x' cannot be the name"),
        (["cert", "--out", "ca", "localhost"], "'ca' cannot be the name"),
        (["cert", "--days", "0", "localhost"], "--days"),
        (["bench"], "Missing argument 'ADDRESS'"),
        (["bench", "--messages", "-1", ADDRESS], "--messages"),
        (["bench", "--size", "0", ADDRESS], "--size"),
        (["bench", "--seconds", "nan", ADDRESS], "'nan' is no number"),
        (["systemd-unit", ADDRESS], "Missing option '--exec'"),
        (["systemd-unit", "--exec", "true"], "Missing argument 'ADDRESS...'"),
        (["systemd-unit", ADDRESS, "--exec", "no-such-program"], "no program 'no-such-program'"),
        (["systemd-unit", ADDRESS, "--exec", "'"], "No closing quotation"),
        (["systemd-unit", "https://h", "--exec", "true"], "is a service to connect to"),
        (["completion"], "Missing argument"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_wrong_invocation_is_told_in_one_line(args, complaint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith(f"conduit {args[0]}: ")
    assert complaint in err
    assert err.endswith(f"(see conduit {args[0]} --help)\n")


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_has_an_example_and_the_exit_statuses(name, capsys):
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"\n    conduit {name}" in out or f"| conduit {name}" in out
    assert "\n  Exit status:\n    0  " in out


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_without_the_extra_one_line_says_what_to_install(name):
    result = run(name, before="import sys; sys.modules['click'] = None")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"conduit {name}: needs the extra cli: pip install 'conduit-net[cli]'\n"


def test_help_imports_neither_click_nor_rich():
    result = run(
        "--help",
        before="""
        import atexit, sys
        atexit.register(lambda: print({"click", "rich", "asyncio"} & set(sys.modules)))
        """,
    )
    assert result.stdout.endswith("set()\n")
    assert all(name in result.stdout for name in [*SUBCOMMANDS, "demo"])


@pytest.mark.alone
def test_help_starts_within_twice_the_time_of_importing_rich():
    def seconds(*args: str) -> float:
        """Of the processor: what others do at the same time does not count."""
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *args], stdout=subprocess.DEVNULL, check=True)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime

    ours, theirs = [], []
    for _ in range(8):
        theirs.append(seconds("-c", "import rich"))
        ours.append(seconds("-m", "conduit", "--help"))
    assert min(ours) < 2 * min(theirs)


def test_resolve_shows_the_way():
    result = run_here("resolve", "https://127.0.0.1:8443")
    assert (result.returncode, result.stderr) == (0, "")
    assert "service https: port 8443, with TLS" in result.stdout
    assert "client.TLS('127.0.0.1', '127.0.0.1', 8443)" in result.stdout
    result = run_here("resolve", "--json", "tls://localhost:1")
    tree = json.loads(result.stdout)
    assert tree["step"] == "tls://localhost:1"
    assert tree["below"][0]["below"][0]["step"] == "name localhost"


def test_resolve_follows_dns_srv(monkeypatch):
    async def found(service, uri):
        assert uri.host == "_pg._tcp.db.example"
        return [endp.TCP("192.0.2.1", 5432), endp.TCP("192.0.2.2", 5433)]

    system = sys.modules["conduit.resolver.system"]
    monkeypatch.setattr(system, "_srv_rule", lambda: found)
    result = run_here("resolve", "tls://_pg._tcp.db.example")
    assert (result.returncode, result.stderr) == (0, "")
    for text in (
        "TLS, for db.example",
        "DNS SRV: _pg._tcp.db.example",
        "client.TCP('192.0.2.1', 5432)",
        "client.TCP('192.0.2.2', 5433)",
    ):
        assert text in result.stdout


def test_resolve_of_what_leads_nowhere():
    result = run_here("resolve", "tcp://nowhere.invalid:1")
    assert result.returncode == 1
    assert "cannot be resolved" in result.stdout
    assert run_here("resolve", "gopherx://127.0.0.1").returncode == 1


def test_resolve_in_a_narrow_terminal_without_unicode():
    result = run_here("resolve", "https://127.0.0.1", COLUMNS="30", PYTHONIOENCODING="ascii")
    assert result.stdout.isascii()
    assert max(map(len, result.stdout.splitlines())) <= 30


def test_resolve_in_a_terminal(program):
    with terminal(program("tmux")) as screen:
        screen.run("resolve", "https://127.0.0.1")
        screen.wait_for("client.TLS")
        assert screen.status() == 0


def test_cert_units_and_completion_in_a_terminal(program, tmp_path):
    with terminal(program("tmux"), columns=60) as screen:
        screen.run("cert", "--dir", str(tmp_path), "localhost")
        screen.wait_for("certificate: ")
        screen.wait_for("for development only")
        assert screen.status() == 0
        screen.run("systemd-unit", "unix:/run/app", "--exec", "true {}")
        screen.wait_for("WantedBy=multi-user.target")
        assert screen.status() == 0
        screen.run("completion", "bash")
        screen.wait_for("_CONDUIT_COMPLETE")
        assert screen.status() == 0


def test_cert_serves_and_is_trusted_by_openssl_and_us(program, tmp_path):
    made = json.loads(run_here("cert", "--json", "--dir", str(tmp_path), "localhost", "::1").stdout)
    again = run_here("cert", "--dir", str(tmp_path), "--out", "second", "*.b.example")
    assert again.returncode == 0
    assert "for development only" in again.stderr
    for name in ("localhost", "second"):
        path = str(tmp_path / f"{name}.crt")
        subprocess.run(
            [program("openssl"), "verify", "-x509_strict", "-CAfile", made["ca"], path],
            check=True, capture_output=True,
        )  # fmt: skip
    for name in ("ca.key", "localhost.key"):
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
    mode = f"tls://127.0.0.1:0?crt={made['crt']}&key={made['key']}"
    with serving("serve", mode, "--echo") as server:
        address = f"tls://127.0.0.1:{server.port}?hostname=localhost"
        result = talk("connect", "--ca", made["ca"], address, said=b"x")
        assert (result.returncode, result.stdout) == (0, b"x")


def test_cert_never_replaces_an_authority(tmp_path):
    (tmp_path / "ca.key").write_text("mine")
    result = run_here("cert", "--dir", str(tmp_path), "localhost")
    assert result.returncode == 1
    assert "ca.crt" in result.stderr
    assert (tmp_path / "ca.key").read_text() == "mine"


def test_cert_says_what_is_wrong_with_its_directory(tmp_path):
    for name in ("ca.crt", "ca.key"):
        (tmp_path / name).write_text("no PEM")
    result = run_here("cert", "--dir", str(tmp_path), "localhost")
    assert result.returncode == 1
    assert "are no authority in PEM" in result.stderr
    result = run_here("cert", "--dir", "/proc", "localhost")  # where even root makes no files
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "conduit cert: /proc/ca.crt: No such file or directory\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell):
    result = run_here("completion", shell)
    assert (result.returncode, result.stderr) == (0, "")
    assert "_CONDUIT_COMPLETE" in result.stdout


def test_completion_in_bash_knows_commands_and_options(program):
    script = run_here("completion", "bash").stdout
    asked = """
    conduit() { "$PYTHON" -m conduit "$@"; }
    for words in "conduit c" "conduit relay --proxy-"; do
        read -ra all <<< "$words"
        env COMP_WORDS="$words" COMP_CWORD=$((${#all[@]} - 1)) _CONDUIT_COMPLETE=bash_complete \
            "$PYTHON" -m conduit
    done
    """
    result = subprocess.run(
        [program("bash"), "-c", script + asked],
        env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = {line.rpartition(",")[2] for line in result.stdout.split()}
    assert {"connect", "check", "cert", "completion"} <= found
    assert {"--proxy-from", "--proxy-to", "--proxy-timeout"} <= found
