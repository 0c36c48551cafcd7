"""`conduit completion`: what makes a shell complete this command."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import get_completion_class

from .parameters import subcommand
from .subcommands import SUBCOMMANDS, command_of

_VARIABLE = "_CONDUIT_COMPLETE"


@subcommand(
    "completion",
    example="conduit completion bash > ~/.local/share/bash-completion/completions/conduit",
    statuses="0  printed\n2  the arguments make no sense",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the script that makes SHELL (bash, zsh or fish) complete `conduit`."""
    made = get_completion_class(shell)
    assert made is not None
    script = made(group(), {}, "conduit", _VARIABLE)
    # Bash's would first run bash to ask for its version.
    click.echo(script.source_template % script.source_vars())
    return 0


class _Group(click.Group):
    """All subcommands, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*SUBCOMMANDS, "demo"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "demo":
            return _DEMO
        return command_of(cmd_name) if cmd_name in SUBCOMMANDS else None


def group() -> click.Group:
    """The whole command, as completion needs to see it."""
    return _Group("conduit", params=[click.Option(["--version"], is_flag=True)])


def _nothing(**arguments: Any) -> None:
    """The demo reads its own arguments: it works without click."""


_DEMO = click.Command(
    "demo",
    callback=_nothing,
    params=[click.Option(["--size"]), click.Option(["--json"], is_flag=True)],
    short_help="try every transport of this host and show a table",
)
