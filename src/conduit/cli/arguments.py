"""What the command `conduit` can be told."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from .. import __version__
from .subcommands import SUBCOMMANDS, complete, completing, load

MEGABYTE = 1_000_000

_DEFAULT_SIZE = 8.0
# What is sent is kept in memory, and so is what arrives: four times the size in all.
_LARGEST_SIZE = 256.0

_DEMO = (
    "Serve and connect over every transport that this host has, in every form an address can take. "
    "Random data goes both ways at once and is checked by its SHA-256. What this host or this "
    "version lacks is listed with the reason. The exit status is 0 only if every connection passed."
)

_XENSTORE_INIT = (
    "Make /conduit in xenstore, where the domains of a host find each other by name (vchan-name:), "
    "and let every domain write in it. Run it in domain 0, once after each start of the host."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say it in one line, without the usage."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parse(argv: Sequence[str]) -> Callable[[], int] | int:
    """Read the arguments.

    argv: without the name of the command.

    Returns what to do, which returns the exit status; or a status, when all is done already.
    """
    if completing():
        return complete()
    if argv and argv[0] in SUBCOMMANDS:
        return load(argv[0], argv[1:])
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    if arguments.command == "xenstore-init":
        from .xenstore_init import run as make_directory

        return make_directory
    from .demo import run

    return partial(run, size=int(arguments.size * MEGABYTE), as_json=arguments.json)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="conduit",
        description="One connect and one serve for every way to reach a peer.",
        epilog="Each command has a --help of its own, with an example. All but demo need the extra "
        "cli: pip install 'conduit-net[cli]'",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"conduit {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, dest="command"
    )
    for name, subcommand in SUBCOMMANDS.items():
        commands.add_parser(name, help=subcommand.summary, add_help=False)
    demo = commands.add_parser(
        "demo",
        help="try every transport of this host and show a table",
        description=_DEMO,
        allow_abbrev=False,
    )
    demo.add_argument(
        "--size",
        type=_size,
        default=_DEFAULT_SIZE,
        metavar="MB",
        help=f"megabytes to send each way over each connection (default: {_DEFAULT_SIZE:g})",
    )
    demo.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object a line for each row, and no table",
    )
    commands.add_parser(
        "xenstore-init",
        help="let Xen's domains find each other by name",
        description=_XENSTORE_INIT,
        allow_abbrev=False,
    )
    return parser


def _size(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 1 / MEGABYTE <= size <= _LARGEST_SIZE:  # also false for a NaN
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of megabytes from 0.000001 to {_LARGEST_SIZE:g}"
        )
    return size
