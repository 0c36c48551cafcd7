"""A service: what a scheme such as `https` stands for, and the functions that know services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import TypeAlias

from .. import _fields as kind
from .._fields import Record, check


@dataclass(frozen=True, slots=True, repr=False)
class Service(Record):
    """What a scheme stands for.

    name: the scheme, such as "https". port: the TCP port, 0 to 65535: the usual one, or, in what a
    rewrite function is given, the one to connect to. tls: whether TLS begins at once (default no;
    a protocol that changes to TLS later, as SMTP's STARTTLS does, has none here).

    Raises AddressError for a part that cannot be.
    """

    name: str
    port: int
    tls: bool = False

    def __post_init__(self) -> None:
        check(self, name=kind.name, port=kind.port)


ServiceFn: TypeAlias = Callable[[str], Service | Awaitable[Service | None] | None]
"""A service function: from a scheme in small letters to its service, or None; plain or async."""


class Services:
    """Service functions in a row: the first that knows a scheme has its way.

    functions: each maps a scheme to a `Service`, or to None for one that it does not know. A plain
    function runs on the event loop, so it must not block.

    It is a service function itself, and joins others by `|`: `mine | static_service`.
    """

    __slots__ = ("_functions",)

    def __init__(self, *functions: ServiceFn) -> None:
        for function in functions:
            if not callable(function):
                raise TypeError(f"a service function is called with a scheme: not {function!r}")
        self._functions: tuple[ServiceFn, ...] = tuple(
            inner
            for function in functions
            for inner in (function._functions if isinstance(function, Services) else (function,))
        )

    async def __call__(self, name: str) -> Service | None:
        """Ask one after the other. What a function raises is passed on."""
        for function in self._functions:
            answer = function(name)
            found: object = await answer if isawaitable(answer) else answer
            if isinstance(found, Service):
                return found
            if found is not None:
                raise TypeError(
                    f"{function!r} must return a resolver.Service or None, not {found!r}"
                )
        return None

    def __or__(self, other: ServiceFn) -> Services:
        return Services(self, other)

    def __ror__(self, other: ServiceFn) -> Services:
        return Services(other, self)

    def __repr__(self) -> str:
        names = (getattr(one, "__qualname__", repr(one)) for one in self._functions)
        return f"<services {' | '.join(names)}>"
