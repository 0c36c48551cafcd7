"""Real proxies of 127.0.0.1: squid for HTTP, dante for SOCKS5; with a login or without."""

import os
import signal
from contextlib import asynccontextmanager
from glob import glob
from pathlib import Path
from typing import NamedTuple

from tests.peers.programs import port_of_its_own, until_listening
from tests.peers.talking import Talking

USER, PASSWORD = "alice", "p4ss:w%rd"

SQUID = """
http_port 127.0.0.1:{plain}
https_port 127.0.0.1:{secure} tls-cert={crt_file} tls-key={key_file}
{access}
visible_hostname localhost
cache deny all
cache_mem 0 MB
max_filedescriptors 1024
cache_log /dev/stderr
access_log none
netdb_filename none
coredump_dir none
pid_filename none
pinger_enable off
"""

SQUID_LOGIN = """
auth_param basic program {sed} -u s/^alice.p4ss:w%25rd$/OK/;t;s/.*/ERR/
auth_param basic children 1 startup=1
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
"""

SQUID_OPEN = """
acl forbidden port 9
http_access deny forbidden
http_access allow all
"""

DANTE = """
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: {method}
user.privileged: root
user.unprivileged: {user}
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 port = 9 }}
socks pass {{ from: 127.0.0.0/8 to: 127.0.0.0/8 protocol: tcp }}
"""

# Dante asks the system for users: they are the test's own, in mounts that only dante sees.
AS_SYSTEM = 'mount --bind "$1" /etc/passwd && mount --bind "$2" /etc/shadow && exec "$3" -f "$4"'
SHADOW = (
    "alice:$6$conduit$IJG8v0f39mS4fVuh5hs5wrZCmMf06mxU3r4uY74wt65J1fGc/QmKQ64JCuBHFM/"
    "MRYXImWdNZhepc7uxd71DQ/:19000:0:99999:7:::\n"
)


class Ports(NamedTuple):
    """Where squid is: for plain clients, and for those who come by TLS."""

    plain: int
    secure: int


@asynccontextmanager
async def squid(program, papers, *, login=False):
    """Squid, which forbids port 9, or wants a login."""
    own = papers.own
    directory = papers.directory
    access = SQUID_OPEN
    if login:
        # What knows the passwords is told "USER PASSWORD" in code, and says OK or ERR.
        access = SQUID_LOGIN.format(sed=program("sed"))
    with port_of_its_own() as plain, port_of_its_own() as secure:
        file = directory / "squid.conf"
        file.write_text(
            SQUID.format(
                plain=plain,
                secure=secure,
                crt_file=own.crt_file,
                key_file=own.key_file,
                access=access,
            )
        )
        # Shared memory is found by the name of the service, which no other may have therefore.
        name = f"conduit{secure}"
        command = program("squid"), "-N", "-n", name, "-f", str(file)
        try:
            # To leave in order would take it a second.
            async with Talking(*command, says="Accepting HTTPS Socket", ends_by=signal.SIGKILL):
                await until_listening(plain, secure)
                yield Ports(plain, secure)
        finally:
            for left in glob(f"/dev/shm/{name}-*"):
                os.unlink(left)


@asynccontextmanager
async def dante(program, directory: Path, *, login=False):
    """Dante, which forbids port 9, and may want a login: its port."""
    with port_of_its_own() as port:
        file = directory / "danted.conf"
        user = "nobody" if os.geteuid() == 0 else "root"
        method = "username" if login else "none"
        file.write_text(DANTE.format(port=port, method=method, user=user))
        danted = program("danted")
        command: tuple[str, ...] = (danted, "-f", str(file))
        if login:
            users, shadow = directory / "passwd", directory / "shadow"
            users.write_text(
                Path("/etc/passwd").read_text() + f"{USER}:x:4242:4242::/nonexistent:/bin/false\n"
            )
            shadow.write_text(SHADOW)
            unshare = [program("unshare"), "--mount"]
            if os.geteuid():
                unshare.append("--map-root-user")
            files = str(users), str(shadow), danted, str(file)
            command = (*unshare, "sh", "-c", AS_SYSTEM, "sh", *files)
        async with Talking(*command):
            await until_listening(port)
            yield port
