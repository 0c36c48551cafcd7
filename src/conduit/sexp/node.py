"""An s-expression on its way to a value: it knows where it stands, for the sake of errors."""

from __future__ import annotations

from typing import TypeVar

from ..errors import SexpError
from .printer import to_string
from .reader import place_of_item, place_of_token
from .value import Atom, List, Sexp

E = TypeVar("E", bound=SexpError)

_SHOWN = 60


class Node:
    """A sub-expression.

    sexp: what it is. parent: the node of the list that it is in, None for the whole. index: which
    item of that list.
    """

    __slots__ = ("depth", "index", "parent", "sexp")

    def __init__(self, sexp: Sexp, parent: Node | None = None, index: int = 0) -> None:
        self.sexp = sexp
        self.parent = parent
        self.index = index
        self.depth: int = 0 if parent is None else parent.depth + 1

    def item(self, index: int) -> Node:
        """The node of an item of this list."""
        sexp = self.sexp
        assert isinstance(sexp, List)
        return Node(sexp.items[index], self, index)

    def refusal(self, why: str, kind: type[E]) -> E:
        """The error for it. why: what is wrong; the error also shows it, and says where it is."""
        line, column = self._place()
        where = "" if line is None else f" at line {line}, column {column}"
        return kind(f"{why}: {shown(self.sexp)}{where}", sexp=self.sexp, line=line, column=column)

    def refused(self, why: str) -> SexpError:
        """The error for it, of the general kind."""
        return self.refusal(why, SexpError)

    def _place(self) -> tuple[int | None, int | None]:
        sexp, around = self.sexp, None if self.parent is None else self.parent.sexp
        if isinstance(sexp, List):
            if sexp.source is not None:
                return sexp.source.place(place_of_token(sexp.source, sexp.start))
        elif isinstance(around, List) and around.source is not None:
            at = place_of_item(around.source, around.start, self.index)
            return around.source.place(at)
        elif isinstance(sexp, Atom):
            return sexp.source.place(place_of_item(sexp.source, -1, 0))
        return None, None


def shown(sexp: Sexp) -> str:
    """An s-expression in the machine form, in short."""
    text = to_string(sexp)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
