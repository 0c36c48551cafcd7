"""Vchans by name, on a real Xen: the protocol of MirageOS."""

import asyncio
import subprocess

import pytest

import conduit
from conduit import client, endp, flow, server
from conduit.cli import main
from conduit.transports.vchan import name_listener
from tests.transports.vchan.conftest import VCHANS, listing, wait_for


async def echo(f, ic, oc):
    while data := await ic.read(65536):
        await oc.write(data)


async def ask(name, port, what=b"x"):
    async with conduit.connect(client.VchanDomainSocket(name, port), timeout=20) as (_, ic, oc):
        oc.write(what)
        return await ic.readexactly(len(what))


@pytest.fixture
def name(port):
    assert main(["xenstore-init"]) == 0
    yield f"name-{port}"
    assert listing("/conduit") == ""


async def test_found_by_name(name, port, in_xenstore):
    served: list[flow.Flow] = []

    async def handler(f, ic, oc):
        served.append(f)
        await echo(f, ic, oc)

    async with conduit.listen(server.VchanDomainSocket(name, port), handler) as srv:
        assert srv.endps == (endp.VchanDomainSocket(name, port),)
        assert f'/conduit/{name} = "0"' in await in_xenstore("/conduit")
        async with conduit.connect(f"vchan-name:{name}/{port}") as (f, ic, oc):
            assert f == flow.Vchan(0, port)
            assert conduit.endp_of_flow(f) == endp.VchanDomainSocket(name, port)
            oc.write(b"hello")
            assert await ic.readexactly(5) == b"hello"
    assert served == [flow.Vchan(0, port)]


async def test_clients_one_after_another_and_at_once(name, port):
    async with conduit.listen(server.VchanDomainSocket(name, port), echo):
        for _ in range(3):
            assert await ask(name, port) == b"x"
        assert await asyncio.gather(*(ask(name, port) for _ in range(3))) == [b"x"] * 3


async def test_client_may_come_before_the_server(name, port):
    early = asyncio.ensure_future(ask(name, port))
    await asyncio.sleep(0.1)
    async with conduit.listen(server.VchanDomainSocket(name, port), echo):
        assert await early == b"x"


async def test_two_ports_of_one_name(name, port):
    other = f"{port}-b"
    async with conduit.listen(server.VchanDomainSocket(name, port), echo):
        async with conduit.listen(server.VchanDomainSocket(name, other), echo):
            assert await ask(name, other) == b"x"
        # The one that ended took the name with it, and this one brings it back.
        assert await ask(name, port) == b"x"


async def test_second_server_is_refused(name, port):
    async with conduit.listen(server.VchanDomainSocket(name, port), echo):
        with pytest.raises(OSError, match="another server of this domain is there"):
            await conduit.serve(server.VchanDomainSocket(name, port), echo)
        assert await ask(name, port) == b"x"


async def test_name_of_another_domain_is_refused(name, port):
    subprocess.run(["xenstore-write", f"/conduit/{name}", "77"], check=True)
    with pytest.raises(OSError, match="domain 77 goes by this name") as caught:
        await conduit.serve(server.VchanDomainSocket(name, port), echo)
    assert f"xenstore-rm /conduit/{name}" in str(caught.value)
    subprocess.run(["xenstore-rm", f"/conduit/{name}"], check=True)


async def test_no_such_name(name, port):
    with pytest.raises(conduit.ConnectTimeout, match=f"no domain goes by the name '{name}'"):
        await conduit.connect(client.VchanDomainSocket(name, port), timeout=0.5)


async def test_no_directory(port):
    subprocess.run(["xenstore-rm", "/conduit"], check=False)
    for use in (
        conduit.connect(client.VchanDomainSocket("n", port)),
        conduit.serve(server.VchanDomainSocket("n", port), echo),
    ):
        with pytest.raises(conduit.UnsupportedTransport, match="conduit xenstore-init"):
            await use


async def test_client_that_asks_and_does_not_come(name, port, monkeypatch, in_xenstore):
    """Its memory is given back, and others are served."""
    monkeypatch.setattr(name_listener, "_PATIENCE", 0.5)
    async with conduit.listen(server.VchanDomainSocket(name, port), echo):
        subprocess.run(["xenstore-write", "/conduit/lost", "0"], check=True)
        subprocess.run(["xenstore-write", f"/conduit/{name}/lost/{port}", port], check=True)
        await asyncio.to_thread(wait_for, lambda: port in listing(VCHANS))
        await asyncio.to_thread(wait_for, lambda: port not in listing(VCHANS))
        assert await ask(name, port) == b"x"
    subprocess.run(["xenstore-rm", "/conduit/lost"], check=True)
