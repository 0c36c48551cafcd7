"""The two channels of a flow: `Input` and `Output`, over any asyncio transport."""

from __future__ import annotations

from .input import Input
from .output import Output
from .wire import Wire

__all__ = ["Input", "Output", "Wire", "pair", "wire_of"]


def pair(wire: Wire) -> tuple[Input, Output]:
    """The two channels of `wire`, which must be connected (`connection_made` was called).

    Make them once: dropping both without closing either is reported as a ResourceWarning.
    """
    oc = Output(wire)
    return Input(wire, oc), oc


def wire_of(channel: Input | Output) -> Wire:
    """What is below a channel; for the layers of this library, not for programs."""
    return channel._wire  # pyright: ignore[reportPrivateUsage]
