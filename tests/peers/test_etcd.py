"""Servers and clients that meet by three real members of etcd, of which one dies, and then all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import conduit
from conduit import AddressError
from conduit.discovery import Etcd
from tests.children import Child
from tests.peers import etcd_login_program, etcd_program
from tests.peers.tls_server import on_one_loop

ROOT = str(Path(__file__).resolve().parents[2])


async def all_it_says(program):
    said = {}
    with Child(program, ROOT, loop="uvloop") as child:
        while line := await child.says():
            what, brace, facts = line.partition("{")
            said[what.strip()] = json.loads(brace + facts)
        assert await child.status() == 0
    return said


@on_one_loop
async def test_servers_come_and_go_and_so_does_etcd(program, anyio_backend):
    program("etcd")
    program("setpriv")
    said = await all_it_says(etcd_program.PROGRAM)
    assert said["both"]["said"] == ["other", "own"]
    # Killed, it is known until its lease is over; who meets it goes on to the other.
    assert said["killed"]["said"] == ["own"]
    assert said["expired"]["seconds"] < 6
    assert said["frozen"]["seconds"] < 5
    assert said["one gone"] == {"said": ["own"], "seconds": said["one gone"]["seconds"]}
    assert said["all gone"]["said"] == said["still"]["said"] == ["own"]
    for what in ("unknown", "unregistered"):
        assert said[what]["text"].count("127.0.0.1:") >= 3
        # All are asked for as long as that takes, and a little longer; then it is enough.
        assert 0.3 < said[what]["seconds"] < 5
    assert said["back"] == {"said": ["own"], "found": 1}
    assert said["revoked"]["seconds"] < 4
    assert said["left"]["seconds"] < 3
    assert said["lease lost"]["seconds"] < 3
    texts = said["warnings"]["all"]
    assert any("going on with the 1 addresses known before" in text for text in texts), texts
    assert any("answers again" in text for text in texts), texts
    assert any("was lost in etcd: made anew" in text for text in texts), texts
    assert any("cannot be renewed" in text for text in texts), texts


@on_one_loop
async def test_tls_a_certificate_and_a_login(program, anyio_backend):
    program("etcd")
    program("setpriv")
    said = await all_it_says(etcd_login_program.PROGRAM)
    assert said["known"]["found"] == ["tcp://192.0.2.7:80"]
    # New tokens are asked for without a word: nobody need worry.
    assert said["renewed"]["warnings"] == []
    for what, why in {
        "no login": "permission denied",
        "wrong password": "authentication failed",
        "no permission": "permission denied",
        "strange authority": "CERTIFICATE_VERIFY_FAILED",
        "no certificate": "",
        "no tls": "",
    }.items():
        assert len(said[what]["told"]) == 2, what
        assert all(why in text and "127.0.0.1:" in text for text in said[what]["told"]), what
        assert said[what]["seconds"] < 5
    # Asking on would not help: it is told at once, and not after 4 s for each.
    for what in ("no login", "wrong password", "no permission"):
        assert said[what]["seconds"] < 4
    assert "correct horse" not in json.dumps(said)


@pytest.mark.parametrize("members", [[], "127.0.0.1:2379", ["127.0.0.1"], ["h:x"], ["h:70000"]])
def test_what_is_no_member(members):
    with pytest.raises(AddressError, match="Etcd: "):
        Etcd(members)


async def test_it_is_used_by_async_with():
    with pytest.raises(RuntimeError, match="async with"):
        await Etcd(["127.0.0.1:1"]).resolve("x")


async def test_without_the_package_it_is_named(monkeypatch):
    import sys

    for name in ("aetcd", "aetcd.rpc"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(conduit.UnsupportedTransport, match=r"pip install 'conduit-net\[etcd\]'"):
        async with Etcd(["127.0.0.1:1"]):
            pass
