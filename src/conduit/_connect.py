"""`connect`: from an address to a flow and its channels, within a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Generator
from logging import DEBUG
from types import TracebackType
from typing import Any

from . import client, endp, events, transports
from ._deadlines import TimeLimit
from ._debug import logger, step
from ._left_out import decide, left_out
from ._resolve import Place, resolved
from ._target import Target, to_client
from .channels import wire_of
from .context import Context, default_ctx
from .errors import AddressError, ConduitError, ConnectError, ConnectTimeout
from .transports import Attempts, Triple

# Addresses that are what they are: there is nothing to read or to look up in them.
_PLAIN = frozenset({client.TCP, client.UnixDomainSocket, client.TLS})

_SECONDS = 30.0
_TIMEOUT: float | None = left_out(_SECONDS)


class Connecting(Coroutine[Any, Any, Triple]):
    """What `connect` returns: a coroutine, and an async context manager. Use it once."""

    __slots__ = ("_coroutine", "_triple")

    # As of any coroutine: asyncio shows them in the repr of a task.
    __name__ = "connect"
    __qualname__ = "connect"

    def __init__(self, coroutine: Coroutine[Any, Any, Triple]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Triple]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """As of any coroutine."""
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """As of any coroutine."""
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """As of any coroutine: give up a connection that was not waited for."""
        self._coroutine.close()

    async def __aenter__(self) -> Triple:
        self._triple = await self._coroutine
        return self._triple

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        wire = wire_of(self._triple.oc)
        if error is None:
            wire.close()
        else:
            wire.abort()
        try:
            await wire.wait_closed()
        except asyncio.CancelledError:
            wire.abort()
            raise


def connect(
    target: client.Client | endp.Endp | str,
    *,
    ctx: Context | None = None,
    timeout: float | None = _TIMEOUT,
) -> Connecting:
    """Connect to an address.

        f, ic, oc = await conduit.connect(conduit.client.TCP("127.0.0.1", 8080))

        async with conduit.connect(target) as (f, ic, oc):
            ...

    target: a value of `conduit.client`, or an endpoint; or the text of one, such as
    "tcp://db.example:5432" (see `conduit.text`); or the URI of a service, such as
    "https://example.com", which is looked up by the resolver of the context (default:
    `conduit.resolver.system()`). ctx: settings (default: `default_ctx()`).
    timeout: seconds for everything, resolving and handshakes included; None for no limit (default:
    what a text says by `?timeout=`, else 30).

    What a text says of the call counts where the call does not say it. What it says of settings
    (`src=`, `alpn=`, `keepalive=`, `ca=`, `fingerprint=`) counts here in place of the context's.

    Returns a coroutine that gives the flow, its input and its output, which the caller closes
    (`oc.close()`). As an async context manager it closes them itself: left normally, what was
    written is sent and nothing is raised; left by an exception, the flow is aborted at once.

    Raises ConnectError, whose `attempts` say which address failed how; ConnectTimeout, a
    TimeoutError; ResolutionError for a name without address; AddressError for a target that cannot
    be, or that `ctx.src` cannot reach; UnsupportedTransport for what this host or version lacks;
    and what a rewrite function of the resolver raises by mistake.
    When it fails or is cancelled, nothing is left open.
    """
    return Connecting(_connect(target, ctx, timeout))


async def _connect(
    target: client.Client | endp.Endp | str, ctx: Context | None, timeout: float | None
) -> Triple:
    if ctx is None:
        ctx = default_ctx()
    else:
        ctx.check_process()
    asked: Target | None = None
    address: object = target
    if type(target) in _PLAIN:
        if timeout is _TIMEOUT:
            timeout = _SECONDS
        else:
            # What has its own default for it hands that on.
            timeout = decide(timeout, None)
    else:
        asked = to_client(target, ctx, timeout)
        address, ctx, timeout = asked
    if logger.isEnabledFor(DEBUG):
        step("connect", target=asked or target, timeout=timeout)
    started = time.perf_counter()
    limit = TimeLimit(timeout)
    attempts: Attempts = []
    place: Place | None = None
    try:
        with limit:
            if asked is not None:
                place = await resolved(asked)
                address = place.address
            triple = await transports.connect(address, ctx, attempts)
    except (OSError, AddressError) as error:
        # Kept in `attempts` and raised from: their tracebacks would make circles.
        error.with_traceback(None)
        what = str(asked or target)
        _log_failures(what, attempts, error, started)
        if limit.expired:
            message = f"cannot connect to {what} within {timeout:g} s"
            raise ConnectTimeout(message, attempts) from error
        # A handshake may fail after an address was reached, and others were not: that counts.
        listed = any(why is error for _, why in attempts)
        failed = listed and any(_is_failure(why) for _, why in attempts)
        if isinstance(error, ConduitError) and not failed:
            raise
        if not listed:
            name = place.name if place is not None else what if asked is not None else target
            attempts.append((name, error))
        raise ConnectError(f"cannot connect to {what}", attempts) from error
    if attempts:
        _log_failures(str(asked or target), attempts)
    if place is not None and place.origin is not None:
        # Nobody has seen the flow yet; what it came from is what was asked for.
        object.__setattr__(triple.flow, "origin", place.origin)
    if events.observers:
        events.emit(events.Connected(triple.flow, time.perf_counter() - started))
    return triple


def _log_failures(
    asked: str, attempts: Attempts, error: BaseException | None = None, started: float = 0.0
) -> None:
    """Tell the debug log of the addresses that failed, and of the whole if it did."""
    for address, failure in attempts:
        step("failed", address=address, error=failure)
    if error is not None:
        seconds = time.perf_counter() - started
        step("gave up", target=asked, error=error, seconds=seconds)


def _is_failure(error: BaseException) -> bool:
    """Whether an address was really tried, and not just out of reach for `ctx.src`."""
    return not isinstance(error, AddressError)
