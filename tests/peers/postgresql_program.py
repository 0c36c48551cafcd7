"""A real PostgreSQL, with a database that nobody else uses."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from glob import glob
from typing import NamedTuple

from tests.peers.programs import port_of_its_own
from tests.peers.talking import Talking
from tests.peers.tls_server import Papers

# Its programs refuse to be run by root.
_USER = "postgres"

_HBA = """
local   all all                    trust
hostssl all certified 127.0.0.1/32 cert
hostssl all all       127.0.0.1/32 scram-sha-256
"""


class Where(NamedTuple):
    """The TCP port, for TLS alone, and the path of the Unix socket."""

    port: int
    path: str


@asynccontextmanager
async def postgres_running(program: Callable[..., str], papers: Papers) -> AsyncIterator[Where]:
    """A fresh database while the block runs. The users are "certified" and "postgres"."""
    directories = os.pathsep.join(sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True))
    initdb, server = (program(name, directories) for name in ("initdb", "postgres"))
    with tempfile.TemporaryDirectory(prefix="conduit-") as home:
        options = await asyncio.to_thread(_prepare, home, papers)
        data = f"{home}/data"
        quick = "--no-sync", "--no-locale", "--no-instructions", "--auth=trust"
        async with Talking(initdb, "-D", data, "-U", "certified", *quick, user=_USER) as talk:
            assert await talk.ended() == 0, talk.all
        with port_of_its_own() as port:
            command = server, "-D", data, "-p", str(port), *options
            ready = "ready to accept connections"
            async with Talking(*command, says=ready, user=_USER, ends_by=signal.SIGINT):
                yield Where(port, f"{home}/.s.PGSQL.{port}")


def _prepare(home: str, papers: Papers) -> list[str]:
    """Write its files, and say its options."""
    papers.ca.issue("localhost").write(home, "own")
    papers.ca.write(home)
    with open(f"{home}/hba", "w") as hba:
        hba.write(_HBA)
    if os.geteuid() == 0:
        for path in (home, *glob(f"{home}/*")):
            shutil.chown(path, _USER, _USER)
    files = {"ssl_cert_file": "own.crt", "ssl_key_file": "own.key", "ssl_ca_file": "ca.crt"}
    files["hba_file"] = "hba"
    values = {"ssl": "on", "fsync": "off", "listen_addresses": "127.0.0.1"}
    values |= {name: f"{home}/{file}" for name, file in files.items()}
    values |= {"unix_socket_directories": home, "log_connections": "on"}
    return [f"--{name}={value}" for name, value in values.items()]
