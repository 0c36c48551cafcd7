"""What `serve` and `relay` share: listeners that run until a signal, and their limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import click

import conduit

from .._handle import Handler
from .journal import Journal
from .parameters import POSITIVE, SECONDS, Number

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The options of `limited`, as they were given."""

    max_active: int | None
    idle_timeout: float | None
    drain: float


def limited(function: F) -> F:
    """Add the options that limit a server; the function gets them as `limits`."""

    def command(**arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in Limits.__dataclass_fields__}
        return function(limits=Limits(**given), **arguments)

    command.__doc__ = function.__doc__
    for option in (
        click.option(
            "--drain",
            type=Number(),
            default=10.0,
            metavar="SECONDS",
            help="What connections have to end after SIGTERM or Ctrl-C (default: 10).",
        ),
        click.option(
            "--idle-timeout",
            type=SECONDS,
            metavar="SECONDS",
            help="End a connection in which nothing moves for so long.",
        ),
        click.option(
            "--max-active",
            type=POSITIVE,
            metavar="N",
            help="Have so many connections at once; more clients wait.",
        ),
    ):
        option(command)
    command.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(function, "__click_params__", ()),
        *command.__click_params__,  # type: ignore[attr-defined]
    ]
    return command  # type: ignore[return-value]


async def run_servers(
    modes: Sequence[str], handler: Handler, journal: Journal, limits: Limits
) -> None:
    """Serve on all of `modes` until a signal, with the limits for all of them together.

    Raises what a listener raises that cannot listen, or that broke, and BrokenPipeError when nobody
    reads what the journal tells on standard output; then all are stopped.
    """
    conduit.set_max_active(limits.max_active)
    async with AsyncExitStack() as stack:
        servers: list[conduit.Server] = []
        for mode in modes:
            listening = conduit.listen(
                mode,
                handler,
                on_exn=journal.failed,
                idle_timeout=limits.idle_timeout,
                drain=limits.drain,
            )
            servers.append(await stack.enter_async_context(listening))
        for running in servers:
            for where in running.endps:
                journal.listening(where)
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(running.wait_stopped()) for running in servers
        ]
        waits.append(asyncio.ensure_future(journal.broken.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
    if journal.broken.is_set():
        raise BrokenPipeError("nobody reads standard output")
