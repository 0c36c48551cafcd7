"""What is said of a text that is no address: where, why, and what may have been meant.

No message shows a secret: not what stands before an "@", nor the value of an option that this
package does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import AddressError
from .grammar import OPTIONS, SCHEMES, layers_of

_SHOWN = 80
_HIDDEN = "***"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,30}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def mistake(text: str, at: int, why: str, meant: str | None = None) -> AddressError:
    """The error for a text.

    at: where in the text the offending part starts, from 0. why: what is wrong with it. meant: the
    whole text that was meant, if that can be guessed.
    """
    guess = "" if meant is None else f"; did you mean {shown(meant)}?"
    return AddressError(f"{shown(text)} at column {at + 1}: {why}{guess}")


def shown(text: str) -> str:
    """A text in quotes as an error shows it: without secrets, and in short."""
    safe = _without_secrets(text)
    if len(safe) <= _SHOWN:
        return repr(safe)
    return f"{safe[:_SHOWN]!r}... ({len(text)} characters)"


def part(value: str) -> str:
    """A part of a text in quotes, in short."""
    return repr(value) if len(value) <= 40 else f"{value[:40]!r}..."


def is_word(name: str) -> bool:
    """Whether it looks like the name of an option, so that it may be shown."""
    return _WORD.fullmatch(name) is not None


def is_scheme(name: str) -> bool:
    """Whether it has the form of a scheme, known or not."""
    return _SCHEME.fullmatch(name) is not None


def has_user(text: str) -> bool:
    """Whether something stands before an "@" that would be a user in other schemes."""
    return _user(text, _end_of_trust(text)) is not None


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` is a misspelling of, if that is likely.

    Short words have to be nearer: `ftp` is none of `tcp`, but `tpc` is.
    """
    if not 2 < len(word) <= 20:
        return None
    best, least = None, 3
    for candidate in known:
        if len(candidate) < 3 or abs(len(candidate) - len(word)) > 2:
            continue
        distance = _distance(word, candidate)
        if len(candidate) == 3:
            # Of three letters, one that is another makes another word.
            likely = distance == 1 and (len(word) != 3 or sorted(word) == sorted(candidate))
        else:
            likely = distance <= (1 if len(candidate) < 6 else 2)
        if likely and distance < least:
            best, least = candidate, distance
    return best


def _without_secrets(text: str) -> str:
    trusted = _end_of_trust(text)
    safe = text if trusted == len(text) else text[:trusted] + _HIDDEN
    user = _user(text, trusted)
    if user is not None:
        start, at = user
        safe = text[:start] + _HIDDEN + safe[at:]
    return safe


def _end_of_trust(text: str) -> int:
    """Where the first value of an option starts that may be a secret; else the end."""
    at = text.find("?") + 1
    if not at:
        return len(text)
    for pair in text[at:].split("&"):
        name, equals, value = pair.partition("=")
        if pair and (name not in OPTIONS or "BEGIN" in value):
            return at + len(name) + 1 if equals and is_word(name) else at
        at += len(pair) + 1
    return len(text)


def _user(text: str, trusted: int) -> tuple[int, int] | None:
    """From where to where a user and a password stand, if there is an "@" after them."""
    if text.startswith(("/", ".", "@", "~")):
        return None  # a path, and no scheme
    scheme, colon, rest = text.partition(":")
    _, word = layers_of(scheme.lower())
    known = SCHEMES.get(word)
    if colon and known is not None and not known.authority:
        return None
    # A password may hold anything that separates; options that are all known are none.
    question = text.find("?")
    at = text.rfind("@", 0, question if question >= 0 and trusted == len(text) else len(text))
    if at < 0:
        return None
    if not is_scheme(scheme):
        return (0, at) if at else None
    start = 0
    if rest.startswith("//"):
        start = len(scheme) + 3
    elif known is not None:
        start = len(scheme) + 1
    return (start, at) if start < at else None


def _distance(one: str, other: str) -> int:
    """How many letters to add, drop, replace or swap with the next, to make one of the other."""
    older: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one):
        row = [i + 1]
        for j, b in enumerate(other):
            cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a != b))
            if i and j and a == other[j - 1] and b == one[i - 1]:
                cost = min(cost, older[j - 1] + 1)
            row.append(cost)
        older, last = last, row
    return last[-1]
