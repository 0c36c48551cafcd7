"""The machine form: the shortest text, as OCaml's `Sexp.to_string` prints it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .value import Sexp, checked

__all__ = ["to_string"]

# Printable ASCII without  " ( ) ; \
_PLAIN = re.compile(r"[!#-'*-:<-\[\]-~]+")

_NAMED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b"}
_ESCAPED = {
    byte: _NAMED.get(chr(byte), f"\\{byte:03d}")
    for byte in range(256)
    if not 0x20 <= byte < 0x7F or chr(byte) in _NAMED
}


def to_string(sexp: Sexp) -> str:
    """Print an s-expression in the machine form, which is pure ASCII.

    sexp: a str or a `List`, of any depth.

    Raises TypeError for anything else.
    """
    sexp = checked(sexp)
    if isinstance(sexp, str):
        return printed(sexp)
    bare: set[str] = set()
    quoted: dict[str, str] = {}
    parts = ["("]
    put = parts.append
    after_bare = False
    around: list[Iterator[Sexp]] = []
    items = iter(sexp)
    while True:
        for item in items:
            if not isinstance(item, str):
                put("(")
                after_bare = False
                around.append(items)
                items = iter(item)
                break
            if item not in bare:
                text = quoted.get(item) or printed(item)
                if text != item:
                    quoted[item] = text
                    put(text)
                    after_bare = False
                    continue
                bare.add(item)
            if after_bare:
                put(" ")
            put(item)
            after_bare = True
        else:
            put(")")
            after_bare = False
            if not around:
                return "".join(parts)
            items = around.pop()


def printed(atom: str) -> str:
    """An atom as it is printed: itself, or in quotes where it must be."""
    if _PLAIN.fullmatch(atom) and "#|" not in atom and "|#" not in atom:
        return atom
    return f'"{escaped(atom)}"'


def escaped(text: str) -> str:
    """What stands between the quotes of an atom."""
    if not text.isascii():
        text = text.encode("utf-8", "surrogateescape").decode("latin-1")
    return text.translate(_ESCAPED)
