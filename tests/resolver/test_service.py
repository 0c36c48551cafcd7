"""Services, and service functions in a row."""

from typing import Any

import pytest

from conduit import resolver
from conduit.errors import AddressError
from conduit.resolver import Service, Services, static_service


def mine(name):
    return Service("mine", 4711) if name == "mine" else None


async def other(name):
    return Service(name, 1, True) if name in ("mine", "other") else None


def test_plain_data():
    service = Service("https", 443, True)
    assert service == Service("https", 443, tls=True)
    assert repr(service) == str(service) == "Service('https', 443, True)"
    assert not Service("http", 80).tls
    with pytest.raises(AddressError, match="Service: port 65536 is outside"):
        Service("x", 65536)


@pytest.mark.parametrize(
    "services",
    [
        Services(mine, other),
        Services(mine) | other,
        mine | Services(other),
        Services(Services(mine), other),
    ],
    ids=["in a row", "after", "before", "nested"],
)
async def test_first_that_knows_has_its_way(services):
    assert await services("mine") == Service("mine", 4711)
    assert await services("other") == Service("other", 1, True)
    assert await services("third") is None


async def test_joining_changes_neither():
    first = Services(mine)
    joined = first | other
    assert await first("other") is None
    assert await joined("other") is not None
    assert repr(joined) == "<services mine | other>"


async def test_mine_before_the_table():
    def https(name):
        return Service("https", 8443, True) if name == "https" else None

    services = https | static_service
    assert await services("https") == Service("https", 8443, True)
    assert await services("http") == Service("http", 80)


async def test_no_functions_know_nothing():
    assert await Services()("http") is None


async def test_what_is_no_service_is_told():
    wrong: Any = 80
    with pytest.raises(TypeError, match=r"must return a resolver\.Service or None, not 80"):
        await Services(lambda name: wrong)("http")
    with pytest.raises(TypeError, match="a service function is called with a scheme: not 80"):
        Services(wrong)
    with pytest.raises(TypeError):
        static_service | wrong


async def test_service_function_of_a_resolver_can_be_replaced():
    r = resolver.system()
    assert await r.service("mine") is None
    r.service = mine | r.service
    assert await r.service("mine") == Service("mine", 4711)
    assert await r.service("http") == Service("http", 80)
