"""A host without Xen says what is missing, and what cannot be is refused before that."""

import os

import pytest

import conduit
from conduit import client, server
from conduit.cli import main

CLIENTS = [client.VchanDirect(1, "p"), client.VchanDomainSocket("dom", "p")]
SERVERS = [server.VchanDirect(1, "p"), server.VchanDomainSocket("dom", "p")]


@pytest.fixture
def no_xen():
    if os.path.exists("/proc/xen"):
        pytest.skip("this machine runs on Xen")


async def nothing(f, ic, oc):
    pass


@pytest.mark.parametrize("target", CLIENTS, ids=repr)
async def test_connecting_without_xen(no_xen, target):
    with pytest.raises(conduit.UnsupportedTransport, match="this machine does not run on Xen") as e:
        await conduit.connect(target)
    assert str(e.value).startswith(f"{target}: ")
    assert "/dev/xen/gntdev (kernel module xen-gntdev)" in str(e.value)
    assert "gntalloc" not in str(e.value)
    assert "xenstored" in str(e.value)


@pytest.mark.parametrize("mode", SERVERS, ids=repr)
async def test_serving_without_xen(no_xen, mode):
    with pytest.raises(conduit.UnsupportedTransport, match="this machine does not run on Xen") as e:
        await conduit.serve(mode, nothing)
    assert "/dev/xen/gntalloc (kernel module xen-gntalloc)" in str(e.value)


@pytest.mark.parametrize(
    "address",
    [
        *(client.VchanDirect(1, "a/b"), client.VchanDirect(40000, "p")),
        *(client.VchanDirect(1, "p" * 40), client.VchanDomainSocket("a.b", "p")),
    ],
    ids=repr,
)
async def test_what_cannot_be_is_no_matter_of_the_host(address):
    with pytest.raises(conduit.AddressError):
        await conduit.connect(address)
    with pytest.raises(conduit.AddressError):
        await conduit.serve(conduit.endp_to_server(_endp(address)), nothing)


def test_xenstore_init_without_xen(no_xen, capsys):
    assert main(["xenstore-init"]) == 1
    said, complaint = capsys.readouterr()
    assert said == ""
    assert complaint.startswith("conduit xenstore-init: /conduit: no vchan here: ")
    assert len(complaint.splitlines()) == 1


def _endp(address):
    if isinstance(address, client.VchanDirect):
        return conduit.endp.VchanDirect(address.domid, address.port)
    return conduit.endp.VchanDomainSocket(address.domain_name, address.port)
