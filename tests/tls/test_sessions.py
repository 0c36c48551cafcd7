"""The memory of sessions: each is given once, and it is bounded."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from conduit.tls import sessions
from conduit.tls.sessions import MOST_SESSIONS, Sessions


def test_session_is_given_once():
    kept: Sessions[str] = Sessions()
    kept.keep("peer", "session")
    assert kept.take("peer") == "session"
    assert kept.take("peer") is None


def test_the_latest_takes_the_place_of_the_one_before():
    kept: Sessions[str] = Sessions()
    kept.keep("peer", "old")
    kept.keep("peer", "new")
    assert len(kept) == 1
    assert kept.take("peer") == "new"


def test_whoever_was_met_longest_ago_is_forgotten():
    kept: Sessions[int] = Sessions()
    for number in range(MOST_SESSIONS):
        kept.keep(number, number)
    kept.keep(0, 0)  # met again
    kept.keep("one more", -1)
    assert len(kept) == MOST_SESSIONS
    assert kept.take(1) is None
    assert kept.take(0) == 0
    assert kept.take("one more") == -1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_it_is_what_a_bounded_dict_would_be(steps):
    most = sessions.MOST_SESSIONS
    sessions.MOST_SESSIONS = 4
    try:
        kept: Sessions[int] = Sessions()
        model: OrderedDict[int, int] = OrderedDict()
        for number, (keeps, peer) in enumerate(steps):
            if keeps:
                kept.keep(peer, number)
                model[peer] = number
                model.move_to_end(peer)
                while len(model) > 4:
                    model.popitem(last=False)
            else:
                assert kept.take(peer) == model.pop(peer, None)
            assert len(kept) == len(model)
    finally:
        sessions.MOST_SESSIONS = most
