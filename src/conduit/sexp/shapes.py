"""How OCaml writes values that have parts: tuples, records, variants.

A shape reads and writes; each constructor of an address is one line made of them, in `types`.
Errors name the sub-expression that OCaml's converters would name, in our words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from ..errors import AddressError
from .node import Node, shown
from .scalars import FUNCTION, Shape
from .value import List, Sexp
from .variants import Case, Variant

T = TypeVar("T")

_DEEPEST = 200
"""How deep an address may be inside of others, in lists: 100 layers of TLS."""


class Fields(Shape[T]):
    """A dataclass as the tuple of its fields, or as its field if it has one.

    cls: the dataclass. shapes: those of its positional fields, in order. optional: a field that
    need not be there, and its shape; it is written after the others, and only if it is not None.
    """

    def __init__(
        self, cls: type[T], *shapes: Shape[Any], optional: tuple[str, Labelled[Any]] | None = None
    ) -> None:
        self.cls = cls
        self._shapes = shapes
        self._names = [field.name for field in fields(cls) if not field.kw_only]  # type: ignore[arg-type]
        self._optional = optional

    def to_sexp(self, value: T) -> Sexp:
        parts = self.parts_to_sexp(value)
        return parts[0] if len(self._shapes) == 1 else List(parts)

    def parts_to_sexp(self, value: T) -> list[Sexp]:
        """The fields, each for itself."""
        parts = [
            shape.to_sexp(getattr(value, name))
            for name, shape in zip(self._names, self._shapes, strict=True)
        ]
        if self._optional is not None:
            name, shape = self._optional
            given = getattr(value, name)
            if given is not None:
                parts.append(shape.to_sexp(given))
        return parts

    def of_sexp(self, node: Node) -> T:
        if len(self._shapes) == 1:
            return self.of_parts(node, [node])
        size = len(self._shapes)
        if not isinstance(node.sexp, List):
            raise node.refused(f"a list of {size} is expected, and this is an atom")
        count = len(node.sexp)
        if count != size and (count != size + 1 or not self._has_optional(node, size)):
            raise node.refused(f"a list of {size} is expected, and this is one of {count}")
        return self.of_parts(node, [node.item(at) for at in range(count)])

    @property
    def size(self) -> int:
        """How many fields there are."""
        return len(self._shapes)

    def of_parts(self, node: Node, parts: list[Node]) -> T:
        """Make a value of its fields. node: where they stand, all together."""
        values = [shape.of_sexp(part) for shape, part in zip(self._shapes, parts, strict=False)]
        more: dict[str, object] = {}
        if self._optional is not None and len(parts) > len(self._shapes):
            name, shape = self._optional
            more[name] = shape.of_sexp(parts[-1])
        try:
            return self.cls(*values, **more)
        except AddressError as error:
            if error.part in self._names:
                at = self._names.index(error.part)
                node = self._shapes[at].value_in(parts[at])
            raise node.refused(str(error)) from None

    def _has_optional(self, node: Node, at: int) -> bool:
        if self._optional is None:
            return False
        last = node.item(at).sexp
        return isinstance(last, List) and last[:1] == List((self._optional[1].tag,))


class Labelled(Shape[T]):
    """A value below a tag of its own, such as `(Port 80)`.

    tag: the tag. shape: that of the value.
    """

    def __init__(self, tag: str, shape: Shape[T]) -> None:
        self.tag = tag
        self._shape = shape
        self._variant: Variant[T] = Variant(f"({tag} ...)", Case(tag, shape, object))

    def to_sexp(self, value: T) -> Sexp:
        return List((self.tag, self._shape.to_sexp(value)))

    def of_sexp(self, node: Node) -> T:
        return self._variant.of_sexp(node)

    def value_in(self, node: Node) -> Node:
        return self._shape.value_in(node.item(1))


class Record(Shape[T]):
    """A dataclass as a record, `((domid 1)(port p))`: its fields by name, read in any order.

    cls: the dataclass. shapes: those of the fields, by name, in the order in which they are
    written.
    """

    def __init__(self, cls: Callable[..., T], **shapes: Shape[Any]) -> None:
        self.cls = cls
        self._shapes: Mapping[str, Shape[Any]] = shapes

    def to_sexp(self, value: T) -> Sexp:
        return List(
            List((name, shape.to_sexp(getattr(value, name))))
            for name, shape in self._shapes.items()
        )

    def of_sexp(self, node: Node) -> T:
        if not isinstance(node.sexp, List):
            raise node.refused("a list of fields is expected, such as ((name value)...)")
        values: dict[str, Any] = {}
        parts: dict[str, Node] = {}
        twice: list[str] = []
        unknown: list[str] = []
        for at in range(len(node.sexp)):
            field = node.item(at)
            name = self._name_of(field)
            if name not in self._shapes:
                unknown.append(name)
            elif name in values:
                twice.append(name)
            elif len(field.sexp) != 2:
                raise node.refused(f"the field {name} has no value")
            else:
                parts[name] = field.item(1)
                values[name] = self._shapes[name].of_sexp(parts[name])
        self._check(node, twice, unknown, values)
        try:
            return self.cls(**values)
        except AddressError as error:
            raise parts.get(error.part or "", node).refused(str(error)) from None

    def _name_of(self, field: Node) -> str:
        sexp = field.sexp
        if isinstance(sexp, List) and 1 <= len(sexp) <= 2:
            name = sexp[0]
            if isinstance(name, str):
                return name
        raise field.refused("a field is expected, which is a list of a name and a value")

    def _check(
        self, node: Node, twice: list[str], unknown: list[str], values: Mapping[str, object]
    ) -> None:
        missing = [name for name in self._shapes if name not in values]
        if twice:
            raise node.refused(f"given twice: {', '.join(twice)}")
        if unknown:
            names = ", ".join(map(shown, unknown[:5]))
            raise node.refused(f"no such field: {names}; there are {', '.join(self._shapes)}")
        if missing:
            raise node.refused(f"missing: {', '.join(missing)}")


class Nested(Shape[T]):
    """An address inside of another.

    read, written: functions that return its shapes, which are made later.
    """

    def __init__(self, read: Callable[[], Shape[T]], written: Callable[[], Shape[T]]) -> None:
        self._read = read
        self._written = written

    def to_sexp(self, value: T) -> Sexp:
        return self._written().to_sexp(value)

    def of_sexp(self, node: Node) -> T:
        if node.depth > _DEEPEST:
            raise node.refused("addresses are nested more than 100 deep")
        return self._read().of_sexp(node)


class Optional(Shape[T | None]):
    """A value that need not be there, as OCaml's option: `()` for None, else the value in a list.

    shape: that of the value.
    """

    def __init__(self, shape: Shape[T]) -> None:
        self._shape = shape

    def to_sexp(self, value: T | None) -> Sexp:
        return List(()) if value is None else List((self._shape.to_sexp(value),))

    def of_sexp(self, node: Node) -> T | None:
        if not isinstance(node.sexp, List) or len(node.sexp) > 1:
            raise node.refused("a list of none or one is expected")
        return self._shape.of_sexp(node.item(0)) if node.sexp else None

    def value_in(self, node: Node) -> Node:
        return node.item(0) if node.sexp else node


class Password(Shape[Callable[[bool], str] | None]):
    """The password of a key: `No_password`, or `(Password <fun>)`, which cannot be read."""

    def __init__(self) -> None:
        self._variant: Variant[Any] = Variant(
            "the password of a key",
            Case("Password", FUNCTION, object),
            Case("No_password", None, None),
        )

    def to_sexp(self, value: Callable[[bool], str] | None) -> Sexp:
        return "No_password" if value is None else List(("Password", FUNCTION.to_sexp(value)))

    def of_sexp(self, node: Node) -> Callable[[bool], str] | None:
        read: Callable[[bool], str] | None = self._variant.of_sexp(node)
        return read
