"""In which order addresses are tried; by RFC 2782, where they have priorities and weights."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal, TypeAlias

from .interface import Address

Pick: TypeAlias = Literal["weighted", "first", "round-robin", "random"]
"""How the first address is chosen among those with the lowest priority."""


def ordered(addresses: Sequence[Address], pick: Pick, turn: int, random: Random) -> list[Address]:
    """The addresses in the order to try them.

    pick: "weighted" by chance and weight, "first" as they stand, "round-robin" each in its turn,
    "random" by chance alone; always by priority first. turn: how often this was asked before.
    random: where chance comes from.
    """
    found: list[Address] = []
    for priority in sorted({one.priority for one in addresses}):
        group = [one for one in addresses if one.priority == priority]
        match pick:
            case "weighted":
                group = _by_weight(group, random)
            case "round-robin":
                at = turn % len(group)
                group = group[at:] + group[:at]
            case "random":
                random.shuffle(group)
            case "first":
                pass
        found += group
    return found


def _by_weight(group: list[Address], random: Random) -> list[Address]:
    """RFC 2782: those without weight have a small chance, at the start of what is drawn from.

    They are shuffled, so that they share what comes to them; often all are without.
    """
    left = list(group)
    random.shuffle(left)
    left.sort(key=lambda one: one.weight > 0)
    found: list[Address] = []
    while left:
        drawn = random.randint(0, sum(one.weight for one in left))
        for one in left:
            drawn -= one.weight
            if drawn <= 0:
                break
        else:
            one = left[-1]
        left.remove(one)
        found.append(one)
    return found
