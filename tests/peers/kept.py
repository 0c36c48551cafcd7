"""Real programs that run for a whole session of tests, and whom many tests visit."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.certificates import Certificates
from tests.peers.programs import SECONDS, port_of_its_own

Find = Callable[..., str]


@contextmanager
def kept(*command: str, says: str) -> Iterator[None]:
    """Run a program while the block lasts; it is ready when it says so, to either output."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        try:
            said = b""
            while says.encode() not in said:
                line = process.stdout.readline()
                said += line
                assert line, f"{command} ended: {said.decode(errors='replace')}"
            yield
        finally:
            process.terminate()
            try:
                process.communicate(timeout=SECONDS)
            finally:
                process.kill()


class Redis(NamedTuple):
    """Where a Redis is: a TCP port, one for TLS (certificate for "localhost"), and a path."""

    port: int
    tls_port: int
    path: str


@contextmanager
def redis_running(find: Find, certificates: Certificates) -> Iterator[Redis]:
    """A Redis, which keeps nothing on disk, while the block lasts."""
    own = certificates.key()
    with (
        tempfile.TemporaryDirectory(prefix="conduit-") as home,
        port_of_its_own() as port,
        port_of_its_own() as tls_port,
    ):
        ca_file = Path(home, "ca")
        ca_file.write_bytes(certificates.trusted)
        options = {
            "bind": "127.0.0.1",
            "port": port,
            "unixsocket": f"{home}/redis",
            "tls-port": tls_port,
            "tls-cert-file": own.crt_file,
            "tls-key-file": own.key_file,
            "tls-ca-cert-file": ca_file,
            "tls-auth-clients": "no",
            "save": "",
            "dir": home,
            "maxclients": 100,
        }
        command = [find("redis-server")]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        with kept(*command, says="Ready to accept connections"):
            yield Redis(port, tls_port, f"{home}/redis")


class Broker(NamedTuple):
    """Where a broker of AMQP 0-9-1 is. It lets "guest" in, whose password is "guest"."""

    port: int


_GARAGEMQ = """
proto: amqp-rabbit
users: [{{username: guest, password: 084e0343a0486ff05530df6c705c8bb4}}]
tcp: {{ip: 127.0.0.1, port: "{port}", nodelay: true, readBufSize: 65536, writeBufSize: 65536}}
admin: {{ip: 127.0.0.1, port: ""}}
queue: {{shardSize: 8192, maxMessagesInRam: 131072}}
db: {{defaultPath: {home}/db, engine: badger}}
vhost: {{defaultPath: /}}
security: {{passwordCheck: md5}}
connection: {{channelsMax: 100, frameMaxSize: 65536}}
"""


@contextmanager
def broker_running(find: Find) -> Iterator[Broker]:
    """A GarageMQ while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="conduit-") as home, port_of_its_own() as port:
        config = Path(home, "config.yaml")
        config.write_text(_GARAGEMQ.format(port=port, home=home))
        with kept(find("garagemq"), "--config", str(config), says="Server started"):
            yield Broker(port)


class SSHD(NamedTuple):
    """Where an sshd is, the file of its public key, and that of the key by which it lets one in."""

    port: int
    host_key: str
    user_key: str


@contextmanager
def sshd_running(find: Find) -> Iterator[SSHD]:
    """An OpenSSH server, for the user who runs the tests, while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="conduit-") as home, port_of_its_own() as port:
        for name in ("host", "user"):
            make = find("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", f"{home}/{name}"
            subprocess.run(make, check=True, stdin=subprocess.DEVNULL, timeout=SECONDS)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # else it refuses to start
        options = {
            "ListenAddress": "127.0.0.1",
            "HostKey": f"{home}/host",
            "AuthorizedKeysFile": f"{home}/user.pub",
            "PasswordAuthentication": "no",
            "UsePAM": "no",
            "StrictModes": "no",
            "PidFile": "none",
        }
        config = Path(home, "config")
        config.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
        command = find("sshd"), "-D", "-e", "-p", str(port), "-f", str(config)
        with kept(*command, says="Server listening on"):
            yield SSHD(port, f"{home}/host.pub", f"{home}/user")
