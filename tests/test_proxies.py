"""Proxies that the environment names."""

import pytest

from conduit import AddressError, client
from conduit.proxies import of_environment

HTTP = {"https_proxy": "http://proxy.example:3128"}


@pytest.mark.parametrize(
    ("target", "environ", "text"),
    [
        ("https://a.example", {}, "tls://a.example:443"),
        ("https://a.example", HTTP, "tls+connect+tcp://proxy.example:3128?to=a.example:443"),
        ("tls://a.example:9", HTTP, "tls+connect+tcp://proxy.example:3128?to=a.example:9"),
        (
            "tls://192.0.2.1:9?hostname=a.example",
            HTTP,
            "tls+connect+tcp://proxy.example:3128?hostname=a.example&to=192.0.2.1:9",
        ),
        ("tcp://a.example:9", HTTP, "tcp://a.example:9"),
        ("unix:/run/x", {"all_proxy": "socks5://p"}, "unix:/run/x"),
        ("tcp://a.example:9", {"ALL_PROXY": "p:1"}, "connect+tcp://p:1?to=a.example:9"),
        (
            "postgres://db",
            {"all_proxy": "socks5h://[::1]/"},
            "socks5+tcp://[::1]:1080?to=db:5432",
        ),
        (
            "http://a",
            {"http_proxy": "https://u:p@p"},
            "connect+tls://p:443?to=a:80&login_env=http_proxy",
        ),
        ("http://a", {"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, "tcp://a:80"),
    ],
)
def test_proxy_of_the_environment(target, environ, text):
    address = of_environment(target, environ)
    assert str(address) == text
    # Once is enough.
    if "+t" in text:
        assert of_environment(address, environ) == address


@pytest.mark.parametrize(
    ("excepted", "host", "direct"),
    [
        ("*", "a.example", True),
        ("example", "a.example", True),
        (".example", "a.example", True),
        ("*.example", "a.example", True),
        ("b, A.Example", "a.example", True),
        ("a.example:9", "a.example", True),
        ("a.example:8", "a.example", False),
        ("ample", "a.example", False),
        ("192.0.2.0/24", "192.0.2.7", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("192.0.2.0/24", "192.0.3.7", False),
        ("", "a.example", False),
    ],
)
def test_hosts_that_are_reached_without(excepted, host, direct):
    target = client.Host(host, 9)
    found = of_environment(target, {"all_proxy": "http://p", "no_proxy": excepted})
    assert (found == target) is direct


@pytest.mark.parametrize(
    "value", ["ftp://u:hush@p", "http://u:hush@", "http://u:hush@p:x", "hush@"]
)
def test_what_is_no_proxy_is_refused_and_not_shown(value):
    with pytest.raises(AddressError, match="the variable all_proxy names no proxy") as caught:
        of_environment("tcp://h:1", {"all_proxy": value})
    assert "hush" not in str(caught.value)


def test_what_is_no_well_known_service():
    with pytest.raises(AddressError, match="no well-known service 'nothing'"):
        of_environment("nothing://h", {})
