"""`conduit systemd-unit`: units that systemd takes, of whatever address and command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduit
from conduit.cli import main
from conduit.cli.units import command_line
from conduit.text import read_server
from tests.cli.command import run_here

TLS = "crt=/etc/app/own.crt&key=/etc/app/own.key"


def units(capsys, *args: str, command: str = "true {}") -> dict[str, str]:
    assert main(["systemd-unit", "--json", "--name", "app", *args, "--exec", command]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    made: dict[str, str] = json.loads(out)
    return made


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


def taken_apart(line: str) -> list[str]:
    """The words of ExecStart, as systemd.service(5) says; without variables in them."""
    words: list[str] = []
    at = 0
    while at < len(line):
        if line[at] == " ":
            at += 1
            continue
        word, quote = "", ""
        while at < len(line) and (quote or line[at] != " "):
            one = line[at]
            at += 1
            if one == '"':
                quote = "" if quote else one
            elif one == "\\":
                escape = line[at]
                at += 1
                if escape == "x":
                    word += chr(int(line[at : at + 2], 16))
                    at += 2
                else:
                    word += {"n": "\n", "r": "\r", "t": "\t"}.get(escape, escape)
            else:
                word += one
        words.append(word)
    return [word.replace("%%", "%").replace("$$", "$") for word in words]


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0{}"))


@given(st.lists(words))
def test_words_come_through_as_they_are(arguments):
    line = command_line(["/bin/x", *arguments], "systemd:app")
    assert "\n" not in line
    assert taken_apart(line) == ["/bin/x", *arguments]
    for lone in re.finditer(r"[%$]+", line):
        assert len(lone[0]) % 2 == 0, "systemd would put something in its place"


def test_systemd_itself_takes_the_words_apart_so(program, tmp_path):
    """It tells in its debug log what it has read; of odd words a few hundred at once."""
    odd = ("%", "$", '"', "'", "\\", ";", " ", "{", "}", "#", "-", "@", "n", "x41", "é", "~", "")
    commands = [[left + right, middle] for left in odd for right in odd for middle in ("", "%h $x")]
    lines = [command_line(["/bin/true", *words], "systemd:app") for words in commands]
    unit = tmp_path / "app.service"
    unit.write_text(
        "\n".join(["[Service]", "Type=oneshot", *(f"ExecStart={one}" for one in lines)])
    )
    checked = subprocess.run(
        [program("systemd-analyze"), "verify", str(unit)],
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "debug"},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    read = re.findall(r"^\s*Command Line: (.*)$", checked.stdout + checked.stderr, re.MULTILINE)
    assert len(read) == len(commands)
    for line, words in zip(read, commands, strict=True):
        there = [
            re.sub(r"\\(.)", r"\1", quoted) if quoted or not plain else plain
            for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
        ]
        expected = ["/bin/true", *(word.replace("{}", "systemd:app") for word in words)]
        # Variables are put in later.
        assert [word.replace("$$", "$") for word in there] == expected


@pytest.mark.parametrize(
    "address",
    [
        "unix:/run/a%0aListenStream=23",
        "unix:/run/a%20",
        "unix:/run/a%5c",
        "unix:/run/%FF",
        "unix:@a%0ab",
        "tls://*:443?crt=/a%0aExecStart=/bin/evil&key=/b",
    ],
)
def test_no_address_adds_a_line_to_a_unit(capsys, address):
    assert main(["systemd-unit", address, "--exec", "true {}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "no unit can hold such a path" in err


def test_options_with_odd_characters_stay_one_word(capsys):
    made = units(capsys, f'tls://*:443?{TLS}&alpn=a\'b;"$x"&ca=/CREDENTIALS/x')
    [line] = values(made["app.service"], "ExecStart")
    address = taken_apart(line.replace("%d", "/creds"))[1]
    assert address.startswith("tls+systemd:app?crt=/creds/app.crt&key=/creds/app.key&")
    options = read_server(address).options
    assert options.alpn == ('a\'b;"$x"',)
    assert options.ca == ("/CREDENTIALS/x",)


@pytest.mark.parametrize(
    ("address", "listen", "family"),
    [
        ("tcp://*:80", "80", "AF_INET6"),
        ("tcp://127.0.0.1:80", "127.0.0.1:80", "AF_INET"),
        ("tcp://[::1]:80", "[::1]:80", "AF_INET6"),
        ("(TCP(Port 80))", "80", "AF_INET6"),
        ("unix:/run/a%25b", "/run/a%%b", "AF_UNIX"),
        ("unix:@app", "@app", "AF_UNIX"),
        ("vsock://*:80", "vsock::80", "AF_VSOCK"),
        ("vsock://3:80", "vsock:3:80", "AF_VSOCK"),
        (f"tls://*:443?{TLS}", "443", "AF_INET6"),
        (f"tls+vsock://*:443?{TLS}", "vsock::443", "AF_VSOCK"),
    ],
)
def test_what_systemd_listens_on(capsys, address, listen, family):
    made = units(capsys, address)
    assert values(made["app.socket"], "ListenStream") == [listen]
    assert family in values(made["app.service"], "RestrictAddressFamilies")[0].split()


def test_several_addresses_have_one_name(capsys):
    made = units(capsys, "tcp://*:80", "unix:/run/app?unix_mode=0660&backlog=7", "tcp://*:81")
    assert values(made["app.socket"], "ListenStream") == ["80", "/run/app", "81"]
    assert values(made["app.socket"], "SocketMode") == ["0660"]


def test_options_go_where_they_count(capsys):
    address = f"tls+unix:/run/app?unix_mode=0660&backlog=7&alpn=h2&timeout=5&{TLS}"
    made = units(capsys, address)
    socket = made["app.socket"]
    assert values(socket, "SocketMode") == ["0660"]
    assert values(socket, "Backlog") == ["7"]
    [line] = values(made["app.service"], "ExecStart")
    served = line.split()[1].replace("%d", "/creds")
    options = read_server(served).options
    assert (options.alpn, options.timeout) == (("h2",), 5)
    assert served.startswith("tls+systemd:app?crt=/creds/app.crt&key=/creds/app.key&")
    assert values(made["app.service"], "LoadCredential") == [
        "app.crt:/etc/app/own.crt",
        "app.key:/etc/app/own.key",
    ]


def test_a_stack_that_is_asked_for_is_kept(capsys):
    made = units(capsys, f"tls-native://*:443?{TLS}")
    assert values(made["app.service"], "Environment") == ["CONDUIT_TLS=native"]


def test_a_password_never_stands_in_a_unit(capsys):
    made = units(capsys, f"tls://*:443?{TLS}&password_file=/etc/app/secret")
    assert values(made["app.service"], "LoadCredential")[0] == "app.password:/etc/app/secret"
    assert "password_file=%d/app.password" in values(made["app.service"], "ExecStart")[0]


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["tcp://*:0"], "a unit needs a port that stays the same"),
        (["vsock://*:4294967295"], "a unit needs a port that stays the same"),
        (["vchan:0/x"], "this is nothing that systemd listens on"),
        (["systemd:x"], "this is nothing that systemd listens on"),
        (["unix:x"], "systemd needs the whole path"),
        (["tcp://*:80", f"tls://*:443?{TLS}"], "the sockets of one name are served in one way"),
        (["unix:/a?unix_mode=0660", "unix:/b"], "the sockets of one name are served in one way"),
        (["tcp://*:80", "--name", "a/b"], "--name: 'a/b' is not"),
        (["tcp://*:80", "--force"], "--force is about --dir"),
        (["tcp://*:80", "--dir", "/nonexistent"], "does not exist"),
    ],
)
def test_what_makes_no_unit_is_told_in_one_line(capsys, args, complaint):
    assert main(["systemd-unit", *args, "--exec", "true {}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert complaint in err


def test_systemd_complains_of_nothing(program, tmp_path):
    odd = tmp_path / "of 50%; odd"
    odd.write_text("#!/bin/sh\n")
    odd.chmod(0o755)
    args = ["tcp://127.0.0.1:80", "unix:/run/app", "vsock://*:80", "--dir", str(tmp_path)]
    result = run_here("systemd-unit", "--name", "app", *args, "--exec", f'"{odd}" {{}} 50% $x')
    assert (result.returncode, result.stdout.splitlines()) == (
        0,
        [f"{tmp_path}/app.socket", f"{tmp_path}/app.service"],
    )
    assert "systemctl enable --now app.socket" in result.stderr
    checked = subprocess.run(
        [program("systemd-analyze"), "verify", *result.stdout.splitlines()],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    said = (checked.stdout + checked.stderr).splitlines()
    assert [line for line in said if "app" in line] == []


@pytest.mark.parametrize("name", ["a$b", 'a"b', "a'b", "a\\b", "a\nb"])
def test_programs_that_systemd_refuses(name):
    with pytest.raises(conduit.AddressError, match="takes no program of such a name"):
        command_line([f"/bin/{name}"], "systemd:app")


def test_files_are_not_written_over(tmp_path):
    (tmp_path / "app.service").write_text("mine")
    args = ("systemd-unit", "--name", "app", "--dir", str(tmp_path), "tcp://*:80", "--exec", "true")
    result = run_here(*args)
    assert result.returncode == 1
    assert "app.service exists already: say --force" in result.stderr
    assert os.listdir(tmp_path) == ["app.service"]
    assert "--exec has no {}" in run_here(*args, "--force").stderr
    assert "ExecStart=" in (tmp_path / "app.service").read_text()


ECHO = """
import sys
import conduit

