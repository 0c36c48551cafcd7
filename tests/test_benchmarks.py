"""The arithmetic of the benchmarks: what their figures are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ratios import (
    below_recorded,
    far_above_the_rest,
    operations_for,
    quantile,
    ratios,
    spread,
    turns,
)

numbers = st.floats(min_value=0.001, max_value=1e6)


def test_quantile_interpolates_between_neighbours():
    assert quantile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.5
    assert quantile([1.0, 2.0], 0.25) == 1.25
    assert quantile([7.0], 0.9) == 7.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.5), ([1.0], -0.1)])
def test_quantile_of_nothing_or_beyond_the_ends_is_refused(values, share):
    with pytest.raises(ValueError, match=r"no values|a share"):
        quantile(values, share)


@given(st.lists(numbers, min_size=1))
def test_the_spread_lies_in_order_within_the_values(values):
    found = spread(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)


def test_ratios_are_taken_round_by_round():
    # The second round was twice as slow for both; the ratio does not see it.
    assert ratios([10.0, 5.0], [20.0, 10.0]) == [0.5, 0.5]
    with pytest.raises(ValueError, match="2 rounds cannot be compared with 1"):
        ratios([1.0, 2.0], [1.0])


def test_turns_go_there_and_back():
    assert list(turns("ABC", 3)) == [list("ABC"), list("CBA"), list("ABC")]


@given(st.integers(1, 10_000), st.floats(0.0001, 10), st.integers(1, 200))
def test_operations_are_a_positive_multiple_near_the_target(operations, seconds, multiple):
    found = operations_for(0.05, operations, seconds, multiple)
    assert found >= multiple
    assert found % multiple == 0
    assert abs(found - operations * 0.05 / seconds) <= multiple


def test_who_waits_stands_out_of_the_rest():
    assert far_above_the_rest({"a": 1.0, "b": 1.1, "c": 2.5}, 2) == ["c"]
    assert far_above_the_rest({}, 2) == []


def test_a_fall_below_the_recorded_share_is_named():
    recorded = {"rate": 1.0, "memory": 1.0, "gone": 1.0}
    lower_is_better = {"rate": False, "memory": True, "new": False}
    fine = {"rate": 0.71, "memory": 1.42, "new": 0.1}
    assert below_recorded(fine, recorded, lower_is_better, 0.7) == []
    bad = {"rate": 0.69, "memory": 1.44}
    assert below_recorded(bad, recorded, lower_is_better, 0.7) == ["memory", "rate"]
