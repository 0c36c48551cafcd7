"""A layer over a flow: what it is told, and how it takes the flow over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from .wire import Wire


class Above(Protocol):
    """A layer over a flow: it is told what the wire below is told, after it."""

    def data_received(self, data: bytes, /) -> None:
        """Input, which is not kept here."""

    def eof_received(self) -> object:
        """The peer's end."""

    def pause_writing(self) -> None:
        """Enough for now."""

    def resume_writing(self) -> None:
        """There is room again."""

    def fail_input(self, error: BaseException, /) -> None:
        """No more input will come, for want of a proper end."""

    def fail(self, error: BaseException, /) -> None:
        """The flow below has failed, and will be gone soon."""

    def connection_lost(self, exc: BaseException | None, /) -> None:
        """The flow below is gone."""


def below_of(transport: asyncio.BaseTransport) -> Wire | None:
    """The wire below a transport that is a layer; None for one that stands by itself."""
    below: Wire | None = getattr(transport, "below", None)
    return below


class _Taken:
    """Stands where a reader would, and waits for nothing."""

    def done(self) -> bool:
        return True


TAKEN = cast("asyncio.Future[None]", _Taken())
"""The reader of a flow that carries a layer: nobody else may read."""
