"""Flows; what they share with the addresses is in test_fields.py."""

import copy
import pickle
from ipaddress import ip_address

import pytest

from conduit import endp, flow

LOOPBACK = ip_address("127.0.0.1")
FLOWS = [
    (flow.TCP, (5, LOOPBACK, 80)),
    (flow.Tunnel, ("h", "ic", "oc")),
    (flow.DomainSocket, (5, "/run/x")),
    (flow.Vchan, (1, "p")),
    (flow.Vsock, (2, 80)),
]


@pytest.mark.parametrize(("cls", "args"), FLOWS)
def test_origin_is_neither_compared_nor_printed(cls, args):
    plain, known = cls(*args), cls(*args, origin=endp.Unknown("somewhere"))
    assert plain.origin is None
    assert known.origin == endp.Unknown("somewhere")
    assert plain == known
    assert hash(plain) == hash(known)
    assert repr(plain) == repr(known)


@pytest.mark.parametrize(("cls", "args"), FLOWS)
def test_origin_is_given_by_name_only(cls, args):
    with pytest.raises(TypeError):
        cls(*args, endp.Unknown("somewhere"))


@pytest.mark.parametrize(("cls", "args"), FLOWS)
def test_copies_keep_the_origin(cls, args):
    known = cls(*args, origin=endp.Unknown("somewhere"))
    for again in (copy.copy(known), copy.deepcopy(known), pickle.loads(pickle.dumps(known))):
        assert again.origin == known.origin


def test_fields():
    connection = flow.TCP(5, LOOPBACK, 80)
    assert (connection.fd, connection.ip, connection.port) == (5, LOOPBACK, 80)
    match connection:
        case flow.TCP(fd, _, port):
            assert (fd, port) == (5, 80)


def test_closed_and_nameless():
    assert repr(flow.DomainSocket(-1, "")) == "flow.DomainSocket(-1, '')"