async def echo(f, ic, oc):
    while data := await ic.read(1024):
        await oc.write(data)

conduit.run(conduit.serve(sys.argv[1], echo))
"""


def test_the_command_of_the_unit_serves_what_systemd_hands_over(program, tmp_path, capsys):
    """With the real program that activates sockets, told what the socket unit says."""
    from conduit.testing import Authority

    key = Authority().issue("localhost").write(tmp_path, "own")
    (tmp_path / "echo.py").write_text(ECHO)
    socket_path = tmp_path / "s"
    made = units(
        capsys,
        f"tls+unix:{socket_path}?crt={key.crt_file}&key={key.key_file}",
        command=f"{sys.executable} {tmp_path}/echo.py {{}}",
    )
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for line in values(made["app.service"], "LoadCredential"):
        name, _, path = line.partition(":")
        (credentials / name).write_bytes(Path(path).read_bytes())
    [listen] = values(made["app.socket"], "ListenStream")
    [name] = values(made["app.socket"], "FileDescriptorName")
    [start] = values(made["app.service"], "ExecStart")
    activate = subprocess.Popen(
        [
            *(program("systemd-socket-activate"), f"--listen={listen}", f"--fdname={name}"),
            *taken_apart(start.replace("%d", str(credentials))),
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert activate.stderr is not None
        assert "Listening on" in activate.stderr.readline()
        fingerprint = subprocess.run(
            [sys.executable, "-c", SAY, str(socket_path), str(key.crt_file)],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert fingerprint.stdout == "b'hello'\n", fingerprint.stderr
    finally:
        activate.kill()
        activate.communicate()


SAY = """
import sys
import conduit

async def main():
    ctx = await conduit.init(tls_authenticator=conduit.trust.insecure_no_verification())
    where = f"tls+unix:{sys.argv[1]}?hostname=localhost"
    async with conduit.connect(where, ctx=ctx) as (f, ic, oc):
        await oc.write(b"hello")
        oc.write_eof()
        print(await ic.read())

conduit.run(main())
"""
