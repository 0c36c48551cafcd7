"""Text of a help page that keeps its lines."""

from __future__ import annotations

_AS_IT_IS = "\b"
"""What click takes for: do not fill this paragraph."""


def paragraphs(*texts: str) -> str:
    """Join paragraphs that are shown as they are, indented below their first line."""
    shown: list[str] = []
    for text in texts:
        head, *lines = text.splitlines()
        shown.append("\n".join([_AS_IT_IS, head, *(f"  {line}" for line in lines)]))
    return "\n\n".join(shown)
