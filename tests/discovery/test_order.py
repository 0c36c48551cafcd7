"""The order of addresses: priority before all, then as it was asked for."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from conduit import endp
from conduit.discovery import Address
from conduit.discovery.order import ordered

addresses = st.lists(
    st.builds(
        Address,
        st.builds(endp.TCP, st.just("192.0.2.1"), st.integers(0, 9)),
        st.integers(0, 3),
        st.integers(0, 100),
    ),
    max_size=8,
)
picks = st.sampled_from(["weighted", "first", "round-robin", "random"])


def at(port, priority=0, weight=1):
    return Address(endp.TCP("192.0.2.1", port), priority, weight)


@given(addresses, picks, st.integers(0, 99), st.integers())
def test_all_are_there_once_and_by_priority(given_, pick, turn, seed):
    found = ordered(given_, pick, turn, Random(seed))
    assert Counter(found) == Counter(given_)
    priorities = [one.priority for one in found]
    assert priorities == sorted(priorities)


def test_weights_are_shares():
    group = [at(1, weight=60), at(2, weight=30), at(3, weight=10), at(4, weight=0)]
    random = Random(1)
    first = Counter(ordered(group, "weighted", 0, random)[0].endp.port for _ in range(4000))
    assert abs(first[1] / 4000 - 0.6) < 0.04
    assert abs(first[2] / 4000 - 0.3) < 0.04
    # One without weight has a chance, and a small one.
    assert 0 < first[4] < 120


def test_round_robin_begins_with_each_in_its_turn():
    group = [at(1), at(2), at(3), at(9, priority=1)]
    ports = [
        [one.endp.port for one in ordered(group, "round-robin", turn, Random())]
        for turn in range(4)
    ]
    assert ports == [[1, 2, 3, 9], [2, 3, 1, 9], [3, 1, 2, 9], [1, 2, 3, 9]]
    assert [one.endp.port for one in ordered(group, "first", 5, Random())] == [1, 2, 3, 9]


def test_those_without_weight_share():
    group = [at(port, weight=0) for port in (1, 2, 3)]
    random = Random(1)
    first = Counter(ordered(group, "weighted", 0, random)[0].endp.port for _ in range(900))
    assert all(250 < first[port] < 350 for port in (1, 2, 3))
