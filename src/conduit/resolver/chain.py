"""Resolvers in a row: the first that knows has its way."""

from __future__ import annotations

from typing import cast

from .. import endp
from .interface import Resolves


class Chained:
    """What every resolver of ours has: `resolve_uri`, and `|`, which makes a `Chain`."""

    __slots__ = ()

    def __or__(self, other: Resolves) -> Chain:
        if not isinstance(other, Resolves):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        return Chain(cast("Resolves", self), other)


class Chain(Chained):
    """Resolvers that are asked one after the other, until one knows: `static(hosts) | system()`.

    resolvers: the one to ask first comes first.

    What a resolver raises is passed on, and the next is not asked.
    """

    __slots__ = ("_resolvers",)

    def __init__(self, *resolvers: Resolves) -> None:
        self._resolvers: tuple[Resolves, ...] = tuple(
            inner
            for one in resolvers
            for inner in (one._resolvers if isinstance(one, Chain) else (one,))
        )

    async def resolve_uri(self, uri: str) -> endp.Endp:
        """As of a `Resolver`."""
        return (await self.resolve_all(uri))[0]

    async def resolve_all(self, uri: str) -> list[endp.Endp]:
        """As of a `Resolver`; if none knows, the reasons of all are in that of the Unknown."""
        reasons: dict[str, None] = {}
        for resolver in self._resolvers:
            found = await resolver.resolve_all(uri)
            known: list[endp.Endp] = [one for one in found if not isinstance(one, endp.Unknown)]
            if known:
                return known
            reasons |= dict.fromkeys(one.reason for one in found if isinstance(one, endp.Unknown))
        return [endp.Unknown("; ".join(reasons) or "nobody was asked")]

    def __repr__(self) -> str:
        return " | ".join(map(repr, self._resolvers))
