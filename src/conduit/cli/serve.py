"""`conduit serve`: an echo, a program, or another address behind an address."""

from __future__ import annotations

import shlex
import shutil
from functools import partial

import click

import conduit

from ..transports import Triple
from .journal import Journal, Visit
from .parameters import MODE, TARGET, json_option, subcommand
from .passing import Passing
from .programs import run_program
from .running import Limits, limited, run_servers

_PIECE = 256 * 1024


@subcommand(
    "serve",
    example="conduit serve tcp://127.0.0.1:8080 --echo\n"
    "conduit serve 'tls://*:8443?crt=own.crt&key=own.key' --to tcp://127.0.0.1:80\n"
    "conduit serve unix:/run/date.sock --exec 'date -u'",
    statuses="0  stopped by SIGINT or SIGTERM\n"
    "1  it could not listen; standard error says why\n"
    "2  the arguments make no sense",
)
@click.argument("address", type=MODE)
@click.option("--echo", is_flag=True, help="Send back what comes in.")
@click.option(
    "--exec",
    "program",
    metavar="CMD",
    help="Run a program for each client, with the connection as stdin and stdout. It is taken "
    "apart as a shell does it, but no shell runs it. CONDUIT_PEER says who the client is.",
)
@click.option("--to", type=TARGET, metavar="ADDRESS", help="Pass each connection on to there.")
@json_option("what happens, a line each,")
@click.option("-v", "--verbose", is_flag=True, help="Tell of every connection on stderr.")
@limited
def command(
    address: str,
    echo: bool,
    program: str | None,
    to: str | None,
    as_json: bool,
    verbose: bool,
    limits: Limits,
) -> int:
    """Serve at ADDRESS until Ctrl-C or SIGTERM.

    ADDRESS is the text of an address (tcp://IP:PORT, tcp://*:PORT,
    tls://*:PORT?crt=FILE&key=FILE, unix:/PATH), an s-expression, or @FILE with one of these in a
    file. With port 0 the system chooses one; what is listened on is printed on stdout.
    """
    if [echo, program is not None, to is not None].count(True) != 1:
        raise click.UsageError("say one of --echo, --exec CMD and --to ADDRESS")
    journal = Journal("conduit serve", as_json=as_json, verbose=verbose)
    if to is not None:
        handler = Passing(to, journal).handle
    elif program is not None:
        handler = partial(_handle_by_program, _arguments_of(program), journal)
    else:
        handler = partial(_handle_by_echo, journal)
    conduit.run(run_servers([address], handler, journal, limits))
    return 0


def _arguments_of(program: str) -> list[str]:
    try:
        args = shlex.split(program)
    except ValueError as error:
        raise click.UsageError(f"--exec: {error} in {program!r}") from None
    if not args or shutil.which(args[0]) is None:
        raise click.UsageError(f"--exec: there is no program {args[0] if args else ''!r}")
    return args


async def _handle_by_echo(
    journal: Journal, f: conduit.flow.Flow, ic: conduit.Input, oc: conduit.Output
) -> None:
    visit = journal.begin(Triple(f, ic, oc))
    try:
        while data := await ic.read(_PIECE):
            await oc.write(data)
    except (OSError, conduit.ConduitError) as error:
        journal.failed(error, visit)
    finally:
        journal.end(visit)


async def _handle_by_program(
    args: list[str],
    journal: Journal,
    f: conduit.flow.Flow,
    ic: conduit.Input,
    oc: conduit.Output,
) -> None:
    visit: Visit = journal.begin(Triple(f, ic, oc))
    try:
        await run_program(args, visit.triple)
    except (OSError, conduit.ConduitError) as error:
        journal.failed(error, visit)
    finally:
        journal.end(visit)
