"""Addresses to listen on; what they share with the others is in test_fields.py."""

import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from conduit import server
from conduit.errors import AddressError

TLS = [server.TLS, server.TLSNative, server.OpenSSL]


def ask(_encrypting: bool) -> str:
    return "secret"


@pytest.fixture
def sock():
    with socket.socket() as sock:
        yield sock


# TCP ----------------------------------------------------------------------------------------------


def test_port_may_be_written_short():
    assert server.TCP(8080) == server.TCP(server.Port(8080))
    assert server.TCP(8080).config == server.Port(8080)
    assert server.TCP(8080).ip is None


def test_ip_is_given_by_name_only():
    assert server.TCP(8080, ip="127.0.0.1").ip == ip_address("127.0.0.1")
    with pytest.raises(TypeError):
        server.TCP(8080, "127.0.0.1")  # type: ignore[call-arg]


def test_ip_tells_two_addresses_apart():
    assert server.TCP(8080, ip="127.0.0.1") != server.TCP(8080)
    assert server.TCP(8080, ip="::1") == server.TCP(8080, ip=ip_address("::1"))


def test_matches_by_position():
    match server.TCP(8080, ip="127.0.0.1"):
        case server.TCP(server.Port(port)):
            assert port == 8080
        case _:
            pytest.fail("no match")


def test_socket_object_is_kept_compared_and_hashed_as_itself(sock):
    address = server.TCP(server.Socket(sock))
    assert isinstance(address.config, server.Socket)
    assert address.config.sock_or_fd is sock
    assert address == server.TCP(server.Socket(sock))
    assert hash(address) == hash(server.TCP(server.Socket(sock)))
    with socket.socket() as other:
        assert address != server.TCP(server.Socket(other))


def test_socket_has_its_own_address(sock):
    with pytest.raises(AddressError, match=r"^server\.TCP: a Socket has its own address"):
        server.TCP(server.Socket(sock), ip="127.0.0.1")


def test_bare_socket_is_told_of_its_wrapper(sock):
    with pytest.raises(AddressError, match=r"use server\.Socket\(sock\)$"):
        server.TCP(sock)


@pytest.mark.parametrize("value", [-1, True, None, "3"])
def test_socket_is_a_socket_or_a_number(value):
    with pytest.raises(AddressError, match=r"^server\.Socket: sock_or_fd "):
        server.Socket(value)


# TLS ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", TLS)
def test_config_of_the_tls_addresses(cls):
    address = cls("a.crt", "a.key", ask, 443, ip="::1")
    assert address.config == server.TLSConfig("a.crt", "a.key", ask, 443)
    assert address.ip == ip_address("::1")
    assert cls("a.crt", "a.key", ask, 443).ip is None


@pytest.mark.parametrize("cls", TLS)
def test_tls_addresses_are_of_their_own_class_alone(cls):
    address = cls("a.crt", "a.key", None, 443)
    assert not isinstance(address, server.TLSConfig)
    assert [c for c in TLS if isinstance(address, c)] == [cls]
    assert isinstance(address, server.Mode)


def test_parts_are_no_addresses():
    parts = [
        server.TLSConfig("a.crt", "a.key", None, 443),
        server.Port(80),
        server.Socket(3),
    ]
    for part in parts:
        assert not isinstance(part, server.Mode)


def test_tls_over_needs_no_password():
    mode = server.UnixDomainSocket("/run/x")
    address = server.TLSOver(mode, "a.crt", "a.key")
    assert address.mode == mode
    assert address.password is None


# The others ---------------------------------------------------------------------------------------


def test_systemd_name_may_be_left_out():
    assert server.Systemd().name is None
    assert server.Systemd("http").name == "http"


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "a\0b", "é", 3])
def test_systemd_name_is_one_that_systemd_can_hand_over(name):
    with pytest.raises(AddressError, match=r"^server\.Systemd: name "):
        server.Systemd(name)


def test_launchd_name():
    assert server.Launchd("Listeners").name == "Listeners"
    with pytest.raises(AddressError, match=r"^server\.Launchd: name 'a\\x00' holds a NUL$"):
        server.Launchd("a\0")


def test_listening_socket_is_a_number():
    assert server.ListeningSocket(3).fd == 3
    with pytest.raises(AddressError, match=r"^server\.ListeningSocket: fd -1 is negative$"):
        server.ListeningSocket(-1)
    with pytest.raises(AddressError, match=r"fd must be an int, not True$"):
        server.ListeningSocket(True)


def test_listening_socket_asks_for_the_number_of_a_socket_object(sock):
    with pytest.raises(AddressError, match=r"not an object of type socket; .* detach\(\)$"):
        server.ListeningSocket(sock)


def test_handover():
    below = server.TCP(8080)
    assert server.Handover(Path("/run/x")) == server.Handover("/run/x", None)
    assert server.Handover("@x", below).otherwise is below
    with pytest.raises(AddressError, match=r"^server\.Handover: path must be a str or a path"):
        server.Handover(3)  # type: ignore[arg-type]
    for secured in (server.TLS("c", "k", None, 443), server.TLSOver(below, "c", "k")):
        with pytest.raises(AddressError, match="otherwise has TLS: put it over the Handover"):
            server.Handover("/run/x", secured)
    for other in (server.Handover("/run/y"), server.VchanDirect(1, "p")):
        with pytest.raises(AddressError, match="otherwise must listen on sockets"):
            server.Handover("/run/x", other)
    with pytest.raises(AddressError, match=r"otherwise must be an address of conduit\.server"):
        server.Handover("/run/x", "tcp://*:80")  # type: ignore[arg-type]
