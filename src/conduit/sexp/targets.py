"""Addresses that are written as s-expressions, where text is taken for an address."""

from __future__ import annotations

from typing import TypeVar

from .. import client, endp, server
from ..errors import SexpError
from .converter import CLIENT, ENDP, SERVER, Converter
from .reader import of_string
from .value import List, Sexp

__all__ = [
    "client_of_text",
    "endp_of_text",
    "is_sexp",
    "mode_of_text",
    "server_of_text",
    "target_of_text",
]

A = TypeVar("A")
B = TypeVar("B")

_BLANKS = " \t\n\r\f"
_STARTS = ("(", ";", "#|", "#;", '"')
_TAGS = frozenset(tag for converter in (CLIENT, SERVER, ENDP) for tag in converter.tags)


def is_sexp(text: str) -> bool:
    """Whether a text is meant for an s-expression, and not for an address such as `tcp://h:80`.

    text: any text. It is one if it starts with a parenthesis, a comment or a quote, perhaps after
        blanks, and if it is nothing but the tag of an address, such as `Systemd`.
    """
    text = text.strip(_BLANKS)
    return text.startswith(_STARTS) or text in _TAGS


def client_of_text(text: str) -> client.Client:
    """Read where to connect.

    text: one s-expression, such as `(TCP((IP 127.0.0.1)(Port 80)))`.

    Raises SexpError, with line and column, for what is none or says no client.
    """
    return CLIENT.of_sexp(of_string(text))


def server_of_text(text: str) -> server.Mode:
    """Read how to be reached.

    text: one s-expression, such as `(TCP(Port 80))`.

    Raises SexpError, with line and column, for what is none or says no server.
    """
    return SERVER.of_sexp(of_string(text))


def endp_of_text(text: str) -> endp.Endp:
    """Read where something is.

    text: one s-expression, such as `(TCP(127.0.0.1 80))`.

    Raises SexpError, with line and column, for what is none or says no endpoint.
    """
    return ENDP.of_sexp(of_string(text))


def target_of_text(text: str) -> client.Client | endp.Endp:
    """Read what `connect` takes: a client, or else an endpoint.

    text: one s-expression, such as `(TCP((IP 127.0.0.1)(Port 80)))` or `(TCP(127.0.0.1 80))`.
        None can be read both ways.

    Raises SexpError, with line and column, for what is neither. If only one of the two has such a
    tag, the error is that of this one; else it tells of both, first of the one that came further,
    whose part and place it has.
    """
    return _either(of_string(text), CLIENT, ENDP)


def mode_of_text(text: str) -> server.Mode | endp.Endp:
    """Read what `serve` takes: a server, or else an endpoint.

    text: one s-expression, such as `(TCP(Port 80))` or `(TCP(127.0.0.1 80))`. What can be read both
        ways (`(Vchan_direct(1 p))`) is a server, and says the same as the endpoint.

    Raises SexpError, with line and column, as `target_of_text` does.
    """
    return _either(of_string(text), SERVER, ENDP)


def _either(sexp: Sexp, one: Converter[A], another: Converter[B]) -> A | B:
    try:
        return one.of_sexp(sexp)
    except SexpError as error:
        first = error
    try:
        return another.of_sexp(sexp)
    except SexpError as error:
        second = error
    tag = sexp[0] if isinstance(sexp, List) and len(sexp) else sexp
    if tag not in another.tags:
        raise first
    if tag not in one.tags:
        raise second
    names = one.name, another.name
    if _place(second) > _place(first):
        first, second, names = second, first, (another.name, one.name)
    raise SexpError(
        f"as {names[0]}: {first}; as {names[1]}: {second}",
        sexp=first.sexp,
        line=first.line,
        column=first.column,
    )


def _place(error: SexpError) -> tuple[int, int]:
    return error.line or 0, error.column or 0
