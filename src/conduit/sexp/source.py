"""The text that s-expressions came from, and where in it something stands."""

from __future__ import annotations

from ..errors import SexpError


class Source:
    """A text. Lists that were read from it keep it, and ask it only when there is an error."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def place(self, at: int) -> tuple[int, int]:
        """The line and the column of a character, both from 1."""
        line = self.text.count("\n", 0, at) + 1
        return line, at - self.text.rfind("\n", 0, at)

    def error_at(self, at: int, why: str) -> SexpError:
        """The error for what stands at a character."""
        line, column = self.place(at)
        return SexpError(f"line {line}, column {column}: {why}", line=line, column=column)
