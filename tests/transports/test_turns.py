"""Turns of several processes at one listening socket: who leaves a client to whom."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from conduit.transports.turns import Turns, forget, size_of


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("turns")
    os.truncate(descriptor, size_of(3))
    yield descriptor
    os.close(descriptor)


def three(memory: int) -> list[Turns]:
    return [Turns(memory, number, 3) for number in range(3)]


def takes(one: Turns, most: int = 5000) -> int:
    """How many clients one takes before it leaves the next to others."""
    for count in range(most):
        if one.is_anothers():
            return count
        one.took_one()
    return most


def test_who_is_alone_takes_all(memory):
    one, _, _ = three(memory)
    one.join()
    assert takes(one) == 5000


def test_who_is_ahead_leaves_the_next_to_others(memory):
    one, other, _ = three(memory)
    one.join()
    other.join()
    assert takes(one) == 8
    other.took_one()
    # What was left to it was taken; and now it is the first one's again.
    assert takes(one) == 1
    assert takes(other) == 8 + 8


def test_who_is_busy_is_waited_for_ever_less(memory):
    one, other, _ = three(memory)
    one.join()
    other.join()
    taken = [takes(one) for _ in range(6)]
    assert taken == [8, 1, 2, 4, 8, 16]
    # As soon as the other one takes part again, it gets its share.
    other.took_one()
    assert takes(one) == 0
    assert takes(one) == 1


def test_who_comes_late_does_not_get_all_at_once(memory):
    one, other, third = three(memory)
    one.join()
    takes(one, 1000)
    other.join()
    assert takes(other) == 8
    other.leave()
    assert takes(one) == 5000
    third.join()
    third.leave()


def test_who_has_died_is_waited_for_no_more(memory):
    one, other, _ = three(memory)
    one.join()
    other.join()
    takes(one)
    forget(memory, 1)
    assert takes(one) == 5000


def test_who_leaves_one_of_two_sockets_still_takes_part(memory):
    one, other, _ = three(memory)
    one.join()
    other.join()
    other.join()
    other.leave()
    assert takes(one) == 8
    other.leave()
    assert takes(one) == 5000
