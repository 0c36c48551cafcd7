"""`Output.transport`: what code for asyncio streams expects to find below its writer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from .output import BytesLike, Output
from .wire import Wire


class TransportFacade(asyncio.Transport):
    """A flow seen as an `asyncio.Transport`; made anew each time, it holds nothing of its own.

    Writing and closing keep the promises of `Output`. Pausing is the flow's own business, so
    `pause_reading` and `resume_reading` do nothing: input beyond the limit is never taken anyway.
    `set_protocol` is refused.
    """

    def __init__(self, oc: Output, wire: Wire) -> None:
        super().__init__()
        self._oc = oc
        self._wire = wire

    def __repr__(self) -> str:
        return f"<transport of {self._wire!r}>"

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        self._wire.abort()

    def close(self) -> None:
        """The same as `Output.close`."""
        self._oc.close()

    def is_closing(self) -> bool:
        """The same as `Output.is_closing`."""
        return self._oc.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The same as `Output.get_extra_info`."""
        return self._oc.get_extra_info(name, default)

    def write(self, data: BytesLike) -> None:
        """The same as `Output.write`, with nothing to await."""
        self._oc.write(data)

    def writelines(self, list_of_data: Iterable[BytesLike]) -> None:
        """The same as `Output.writelines`, with nothing to await."""
        self._oc.writelines(list_of_data)

    def can_write_eof(self) -> bool:
        """The same as `Output.can_write_eof`."""
        return self._oc.can_write_eof()

    def write_eof(self) -> None:
        """The same as `Output.write_eof`."""
        self._oc.write_eof()

    def get_write_buffer_size(self) -> int:
        """How many bytes are written but not yet given to the operating system."""
        return self._wire.backlog

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and high water marks of the output, in bytes."""
        return self._wire.transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set between how many buffered bytes `drain` waits. high, low: bytes, as in asyncio."""
        if not self._wire.closing and not self._wire.lost:
            self._wire.transport.set_write_buffer_limits(high, low)

    def is_reading(self) -> bool:
        """Whether input is being taken in now."""
        return not self._wire.reading_paused and not self._wire.ended

    def pause_reading(self) -> None:
        """Nothing: see the class."""

    def resume_reading(self) -> None:
        """Nothing: see the class."""

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that stands over the real transport."""
        return self._wire

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Refused: the flow's channels are its protocol. Raises RuntimeError."""
        raise RuntimeError("a flow keeps its channels: the protocol of its transport cannot be set")
