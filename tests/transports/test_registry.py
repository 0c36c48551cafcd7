"""Which module carries which address: ours, and those of other packages."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import pytest

import conduit
from conduit import client, server, transports
from conduit.transports import ListenOptions


async def nothing(f, ic, oc):
    pass


async def connect(target):
    async with conduit.connect(target):
        pytest.fail("connected")


async def listen(mode):
    async with conduit.listen(mode, nothing):
        pytest.fail("listening")


# Ours --------------------------------------------------------------------------------------------


async def test_an_error_about_a_tls_server_shows_no_password(monkeypatch):
    monkeypatch.setattr("conduit.tls.library._OF_NATIVE", ("no_such_package",))
    with pytest.raises(conduit.UnsupportedTransport, match="'c', 'k'") as caught:
        await listen(server.TLSNative("c", "k", lambda _: "hush-hush", 443))
    assert "hush" not in str(caught.value)
    assert "lambda" not in str(caught.value)


def test_every_address_has_a_transport():
    assert {kind.__name__ for kind in get_args(client.Client)} <= transports._TABLE.keys()
    assert {kind.__name__ for kind in get_args(server.Mode)} <= transports._TABLE.keys()


# Other packages -----------------------------------------------------------------------------------

ADDRESSES = """
    from dataclasses import dataclass


    @dataclass(frozen=True)
    class Carrier:
        file: str

        class Inner:
            pass
"""

TRANSPORT = """
    from conduit import client, server
    from conduit.transports import unix


    async def connect(target, ctx, *attempts):
        return await unix.connect(client.UnixDomainSocket(target.file), ctx, *attempts)


    async def listen(mode, ctx, options):
        return await unix.listen(server.UnixDomainSocket(mode.file), ctx, options)
"""


@pytest.fixture
def distribution(tmp_path, monkeypatch) -> Iterator[Any]:
    """Install a tiny distribution with a transport; gives its module `carrying.addresses`."""
    files = {
        "carrying/__init__.py": "",
        "carrying/addresses.py": ADDRESSES,
        "carrying/by_unix_socket.py": TRANSPORT,
        "carrying-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: carrying\nVersion: 1.0\n",
        "carrying-1.0.dist-info/entry_points.txt": """
            [conduit.transports]
            carrying.addresses.Carrier = carrying.by_unix_socket
            carrying.addresses.Carrier.Inner = carrying.no_such_module
        """,
    }
    for name, text in files.items():
        path = Path(tmp_path, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    from carrying import addresses  # type: ignore[import-not-found]

    yield addresses
    for module in [name for name in sys.modules if name.split(".")[0] == "carrying"]:
        del sys.modules[module]


async def greet(f, ic, oc):
    oc.write(b"hello")


async def test_another_packages_transport_is_found_by_its_entry_point(distribution, socket_path):
    carrier = distribution.Carrier(socket_path)
    async with conduit.listen(carrier, greet):
        async with conduit.connect(carrier) as (_, ic, _):
            assert await ic.read() == b"hello"
        # The second time too.
        async with conduit.connect(carrier) as (_, ic, _):
            assert await ic.read() == b"hello"


async def test_its_failures_are_told_like_ours(distribution, socket_path):
    carrier = distribution.Carrier(socket_path)
    with pytest.raises(conduit.ConnectError) as caught:
        await connect(carrier)
    assert repr(carrier) in str(caught.value)
    assert [address for address, _ in caught.value.attempts] == [carrier]


async def test_its_import_error_is_not_hidden(distribution):
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        await connect(distribution.Carrier.Inner())


async def test_an_address_that_no_package_carries(distribution, monkeypatch):
    stranger = type("Stranger", (), {"__module__": "carrying.addresses"})()
    for use in (connect, listen):
        with pytest.raises(
            conduit.UnsupportedTransport,
            match=r"no transport carries a carrying\.addresses\.Stranger",
        ):
            await use(stranger)


async def test_transport_can_be_registered_by_hand(distribution, socket_path):
    """The class alone decides: one that is called as ours is still another."""

    class TCP:
        file = socket_path

    from carrying import by_unix_socket

    transports.register(TCP, by_unix_socket)
    async with conduit.listen(TCP(), greet):  # type: ignore[arg-type]
        async with conduit.connect(TCP()) as (_, ic, _):  # type: ignore[arg-type]
            assert await ic.read() == b"hello"


async def test_transport_registered_later_replaces_the_first():
    class Address:
        pass

    class Transport:
        def __init__(self, name):
            self.name = name

        async def connect(self, *args):
            raise OSError(f"this is {self.name}")

        async def listen(self, *args):
            raise OSError(f"this is {self.name}")

    for name in ("the first", "the second"):
        transports.register(Address, Transport(name))
        with pytest.raises(conduit.ConnectError, match=f"this is {name}"):
            await connect(Address())
        with pytest.raises(OSError, match=f"this is {name}"):
            await listen(Address())


async def test_transport_gets_what_it_is_asked_for():
    class Address:
        pass

    class Transport:
        async def connect(self, target, ctx, *rest):
            asked.append((target, ctx))
            raise OSError("no")

        async def listen(self, mode, ctx, options):
            asked.append((mode, ctx, options))
            raise OSError("no")

    asked: list[tuple[object, ...]] = []
    address: Any = Address()
    ctx = await conduit.init()
    transports.register(Address, Transport())
    with pytest.raises(conduit.ConnectError):
        await conduit.connect(address, ctx=ctx)
    with pytest.raises(OSError, match=re.escape("no")):
        await conduit.serve(address, nothing, ctx=ctx, backlog=7, reuse_port=True, unix_mode=0o600)
    assert asked == [
        (address, ctx),
        (address, ctx, ListenOptions(backlog=7, reuse_port=True, unix_mode=0o600)),
    ]
