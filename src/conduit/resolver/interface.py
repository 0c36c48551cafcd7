"""What a resolver is to `connect`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..endp import Endp


@runtime_checkable
class Resolves(Protocol):
    """Anything that can be given as `resolver=` to `conduit.init`: it has `resolve_all`."""

    async def resolve_all(self, uri: str, /) -> list[Endp]:
        """Find where a URI leads, the preferred endpoint first.

        uri: of a service ("https://example.com"), or the text of an endpoint with a name in it
        ("tcp://db.example:5432").

        What cannot be found is a list of `endp.Unknown` with the reason. Raises AddressError for
        what is no URI. It may be called by several tasks at once, and from any event loop.
        """
        ...
