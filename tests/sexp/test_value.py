"""The value type: compared by value, unchangeable, and of any depth."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit import SexpError, sexp
from conduit.sexp import List

from .addresses import sexps

DEEP = 100_000


def deep(atom: str = "a", depth: int = DEEP) -> sexp.Sexp:
    return sexp.of_string("(" * depth + atom + ")" * depth)


@given(sexps)
def test_both_forms_read_back(value):
    for text in (sexp.to_string(value), sexp.to_string_hum(value)):
        assert text.isascii()
        assert sexp.of_string(text) == value
        assert sexp.of_bytes(text.encode()) == value


@given(st.lists(sexps, max_size=5))
def test_several_read_back(values):
    text = "\n".join(map(sexp.to_string_hum, values))
    assert sexp.of_string_many(text) == values
    assert sexp.of_bytes_many(text.encode()) == values


@given(st.binary())
def test_every_byte_string_survives(data):
    atom = sexp.List([data.decode("utf-8", "surrogateescape")])
    again = sexp.of_bytes(sexp.to_string(atom).encode())
    assert isinstance(again, List)
    assert str(again[0]).encode("utf-8", "surrogateescape") == data


@given(sexps, sexps)
def test_equal_means_the_same_text(one, another):
    same = sexp.to_string(one) == sexp.to_string(another)
    assert (one == another) == same
    if same:
        assert hash(one) == hash(another)


def test_list_cannot_be_changed():
    value = List(["b", List(["a"])])
    changes: list[Callable[[Any], object]] = [
        lambda v: v.append("c"),
        lambda v: v.extend("c"),
        lambda v: v.insert(0, "c"),
        lambda v: v.remove("b"),
        lambda v: v.pop(),
        lambda v: v.clear(),
        lambda v: v.sort(key=str),
        lambda v: v.reverse(),
        lambda v: v.__setitem__(0, "c"),
        lambda v: v.__delitem__(0),
        lambda v: v.__iadd__(["c"]),
        lambda v: v.__imul__(2),
    ]
    for change in changes:
        with pytest.raises(TypeError, match="cannot be changed"):
            change(value)
    assert sexp.to_string(value) == "(b(a))"


def test_list_is_a_sequence():
    value = List(["a", List(), List(["b"])])
    assert len(value) == 3
    assert value[0] == "a"
    assert value[-1] == List(["b"])
    assert value[1:] == List([List(), List(["b"])])
    assert list(value) == ["a", List(), List(["b"])]
    assert "a" in value
    match value:
        case [str() as tag, [], [inner]]:
            assert (tag, inner) == ("a", "b")
        case _:
            pytest.fail("no match")
    assert value != ("a", (), ("b",))
    assert List(["a"]) != List([List(["a"])])
    assert List(["a"]) != ["a"]
    assert ["a"] != List(["a"])  # noqa: SIM300
    assert not (List(["a"]) != List(["a"]))  # noqa: SIM202
    with pytest.raises(TypeError, match="not supported"):
        _ = List(["a"]) < List(["b"])
    assert List([List(["a"])]) != List(["a"])


def test_one_string_of_bytes_has_one_spelling():
    assert List(["\udcc3\udca9"]) == List(["é"])
    assert sexp.to_string("\udcc3\udca9") == sexp.to_string("é") == '"\\195\\169"'
    assert sexp.of_string("(\udcc3\udca9)") == List(["é"])


@pytest.mark.parametrize("print_", [sexp.to_string, sexp.to_string_hum, lambda atom: List([atom])])
def test_half_a_surrogate_pair_stands_for_no_byte(print_):
    with pytest.raises(SexpError, match="half a surrogate pair"):
        print_("a\ud800")
    with pytest.raises(SexpError, match="half a surrogate pair"):
        sexp.of_string("(a \ud800)")


@pytest.mark.parametrize("wrong", [None, 3, b"a", ["a"], ("a",)])
def test_only_str_and_list_are_sexps(wrong):
    for attempt in (sexp.to_string, sexp.to_string_hum, lambda item: List([item])):
        with pytest.raises(TypeError, match=r"str or a conduit\.sexp\.List, not"):
            attempt(wrong)


def test_repr_reads_back():
    value = List(["a b", List(["c"])])
    assert repr(value) == "sexp.of_string('(\"a b\"(c))')"
    assert eval(repr(value)) == value


@pytest.mark.parametrize(
    "value", [List(["a", List(["b"])]), sexp.of_string("(a)"), sexp.of_string("a")]
)
def test_copies_are_equal(value):
    for again in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert again == value
        assert sexp.to_string(again) == sexp.to_string(value)


def test_depth_does_not_matter():
    value, other = deep(), deep("b")
    text = sexp.to_string(value)
    assert text == "(" * DEEP + "a" + ")" * DEEP
    assert value == deep()
    assert value != other
    assert hash(value) == hash(deep())
    assert repr(value) == f"sexp.of_string({text!r})"
    assert copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value
    assert sexp.to_string_hum(value) == text


def test_depth_is_refused_as_any_other_mistake():
    with pytest.raises(SexpError) as caught:
        sexp.converters["client"].of_sexp(deep())
    assert len(str(caught.value)) < 300
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.sexp == caught.value.sexp


def test_recursion_limit_is_left_alone():
    before = sys.getrecursionlimit()
    deep()
    assert sys.getrecursionlimit() == before


def test_collector_is_left_as_it_was():
    text = "(" + "(a b)" * 1000 + ")"
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            sexp.to_string_hum(sexp.of_string(text))
            with pytest.raises(SexpError):
                sexp.of_string(text + ")")
            assert gc.isenabled() == enabled
        finally:
            gc.enable()
