"""The table of well-known services."""

import pytest

from conduit.resolver import Service, static_service
from conduit.resolver.well_known import WELL_KNOWN
from conduit.text import is_service

# Ports of the registry of IANA, or, where it has none, what the servers document.
OF_THE_REGISTRY = {
    "http": (80, False), "https": (443, True), "ws": (80, False), "wss": (443, True),
    "smtp": (25, False), "submission": (587, False), "submissions": (465, True),
    "smtps": (465, True), "imap": (143, False), "imaps": (993, True), "pop3": (110, False),
    "pop3s": (995, True), "ldap": (389, False), "ldaps": (636, True), "ftp": (21, False),
    "ftps": (990, True), "telnet": (23, False), "telnets": (992, True), "nntp": (119, False),
    "nntps": (563, True), "irc": (6667, False), "ircs": (6697, True), "sip": (5060, False),
    "sips": (5061, True), "xmpp": (5222, False), "xmpps": (5223, True), "mqtt": (1883, False),
    "mqtts": (8883, True), "secure-mqtt": (8883, True), "amqp": (5672, False),
    "amqps": (5671, True), "redis": (6379, False), "rediss": (6379, True),
    "postgres": (5432, False), "postgresql": (5432, False), "postgresqls": (5432, True),
    "mysql": (3306, False), "mongodb": (27017, False), "nats": (4222, False),
    "etcd": (2379, False), "ssh": (22, False), "domain": (53, False), "domain-s": (853, True),
    "gemini": (1965, True), "rtsp": (554, False), "rtsps": (322, True), "ipp": (631, False),
    "ipps": (631, True), "turns": (5349, True), "coaps+tcp": (5684, True),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_THE_REGISTRY)
async def test_port_and_tls(name):
    assert await static_service(name) == Service(name, *OF_THE_REGISTRY[name])


async def test_what_is_not_there():
    for name in ("", "nosuch", "HTTP", "mongodb+srv"):
        assert await static_service(name) is None


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_each_can_be_written(name):
    """None is taken for an address of ours, or for one that was misspelt."""
    assert is_service(f"{name}://h")
    assert WELL_KNOWN[name].name == name
    assert WELL_KNOWN[name].port


def test_what_ends_as_a_secure_one_does_has_tls():
    for name, service in WELL_KNOWN.items():
        if name.endswith("s") and name.removesuffix("s") in WELL_KNOWN:
            assert service.tls, name
            assert not WELL_KNOWN[name.removesuffix("s")].tls
