"""OCaml's variants: a tag, and perhaps a value after it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Generic, TypeVar, cast

from ..errors import NoVariantMatch, SexpError
from .node import Node
from .scalars import Shape
from .value import List, Sexp

T = TypeVar("T")


class Case(Generic[T]):
    """A constructor of a variant.

    tag: its name in OCaml. shape: that of its value, None for a constructor that has none. of: the
    class of the values that are written so; for a constructor without value, the value itself; by
    default the class that the shape makes. spread: whether the fields of the value follow the tag
    without being a list themselves.
    """

    __slots__ = ("of", "shape", "spread", "tag")

    def __init__(
        self, tag: str, shape: Shape[Any] | None, of: object = ..., *, spread: bool = False
    ) -> None:
        self.tag = tag
        self.shape = shape
        self.of: Any = getattr(shape, "cls", None) if of is ... else of
        self.spread = spread


class Variant(Shape[T]):
    """Values of several constructors.

    name: of the type, for errors. cases: its constructors. any_case: whether the first letter of a
    tag may be small, as OCaml has it for ordinary variants, not for polymorphic ones.
    """

    def __init__(self, name: str, *cases: Case[Any], any_case: bool = False) -> None:
        self.name = name
        self.cases = cases
        self._any_case = any_case
        self._atoms = {case.tag: case for case in cases if case.shape is None}
        self._lists = {case.tag: case for case in cases if case.shape is not None}
        self._classes = {case.of: case for case in cases if case.shape is not None}

    @property
    def tags(self) -> list[str]:
        """The tags, each once."""
        return list(dict.fromkeys(case.tag for case in self.cases))

    def to_sexp(self, value: T) -> Sexp:
        for atom in self._atoms.values():
            if type(value) is type(atom.of) and value == atom.of:
                return atom.tag
        case = self._classes.get(type(value))
        if case is None:
            raise SexpError(f"{value!r:.100} has no s-expression as {self.name}")
        shape: Any = case.shape
        if case.spread:
            return List((case.tag, *shape.parts_to_sexp(value)))
        return List((case.tag, shape.to_sexp(value)))

    def of_sexp(self, node: Node) -> T:
        tag = self._tag(node)
        if isinstance(node.sexp, str):
            case = self._atoms.get(tag)
            if case is None:
                raise node.refused(f"{tag} takes a value: ({tag} ...)")
            return cast("T", case.of)
        case = self._lists.get(tag)
        if case is None:
            raise node.refused(f"{tag} takes no value: write {tag} alone")
        return cast("T", _value_of(case, node, node.sexp))

    def match(self, node: Node) -> T:
        self._tag(node, NoVariantMatch)
        return self.of_sexp(node)

    def knows(self, tag: str) -> bool:
        """Whether there is a constructor of that tag."""
        return tag in self._atoms or tag in self._lists

    def _tag(self, node: Node, kind: type[SexpError] = SexpError) -> str:
        sexp = node.sexp
        if isinstance(sexp, str):
            tag = str.__str__(sexp)
        elif not sexp:
            raise node.refused(f"{self.name} starts with a tag, and this list is empty")
        else:
            first = sexp[0]
            if not isinstance(first, str):
                raise node.refused(f"{self.name} starts with a tag, and this with a list")
            tag = first
        if self._any_case and "a" <= tag[:1] <= "z":
            tag = tag[0].upper() + tag[1:]
        if not self.knows(tag):
            raise node.refusal(self._unknown(tag), kind)
        return tag

    def _unknown(self, tag: str) -> str:
        tags = self.tags
        if len(tags) == 1:
            return f"{self.name} is expected"
        seen = tag if len(tag) <= 40 else f"{tag[:40]}..."
        by_small = {known.lower(): known for known in tags}
        close = get_close_matches(seen.lower(), by_small, 1)
        if close:
            return f"{self.name} has no constructor {seen!r}; did you mean {by_small[close[0]]}?"
        return f"{self.name} has no constructor {seen!r}; there are {', '.join(tags)}"


def _value_of(case: Case[Any], node: Node, sexp: List) -> Any:
    shape: Any = case.shape
    given = len(sexp) - 1
    wanted = shape.size if case.spread else 1
    if given != wanted:
        values = "1 value" if wanted == 1 else f"{wanted} values"
        hint = ", which is a list" if wanted == 1 and given > 1 else ""
        raise node.refused(f"{case.tag} takes {values}{hint}, and here are {given}")
    if case.spread:
        return shape.of_parts(node, [node.item(at) for at in range(1, given + 1)])
    return shape.of_sexp(node.item(1))
