"""The human form: lines and indentation as OCaml's `Sexp.to_string_hum` gives them.

There each list is a box of OCaml's `Format`, with a space that may become a line break between its
items, and an atom with newlines is a box of lines. `Format` reads this as a stream and decides at
each box and each space whether what follows fits: a box that does not fit is broken, and so is a
space before an item that does not fit, or that follows lines indented deeper than its own.

It looks ahead only as far as it must. So, what would just fill a line to its last column counts as
fitting only if `Format` had seen its end when it had to decide; `_Lines.seen` is how far it had
looked by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .pause import collector_paused
from .printer import escaped, printed
from .value import List, Sexp, checked

__all__ = ["to_string_hum"]

_MARGIN = 78
_DEEPEST = 68
"""No line is indented further, and no box is opened further right unless it must be."""


@dataclass(slots=True)
class _Long:
    """An atom with newlines, printed on as many lines. size: its characters, indentation apart."""

    lines: list[str]
    size: int


@dataclass(slots=True)
class _Box:
    """A list. size: its characters on one line; flat: that line, if it is short and of one line."""

    items: list[_Piece]
    size: int = 2
    flat: str | None = ""


_Piece: TypeAlias = str | _Long | _Box


def to_string_hum(sexp: Sexp, *, indent: int = 1) -> str:
    """Print an s-expression in the human form, on lines of up to 78 columns where that can be.

    sexp: a str or a `List`, of any depth. indent: how far the lines of a list stand to the right
        of its parenthesis (default 1).

    Raises TypeError for anything else.
    """
    sexp = checked(sexp)
    if isinstance(sexp, str):
        root: _Piece = _atom(sexp, {})
    else:
        with collector_paused():
            root = _measured(sexp)
    lines = _Lines(indent)
    lines.print(root)
    return "".join(lines.parts)


def _atom(atom: str, known: dict[str, str]) -> str | _Long:
    text = known.get(atom)
    if text is not None:
        return text
    # A newline at the end alone makes no lines.
    if "\n" in atom and atom.find("\n") != len(atom) - 1:
        lines = [escaped(line) for line in atom.split("\n")]
        return _Long(lines, 3 * len(lines) + sum(map(len, lines)))
    text = known[atom] = printed(atom)
    return text


def _measured(sexp: List) -> _Piece:
    """The pieces of a list with their sizes."""
    known: dict[str, str] = {}
    box = _Box([])
    around: list[tuple[_Box, Iterator[Sexp]]] = []
    rest = iter(sexp)
    while True:
        for item in rest:
            if isinstance(item, str):
                box.items.append(known.get(item) or _atom(item, known))
            elif not item:
                box.items.append("()")
            else:
                around.append((box, rest))
                box, rest = _Box([]), iter(item)
                break
        else:
            _measure(box)
            if not around:
                return box if box.items else "()"
            inner = box
            box, rest = around.pop()
            box.items.append(inner)


def _measure(box: _Box) -> None:
    flat: list[str] | None = []
    size = 1 + len(box.items)  # the parentheses and the spaces
    for item in box.items:
        if isinstance(item, str):
            text: str | None = item
            size += len(item)
        else:
            text = item.flat if isinstance(item, _Box) else None
            size += item.size
        if text is None or size > _MARGIN:
            flat = None
        elif flat is not None:
            flat.append(text)
    box.size = size
    box.flat = None if flat is None else f"({' '.join(flat)})"


class _Lines:
    """What has been printed, and where the next character goes."""

    __slots__ = ("column", "done", "indent", "line_indent", "parts", "seen")

    def __init__(self, indent: int) -> None:
        self.indent = indent
        self.parts: list[str] = []
        self.column = 0
        self.line_indent = 0
        # Characters printed, where a line break counts as the space that it stands for.
        self.done = 0
        # Of all characters, how many `Format` had read when it made its last decision.
        self.seen = 0

    def print(self, root: _Piece) -> None:
        """Print all of a piece."""
        if isinstance(root, str) or self._fits(root, 0):
            self._put(root)
            return
        if isinstance(root, _Long):
            self._put_long(root)
            return
        box, left = root, self._open()
        rest = iter(range(len(box.items)))
        around: list[tuple[_Box, int, Iterator[int]]] = []
        while True:
            for at in rest:
                item = box.items[at]
                if at:
                    self._space(item, left, is_last=at == len(box.items) - 1)
                if isinstance(item, str):
                    self._put(item)
                    continue
                if self._fits(item, left):
                    self._put(item)
                elif isinstance(item, _Long):
                    self._put_long(item)
                else:
                    around.append((box, left, rest))
                    box, left = item, self._open()
                    rest = iter(range(len(box.items)))
                    break
            else:
                self._put(")")
                if not around:
                    return
                box, left, rest = around.pop()

    def _open(self) -> int:
        """Start a list that is broken; returns where its lines start."""
        left = self.column + self.indent
        self._put("(")
        return left

    def _fits(self, piece: _Box | _Long, left: int) -> bool:
        """Begin a box; whether it is kept on one line. left: where the lines of its list start."""
        room, end = _MARGIN - self.column, self.done + piece.size
        has_seen_all = end < self.seen
        if not has_seen_all:
            self.seen = max(self.seen, min(end + 1, self.done + room))
        if self.column > _DEEPEST and left < self.column:
            self._new_line(left)
        # What was decided before its end had been seen is not changed by the new line's room.
        return piece.size <= _MARGIN - self.column if has_seen_all else piece.size < room

    def _space(self, item: _Piece, left: int, *, is_last: bool) -> None:
        """Print the space before an item, or a line break for it."""
        # What the item takes: the space, itself, and the parenthesis or space after it.
        size = 2 + (len(item) if isinstance(item, str) else item.size)
        room = _MARGIN - self.column
        end = self.done + size - (not is_last)
        has_seen_all = end < self.seen
        if not has_seen_all:
            self.seen = max(self.seen, min(end + 1, self.done + room))
        fits = size <= room if has_seen_all or not is_last else size < room
        if not fits or self.line_indent > left:
            self._new_line(left)
        else:
            self.parts.append(" ")
            self.column += 1
        self.done += 1

    def _new_line(self, left: int) -> None:
        self.line_indent = self.column = min(left, _DEEPEST)
        self.parts += "\n", " " * self.column

    def _put(self, piece: _Piece) -> None:
        """Print a piece on the line that has begun."""
        if isinstance(piece, _Long):
            self._put_long(piece)
            return
        text = piece if isinstance(piece, str) else piece.flat
        if text is not None:
            self.parts.append(text)
            self.column += len(text)
            self.done += len(text)
            return
        assert isinstance(piece, _Box)
        self._put("(")
        for at, item in enumerate(piece.items):  # 39 deep at most, since it fits a line
            if at:
                self._put(" ")
            self._put(item)
        self._put(")")

    def _put_long(self, atom: _Long) -> None:
        left = self.column
        self.parts.append(' "' + atom.lines[0])
        self.column += 2 + len(atom.lines[0])
        for line in atom.lines[1:]:
            self.parts.append("\\")
            self._new_line(left)
            self.parts.append("\\n" + line)
            self.column += 2 + len(line)
        self.parts.append('"')
        self.column += 1
        self.done += atom.size
