"""Several hosts behind one name, which vanish without a word: their packets are dropped."""

import json
from pathlib import Path

import pytest

from tests.children import Child
from tests.peers.hosts_program import PROGRAM
from tests.peers.tls_server import on_one_loop

ROOT = str(Path(__file__).resolve().parents[2])


@pytest.mark.alone
@on_one_loop
async def test_clients_go_on_when_hosts_vanish(own_network, program, anyio_backend):
    program("etcd")
    said = {}
    with Child(PROGRAM, ROOT, loop="uvloop", command=own_network) as child:
        while line := await child.says():
            what, _, facts = line.partition(" ")
            said[what] = json.loads(facts)
        assert await child.status() == 0
    assert said["all"]["srv"]["said"] == said["all"]["etcd"]["said"] == [1, 2, 3]
    # etcd forgets a host of which it hears nothing, and no call waits for it any more.
    for what, left in {"gone": [3], "again": [1, 3]}.items():
        assert said[what]["seconds"] < 8, what
        assert said[what]["etcd"]["said"] == left, what
        assert said[what]["etcd"]["slowest"] < 0.2, what
    # DNS still has them: a call waits 250 ms for each that does not answer, at most for two.
    calls = said["calls"]
    print(calls)
    assert calls["made"] > 150
    assert calls["failed"] == []
    # What was under way when a host vanished had to be tried again, after its second; had each call
    # to be that was sent there, it would be more than a third of them.
    assert calls["retried"] < calls["made"] / 10
    assert calls["slowest"] < 2.5
