"""The commands in blocks of kind `sh`, which are not run: `conduit` understands each of them."""

import shlex
from pathlib import Path

import pytest

from conduit.cli.arguments import parse
from tests.test_readme import BLOCKS


def commands_of(text: str) -> list[list[str]]:
    """The arguments of each `conduit`, also behind a pipe."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;<>&")
        lexer.whitespace_split = True
        words = list(lexer)
        while "conduit" in words:
            words = words[words.index("conduit") + 1 :]
            ends = [at for at, word in enumerate(words) if set(word) <= set("|;<>&")]
            found.append(words[: min(ends, default=len(words))])
    return found


COMMANDS = [
    pytest.param(args, id=f"{block}-{' '.join(args)}")
    for block in BLOCKS
    if block.kind == "sh"
    for args in commands_of(block.text)
]


@pytest.mark.parametrize("args", COMMANDS)
def test_command_is_understood(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ca.crt").touch()  # of a command before
    assert callable(parse(args))


def test_commands_are_found() -> None:
    text = "echo | conduit connect 'a b' </dev/null\n# conduit\nx; conduit demo | head\n"
    assert commands_of(text) == [["connect", "a b"], ["demo"]]
    assert len(COMMANDS) > 15
