"""Block comments, `#| |#`, which may hold others: they are blanked out before a text is read."""

from __future__ import annotations

import re

from .source import Source
from .tokens import IN_COMMENT, TOKEN, is_terminated, unquoted

_NOT_NEWLINE = re.compile(r"[^\n]")


def without_block_comments(text: str) -> str:
    """The text with blanks for each `#| |#`, so that what is left stands where it stood.

    Raises SexpError for a comment that does not end.
    """
    parts: list[str] = []
    done = 0
    while (start := _next_block_comment(text, done)) is not None:
        end = _end_of_block_comment(text, start)
        parts += text[done:start], _NOT_NEWLINE.sub(" ", text[start:end])
        done = end
    return "".join((*parts, text[done:])) if parts else text


def _next_block_comment(text: str, at: int) -> int | None:
    if text.find("#|", at) < 0:
        return None
    for found in TOKEN.finditer(text, at):
        if found[1] == "#|":
            return found.start(1)
    return None


def _end_of_block_comment(text: str, start: int) -> int:
    depth = 1
    for found in IN_COMMENT.finditer(text, start + 2):
        word = found[0]
        if word == "#|":
            depth += 1
        elif word == "|#":
            depth -= 1
            if not depth:
                return found.end()
        elif not is_terminated(word):
            break
        else:
            try:
                unquoted(word)  # in strings of comments, too, escapes must be right
            except ValueError as error:
                raise Source(text).error_at(found.start(), str(error)) from None
    raise Source(text).error_at(start, "this comment has no end: |# is missing")
