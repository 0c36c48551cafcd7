"""Arguments that were left out."""

import pytest

from conduit._left_out import decide, left_out


@pytest.mark.parametrize("value", [30.0, 1024, False, None, "none"])
def test_shows_and_compares_as_its_value(value):
    argument = left_out(value)
    assert repr(argument) == repr(value)
    assert argument == value
    assert argument == left_out(value)
    assert argument != "another"
    assert hash(argument) == hash(value)


def test_what_is_given_counts_before_all():
    assert decide(30.0, 5.0) == 30.0
    assert decide(None, 5.0) is None
    assert decide(False, True) is False


def test_what_a_text_says_counts_before_the_default():
    assert decide(left_out(30.0), 5.0) == 5.0
    assert decide(left_out(True), False) is False


def test_default_is_the_value_itself():
    assert type(decide(left_out(30.0), None)) is float
    assert decide(left_out(None), None) is None
