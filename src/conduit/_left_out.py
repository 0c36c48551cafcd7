"""Arguments that were left out, told apart from the same values when they are given.

What a text says of the call (`?timeout=5`) counts where the caller did not say it: so a function
that takes text must know whether `timeout=30.0` was written or is only the default.
"""

from __future__ import annotations

from typing import TypeVar, cast

T = TypeVar("T")


class LeftOut:
    """The default of an argument; it shows and compares as the value that it stands for."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)

    def __eq__(self, other: object) -> bool:
        return bool(self.value == (other.value if isinstance(other, LeftOut) else other))

    def __hash__(self) -> int:
        return hash(self.value)


def left_out(value: T) -> T:
    """The default of an argument, for the head of a function. `decide` makes the value of it."""
    return cast("T", LeftOut(value))


def decide(argument: T, told: T | None) -> T:
    """What counts: the argument if it was given, else what a text says, else the default.

    argument: as the function received it. told: what the text says; None where it says nothing.
    """
    if not isinstance(argument, LeftOut):
        return argument
    return cast("T", argument.value) if told is None else told
