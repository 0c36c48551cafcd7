"""What several subcommands take: addresses, times, and how to connect."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import context
from .._target import to_client, to_server
from ..context import Context
from ..errors import AddressError, ResolutionError, SexpError
from ..tls import trust
from ..tls.keys import OwnKey
from .paragraphs import paragraphs

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    _Text = click.ParamType[str]
    _Real = click.ParamType[float]
else:
    _Text = _Real = click.ParamType  # which older releases of click cannot subscribe

_LARGEST_FILE = 1024 * 1024

_REFUSALS = (AddressError, SexpError, ResolutionError, TypeError, OSError)


class Where(_Text):
    """An address: its text, an s-expression, `@FILE` for either in a file, or a service's URI.

    serves: whether it is to be listened on.
    """

    name = "address"

    def __init__(self, *, serves: bool) -> None:
        self._serves = serves

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it, so that a mistake is told before anything happens. Returns its text."""
        text = self._expand(value, param, ctx)
        nothing = Context()
        try:
            if self._serves:
                to_server(text, nothing)
            else:
                to_client(text, nothing, None)
        except _REFUSALS as error:
            # An endpoint with TLS is refused for want of a key, which an option may give.
            if not (self._serves and "tls_own_key" in str(error)):
                self.fail(str(error), param, ctx)
        return text

    def _expand(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.startswith("@"):
            return value
        try:
            with open(value[1:], encoding="utf-8") as file:
                text = file.read(_LARGEST_FILE + 1)
        except (OSError, ValueError) as error:
            self.fail(f"cannot read the address in {value[1:]!r}: {error}", param, ctx)
        if len(text) > _LARGEST_FILE:
            self.fail(f"{value[1:]!r} is too long for an address", param, ctx)
        return text.strip()


class Number(_Real):
    """A finite number. least: the smallest; above: whether it must be more than that."""

    name = "number"

    def __init__(self, least: float = 0.0, *, above: bool = False) -> None:
        self._least = least
        self._above = above

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        fits = number > self._least if self._above else number >= self._least
        if not fits or math.isinf(number):
            bound = f"{'more than' if self._above else 'at least'} {self._least:g}"
            self.fail(f"{value!r} is no number of {bound}", param, ctx)
        return number


TARGET = Where(serves=False)
MODE = Where(serves=True)
SECONDS = Number(above=True)
POSITIVE = click.IntRange(min=1)


def subcommand(
    name: str, *, example: str, statuses: str
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a click command of a function whose docstring is its help.

    example: one or several lines, shown as they are. statuses: what its exit statuses mean.
    """

    def made(function: Callable[..., Any]) -> click.Command:
        epilog = paragraphs(f"Example:\n{example}", f"Exit status:\n{statuses}")
        return click.command(
            name, epilog=epilog, context_settings={"help_option_names": ["-h", "--help"]}
        )(function)

    return made


def json_option(what: str) -> Callable[[F], F]:
    """`--json`. what: what it prints."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON.")


# How to connect -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of `connecting`, as they were given."""

    ca: tuple[str, ...]
    fingerprint: tuple[str, ...]
    insecure: bool
    cert: str | None
    key: str | None
    password_env: str | None
    alpn: tuple[str, ...]
    src: str | None

    async def context(self) -> Context:
        """Make the context. Raises as `conduit.init` does."""
        authenticator: trust.Trust | None = None
        if self.ca:
            authenticator = trust.ca(self.ca)
        if self.fingerprint:
            pin = trust.fingerprint(*self.fingerprint)
            authenticator = pin if authenticator is None else authenticator & pin
        if self.insecure:
            authenticator = trust.insecure_no_verification()
        return await context.init(
            src=self.src,
            tls_own_key=self.own_key(),
            tls_authenticator=authenticator,
            alpn=self.alpn,
        )

    def own_key(self) -> OwnKey | None:
        """The certificate to show to peers, or None."""
        if self.cert is None:
            return None
        variable = self.password_env
        if variable is None:
            return OwnKey(self.cert, self.key or self.cert)

        def password(again: bool) -> str:
            return os.environ[variable]

        return OwnKey(self.cert, self.key or self.cert, password)


def connecting(seconds: float | None) -> Callable[[F], F]:
    """Add the options that say how to connect; the function gets `timeout` and `settings`.

    seconds: the default of --timeout; None for what the address says, else 30.
    """

    def made(function: F) -> F:
        def command(**arguments: Any) -> Any:
            given = {name: arguments.pop(name) for name in Settings.__dataclass_fields__}
            return function(settings=_checked(Settings(**given)), **arguments)

        command.__doc__ = function.__doc__
        for option in reversed([_timeout(seconds), *_OPTIONS]):
            option(command)
        # Those of the function itself come first.
        command.__click_params__ = [  # type: ignore[attr-defined]
            *getattr(function, "__click_params__", ()),
            *command.__click_params__,  # type: ignore[attr-defined]
        ]
        return command  # type: ignore[return-value]

    return made


def _timeout(seconds: float | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    shown = "30, or what the address says" if seconds is None else f"{seconds:g}"
    return click.option(
        "--timeout",
        type=SECONDS,
        default=seconds,
        metavar="SECONDS",
        help=f"For connecting, names and handshakes included (default: {shown}).",
    )


_FILE = click.Path(exists=True, dir_okay=False)

_OPTIONS: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
    click.option("--ca", multiple=True, type=_FILE, help="Trust the authorities in this PEM file."),
    click.option(
        "--fingerprint",
        multiple=True,
        metavar="SHA256",
        help="Trust only the certificate with this SHA-256.",
    ),
    click.option("--insecure", is_flag=True, help="Trust anybody, for a look only."),
    click.option("--cert", type=_FILE, help="Show this certificate (PEM)."),
    click.option("--key", type=_FILE, help="Its key (default: in the same file)."),
    click.option(
        "--password-env", metavar="NAME", help="The variable that has the password of the key."
    ),
    click.option("--alpn", multiple=True, metavar="PROTOCOL", help="Offer this; the best first."),
    click.option("--src", metavar="IP", help="Connect from this address."),
]


def _checked(settings: Settings) -> Settings:
    if settings.insecure and (settings.ca or settings.fingerprint):
        raise click.UsageError("--insecure excludes --ca and --fingerprint: one trusts, or not")
    if settings.cert is None and (settings.key or settings.password_env):
        raise click.UsageError("--key and --password-env are about a --cert, which is not given")
    if settings.password_env is not None and settings.password_env not in os.environ:
        raise click.UsageError(f"--password-env: there is no variable {settings.password_env!r}")
    try:
        if settings.fingerprint:
            trust.fingerprint(*settings.fingerprint)
    except (ValueError, ConnectionError) as error:
        raise click.UsageError(f"--fingerprint: {error}") from None
    for protocol in settings.alpn:
        if not (protocol.isascii() and 0 < len(protocol) < 256):
            raise click.UsageError(f"--alpn: {protocol!r} is not 1 to 255 ASCII characters")
    return settings
