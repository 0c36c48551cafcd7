"""`conduit relay`: several ways in, one way on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from ipaddress import ip_network
from typing import TYPE_CHECKING

import click

import conduit

from .._target import to_server
from .headers import Network, Trusted, headed
from .journal import Journal
from .parameters import MODE, SECONDS, TARGET, Settings, connecting, json_option, subcommand
from .passing import Passing, Version
from .running import Limits, limited, run_servers

if TYPE_CHECKING:
    _Network = click.ParamType[Network]
else:
    _Network = click.ParamType


class _Trusted(_Network):
    """A network, an IP address, or "unix"."""

    name = "network"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Network:
        if value == "unix":
            return "unix"
        try:
            return ip_network(value)
        except ValueError:
            self.fail(f"{value!r} is no network, such as 10.0.0.0/8, nor 'unix'", param, ctx)


@subcommand(
    "relay",
    example="conduit relay tcp://*:5432 unix:/run/db.sock tls://db.example:5432\n"
    "conduit relay --proxy-from 10.0.0.0/8 --proxy-to v2 tcp://*:80 tcp://[::1]:8080",
    statuses="0  stopped by SIGINT or SIGTERM\n"
    "1  it could not listen; standard error says why\n"
    "2  the arguments make no sense",
)
@click.argument("listen", type=MODE, nargs=-1, required=True)
@click.argument("target", type=TARGET)
@click.option(
    "--proxy-from",
    type=_Trusted(),
    multiple=True,
    metavar="NETWORK",
    help="Demand a PROXY header, version 1 or 2, of peers in this network (or 'unix'), and believe "
    "it. It comes before TLS. Other peers are taken for who they are.",
)
@click.option(
    "--proxy-timeout",
    type=SECONDS,
    default=10.0,
    metavar="SECONDS",
    help="What such a peer has for its header (default: 10).",
)
@click.option(
    "--proxy-to",
    type=click.Choice(["v1", "v2"]),
    help="Send TARGET a PROXY header, which says who the client is. It comes before TLS.",
)
@json_option("what happens, a line each,")
@click.option("-v", "--verbose", is_flag=True, help="Tell of every connection on stderr.")
@click.option(
    "--view/--no-view", default=None, help="Show connections and rates (default: on a terminal)."
)
@limited
@connecting(None)
def command(
    listen: tuple[str, ...],
    target: str,
    timeout: float | None,
    proxy_from: tuple[Network, ...],
    proxy_timeout: float,
    proxy_to: Version | None,
    as_json: bool,
    verbose: bool,
    view: bool | None,
    limits: Limits,
    settings: Settings,
) -> int:
    """Pass each connection to any of LISTEN on to TARGET, until Ctrl-C or SIGTERM.

    LISTEN and TARGET are texts of addresses (tcp://HOST:PORT, tls://..., unix:/PATH),
    s-expressions, or @FILE with one of these in a file; TARGET may be the URI of a service, too.
    Limits are for all listeners together. Options about certificates are for TARGET; a listener's
    files are in its text (tls://*:443?crt=FILE&key=FILE).

    SIGTERM closes the listeners; connections have --drain seconds to end.
    """
    trusted = Trusted(proxy_from, proxy_timeout) if proxy_from else None
    if trusted is not None:
        try:
            for text in listen:
                headed(to_server(text, conduit.Context()).where, trusted)
        except conduit.AddressError as error:
            raise click.UsageError(f"--proxy-from: {error}") from None
    journal = Journal("conduit relay", as_json=as_json, verbose=verbose)
    if view is None:
        view = sys.stdout.isatty() and sys.stderr.isatty() and not (as_json or verbose)

    show: Callable[[Journal], Coroutine[object, object, None]] | None = None
    if view:
        from .relay_view import show as show_it

        show = show_it

    async def run() -> None:
        ctx = await settings.context()
        passing = Passing(target, journal, ctx=ctx, timeout=timeout, announces=proxy_to)
        serving = run_servers(listen, passing.handle, journal, limits, trusted)
        if show is None:
            await serving
            return
        showing = asyncio.ensure_future(show(journal))
        try:
            await serving
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)

    conduit.run(run)
    return 0
