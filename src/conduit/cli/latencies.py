"""Latencies by the million, in a few kilobytes: counted in buckets of little width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_BITS = 7
"""A bucket is at most 1/2**(this - 1) of its values wide: under 1.6 %."""

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Latencies:
    """Times of one kind. No order and no single time is kept, but for the shortest and longest."""

    __slots__ = ("_buckets", "count", "longest", "shortest", "total")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total = 0
        self.shortest = 0
        self.longest = 0

    def add(self, nanoseconds: int) -> None:
        """Count one. nanoseconds: 0 or more."""
        if not self.count or nanoseconds < self.shortest:
            self.shortest = nanoseconds
        if nanoseconds > self.longest:
            self.longest = nanoseconds
        self.count += 1
        self.total += nanoseconds
        shift = max(nanoseconds.bit_length() - _BITS, 0)
        self._buckets[(nanoseconds >> shift) << shift] += 1

    def percentile(self, percent: float) -> int:
        """The shortest time, in nanoseconds, that so many percent did not exceed.

        percent: more than 0, 100 at most. It is right to 1.6 %. Raises ValueError if nothing was
        counted.
        """
        if not self.count:
            raise ValueError("no latency was counted")
        wanted = self.count * percent / 100
        seen = 0
        for start in sorted(self._buckets):
            seen += self._buckets[start]
            if seen >= wanted:
                return min(_end(start), self.longest)
        return self.longest

    def counts(self, bounds: Sequence[int]) -> list[int]:
        """How many are below each bound and not below the one before, as far as buckets tell.

        bounds: in nanoseconds, rising; whatever is above the last is not counted.
        """
        counted = [0] * len(bounds)
        at = 0
        for start in sorted(self._buckets):
            while at < len(bounds) and start >= bounds[at]:
                at += 1
            if at == len(bounds):
                break
            counted[at] += self._buckets[start]
        return counted

    def as_json(self) -> dict[str, float]:
        """In seconds, as JSON can say it; empty if nothing was counted."""
        if not self.count:
            return {}
        at = {f"p{percent:g}": self.percentile(percent) / 1e9 for percent in PERCENTILES}
        return {
            "min": self.shortest / 1e9,
            "mean": self.total / self.count / 1e9,
            **at,
            "max": self.longest / 1e9,
        }


def _end(start: int) -> int:
    """The last time in the bucket that begins there."""
    return start + (1 << max(start.bit_length() - _BITS, 0)) - 1
