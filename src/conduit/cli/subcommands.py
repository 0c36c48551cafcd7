"""The subcommands that need the extra `cli`, each imported when it is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from .terminal import complain

if TYPE_CHECKING:
    import click

_WRONG = 2

_HINT = "needs the extra cli: pip install 'conduit-net[cli]'"

_COMPLETE = "_CONDUIT_COMPLETE"
"""Set by the shell when it asks what could come next; the name is click's."""


class Subcommand(NamedTuple):
    """One subcommand. module: where in this package its `command` is. summary: for the list."""

    module: str
    summary: str


SUBCOMMANDS = {
    "connect": Subcommand("connect", "connect, and join the connection to stdin and stdout"),
    "serve": Subcommand("serve", "serve an echo, a program, or another address"),
    "relay": Subcommand("relay", "pass connections on to another address"),
    "check": Subcommand("check", "what happens when one connects, and whether all is well"),
    "resolve": Subcommand("resolve", "where an address or a URI leads, step by step"),
    "bench": Subcommand("bench", "how long connecting and round trips take, many at once"),
    "cert": Subcommand("cert", "make an authority and certificates for development"),
    "systemd-unit": Subcommand("systemd_unit", "print the units of a service and its sockets"),
    "completion": Subcommand("completion", "print what makes a shell complete this command"),
}


def load(name: str, args: Sequence[str]) -> Callable[[], int] | int:
    """Read the arguments of a subcommand.

    name: one of `SUBCOMMANDS`. args: what comes behind it.

    Returns what to do, or the exit status when all is done or nothing can be.
    """
    try:
        import click
    except ImportError:
        complain(f"conduit {name}: {_HINT}")
        return 1
    _tolerate_narrow_encodings()
    command = command_of(name)
    shown = f"conduit {name}"
    try:
        context = command.make_context(shown, list(args))
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return _refuse(shown, error)
    return partial(_invoke, context, shown)


def command_of(name: str) -> click.Command:
    """Import a subcommand. Raises ImportError without what it needs."""
    command: click.Command = import_module(f".{SUBCOMMANDS[name].module}", __package__).command
    return command


def completing() -> bool:
    """Whether a shell asks what could come next, or for the script that lets it ask."""
    return _COMPLETE in os.environ


def complete() -> int:
    """Answer the shell. Returns the exit status."""
    try:
        from .completion import group
    except ImportError:
        return 1  # a hint would end up among the completions
    from click.shell_completion import shell_complete

    return shell_complete(group(), {}, "conduit", _COMPLETE, os.environ[_COMPLETE])


def _invoke(context: click.Context, shown: str) -> int:
    import click

    try:
        with context:
            status = context.command.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        return _refuse(shown, error)
    return status if isinstance(status, int) else 0


def _refuse(shown: str, error: click.ClickException) -> int:
    """Say in one line what makes no sense."""
    message = " ".join(error.format_message().split()).rstrip(".")
    complain(f"{shown}: {message} (see {shown} --help)")
    return _WRONG


def _tolerate_narrow_encodings() -> None:
    """What a terminal cannot show is shown in code, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
