"""A program whose servers register with three real members of etcd, which are killed meanwhile.

It is a program of its own since gRPC keeps descriptors for the life of its process. Every result is
a line: what was tried, and JSON. Its argument is the root of the checkout.
"""

PROGRAM = r"""
import asyncio, json, logging, subprocess, sys, tempfile, time
from pathlib import Path
from shutil import which

sys.path.insert(0, sys.argv[1])

import grpc.aio
from aetcd import rpc

import conduit
from conduit.discovery import Etcd, Rule, etcd_watch, host_name
from conduit.resolver import Resolver
from tests.peers.etcd_cluster import cluster
from tests.peers.programs import port_of_its_own

# A server that says who it is, and is known for as long as it lives.
OTHER = '''
import asyncio, sys, conduit
from conduit.discovery import Etcd
async def say(f, ic, oc):
    await oc.write(b"other\\n")
async def main():
    async with conduit.listen("tcp://127.0.0.1:0", say) as srv, Etcd(sys.argv[1:]) as etcd:
        async with etcd.registered("svc", srv.endps[0], ttl=2):
            print("up", flush=True)
            await asyncio.Event().wait()
asyncio.run(main())
'''

# So that the test need not wait for long.
etcd_watch._SILENCE = 0.5

warnings = []

class Heard(logging.Handler):
    def emit(self, record):
        warnings.append(record.getMessage())

logging.getLogger("conduit").addHandler(Heard(logging.WARNING))


def tell(what, **facts):
    print(what, json.dumps(facts), flush=True)


async def say(f, ic, oc):
    await oc.write(b"own\n")


async def calls(ctx, count=6):
    said = []
    for _ in range(count):
        async with conduit.connect("http://svc", ctx=ctx, timeout=5) as (_, ic, _):
            said.append((await ic.readline()).decode().strip())
    return sorted(set(said))


async def until(etcd, count):
    started = time.monotonic()
    while len((await etcd.resolve("svc")).addresses) != count:
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def refused(awaitable):
    started = time.monotonic()
    try:
        await awaitable
    except conduit.ResolutionError as error:
        return {"text": str(error), "seconds": time.monotonic() - started}
    return {}


async def scene(members, made, nobody):
    async with conduit.listen("tcp://127.0.0.1:0", say) as srv, Etcd(members, timeout=1) as etcd:
        rule = Rule(etcd, name=host_name, pick="round-robin")
        ctx = await conduit.init(resolver=Resolver(rewrites=[("svc", rule)]))
        block = etcd.registered("svc", srv.endps[0], ttl=2)
        await block.__aenter__()
        await until(etcd, 1)
        command = [sys.executable, "-c", OTHER, *members]
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            await asyncio.to_thread(other.stdout.readline)
            await until(etcd, 2)
            tell("both", said=await calls(ctx))
            other.kill()
            await asyncio.to_thread(other.wait)
            tell("killed", said=await calls(ctx))
            tell("expired", seconds=await until(etcd, 1), said=await calls(ctx))
        finally:
            other.kill()
            other.wait()
            other.stdout.close()
        with made.frozen(etcd._members._at % 3):
            async with Etcd(members, timeout=1) as another:
                async with another.registered("svc", nobody):
                    tell("frozen", seconds=await until(etcd, 2))
                tell("thawed", seconds=await until(etcd, 1))
        made.kill(0)
        async with etcd.registered("svc", nobody):
            tell("one gone", said=await calls(ctx), seconds=await until(etcd, 2))
        await until(etcd, 1)
        made.kill(1)
        made.kill(2)
        tell("all gone", said=await calls(ctx))
        async with Etcd(members, timeout=0.2) as another:
            unknown, unregistered = await asyncio.gather(
                refused(another.resolve("stranger")),
                refused(another.registered("svc", nobody).__aenter__()),
            )
        tell("unknown", **unknown)
        tell("unregistered", **unregistered)
        tell("still", said=await calls(ctx))
        for at in range(3):
            made.start(at)
        # They have no leader yet: registering, and a first look, wait for one.
        async with Etcd(members) as another, another.registered("back", nobody):
            found = await another.resolve("back")
            tell("back", said=await calls(ctx), found=len(found.addresses))
        known = len(warnings)
        async with grpc.aio.insecure_channel(members[0]) as channel:
            leases = rpc.LeaseStub(channel)
            for one in (await leases.LeaseLeases(rpc.LeaseLeasesRequest())).leases:
                await leases.LeaseRevoke(rpc.LeaseRevokeRequest(ID=one.ID))
        started = time.monotonic()
        while not any("made anew" in text for text in warnings[known:]):
            await asyncio.sleep(0.02)
        await until(etcd, 1)
        tell("lease lost", seconds=time.monotonic() - started)
        async with etcd.registered("svc", nobody, ttl=60):
            await until(etcd, 2)
        tell("revoked", seconds=await until(etcd, 1))
        await block.__aexit__(None, None, None)
        tell("warnings", all=warnings)
        started = time.monotonic()
    tell("left", seconds=time.monotonic() - started)


async def main():
    with tempfile.TemporaryDirectory() as folder:
        with port_of_its_own() as free:
            async with cluster(which, Path(folder)) as made:
                # The first election may take its time.
                async with Etcd(made.members) as etcd, etcd.registered("up", "tcp://127.0.0.1:1"):
                    pass
                await scene(made.members, made, f"tcp://127.0.0.1:{free}")


with asyncio.Runner(loop_factory=new_loop) as runner:
    runner.run(main())
"""
