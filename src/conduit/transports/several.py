"""Several endpoints of one peer: what a name or a service resolves to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .. import endp, transports
from ..context import Context
from ..convert import endp_to_client
from ..errors import AddressError, ResolutionError
from . import tcp
from .base import Attempts, Listener, ListenOptions, Triple


@dataclass(frozen=True, slots=True)
class Several:
    """Several endpoints of one peer, the preferred one first; an address to connect to.

    endps: the endpoints. Those of TCP that stand side by side are raced; the others are tried one
    after the other.

    It is no part of the public addresses, since `resolve_all` and `connect` do what it is for.
    """

    endps: tuple[endp.Endp, ...]


async def connect(target: Several, ctx: Context, attempts: Attempts) -> Triple:
    """Connect to the first endpoint that answers, which becomes the origin of the flow."""
    if not target.endps:
        raise ResolutionError("nowhere to connect to: there is no endpoint")
    if len(target.endps) == 1:
        return await transports.connect(endp_to_client(target.endps[0], ctx=ctx), ctx, attempts)
    failure: Exception | None = None
    for part in _parts(target.endps):
        told: Attempts = []
        try:
            if isinstance(part, list):
                return await tcp.connect_any(part, ctx, told)
            try:
                return await transports.connect(endp_to_client(part, ctx=ctx), ctx, told)
            except (OSError, AddressError) as error:
                told = told or [(part, error)]
                raise
        except (OSError, AddressError) as error:
            # It is kept beside others, and its traceback would make circles.
            failure = error.with_traceback(None)
        finally:
            attempts += told
    assert failure is not None
    raise failure


async def listen(mode: Several, ctx: Context, options: ListenOptions) -> list[Listener]:
    """Refused: it is where to connect."""
    raise AddressError(f"{mode!r} is where to connect, not a way to serve")


def _parts(endps: tuple[endp.Endp, ...]) -> Iterator[list[endp.TCP | endp.Host] | endp.Endp]:
    """Endpoints of TCP that stand side by side, in a list; each of the others by itself."""
    raced: list[endp.TCP | endp.Host] = []
    for one in endps:
        if isinstance(one, endp.TCP | endp.Host):
            raced.append(one)
            continue
        if raced:
            yield raced
            raced = []
        yield one
    if raced:
        yield raced
