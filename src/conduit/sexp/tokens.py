"""The words that an s-expression is made of, as regular expressions.

They have possessive repeats only, so that no text takes more than linear time.
"""

from __future__ import annotations

import re

# To its end, or to the end of the text if it has none.
_QUOTED = r'"[^"\\]*+(?:\\[\s\S][^"\\]*+)*+(?:"|\\?\Z)'

# A list of nothing but bare atoms of ASCII, as most lists are; str.split can do the rest.
_SIMPLE_LIST = r"\([ \t\n\f!$-'*-:<-{}~]*+\)"

# After blanks, one of: a simple list, a parenthesis, a quoted atom, a comment of a line, the start
# of the other comments, a bare atom, a carriage return without its line feed, the end. Nothing is
# left over.
TOKEN = re.compile(
    r"(?:[ \t\n\f]++|\r\n)*+"
    rf"({_SIMPLE_LIST}|[()]|{_QUOTED}|;[^\r\n]*+|#[;|]|[^ \t\n\f\r()\";]++|\r|\Z)"
)

_TERMINATED = re.compile(r'"[^"\\]*+(?:\\[\s\S][^"\\]*+)*+"')

# What matters inside of a block comment.
IN_COMMENT = re.compile(rf"{_QUOTED}|#\||\|#")

# What follows a backslash: three digits, two hexadecimal ones, the end of a line with the blanks
# that start the next, or anything else.
_ESCAPE = re.compile(rb"\\(?:[0-9]{3}|x[0-9A-Fa-f]{2}|\r?\n[ \t]*+|[\s\S])")

_MEANING = {
    b"\\n": b"\n",
    b"\\t": b"\t",
    b"\\r": b"\r",
    b"\\b": b"\b",
    b'\\"': b'"',
    b"\\'": b"'",
    b"\\\\": b"\\",
    b"\\\r": b"\r",
    **{b"\\%03d" % byte: bytes((byte,)) for byte in range(256)},
    **{b"\\x%02x" % byte: bytes((byte,)) for byte in range(256)},
}


def is_terminated(quoted: str) -> bool:
    """Whether a quoted atom ends with its quote, and not because the text does."""
    return _TERMINATED.fullmatch(quoted) is not None


def unquoted(quoted: str) -> str:
    """The atom that a quoted one stands for. Raises ValueError, which says what is wrong."""
    inside = quoted[1:-1]
    if "\\" not in inside:
        return inside
    if "\\\\" not in inside:  # then each backslash starts an escape; these are most of them
        simple = inside.replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t")
        if "\\" not in simple:
            return simple
    found = inside.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(_meaning, found).decode("utf-8", "surrogateescape")


def _meaning(found: re.Match[bytes]) -> bytes:
    escape = found[0]
    meaning = _MEANING.get(escape)
    if meaning is not None:
        return meaning
    if len(escape) == 4 and escape[1:].isdigit():
        raise ValueError(f"{escape.decode()} is no byte: the highest is \\255")
    if escape[1:2].isdigit():
        raise ValueError(f"{escape.decode()} must have three digits")
    if escape[1:2] == b"x":
        if len(escape) < 4:
            raise ValueError("\\x must be followed by two hexadecimal digits")
        return _MEANING[escape.lower()]
    if b"\n" in escape:
        return b""
    return escape  # what has no meaning stands for itself


def mistake_in_atom(atom: str) -> str | None:
    """What is wrong with a bare atom, if anything."""
    if atom.startswith("|#"):
        return "|# ends a comment, but none was started"
    for mark in ("#|", "|#"):
        if mark in atom:
            return f"{mark} cannot be inside a bare atom: put the atom in quotes"
    return None
