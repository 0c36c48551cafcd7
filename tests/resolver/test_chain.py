"""Resolvers in a row."""

from typing import Any

import pytest

import conduit
from conduit import endp, resolver
from conduit.resolver import Chain


class Mine:
    """Another package's resolver: `resolve_all` is all it takes."""

    def __init__(self, found):
        self.found = found
        self.asked = []

    async def resolve_all(self, uri):
        self.asked.append(uri)
        return self.found


ONE = endp.TCP("192.0.2.1", 80)
TWO = endp.TCP("192.0.2.2", 80)


async def test_first_that_knows_has_its_way():
    first, second = Mine([endp.Unknown("not here")]), Mine([endp.Unknown("never"), TWO, ONE])
    third = Mine([ONE])
    chain = Chain(first, second, third)
    assert await chain.resolve_all("http://h/x") == [TWO, ONE]
    assert await chain.resolve_uri("http://h/x") == TWO
    assert first.asked == second.asked == ["http://h/x", "http://h/x"]
    assert not third.asked


async def test_joined_by_a_bar():
    chain = resolver.static({"a": "192.0.2.1"}) | resolver.static({"b": "192.0.2.2"}) | Mine([])
    assert await chain.resolve_uri("http://a") == ONE
    assert await chain.resolve_uri("http://b") == TWO
    longer = chain | Mine([ONE])
    assert await longer.resolve_uri("http://c") == ONE
    assert repr(longer).count(" | <") >= 3


async def test_reasons_of_all():
    chain = Chain(Mine([endp.Unknown("x")]), Mine([endp.Unknown("y")]), Mine([endp.Unknown("x")]))
    assert await chain.resolve_all("http://h") == [endp.Unknown("x; y")]
    assert await Chain().resolve_all("http://h") == [endp.Unknown("nobody was asked")]


async def test_mistake_is_not_hidden_by_the_next():
    class Broken:
        async def resolve_all(self, uri):
            raise KeyError(uri)

    with pytest.raises(KeyError):
        await Chain(Broken(), Mine([ONE])).resolve_uri("http://h")
    with pytest.raises(conduit.AddressError):
        await (resolver.static({}) | Mine([ONE])).resolve_uri("no uri")


def test_what_is_no_resolver():
    wrong: Any = 80
    with pytest.raises(TypeError):
        resolver.static({}) | wrong
