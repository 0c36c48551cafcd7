"""More of what OCaml says: reference/*.jsonl, where each line is a case, and what came of it.

The inputs are random, chosen so that each rule is met from both sides; the results are those of
sexplib 0.15.1, ppx_sexp_conv 0.15.0, ipaddr 5.3.1 and OCaml 4.13's `Format`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conduit import SexpError, sexp
from conduit.sexp.scalars import integer, ip_address, ip_text

from .fuzz import check_place

REFERENCE = Path(__file__).with_name("reference")
OURS_ALONE = ("is outside 0..65535", "is negative", "is empty")


def cases(name: str) -> list[Any]:
    found = [json.loads(line) for line in (REFERENCE / name).read_text("utf-8").splitlines()]
    assert len(found) > 100
    return found


def test_reader():
    """A row is bytes (as Latin-1), both forms of the one s-expression, and of all of them."""
    for text, one, many in cases("reader.jsonl"):
        data = text.encode("latin-1")
        assert _all(data) == many, data
        assert _one(data) == one, data


def _one(data: bytes) -> list[str] | None:
    try:
        found = sexp.of_bytes(data)
    except SexpError as error:
        check_place(error)
        return None
    return [sexp.to_string(found), sexp.to_string_hum(found)]


def _all(data: bytes) -> list[str] | None:
    try:
        return list(map(sexp.to_string, sexp.of_bytes_many(data)))
    except SexpError:
        return None


def test_layout():
    """A row is an indentation, an s-expression and its human form."""
    for indent, text, human in cases("layout.jsonl"):
        assert sexp.to_string_hum(sexp.of_string(text), indent=indent) == human, text


def test_integers():
    for text, number in cases("integers.jsonl"):
        assert integer(text) == number, text


def test_ip_addresses():
    for text, printed in cases("ip_addresses.jsonl"):
        found = ip_address(text)
        assert (None if found is None else ip_text(found)) == printed, text


@pytest.mark.parametrize("name", sorted({name for name, _, _ in cases("converters.jsonl")}))
def test_converter(name):
    """A row is a type, an s-expression, and what it prints as or which part of it is wrong."""
    converter = sexp.converters[name]
    for type_, text, result in cases("converters.jsonl"):
        if type_ != name:
            continue
        try:
            value = converter.of_sexp(sexp.of_string(text))
        except SexpError as error:
            _check_refusal(error, text, result)
        else:
            assert sexp.to_string(converter.to_sexp(value)) == result.get("output"), text


def _check_refusal(error: SexpError, text: str, result: dict[str, Any]) -> None:
    assert error.sexp is not None
    if "output" in result:
        assert any(words in str(error) for words in OURS_ALONE), text
    elif result["wrong"] is not None:
        assert sexp.to_string(error.sexp) == result["wrong"], text
    # It points to where the part stands.
    assert error.line == 1
    assert error.column is not None
    there = text[error.column - 1 :]
    assert there.startswith(sexp.to_string(error.sexp))
