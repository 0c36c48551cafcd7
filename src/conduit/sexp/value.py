"""The value that s-expressions are read into: an atom is a str, a list is a `List`.

OCaml's strings are bytes. An atom stands for the bytes of its UTF-8; a byte that is none is half a
surrogate pair (PEP 383), so that every string of bytes is an atom and comes back as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, overload

from ..errors import SexpError

if TYPE_CHECKING:
    from .source import Source

__all__ = ["Atom", "List", "Sexp"]


class Atom(str):
    """A str that is all there was in a text, and that knows the text for the sake of errors."""

    __slots__ = ("source",)

    source: Source

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)


class List(list["Sexp"]):
    """A list of s-expressions, which cannot be changed.

    items: atoms and lists; by default none.

    It is compared by value, and none of its methods minds how deep it is. One that was read
    remembers the text, so that an error in converting it can say the line.

    Raises TypeError for an item that is neither, SexpError for a str that no bytes stand for.
    """

    # A built-in list inside, since a large text makes many: one object each is half the work.
    __slots__ = ("source", "start")

    source: Source | None  # the text it was read from, and the number of its token there
    start: int

    def __init__(self, items: Iterable[Sexp] = ()) -> None:
        super().__init__(map(checked, items))
        self.source = None
        self.start = 0

    @overload
    def __getitem__(self, index: SupportsIndex) -> Sexp: ...
    @overload
    def __getitem__(self, index: slice) -> List: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Sexp | List:
        if isinstance(index, slice):
            return List(super().__getitem__(index))
        return super().__getitem__(index)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, List):
            # To a list that is none of ours, list itself would say that it is equal.
            return False if isinstance(other, list) else NotImplemented
        pairs: list[tuple[List, List]] = [(self, other)]
        while pairs:
            one, another = pairs.pop()
            if one is another:
                continue
            if len(one) != len(another):
                return False
            for a, b in zip(one, another, strict=True):
                if isinstance(a, List):
                    if not isinstance(b, List):
                        return False
                    pairs.append((a, b))
                elif isinstance(b, List) or a != b:
                    return False
        return True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # type: ignore[override]  # it cannot be changed
        return hash((List, self._text()))

    def __repr__(self) -> str:
        return f"sexp.of_string({self._text()!r})"

    def __copy__(self) -> List:
        return self

    def __deepcopy__(self, memo: object) -> List:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Callable[[str], Sexp], tuple[str]]:
        from .reader import of_string

        return of_string, (self._text(),)

    def _text(self) -> str:
        from .printer import to_string

        return to_string(self)

    def _unchangeable(self, *_given: object, **_named: object) -> Any:
        """Raise TypeError, since an s-expression cannot be changed."""
        raise TypeError("an s-expression cannot be changed; make another with conduit.sexp.List")

    def _unordered(self, _other: object) -> Any:
        return NotImplemented

    if not TYPE_CHECKING:
        append = extend = insert = remove = pop = clear = sort = reverse = _unchangeable
        __setitem__ = __delitem__ = __iadd__ = __imul__ = _unchangeable
        __lt__ = __le__ = __gt__ = __ge__ = _unordered


Sexp: TypeAlias = str | List
"""An s-expression: an atom or a list."""


def canonical(text: str) -> str:
    """The only spelling of the bytes that a str stands for. Raises SexpError if there are none."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise SexpError(
            f"{half!r} at column {error.start + 1} is half a surrogate pair and stands for no byte"
        ) from None


def checked(item: object) -> Sexp:
    """An s-expression with its atoms in their only spelling. Raises TypeError for anything else."""
    if isinstance(item, List):
        return item
    if isinstance(item, str):
        return canonical(str.__str__(item))
    raise TypeError(
        f"an s-expression is a str or a conduit.sexp.List, not {type(item).__name__}: {item!r:.60}"
    )
