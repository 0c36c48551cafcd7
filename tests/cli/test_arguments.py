"""What the command is told, and how it says that it makes no sense."""

import importlib.metadata

import pytest

import conduit
from conduit.cli import main
from tests.cli.command import run


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ([], "required: COMMAND"),
        (["demonstrate"], "'demonstrate'"),
        (["demo", "now"], "now"),
        (["demo", "--js"], "--js"),  # no abbreviations: they would break when an option is added
        (["demo", "--size"], "--size"),
        (["demo", "--size", "much"], "'much' is no number of megabytes"),
        (["demo", "--size", "0"], "'0' is no number of megabytes"),
        (["demo", "--size", "nan"], "'nan' is no number of megabytes"),
        (["demo", "--size", "1e9"], "'1e9' is no number of megabytes"),
        (["--json"], "required: COMMAND"),
    ],
)
def test_wrong_invocation_is_told_in_one_line(args, complaint, capsys):
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("conduit")
    assert complaint in err
    assert err.endswith("--help)\n")


def test_version_is_that_of_the_package():
    result = run("--version")
    assert (result.returncode, result.stdout, result.stderr) == (
        0,
        f"conduit {conduit.__version__}\n",
        "",
    )


def test_help_names_every_command_and_option(capsys):
    assert main(["--help"]) == 0
    assert "demo" in capsys.readouterr().out
    assert main(["demo", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--size MB" in out
    assert "--json" in out


def test_installed_command_is_this_one():
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="conduit")
    assert entry.load() is main
