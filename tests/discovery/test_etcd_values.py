"""What may stand in etcd, whoever has written it: TCP is taken, and nothing else."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit import endp
from conduit.discovery import Address
from conduit.discovery.etcd import _addresses

GOOD = b"tcp://192.0.2.1:80"


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"\xff", b"unix:/run/docker.sock", b"fd:3", b"vchan:0/x", b"systemd:", b"unknown:x",
        b"tls://192.0.2.1:80?hostname=evil.example", b"tcp://192.0.2.1:80?src=192.0.2.2",
        b"connect+tcp://evil.example:80?to=a:1", b"tcp://user:secret@192.0.2.1:80", b"tcp://*:80",
        b"https://evil.example", b"tcp://192.0.2.1:99999", b"tcp://" + b"a" * 5000 + b":1",
        b"tcp://a\0b:1", b"vsock://2:1",
    ],
)  # fmt: skip
def test_what_is_not_taken(wrong, caplog):
    assert _addresses("/conduit/x/", [wrong, GOOD, wrong]) == (Address(endp.TCP("192.0.2.1", 80)),)
    assert [record.getMessage() for record in caplog.records] == [
        "etcd has 2 values below /conduit/x/ that are no addresses of TCP"
    ]


@given(st.lists(st.binary(max_size=30) | st.binary(max_size=9).map(b"tcp://".__add__)))
def test_whatever_stands_there(values):
    logging.disable()
    try:
        for one in _addresses("/conduit/x/", values):
            assert isinstance(one.endp, endp.TCP | endp.Host)
    finally:
        logging.disable(logging.NOTSET)
