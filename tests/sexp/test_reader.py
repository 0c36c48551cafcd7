"""What a user sees of a text that is wrong, and that no text takes more than its length."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit import SexpError, sexp

from .addresses import ODD
from .fuzz import one_input

MISTAKES = [
    ("", (1, 1), "no s-expression"),
    ("; only\n  ", (2, 3), "no s-expression"),
    ("(a\n (b c)\n", (1, 1), r"this list is not closed: \) is missing"),
    ("(a\n (b c\n", (2, 2), r"not closed, nor are 1 around it: \) is missing"),
    ("(a))", (1, 4), "this parenthesis closes no list"),
    ("a\n b", (2, 2), "a second s-expression"),
    ("#;(x) a #;y b", (1, 13), "a second s-expression"),
    ('(a\n"b c)', (2, 1), 'this atom has no end: " is missing'),
    (r'(a "\999")', (1, 4), r"\\999 is no byte"),
    (r'(a "\9")', (1, 4), r"\\9 must have three digits"),
    (r'(a "\xg0")', (1, 4), r"\\x must be followed by two hexadecimal digits"),
    ("(a\n#| #| |# b)", (2, 1), r"this comment has no end: \|# is missing"),
    ('(a #| "\\999" |#)', (1, 7), r"\\999 is no byte"),
    ("(a |# b)", (1, 4), r"\|# ends a comment, but none was started"),
    ("(a b|#c)", (1, 4), r"\|# cannot be inside a bare atom"),
    ("(a\n  b#|c|#)", (2, 3), r"#\| cannot be inside a bare atom"),
    ("(a #;)", (1, 6), "must be followed by the s-expression it takes out"),
    ("a #;", (1, 5), "must be followed by the s-expression it takes out"),
    ("a #;b", (1, 5), "must be followed by a blank"),
    ("(a\r b)", (1, 3), "carriage return must be followed by a line feed"),
    ("(é #| é\né |# é |#)", (2, 8), r"\|# ends a comment"),
]


@pytest.mark.parametrize(("text", "place", "words"), MISTAKES)
@pytest.mark.parametrize("bytes_", [False, True])
def test_mistake_has_a_place(text, place, words, bytes_):
    with pytest.raises(SexpError, match=words) as caught:
        sexp.of_bytes(text.encode()) if bytes_ else sexp.of_string(text)
    assert (caught.value.line, caught.value.column) == place
    assert caught.value.sexp is None
    assert str(caught.value).startswith(f"line {place[0]}, column {place[1]}: ")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("(a b ; c\n d)", "(a b d)"),
        ('#| #| |# "|#" |# (a #;(b c) d)', "(a d)"),
        ("#;#;a b c", "c"),
        ("(\"a\\\n   b\" 'c')", "(ab 'c')"),
        ('("\\x41\\066\\n\\q")', '("AB\\n\\\\q")'),
        ("(a)\r\n", "(a)"),
        ("\f(a)\f", "(a)"),
    ],
)
def test_text_is_read(text, printed):
    assert sexp.to_string(sexp.of_string(text)) == printed
    assert sexp.to_string(sexp.of_bytes(text.encode())) == printed


def test_several_are_read():
    assert sexp.of_string_many("") == []
    assert sexp.of_string_many('a (b) ; c\n#;d\n"e"f #;g') == ["a", sexp.List(["b"]), "e", "f"]
    assert sexp.of_bytes_many(b"a\xff b") == ["a\udcff", "b"]
    with pytest.raises(SexpError, match="line 2, column 2"):
        sexp.of_string_many("(a)\n )")


def test_only_text_is_text():
    with pytest.raises(TypeError):
        sexp.of_string(b"a")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        sexp.of_bytes("a")  # type: ignore[arg-type]
    assert sexp.of_bytes(bytearray(b"a")) == "a"


@given(st.lists(st.sampled_from(ODD) | st.text(max_size=3), max_size=30).map("".join))
def test_any_text_is_read_or_refused(text):
    one_input(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    one_input(data)


def test_every_prefix_is_read_or_refused():
    text = '(a #| "b |#" |# "c\\065\\n\\\n d" #;(e) (f\r\n))\n; g\n'
    for end in range(len(text)):
        one_input(text[:end].encode())


# Bounds -------------------------------------------------------------------------------------------

N = 4_000

HARD: dict[str, Callable[[int], str]] = {
    "opening": lambda n: "(" * n,
    "closing": lambda n: ")" * n,
    "deep": lambda n: "(" * n + "a" + ")" * n,
    "wide": lambda n: "(" + "a " * n + ")",
    "atom": lambda n: "a" * n,
    "quoted": lambda n: '"' + "a" * n + '"',
    "escapes": lambda n: '"' + "\\065\\\\" * n + '"',
    "no quote": lambda n: '"' + '\\"' * n,
    "quotes": lambda n: '("' * n,
    "empty atoms": lambda n: '""' * n,
    "blanks": lambda n: " \n" * n,
    "line comments": lambda n: ";\n" * n,
    "comments opened": lambda n: "#|" * n,
    "comments nested": lambda n: "#|" * n + "|#" * n + "a",
    "comments in a row": lambda n: "#||#" * n + "a",
    "strings in a comment": lambda n: "#|" + '"|#"' * n + "|#a",
    "marks": lambda n: "#;" * n,
    "marks and atoms": lambda n: "#;" * n + "a " * (n + 1),
    "marks of lists": lambda n: "(#;" * n + "a" + ")" * n,
    "several": lambda n: "a " * n,
    "illegal": lambda n: "a " * n + "|#",
    "newlines": lambda n: '("' + "\\n" * n + '")',
}


def read_and_print(text: str) -> None:
    try:
        found = sexp.List(sexp.of_string_many(text))
    except SexpError:
        return
    assert sexp.to_string(found)
    assert sexp.to_string_hum(found)


@pytest.mark.alone
@pytest.mark.parametrize("name", HARD)
def test_time_is_in_proportion_to_the_text(name):
    """Eight times the text may take sixteen times the time; a square would take 64 times."""

    def seconds(n: int) -> float:
        text = HARD[name](n)
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            read_and_print(text)
            best = min(best, time.process_time() - started)
        return best

    small, large = seconds(N), seconds(8 * N)
    assert large < 16 * small + 0.01


def test_a_million_lists_are_no_deeper_than_one():
    with pytest.raises(SexpError, match="nor are 999999 around it"):
        sexp.of_string("(" * 1_000_000)


def test_a_large_atom_is_an_atom():
    with pytest.raises(SexpError, match="line 1, column 1: this list is not closed"):
        sexp.of_string("(" + "a" * 20_000_000)
