"""`connect`: from an address to a flow and its channels, within a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any

from . import client, endp, events, transports
from ._target import to_client
from .channels import wire_of
from .context import Context, default_ctx
from .errors import AddressError, ConduitError, ConnectError, ConnectTimeout
from .transports import Attempts, Triple


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
    timeout: float | None = 30.0,
) -> Connecting:
    """Connect to an address.

        f, ic, oc = await conduit.connect(conduit.client.TCP("127.0.0.1", 8080))

        async with conduit.connect(target) as (f, ic, oc):
            ...

    target: a value of `conduit.client`, or an endpoint. ctx: settings (default: `default_ctx()`).
    timeout: seconds for everything, resolving and handshakes included; None for no limit.

    Returns a coroutine that gives the flow, its input and its output, which the caller closes
    (`oc.close()`). As an async context manager it closes them itself: left normally, what was
    written is sent and nothing is raised; left by an exception, the flow is aborted at once.

    Raises ConnectError, whose `attempts` say which address failed how; ConnectTimeout, a
    TimeoutError; ResolutionError for a name without address; AddressError for a target that cannot
    be, or that `ctx.src` cannot reach; UnsupportedTransport for what this host or version lacks.
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
    where = to_client(target, ctx)
    started = time.perf_counter()
    limit = asyncio.timeout(timeout)
    attempts: Attempts = []
    try:
        async with limit:
            triple = await transports.connect(where, ctx, attempts)
    except (OSError, AddressError) as error:
        # Kept in `attempts` and raised from: their tracebacks would make circles.
        error.with_traceback(None)
        if limit.expired():
            message = f"cannot connect to {target} within {timeout:g} s"
            raise ConnectTimeout(message, attempts) from error
        if isinstance(error, ConduitError) and not any(_is_failure(why) for _, why in attempts):
            raise
        raise ConnectError(f"cannot connect to {target}", attempts or [(where, error)]) from error
    if events.observers:
        events.emit(events.Connected(triple.flow, time.perf_counter() - started))
    return triple


def _is_failure(error: BaseException) -> bool:
    """Whether an address was really tried, and not just out of reach for `ctx.src`."""
    return not isinstance(error, AddressError)
