"""What `connect` and `serve` may be given, turned into what a transport or a resolver takes.

What reads texts and URIs is imported for the first of them: a program that has none is not to wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import client, endp, server
from ._left_out import decide
from ._tailored import tailored
from .context import Context
from .convert import endp_to_client, endp_to_server
from .errors import AddressError

if TYPE_CHECKING:
    from .resolver import URI


class Target(NamedTuple):
    """Where to connect, and how: what `connect` was given and what the text of it says.

    where: an address, or the URI of a service, which has none until it is looked up.
    """

    where: client.Client | URI
    ctx: Context
    timeout: float | None

    def __str__(self) -> str:
        """What a log or an error shows of it."""
        return self.where.shown if isinstance(self.where, str) else str(self.where)


class Mode(NamedTuple):
    """How to be reached: what `serve` was given and what the text of it says.

    The others are arguments of `serve`, None where no text says them; trusts: whether it says whose
    certificates are trusted.
    """

    where: server.Mode
    ctx: Context
    backlog: int | None = None
    timeout: float | None = None
    unix_mode: int | None = None
    reuse_port: bool | None = None
    trusts: bool = False


def to_client(
    target: client.Client | endp.Endp | str, ctx: Context, timeout: float | None
) -> Target:
    """Where to connect. Raises AddressError for no address, ResolutionError for Unknown.

    timeout: as `connect` received it.
    """
    if isinstance(target, str):
        if not _is_sexp(target):
            return _client_of_text(target, ctx, timeout)
        from . import sexp

        target = sexp.target_of_text(target)
    timeout = decide(timeout, None)
    if isinstance(target, endp.Endp):
        return Target(endp_to_client(target, ctx=ctx), ctx, timeout)
    if type(target).__module__ == server.__name__:
        raise AddressError(
            f"{target!r} is a way to serve; to connect use a value of conduit.client"
        )
    return Target(target, ctx, timeout)


def to_server(mode: server.Mode | endp.Endp | str, ctx: Context) -> Mode:
    """How to be reached. Raises AddressError for what is no way to serve."""
    if isinstance(mode, str):
        if not _is_sexp(mode):
            return _server_of_text(mode, ctx)
        from . import sexp

        mode = sexp.mode_of_text(mode)
    if isinstance(mode, endp.Endp):
        return Mode(endp_to_server(mode, ctx=ctx), ctx)
    if type(mode).__module__ == client.__name__:
        raise AddressError(f"{mode!r} is where to connect; to serve use a value of conduit.server")
    return Mode(mode, ctx)


def _is_sexp(written: str) -> bool:
    if written[:1].isalpha() and ":" in written:
        return False  # so almost every text of an address begins; the reader need not be imported
    from . import sexp

    return sexp.is_sexp(written)


# Texts that are no s-expressions -----------------------------------------------------------------


def _client_of_text(written: str, ctx: Context, timeout: float | None) -> Target:
    from . import text

    if text.is_service(written):
        from .resolver.uri import parse_uri

        return Target(parse_uri(written), ctx, decide(timeout, None))
    read = text.read_client(written)
    told = read.options
    ctx = tailored(
        ctx,
        src=told.src,
        alpn=told.alpn,
        keepalive=told.keepalive,
        ca=told.ca,
        fingerprint=told.fingerprint,
    )
    return Target(read.address, ctx, decide(timeout, told.timeout))


def _server_of_text(written: str, ctx: Context) -> Mode:
    from . import text

    if text.is_service(written):
        from .resolver.uri import parse_uri

        uri = parse_uri(written)
        raise AddressError(
            f"{uri.shown} is a service to connect to; to serve, say where to listen, as in "
            "'tcp://*:8080' or 'unix:/run/x'"
        )
    read = text.read_server(written)
    told = read.options
    ctx = tailored(
        ctx,
        alpn=told.alpn,
        keepalive=told.keepalive,
        ca=told.ca,
        fingerprint=told.fingerprint,
    )
    return Mode(
        read.address,
        ctx,
        backlog=told.backlog,
        timeout=told.timeout,
        unix_mode=told.unix_mode,
        reuse_port=told.reuse_port,
        trusts=told.ca is not None or told.fingerprint is not None,
    )
