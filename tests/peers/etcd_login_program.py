"""A program that meets an etcd which wants TLS, a client's certificate, and a user's password.

It is a program of its own since gRPC keeps descriptors for the life of its process. Every result is
a line: what was tried, and JSON. Its argument is the root of the checkout.
"""

PROGRAM = r"""
import asyncio, json, logging, os, sys, tempfile, time
from pathlib import Path
from shutil import which

sys.path.insert(0, sys.argv[1])

os.environ["GRPC_VERBOSITY"] = "NONE"  # it tells of each handshake that fails

import grpc
from aetcd import rpc

import conduit
from conduit import text
from conduit.discovery import Etcd, etcd_watch
from conduit.testing import Authority
from tests.peers.etcd_cluster import cluster

SECRET = "correct horse"
etcd_watch._SILENCE = 0.2  # so that the test need not wait for long
said = []


class Heard(logging.Handler):
    def emit(self, record):
        said.append(f"{record.levelname} {record.getMessage()}")


logging.getLogger("conduit").addHandler(Heard())
logging.getLogger("conduit").setLevel(logging.DEBUG)


def tell(what, **facts):
    print(what, json.dumps(facts), flush=True)


class Admin:
    # Who gives users and roles, by the stubs alone.
    def __init__(self, member, papers):
        credentials = grpc.ssl_channel_credentials(*papers)
        self.channel = grpc.aio.secure_channel(member, credentials)
        self.auth = rpc.AuthStub(self.channel)
        self.metadata = ()

    async def log_in(self):
        request = rpc.AuthenticateRequest(name="root", password="root")
        self.metadata = (("token", (await self.auth.Authenticate(request)).token),)

    async def add_user(self, name, password):
        request = rpc.AuthUserAddRequest(name=name, password=password)
        await self.auth.UserAdd(request, metadata=self.metadata)

    async def enable(self):
        await self.auth.AuthEnable(rpc.AuthEnableRequest())

    async def begin(self):
        await self.add_user("root", "root")
        await self.add_user("orders", SECRET)
        await self.auth.RoleAdd(rpc.AuthRoleAddRequest(name="root"))
        await self.auth.RoleAdd(rpc.AuthRoleAddRequest(name="services"))
        grant = rpc.AuthRoleGrantPermissionRequest(name="services")
        grant.perm.permType = 2  # to read and to write
        grant.perm.key, grant.perm.range_end = b"/conduit/", b"/conduit0"
        await self.auth.RoleGrantPermission(grant)
        for user, role in (("root", "root"), ("orders", "services")):
            await self.auth.UserGrantRole(rpc.AuthUserGrantRoleRequest(user=user, role=role))
        await self.enable()


async def failure(etcd):
    # What a user is told who registers, and who asks; and how long that took.
    started = time.monotonic()
    told = []
    registered = etcd.registered("svc", "tcp://192.0.2.9:1")
    async with etcd:
        for trying in (registered.__aenter__(), etcd.resolve("svc")):
            try:
                await trying
            except conduit.ResolutionError as error:
                told.append(str(error))
    return {"told": told, "seconds": time.monotonic() - started}


async def until(etcd, name, count):
    async with asyncio.timeout(10):
        while len((await etcd.resolve(name)).addresses) != count:
            await asyncio.sleep(0.02)


async def with_login(members, admin, trust, own_key, password):
    login = {"user": "orders", "password": password}
    async with Etcd(members, trust=trust, own_key=own_key, **login) as etcd:
        async with etcd.registered("svc", "tcp://192.0.2.7:80"):
            await until(etcd, "svc", 1)
            tell("known", found=[str(one.endp) for one in (await etcd.resolve("svc")).addresses])
            # A token of before is not taken when users have changed, nor when it is forgotten.
            await admin.log_in()
            await admin.add_user("another", "x")
            async with etcd.registered("changed", "tcp://192.0.2.8:80"):
                await until(etcd, "changed", 1)
            await admin.log_in()
            await admin.auth.AuthDisable(rpc.AuthDisableRequest(), metadata=admin.metadata)
            await admin.enable()
            async with etcd.registered("forgotten", "tcp://192.0.2.8:80"):
                await until(etcd, "forgotten", 1)
                await until(etcd, "svc", 1)
            await until(etcd, "forgotten", 0)
        await until(etcd, "svc", 0)
        tell("renewed", warnings=[one for one in said if one.startswith("WARNING")])


async def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ca = Authority()
        file = ca.write(folder)
        own = ca.issue("127.0.0.1").write(folder, "etcd")
        plain = ca.issue("client.example").write(folder, "plain")
        locked = ca.issue("client.example", password="of the key").write(folder, "locked")
        stranger = Authority("another authority")
        (folder / "password").write_text(SECRET + "\n")
        password = text.PasswordFromFile(folder / "password")
        more = ["--cert-file", own.crt_file, "--key-file", own.key_file]
        more += ["--client-cert-auth", "--trusted-ca-file", file, "--bcrypt-cost", "4"]
        async with cluster(which, folder, 1, more) as made:
            papers = [Path(one).read_bytes() for one in (file, plain.key_file, plain.crt_file)]
            admin = Admin(made.members[0], papers)
            await admin.begin()
            trust = conduit.trust.ca(file)
            await with_login(made.members, admin, trust, locked, password)
            await admin.channel.close()
            soon = {"trust": conduit.trust.ca(ca.pem), "own_key": plain, "timeout": 0.3}
            at_once = {"timeout": 4.0}  # which is not waited for
            login = {"user": "orders", "password": password}
            for what, options in {
                "no login": at_once,
                "wrong password": {
                    "user": "orders",
                    "password": lambda again: "guessed " + SECRET,
                    **at_once,
                },
                "no permission": {**login, "prefix": "/elsewhere/", **at_once},
                "strange authority": {**login, "trust": conduit.trust.ca(stranger.pem)},
                "no certificate": {**login, "own_key": None},
                "no tls": {"trust": None, "own_key": None},
            }.items():
                tell(what, **await failure(Etcd(made.members, **(soon | options))))
    tell("said", all=said)


with asyncio.Runner(loop_factory=new_loop) as runner:
    runner.run(main())
"""
