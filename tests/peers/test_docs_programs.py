"""The programs of the documentation that need a server of somebody else: with a real one."""

import pytest

import conduit
from conduit import server
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


def written(block, here):
    """The program of a block, with what is here in place of what it shows."""
    text = block.text
    for shown, instead in here.items():
        assert shown in text
        text = text.replace(shown, instead)
    return text


@on_one_loop
@blocks("python with dns")
async def test_with_dns(program, block):
    async def hello(f, ic, oc):
        await oc.write(b"hello")

    async with conduit.listen("tcp://127.0.0.1:0", hello) as srv:
        target = f"--srv-host=_http._tcp.shop.example,one.example,{port_of(srv)}"
        records = target, "--host-record=one.example,127.0.0.1", "--local=/example/"
        async with dnsmasq(program, *records) as port:
            await run_python(block.text, str(port))


@on_one_loop
@blocks("python with etcd")
async def test_with_etcd(program, block, tmp_path):
    async with cluster(program, tmp_path, count=1) as etcd:
        await run_python(block.text, *etcd.members)


@on_one_loop
@blocks("python with postgresql")
async def test_with_postgresql(postgres, papers, block, tmp_path):
    own = papers.own
    mode = server.TLS(own.crt_file, own.key_file, own.password, 0, ip="127.0.0.1")
    async with postgres() as (_, path), conduit.forward(mode, f"unix:{path}") as front:
        here = {
            "tls://db.example:5432?ca=/etc/ours.pem": f"{front.endps[0]}&ca={papers.ca_file}",
            "/run/me": str(tmp_path),
            'user="me", database="mine"': 'user="certified", database="postgres"',
        }
        await run_python(written(block, here))
