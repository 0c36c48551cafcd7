"""`conduit systemd-unit`: the units of a service and of its sockets."""

from __future__ import annotations

import os
import re
import shlex
import shutil

import click

import conduit

from .._target import to_server
from .parameters import MODE, json_option, subcommand
from .terminal import complain, say, say_json
from .units import ADDRESS, Service, service_unit, socket_unit, sockets_of

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_HOMES = ("/home/", "/root/", "/run/user/")


@subcommand(
    "systemd-unit",
    example="conduit systemd-unit tcp://*:80 --exec '/opt/web/bin/python -m web {}'\n"
    "conduit systemd-unit --name echo 'tls://*:7?crt=/etc/echo.crt&key=/etc/echo.key' \\\n"
    "    --exec 'conduit serve {} --echo'",
    statuses="0  the units are printed, or written\n"
    "1  they cannot be written; standard error says why\n"
    "2  the arguments make no sense",
)
@click.argument("addresses", type=MODE, nargs=-1, required=True, metavar="ADDRESS...")
@click.option(
    "--exec",
    "program",
    required=True,
    metavar="CMD",
    help=f"The command to run. It is taken apart as a shell does it; {ADDRESS} becomes the address "
    "that it serves: systemd:NAME, with TLS if ADDRESS has that.",
)
@click.option("--name", help="Of the units and the sockets (default: that of the program).")
@click.option(
    "--dir",
    "directory",
    type=click.Path(exists=True, file_okay=False),
    help="Write NAME.socket and NAME.service there, if they do not exist.",
)
@click.option("--force", is_flag=True, help="Write over those that do.")
@json_option("the texts of both units")
def command(
    addresses: tuple[str, ...],
    program: str,
    name: str | None,
    directory: str | None,
    force: bool,
    as_json: bool,
) -> int:
    """Print units with which systemd listens on ADDRESS, and starts a command for who comes.

    The program is a server that takes its address from its arguments, and tells systemd how it is
    doing, as all do that use conduit. It runs as a user of its own and sees little of the system.
    Certificates and keys are handed to it by systemd, and are only for root to read.
    """
    words = _words(program)
    name = os.path.basename(words[0]) if name is None else name
    if not _NAME.fullmatch(name):
        raise click.UsageError(f"--name: {name!r} is not 1 to 64 of A-Z a-z 0-9 _ . -")
    if force and directory is None:
        raise click.UsageError("--force is about --dir, which is not given")
    nothing = conduit.Context()
    service = Service(name=name, words=words, at_home=words[0].startswith(_HOMES))
    try:
        sockets = sockets_of(name, [(to_server(text, nothing), text) for text in addresses])
        units = {
            f"{name}.socket": socket_unit(service, sockets),
            f"{name}.service": service_unit(service, sockets),
        }
    except conduit.AddressError as error:
        raise click.UsageError(str(error)) from None
    if directory is not None:
        _write(units, directory, force)
    if as_json:
        say_json(units)
    elif directory is None:
        say("\n".join(f"# {file}\n{text}" for file, text in units.items()).rstrip("\n"))
    else:
        say("\n".join(os.path.join(directory, file) for file in units))
        complain(f"then: systemctl daemon-reload && systemctl enable --now {name}.socket")
    for warning in _warnings(service, sockets.credentials, program):
        complain(f"conduit systemd-unit: {warning}")
    return 0


def _words(program: str) -> list[str]:
    try:
        words = shlex.split(program)
    except ValueError as error:
        raise click.UsageError(f"--exec: {error} in {program!r}") from None
    path = shutil.which(words[0]) if words else None
    if path is None:
        raise click.UsageError(f"--exec: there is no program {words[0] if words else ''!r}")
    return [os.path.abspath(path), *words[1:]]


def _warnings(service: Service, credentials: dict[str, str], program: str) -> list[str]:
    warnings: list[str] = []
    if service.at_home:
        warnings.append(
            f"{service.words[0]} is in somebody's home, which the user of the service may be "
            "unable to read: install it elsewhere"
        )
    if ADDRESS not in program:
        warnings.append(f"--exec has no {ADDRESS}: the program must know its address by itself")
    relative = (path for path in credentials.values() if not os.path.isabs(path))
    return warnings + [f"{path}: systemd needs the whole path" for path in relative]


def _write(units: dict[str, str], directory: str, force: bool) -> None:
    paths = {os.path.join(directory, file): text for file, text in units.items()}
    if not force:
        for path in paths:
            if os.path.lexists(path):
                raise FileExistsError(f"{path} exists already: say --force to write over it")
    for path, text in paths.items():
        with open(path, "w" if force else "x", encoding="utf-8") as file:
            file.write(text)
