"""`conduit demo` on Xen: the rows of vchans, by number and by name, and of vsock."""

import json

from conduit.cli import main
from tests.cli.command import run


def test_the_rows_of_hypervisors_pass(port):
    assert main(["xenstore-init"]) == 0
    result = run("demo", "--json", "--size", "0.2")
    assert result.stderr == ""
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    states = {row["address"]: row["state"] for row in rows if "Vchan" in row["address"]}
    assert states == {
        "client.VchanDirect(0, 'demo')": "ok",
        "endp.VchanDirect(0, 'demo')": "ok",
        "client.VchanDomainSocket('demo', 'demo')": "ok",
        "endp.VchanDomainSocket('demo', 'demo')": "ok",
    }
    of_vsock = [row["state"] for row in rows if ".Vsock(" in row["address"]]
    assert of_vsock == ["ok", "ok"]
