"""The text that s-expressions came from, and where in it something stands.

Nothing is counted while a text is read: a list only knows the number of its first token. What that
is in lines and columns is found out when there is an error, and then kept for the next one.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left

from ..errors import SexpError
from .tokens import TOKEN


class Source:
    """A text without block comments."""

    __slots__ = ("_newlines", "_tokens", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens: array[int] | None = None
        self._newlines: array[int] | None = None

    def start_of(self, token: int) -> int:
        """The character that a token starts at; tokens are counted from 0."""
        if self._tokens is None:
            self._tokens = array("q", (found.start(1) for found in TOKEN.finditer(self.text)))
        return self._tokens[token]

    def items_of(self, start: int | None) -> list[tuple[int, bool]]:
        """Where each item starts of the list that starts at a token, and whether `#;` takes it out.

        start: the token; None for the whole text.
        """
        items: list[tuple[int, bool]] = []
        depth = commented = 0
        first = 0 if start is None else self.start_of(start) + 1
        for found in TOKEN.finditer(self.text, first):
            token = found[1]
            if token == ")":
                depth -= 1
                if depth < 0:
                    break
            elif not token or token[0] == ";":
                continue
            elif token == "#;":
                commented += not depth
            else:
                if not depth:
                    items.append((found.start(1), commented > 0))
                    commented -= commented > 0
                depth += token == "("
        return items

    def item_of(self, start: int | None, item: int) -> int:
        """Where an item starts of the list that starts at a token, or of the whole text."""
        return [at for at, commented in self.items_of(start) if not commented][item]

    def place(self, at: int) -> tuple[int, int]:
        """The line and the column of a character, both from 1."""
        if self._newlines is None:
            newlines = re.finditer("\n", self.text)
            self._newlines = array("q", (found.start() for found in newlines))
        line = bisect_left(self._newlines, at)
        return line + 1, at - (self._newlines[line - 1] if line else -1)

    def error_at(self, at: int, why: str) -> SexpError:
        """The error for what stands at a character."""
        line, column = self.place(at)
        return SexpError(f"line {line}, column {column}: {why}", line=line, column=column)
