"""What transports without a socket have in common: how they tell that too much is unsent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

BytesLike: TypeAlias = bytes | bytearray | memoryview


class BoundedTransport(asyncio.Transport):
    """A transport that pauses a protocol which writes faster than the bytes leave.

    loop: the loop it runs on. protocol: whom it serves. extra: what `get_extra_info` knows.

    As with asyncio's own, `pause_writing` is called from inside `write`, and nothing else is.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.Protocol,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._protocol = protocol
        self._high = 64 * 1024
        self._low = self._high // 4
        self._writing_paused = False

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that is told of what happens."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell another protocol from now on.

        protocol: an `asyncio.Protocol`; its `connection_made` is not called.
        """
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError(f"{protocol!r} is no asyncio.Protocol")
        self._protocol = protocol

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high water mark, in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set between how many unsent bytes the protocol is paused.

        high: it is paused above this (default 64 KiB). low: it may go on from here (default: a
        quarter of `high`). Raises ValueError unless high >= low >= 0.
        """
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._pause_if_full()

    def writelines(self, list_of_data: Iterable[BytesLike]) -> None:
        """Write several pieces as if they were one."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Whether the output can be ended alone; these can."""
        return True

    def _pause_if_full(self) -> None:
        if not self._writing_paused and self.get_write_buffer_size() > self._high:
            self._writing_paused = True
            self._protocol.pause_writing()

    def _resume_if_room(self) -> None:
        if self._writing_paused and self.get_write_buffer_size() <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()


def as_bytes(data: BytesLike) -> bytes:
    """What `data` holds now. Raises TypeError for what is not bytes-like."""
    # By way of a view, for bytes(5) would be five zeros.
    return data if type(data) is bytes else bytes(memoryview(data))
