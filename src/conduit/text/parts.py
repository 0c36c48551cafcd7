"""Taking a text apart: layers of TLS, the scheme, what it says, and the options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ..errors import AddressError
from .grammar import DEEPEST, LONGEST, MOST_DIGITS, PROXIES, SCHEMES, TLS, Side, layers_of
from .guesses import unreadable
from .mistakes import mistake, part
from .query import Raw, check_places, coded, refuse_call_options, split

T = TypeVar("T")

_NOT_SEEN = frozenset(("Cc", "Cf", "Zl", "Zp", "Zs"))
"""The categories of white space, controls, and marks without a form."""

_NO_OPTIONS: dict[str, Raw] = {}


class Parts:
    """A text whose scheme and options are known.

    layers: of TLS, also that of a scheme such as `tls:`, and of proxies, the outermost first. body:
    what is between the scheme's colon and the options, and `at` where it starts.
    """

    __slots__ = ("at", "body", "layers", "options", "scheme", "side", "text")

    def __init__(
        self,
        text: str,
        side: Side,
        layers: Sequence[str],
        scheme: str,
        body: str,
        options: dict[str, Raw],
    ) -> None:
        self.text = text
        self.side: Side = side
        self.layers = layers
        self.scheme = scheme
        self.body = body
        self.at = text.index(":") + 1
        self.options = options

    def mistake(self, at: int, why: str, body: str | None = None) -> AddressError:
        """The error for this text. body: what was meant in place of the body."""
        if body is None:
            return mistake(self.text, at, why)
        rest = self.text[self.at + len(self.body) :]
        return mistake(self.text, at, why, f"{self.text[: self.at]}{body}{rest}")

    def made(self, at: int, make: Callable[..., T], *fields: object) -> T:
        """Make an address of fields that its constructor may refuse."""
        try:
            return make(*fields)
        except AddressError as error:
            why = str(error).partition(": ")[2]
        raise mistake(self.text, at, why)

    def value(self) -> str:
        """The body as one name or path."""
        return coded(self.text, self.body, self.at)

    def pair(self, form: str) -> tuple[Raw, str]:
        """The body as two parts with a slash between them, the first as it is written."""
        first, slash, second = self.body.partition("/")
        if not slash:
            end = self.at + len(self.body)
            raise self.mistake(end, f"the port is missing: write {self.scheme}:{form}")
        port = coded(self.text, second, self.at + len(first) + 1)
        return Raw(first, self.at), port

    def number(self, what: str, raw: Raw, highest: int | None = None) -> int:
        """A number of the address."""
        value, at = raw
        if not value:
            raise self.mistake(at, f"the {what} is missing")
        if not (value.isascii() and value.isdigit()):
            raise self.mistake(at, f"{what} {part(value)} is not a number")
        try:
            if len(value) > MOST_DIGITS:
                raise ValueError
            number = int(value)
        except ValueError:
            raise self.mistake(at, f"{what} has {len(value)} digits, which are too many") from None
        if highest is not None and number > highest:
            raise self.mistake(at, f"{what} {part(value)[1:-1]} is outside 0..{highest}")
        return number


def take_apart(text: object, side: Side, *, alone: bool = False) -> Parts:
    """Find scheme and options, and check that they may stand where they do.

    side: what the text is read as. alone: whether it has to be an address without more.
    """
    if not isinstance(text, str):
        raise AddressError(f"an address as text must be a str, not {type(text).__name__}")
    if len(text) > LONGEST:
        raise mistake(text, LONGEST, f"it has {len(text)} characters, and may have {LONGEST}")
    if not text.isprintable() or " " in text:
        _check_blanks(text)
    scheme, colon, rest = text.partition(":")
    layers: list[str] = []
    start = 0
    if scheme not in SCHEMES and scheme.isascii():  # lower() makes a "k" of the sign for kelvin
        layers, scheme = layers_of(scheme.lower())
        start = sum(len(layer) + 1 for layer in layers)
    known = SCHEMES.get(scheme)
    if known is None or not colon:
        raise unreadable(text, side)
    if side not in known.sides:
        raise mistake(text, start, _wrong_side(scheme, side))
    if side != "client":
        _check_no_proxy(text, layers, side)
    if known.tls:
        layers.append(TLS)
    if len(layers) > DEEPEST:
        what = "TLS and proxies" if set(layers) - {TLS} else "TLS"
        raise mistake(text, 0, f"there are {len(layers)} layers of {what}, and may be {DEEPEST}")
    at = len(text) - len(rest)
    if "#" in rest:
        why = "'#' has no meaning in an address; as a character it is %23"
        raise mistake(text, text.index("#"), why)
    body, question, _ = rest.partition("?")
    options = _NO_OPTIONS
    if question:
        options = split(text, at + len(body) + 1)
    parts = Parts(text, side, layers, scheme, body, options)
    if options:
        check_places(text, options, side, scheme, layers)
        if alone:
            refuse_call_options(text, options, side)
    _check_slashes(parts, known.authority)
    return parts


def _check_no_proxy(text: str, layers: Sequence[str], side: Side) -> None:
    at = 0
    for layer in layers:
        if layer in PROXIES:
            kind = "an endpoint does not say" if side == "endp" else "a server does not know"
            raise mistake(text, at, f"{kind} by which proxy it is reached, as {layer}+ does")
        at += len(layer) + 1


def _check_slashes(parts: Parts, authority: bool) -> None:
    body, at = parts.body, parts.at
    if authority:
        if "@" in body:
            start = 2 if body.startswith("//") else 0
            raise parts.mistake(
                at + start,
                "an address has no user and no password",
                f"//{body[body.rindex('@') + 1 :]}",
            )
        if not body.startswith("//"):
            why = f"'//' is missing after {parts.scheme}:"
            raise parts.mistake(at, why, f"//{body.lstrip('/')}")
    elif body.startswith("//"):
        if parts.scheme != "unix":
            why = f"no '//' comes after {parts.scheme}:"
            raise parts.mistake(at, why, body.lstrip("/"))
        if not body.startswith("///"):
            why = "a path comes after unix:, with no host before it"
            raise parts.mistake(at, why, body[1:])
        # As in file:///run/x.
        parts.body, parts.at = body[2:], at + 2


def _check_blanks(text: str) -> None:
    """Refuse white space and what cannot be seen. What is no character yet is let pass."""
    from unicodedata import category  # not needed for a text that is right

    for at, char in enumerate(text):
        if char == " " or (not char.isprintable() and category(char) in _NOT_SEEN):
            code = "".join(f"%{byte:02X}" for byte in char.encode())
            inside = text.strip()
            meant = inside if inside and inside.isprintable() and " " not in inside else None
            raise mistake(text, at, f"{char!r} stands here; in an address it is {code}", meant)


def _wrong_side(scheme: str, side: Side) -> str:
    if scheme == "unknown":
        return (
            "unknown: is what an unresolved name becomes; there is nothing to connect to or serve"
        )
    if side == "endp" and scheme in ("openssl", "tls-native"):
        return f"an endpoint does not say which TLS stack to use, as {scheme}: does; use tls:"
    kind = "an endpoint" if side == "endp" else "an address to connect to"
    return f"{scheme}: is a way to serve, not {kind}"
