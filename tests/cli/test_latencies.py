"""Percentiles of latencies: right to the width of a bucket, whatever comes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit.cli.latencies import Latencies

times = st.integers(0, 10**12)


def made(nanoseconds) -> Latencies:
    latencies = Latencies()
    for one in nanoseconds:
        latencies.add(one)
    return latencies


@given(st.lists(times, min_size=1), st.floats(0.1, 100))
def test_percentile_is_right_to_a_bucket(nanoseconds, percent):
    exact = sorted(nanoseconds)[max(math.ceil(len(nanoseconds) * percent / 100 - 1e-9), 1) - 1]
    found = made(nanoseconds).percentile(percent)
    assert exact <= found <= exact + exact / 64


@given(st.lists(times, min_size=1))
def test_ends_are_exact(nanoseconds):
    latencies = made(nanoseconds)
    assert latencies.shortest == min(nanoseconds)
    assert latencies.longest == latencies.percentile(100) == max(nanoseconds)
    assert latencies.as_json()["mean"] == pytest.approx(
        sum(nanoseconds) / len(nanoseconds) / 1e9, rel=1e-9
    )


@given(st.lists(times), st.lists(times, min_size=1, unique=True).map(sorted))
def test_each_is_counted_between_two_bounds(nanoseconds, bounds):
    counts = made(nanoseconds).counts(bounds)
    assert len(counts) == len(bounds)
    # A bucket counts where it begins.
    below = sum(one < bounds[-1] for one in nanoseconds)
    near = sum(bounds[-1] <= one < bounds[-1] + bounds[-1] / 32 + 1 for one in nanoseconds)
    assert below <= sum(counts) <= below + near


def test_small_times_are_exact():
    latencies = made(range(128))
    assert [latencies.percentile(percent) for percent in (50, 100)] == [63, 127]


def test_memory_does_not_grow_with_the_count():
    latencies = made(range(0, 10**9, 9973))
    assert latencies.count == 100271
    assert len(latencies._buckets) < 2000


def test_nothing_has_no_percentile():
    with pytest.raises(ValueError, match="no latency"):
        Latencies().percentile(50)
    assert Latencies().as_json() == {}
