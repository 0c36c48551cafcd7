"""The programs of the documentation that need a server of somebody else: with a real one."""

import pytest

import conduit
from tests.endpoints import port_of
from tests.peers.etcd_cluster import cluster
from tests.peers.programs import run_python
from tests.peers.test_srv import dnsmasq
from tests.peers.tls_server import on_one_loop
from tests.test_readme import BLOCKS


def blocks(kind: str):
    found = [block for block in BLOCKS if block.kind == kind]
    assert found
    return pytest.mark.parametrize("block", found, ids=str)


async def nothing(f, ic, oc):
    await ic.read()


@on_one_loop
@blocks("python with dns")
async def test_with_dns(program, block):
    async with conduit.listen("tcp://127.0.0.1:0", nothing) as srv:
        target = f"--srv-host=_postgresql._tcp.db.example,a.example,{port_of(srv)},0,1"
        records = target, "--host-record=a.example,127.0.0.1", "--local=/example/"
        async with dnsmasq(program, *records) as port:
            text = block.text.replace("SRV()", f'SRV(["127.0.0.1"], port={port})')
            said = await run_python(text)
            assert said.count(f"flow.TCP(".encode()) == 2


@on_one_loop
@blocks("python with etcd")
async def test_with_etcd(program, block, tmp_path):
    async with cluster(program, tmp_path, count=1) as etcd:
        members = [f"10.0.0.{at}:2379" for at in (1, 2, 3)]
        text = block.text
        for shown in members:
            assert shown in text
            text = text.replace(shown, etcd.members[0])
        await run_python(text)
