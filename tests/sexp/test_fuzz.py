"""The fuzz target runs, and sees what it looks for."""

import random

import pytest

from conduit import sexp

from . import fuzz


def test_corpus_is_read():
    for data in fuzz.CORPUS:
        fuzz.one_input(data)
        assert sexp.of_bytes_many(data)


def test_changes_are_read_or_refused():
    chance = random.Random(4)
    for _ in range(1500):
        fuzz.one_input(fuzz.changed(chance.choice(fuzz.CORPUS), chance))


def test_failure_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(sexp, "to_string", lambda one: "wrong")
    assert fuzz.main(5) == 1
    assert "AssertionError" in capsys.readouterr().out


def test_target_ends_in_time(capsys):
    assert fuzz.main(0.05) == 0
    assert "no failure" in capsys.readouterr().out


@pytest.mark.parametrize("data", [b"a", b"(a"])
def test_error_of_another_kind_is_not_hidden(monkeypatch, data):
    def broken(_data: bytes) -> list[sexp.Sexp]:
        raise RecursionError

    monkeypatch.setattr(sexp, "of_bytes_many", broken)
    with pytest.raises(RecursionError):
        fuzz.one_input(data)
