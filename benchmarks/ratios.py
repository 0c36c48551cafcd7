"""The arithmetic of the measurements: pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the quartiles around it."""

    low: float
    median: float
    high: float


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, interpolated linearly."""
    if not values:
        raise ValueError("no values")
    if not 0 <= share <= 1:
        raise ValueError(f"a share is from 0 to 1, not {share}")
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles."""
    return Spread(quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours divided by theirs, round by round: what both share in a round cancels out."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds cannot be compared with {len(theirs)}")
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def turns(names: Sequence[_T], rounds: int) -> Iterator[Sequence[_T]]:
    """The order within each round: A B C, then C B A, and so on.

    Each two neighbouring rounds together place every name at the same mean time, so that a
    machine that steadily gets slower or faster favours nobody.
    """
    forward, backward = list(names), list(reversed(names))
    for number in range(rounds):
        yield forward if number % 2 == 0 else backward


def operations_for(target: float, operations: int, seconds: float, multiple: int = 1) -> int:
    """How many operations take about `target` seconds when `operations` took `seconds`.

    At least one, and a multiple of `multiple`.
    """
    wanted = operations * target / max(seconds, 1e-9)
    return max(1, round(wanted / multiple)) * multiple


def far_above_the_rest(values: Mapping[_T, float], times: float) -> list[_T]:
    """The names whose value is more than `times` the median of all values."""
    if not values:
        return []
    limit = times * quantile([*values.values()], 0.5)
    return [name for name, value in values.items() if value > limit]


def below_recorded(
    measured: Mapping[str, float],
    recorded: Mapping[str, float],
    lower_is_better: Mapping[str, bool],
    share: float,
) -> list[str]:
    """The names whose ratio is now worse than `share` of what was recorded.

    A ratio of rates must be at least `share` times the recorded one, a ratio of costs at most
    the recorded one divided by `share`. Names that only one side has are not compared.
    """
    worse = []
    for name in measured.keys() & recorded.keys():
        if lower_is_better[name]:
            bad = measured[name] > recorded[name] / share
        else:
            bad = measured[name] < recorded[name] * share
        if bad:
            worse.append(name)
    return sorted(worse)
