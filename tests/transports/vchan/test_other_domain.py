"""Domain 0 and another domain, each in both roles, on a real Xen."""

import asyncio
import subprocess
from pathlib import Path

import pytest

import conduit
from conduit import client, flow, server
from conduit.cli import main
from tests.xen.other_domain import SIZE, answer, swap

CONFIGURATION = """
name = "other"
type = "pv"
kernel = "/boot/vmlinux"
ramdisk = "/boot/domain.img"
memory = 450
vcpus = 1
extra = "console=hvc0 mitigations=off quiet"
on_poweroff = "destroy"
on_crash = "destroy"
"""

# The other domain is as slow as this one, and has to start first.
PATIENCE = 100


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The number of a second domain, which runs `tests.xen.other_domain`."""
    if not Path("/boot/domain.img").exists():
        pytest.skip("there is no second domain to start here; `make test-xen` has one")
    file = tmp_path_factory.mktemp("domain") / "other.cfg"
    file.write_text(CONFIGURATION)
    assert main(["xenstore-init"]) == 0
    subprocess.run(["xl", "create", "-q", str(file)], check=True)
    found = subprocess.run(["xl", "domid", "other"], check=True, capture_output=True, text=True)
    yield int(found.stdout)
    console = Path("/var/log/xen/console/guest-other.log")
    print(console.read_text("utf-8", "replace") if console.exists() else "no console")
    subprocess.run(["xl", "destroy", "other"], check=False, capture_output=True)


async def test_connect_to_it(other):
    target = client.VchanDirect(other, "echo")
    async with conduit.connect(target, timeout=PATIENCE) as (f, ic, oc):
        assert f == flow.Vchan(other, "echo")
        assert await swap(ic, oc, seed=1)


async def test_be_connected_to_by_it(other):
    told = asyncio.get_running_loop().create_future()

    async def handler(f, ic, oc):
        told.set_result((f, await answer(f, ic, oc)))

    async with conduit.listen(server.VchanDirect(other, "ours"), handler):
        assert await asyncio.wait_for(told, PATIENCE) == (flow.Vchan(other, "ours"), "the same")


async def test_connect_to_it_by_its_name(other):
    target = client.VchanDomainSocket("other", "echo")
    async with conduit.connect(target, timeout=PATIENCE) as (f, ic, oc):
        assert f == flow.Vchan(other, "echo")
        assert await swap(ic, oc, seed=2, size=SIZE // 10)


async def test_be_connected_to_by_it_by_our_name(other):
    told = asyncio.get_running_loop().create_future()

    async def handler(f, ic, oc):
        told.set_result((f, await answer(f, ic, oc)))

    async with conduit.listen(server.VchanDomainSocket("zero", "ours"), handler):
        assert await asyncio.wait_for(told, PATIENCE) == (flow.Vchan(other, "ours"), "the same")


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
async def test_it_is_destroyed(other):
    """Its end says nothing then; who reads and who writes are told all the same.

    The last test, and on one loop, since starting another would take long.
    """
    loop = asyncio.get_running_loop()
    target = client.VchanDirect(other, "echo")
    async with conduit.connect(target, timeout=PATIENCE) as (_, ic, oc):
        await oc.write(b"x")
        assert await ic.readexactly(1) == b"x"
        await asyncio.to_thread(subprocess.run, ["xl", "destroy", "other"], check=True)
        destroyed = loop.time()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(ic.read(), 10)
        with pytest.raises(ConnectionResetError):
            await oc.drain()
        assert loop.time() - destroyed < 1
