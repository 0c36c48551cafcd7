"""The programs of docs/ that need a server: run against a real one."""

import contextlib
import sys

import conduit
from tests.endpoints import port_of
from tests.peers.etcd_cluster import cluster
from tests.peers.programs import run
from tests.peers.test_srv import dnsmasq
from tests.peers.tls_server import on_one_loop
from tests.test_readme import PYTHON


async def run_blocks(kind, *args):
    """Run the programs of this kind, one after the other; there is one at least."""
    blocks = [block for block in PYTHON if block.kind == kind]
    assert blocks
    for block in blocks:
        await run(sys.executable, "-W", "error", "-c", block.text, *args)


@on_one_loop
async def test_programs_with_dnsmasq(program, anyio_backend):
    async def hello(f, ic, oc):
        await oc.write(b"hello")

    async with contextlib.AsyncExitStack() as stack:
        srv = await stack.enter_async_context(conduit.listen("tcp://127.0.0.1:0", hello))
        records = [
            f"--srv-host=_http._tcp.shop.example,one.example,{port_of(srv)}",
            "--host-record=one.example,127.0.0.1",
        ]
        port = await stack.enter_async_context(dnsmasq(program, *records))
        await run_blocks("python with dnsmasq", str(port))


@on_one_loop
async def test_programs_with_etcd(program, tmp_path, anyio_backend):
    program("setpriv")
    async with cluster(program, tmp_path, 1) as made:
        await run_blocks("python with etcd", *made.members)
