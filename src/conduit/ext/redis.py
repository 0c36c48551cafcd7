"""redis-py's asyncio clients over any flow.

    pool = ConnectionPool(connection_class=ConduitConnection, target="unix:/run/redis.sock")
    db = redis.asyncio.Redis(connection_pool=pool)

Needs redis: `pip install "conduit-net[redis]"`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from .._connect import connect
from .._left_out import left_out
from .._target import to_client
from ..channels import Input, Output, wire_of
from ..context import Context, default_ctx
from ._needed import needs
from ._routes import Target

with needs("redis"):
    from redis.asyncio.connection import AbstractConnection


class ConduitConnection(AbstractConnection):
    """A connection of a `redis.asyncio.ConnectionPool` that goes to an address of ours.

    Made by the pool, which hands on what it does not know itself.

    target: where Redis is, as `conduit.connect` takes it: "unix:/run/redis.sock",
    "tls://cache.example:6379". ctx: settings of the connections (default: `default_ctx()`).
    options: those of redis-py: `db`, `username`, `password`, `decode_responses`, `socket_timeout`,
    and so on; not those of its own TCP and TLS, for the address says that. The seconds for
    connecting are `socket_connect_timeout`, else what the text of the target says, else redis-py's.

    Raises AddressError for a target that cannot be. Connecting raises what redis-py raises:
    `redis.exceptions.ConnectionError` with our reason in it, and `TimeoutError`.
    """

    def __init__(self, *, target: Target, ctx: Context | None = None, **options: Any) -> None:
        self._conduit_target = target
        self._conduit_ctx = ctx or default_ctx()
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType]
        given = self.socket_connect_timeout
        seconds = given if "socket_connect_timeout" in options else left_out(given)
        self._conduit_asked = to_client(target, self._conduit_ctx, seconds)

    # What it overrides has no annotation.
    def repr_pieces(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
    ) -> Iterable[tuple[str, str | int]]:
        """What a repr shows of it."""
        pieces = [("target", str(self._conduit_asked)), ("db", self.db)]
        return [*pieces, ("client_name", self.client_name)] if self.client_name else pieces

    async def _connect(self) -> None:
        _, ic, oc = await connect(
            self._conduit_target, ctx=self._conduit_ctx, timeout=self._conduit_asked.timeout
        )
        self._reader = cast("Any", _Reader(wire_of(ic), oc))
        self._writer = cast("Any", oc)

    async def disconnect(self, nowait: bool = False, *args: Any, **kwargs: Any) -> None:
        """Close; called by redis-py. nowait: at once, since it is of no use any more."""
        if nowait and self._writer is not None:
            # Nobody waits for this to be over, so it must not take until Redis has ended, too.
            cast("Output", self._writer).transport.abort()
        await super().disconnect(nowait, *args, **kwargs)

    def _host_error(self) -> str:
        return str(self._conduit_asked)


class _Reader(Input):
    """An Input in which redis-py finds what it looks for in a StreamReader.

    Before it uses a connection again, it looks whether there is input that nobody has read.
    """

    __slots__ = ()

    @property
    def _buffer(self) -> bytes | bytearray | memoryview:
        return self._wire.buffer
