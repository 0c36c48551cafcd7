"""Addresses to connect to; what they share with the others is in test_fields.py."""

from ipaddress import ip_address

import pytest

from conduit import client

TLS = [client.TLS, client.TLSNative, client.OpenSSL]


@pytest.mark.parametrize("cls", TLS)
def test_config_of_the_tls_addresses(cls):
    config = cls("h", "192.0.2.1", 443).config
    assert config == client.TLSConfig("h", "192.0.2.1", 443)
    assert type(config) is client.TLSConfig
    assert (config.hostname, config.ip, config.port) == ("h", ip_address("192.0.2.1"), 443)


@pytest.mark.parametrize("cls", TLS)
def test_tls_addresses_are_of_their_own_class_alone(cls):
    address = cls("h", "::1", 443)
    assert not isinstance(address, client.TLSConfig)
    assert [c for c in TLS if isinstance(address, c)] == [cls]
    assert isinstance(address, client.Client)


def test_configuration_is_no_address():
    assert not isinstance(client.TLSConfig("h", "::1", 443), client.Client)


def test_matches_by_position():
    match client.TLS("h", "::1", 443):
        case client.OpenSSL():
            pytest.fail("that is another stack")
        case client.TLS(hostname, ip, port):
            assert (hostname, str(ip), port) == ("h", "::1", 443)
        case _:
            pytest.fail("no match")


def test_same_ip_written_in_two_ways_is_the_same_address():
    assert client.TCP("2001:DB8:0::1", 80) == client.TCP(ip_address("2001:db8::1"), 80)


def test_nesting():
    inner = client.TLSOver("outer", client.Host("proxy", 443))
    assert client.TLSOver("inner", inner).client == inner
