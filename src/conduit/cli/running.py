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
from .._target import to_server
from ..server import Mode
from .headers import Trusted, headed
from .journal import Journal
from .parameters import POSITIVE, SECONDS, Number

F = TypeVar("F", bound=Callable[..., Any])


_HANDSHAKE_SECONDS = 30.0


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
    modes: Sequence[str],
    handler: Handler,
    journal: Journal,
    limits: Limits,
    trusted: Trusted | None = None,
) -> None:
    """Serve on all of `modes` until a signal, with the limits for all of them together.

    trusted: of whom a PROXY header is demanded, which is `received` in the handler.

    Raises what a listener raises that cannot listen, or that broke, and BrokenPipeError when nobody
    reads what the journal tells on standard output; then all are stopped.
    """
    conduit.set_max_active(limits.max_active)
    async with AsyncExitStack() as stack:
        servers: list[conduit.Server] = []
        for mode in modes:
            where: Mode | str = mode
            options: dict[str, Any] = {}
            if trusted is not None:
                where, options = _with_headers(mode, trusted)
            listening = conduit.listen(
                where,
                handler,
                **options,
                on_exn=journal.failed,
                idle_timeout=limits.idle_timeout,
                drain=limits.drain,
            )
            servers.append(await stack.enter_async_context(listening))
        for running in servers:
            for reached in running.endps:
                journal.listening(reached)
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


def _with_headers(text: str, trusted: Trusted) -> tuple[Mode, dict[str, Any]]:
    """The server of a text, of whose clients headers come; and the other arguments of `listen`."""
    told = to_server(text, conduit.default_ctx())
    options: dict[str, Any] = {"ctx": told.ctx}
    for name in ("backlog", "timeout", "unix_mode", "reuse_port"):
        if (value := getattr(told, name)) is not None:
            options[name] = value
    if told.trusts:
        options["client_auth"] = "required"
    # A client has all of its time for the header, and then the usual one for TLS.
    options["handshake_timeout"] = _HANDSHAKE_SECONDS + trusted.seconds
    return headed(told.where, trusted), options
