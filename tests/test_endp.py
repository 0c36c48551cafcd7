"""Endpoints; what they share with the other addresses is in test_fields.py."""

import pytest

from conduit import endp
from conduit.errors import AddressError


def test_tls_over_a_name():
    address = endp.TLS("db.example", endp.Host("db.example", 5432))
    assert address.host == "db.example"
    assert address.endp == endp.Host("db.example", 5432)


def test_tls_nests():
    assert repr(endp.TLS("a", endp.TLS("b", endp.Unknown("")))) == (
        "endp.TLS('a', endp.TLS('b', endp.Unknown('')))"
    )


def test_unknown_holds_any_reason():
    assert endp.Unknown("no\tsuch\nhost").reason == "no\tsuch\nhost"
    with pytest.raises(AddressError, match=r"^endp\.Unknown: reason must be a str, not None$"):
        endp.Unknown(None)  # type: ignore[arg-type]
    with pytest.raises(AddressError, match=r"^endp\.Unknown: reason .* holds a NUL$"):
        endp.Unknown("\0")


def test_matches_by_position():
    match endp.TLS("h", endp.TCP("192.0.2.1", 443)):
        case endp.TLS(host, endp.TCP(ip, port)):
            assert (host, str(ip), port) == ("h", "192.0.2.1", 443)
        case _:
            pytest.fail("no match")
