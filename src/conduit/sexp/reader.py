"""The reader: text to s-expressions, by the rules of OCaml's sexplib."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import SexpError
from .comments import without_block_comments
from .pause import collector_paused
from .source import Source
from .tokens import TOKEN, is_terminated, mistake_in_atom, unquoted
from .value import Atom, List, Sexp, canonical

__all__ = ["of_bytes", "of_bytes_many", "of_string", "of_string_many"]


def of_string(text: str) -> Sexp:
    """Read the one s-expression of a text.

    text: an atom or a list, with blanks and comments around it.

    Returns a str or a `List`. Takes time in proportion to the text, and memory, however deep the
    lists are. Raises SexpError, which says line and column, for what is no s-expression, for none
    and for several.
    """
    return _only(_Text(text))


def of_bytes(data: bytes | bytearray | memoryview) -> Sexp:
    """Read the one s-expression of some bytes, as `of_string` does.

    data: the bytes; what of them is no UTF-8 becomes half surrogate pairs in atoms.

    Raises SexpError for what is no s-expression, for none and for several.
    """
    return _only(_Text(_decoded(data)))


def of_string_many(text: str) -> list[Sexp]:
    """Read all s-expressions of a text, such as a file of them.

    text: any number of s-expressions, also none, with blanks and comments around them.

    Raises SexpError, which says line and column, for what is no s-expression.
    """
    return _Text(text).read()


def of_bytes_many(data: bytes | bytearray | memoryview) -> list[Sexp]:
    """Read all s-expressions of some bytes, such as a file of them.

    data: the bytes; what of them is no UTF-8 becomes half surrogate pairs in atoms.

    Raises SexpError, which says line and column, for what is no s-expression.
    """
    return _Text(_decoded(data)).read()


def _decoded(data: bytes | bytearray | memoryview) -> str:
    return bytes(memoryview(data)).decode("utf-8", "surrogateescape")


def _only(text: _Text) -> Sexp:
    found = text.read()
    if len(found) == 1:
        text.check_end()
        return _rooted(found[0], text.source)
    if not found:
        raise text.source.error_at(
            len(text.source.text), "here the text ends, and there was no s-expression in it"
        )
    second = text.source.item_of(None, 1)
    raise text.source.error_at(second, "there is a second s-expression; one was expected")


def _rooted(sexp: Sexp, source: Source) -> Sexp:
    if isinstance(sexp, List):
        return sexp
    atom = Atom(sexp)
    atom.source = source
    return atom


class _Mark:
    """What stands for `#;` in a list until its end."""

    __slots__ = ()


_COMMENTED = _Mark()
_CLOSED = frozenset(' \t\n\f()"')
_SPECIAL = frozenset(("(", ")", '"', "#", ";", "\r", ""))


class _Text:
    """A text that is being read."""

    __slots__ = ("_has_marks", "source", "tokens")

    def __init__(self, text: str) -> None:
        text = canonical(str.__str__(text))
        self.source = Source(without_block_comments(text))
        self._has_marks = "#;" in self.source.text
        self.tokens: list[str] = TOKEN.findall(self.source.text)

    def read(self) -> list[Sexp]:
        self._check_atoms()
        with collector_paused():
            return self._assembled()

    def error(self, token: int, why: str) -> SexpError:
        return self.source.error_at(self.source.start_of(token), why)

    def _check_atoms(self) -> None:
        """The rare mistakes, each looked for only where it can be."""
        text, tokens = self.source.text, self.tokens
        if "#|" in text or "|#" in text:
            for index, token in enumerate(tokens):
                if token[:1] not in ('"', ";") and (why := mistake_in_atom(token)):
                    raise self.error(index, why)
        last = len(tokens) - 1
        while last >= 0 and not tokens[last]:
            last -= 1
        if last >= 0 and tokens[last].startswith('"') and not is_terminated(tokens[last]):
            raise self.error(last, 'this atom has no end: " is missing')

    def _assembled(self) -> list[Sexp]:
        source, special = self.source, _SPECIAL
        new, put, fill = List.__new__, list[Sexp].append, list[Sexp].__init__
        items: list[Sexp] = []
        around: list[list[Sexp]] = []
        for index, token in enumerate(self.tokens):
            first = token[:1]
            if first not in special:
                put(items, token)
            elif first == "(":
                made = new(List)
                made.source = source
                made.start = index
                put(items, made)
                if token == "(":
                    around.append(items)
                    items = made
                else:
                    fill(made, token[1:-1].split())
            elif first == ")":
                if not around:
                    raise self.error(index, "this parenthesis closes no list")
                if self._has_marks:
                    fill(items, self._without_commented(items, index))
                items = around.pop()
            elif first == '"':
                put(items, self._unquoted(index, token) if "\\" in token else token[1:-1])
            else:
                self._put_special(items, index, token)
        if isinstance(items, List):
            more = f", nor are {len(around) - 1} around it" if len(around) > 1 else ""
            raise self.error(items.start, f"this list is not closed{more}: ) is missing")
        return self._without_commented(items, None) if self._has_marks else items

    def _put_special(self, items: list[Any], index: int, token: str) -> None:
        """Put what is no simple atom into its list."""
        put = list[Any].append
        if token == "#;":
            put(items, _COMMENTED)
        elif token.startswith("#"):
            put(items, token)
        elif token == "\r":
            raise self.error(index, "a carriage return must be followed by a line feed")

    def _unquoted(self, index: int, token: str) -> str:
        try:
            return unquoted(token)
        except ValueError as error:
            raise self.error(index, str(error)) from None

    def _without_commented(self, items: Iterable[Sexp | _Mark], end: int | None) -> list[Sexp]:
        """A list without what `#;` takes out. end: the token that closes it, if one does."""
        kept: list[Sexp] = []
        commented = 0
        for item in items:
            if isinstance(item, _Mark):
                commented += 1
            elif commented:
                commented -= 1
            else:
                kept.append(item)
        if commented:
            at = len(self.tokens) - 1 if end is None else end
            raise self.error(at, "a comment #; must be followed by the s-expression it takes out")
        return kept

    def check_end(self) -> None:
        """Refuse `x #;y` with nothing after it, as the reference does: `y` might go on."""
        text = self.source.text
        if "#;" not in text or text[-1] in _CLOSED:
            return
        last, is_commented = self.source.items_of(None)[-1]
        if is_commented and text.find(";", last) < 0 and text[last] not in '("':
            why = "this atom is taken out by #; and must be followed by a blank"
            raise self.source.error_at(last, why)
