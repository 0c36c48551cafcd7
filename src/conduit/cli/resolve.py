"""`conduit resolve`: where an address or a URI leads, step by step."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import click

import conduit
from conduit import client, endp, resolver

from .. import _lookup
from .._hostnames import srv_domain
from .._target import to_client
from ..transports.sockets import ip_and_port
from .parameters import SECONDS, TARGET, json_option, subcommand
from .terminal import console, printable, say_json


@dataclass(slots=True)
class Step:
    """One step. what: in words. below: what came of it. failed: whether the way ends here."""

    what: str
    below: list[Step] = field(default_factory=list["Step"])
    failed: bool = False

    def add(self, what: str, *, failed: bool = False) -> Step:
        """Add a step below."""
        step = Step(what, failed=failed)
        self.below.append(step)
        return step

    @property
    def succeeds(self) -> bool:
        """Whether any way below leads somewhere."""
        if self.failed:
            return False
        return not self.below or any(step.succeeds for step in self.below)

    def as_json(self) -> dict[str, Any]:
        """The tree as JSON can say it."""
        shown: dict[str, Any] = {"step": self.what}
        if self.failed:
            shown["failed"] = True
        if self.below:
            shown["below"] = [step.as_json() for step in self.below]
        return shown


@subcommand(
    "resolve",
    example="conduit resolve https://example.com\nconduit resolve tls://localhost:443",
    statuses="0  it leads to an address\n"
    "1  it leads nowhere; the tree says why\n"
    "2  the arguments make no sense",
)
@click.argument("address", type=TARGET)
@click.option(
    "--timeout",
    type=SECONDS,
    default=30.0,
    metavar="SECONDS",
    help="For the whole of it (default: 30).",
)
@json_option("the tree")
def command(address: str, timeout: float, as_json: bool) -> int:
    """Show every step from ADDRESS, or the URI of a service, to the addresses it stands for.

    Nothing is connected to.
    """
    root = Step(str(to_client(address, conduit.Context(), None)))
    conduit.run(lambda: _resolve(address, root, timeout))
    if as_json:
        say_json(root.as_json())
    else:
        _show(root)
    return 0 if root.succeeds else 1


async def _resolve(address: str, root: Step, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            where = to_client(address, conduit.default_ctx(), None).where
            if isinstance(where, str):
                await _of_service(where, root)
            else:
                await _of_client(where, root)
    except TimeoutError:
        root.add(f"not resolved within {timeout:g} s", failed=True)


async def _of_service(uri: str, root: Step) -> None:
    with _Steps() as steps:
        found = await resolver.system().resolve_all(uri)
    below = root
    for facts in steps.found:
        tls = "with TLS" if facts["tls"] else "without TLS"
        below = below.add(f"service {facts['service']}: port {facts['port']}, {tls}")
        rule = facts["rule"]
        below = below.add(f"rule for {'all hosts' if rule == '.' else rule}: the system's lookup")
    for one in found:
        if isinstance(one, endp.Unknown):
            below.add(f"unknown: {one.reason}", failed=True)
        else:
            await _of_client(conduit.endp_to_client(one), below.add(str(one)))


async def _of_client(where: client.Client, step: Step) -> None:
    match where:
        case client.TLSOver(hostname, inner):
            below = step.add(f"TLS, for {hostname}, over {inner}")
            await _of_client(inner, below)
        case client.Host(name, 0) if srv_domain(name) is not None:
            await _of_srv(where, step.add(f"DNS SRV: {name}"))
        case client.Host(name, port):
            await _of_name(name, port, step.add(f"name {name}"))
        case _:
            step.add(f"client: {where!r}")


async def _of_srv(where: client.Host, step: Step) -> None:
    for one in await resolver.system().resolve_all(str(where)):
        if isinstance(one, endp.Unknown):
            step.add(f"unknown: {one.reason}", failed=True)
        else:
            await _of_client(conduit.endp_to_client(one), step)


async def _of_name(name: str, port: int, step: Step) -> None:
    try:
        infos = await _lookup.getaddrinfo(name, port)
    except OSError as error:
        step.add(f"cannot be resolved: {error.strerror or error}", failed=True)
        return
    for ip, _ in dict.fromkeys(ip_and_port(info[4]) for info in infos):
        step.add(f"client: {client.TCP(ip, port)!r}")


class _Steps(logging.Handler):
    """Collects what the resolver tells the debug log of each rule that it follows."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[dict[str, Any]] = []
        self._logger = logging.getLogger("conduit")

    def emit(self, record: logging.LogRecord) -> None:
        """As every handler."""
        if getattr(record, "step", "") == "resolve":
            self.found.append(record.__dict__["facts"])

    def __enter__(self) -> _Steps:
        self._level = self._logger.level
        self._logger.addHandler(self)
        self._logger.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)
        self._logger.removeHandler(self)


def _show(root: Step) -> None:
    from rich.text import Text
    from rich.tree import Tree

    def text(step: Step) -> Text:
        return Text(printable(step.what), style="red" if step.failed else "", overflow="fold")

    def grow(tree: Tree, step: Step) -> None:
        for below in step.below:
            grow(tree.add(text(below)), below)

    tree = Tree(text(root))
    grow(tree, root)
    console().print(tree)
