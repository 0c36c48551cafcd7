"""An s-expression on its way to a value: it knows where it stands, for the sake of errors."""

from __future__ import annotations

from typing import TypeVar

from ..errors import SexpError
from .printer import to_string
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
        return Node(sexp[index], self, index)

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
                return sexp.source.place(sexp.source.start_of(sexp.start))
        elif isinstance(around, List) and around.source is not None:
            source = around.source
            return source.place(source.item_of(around.start, self.index))
        elif isinstance(sexp, Atom):
            return sexp.source.place(sexp.source.item_of(None, 0))
        return None, None


def shown(sexp: Sexp) -> str:
    """An s-expression in the machine form, in short, and in little time however large it is."""
    text = to_string(_start_of(sexp, [_SHOWN]))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _start_of(sexp: Sexp, left: list[int]) -> Sexp:
    """What prints the first `left` characters, more or less: each part takes one at least."""
    if isinstance(sexp, str):
        return sexp[: _SHOWN + 1]
    kept: list[Sexp] = []
    for item in sexp:
        if left[0] < 0:
            break
        left[0] -= 1
        kept.append(_start_of(item, left))
    return List(kept)
