"""A program that calls three hosts, each in a network namespace of its own, which drop out.

It is run in fresh namespaces for the network, mounts and processes, where it is the client, the
name server and etcd; the hosts hang on a bridge of it. Every result is a line: what was tried, and
JSON. Its argument is the root of the checkout.
"""

PROGRAM = r"""
import asyncio, json, logging, subprocess, sys, tempfile, time
from pathlib import Path
from shutil import which

sys.path.insert(0, sys.argv[1])

import conduit
from conduit.discovery import Etcd, Rule, host_name
from conduit.resolver import Resolver
from tests.peers.calls import Calls

HERE = "192.0.2.254"
ETCD = f"{HERE}:2379"

# A host: it says its number by a connection, or sends back a line; told so, it drops all packets.
HOST = '''
import asyncio, subprocess, sys
import conduit
from conduit.discovery import Etcd

number, etcd = sys.argv[1:]
DROP = (
    "add table inet cut;"
    "add chain inet cut arriving { type filter hook input priority 0; policy drop; };"
)

async def answer(f, ic, oc):
    line = await ic.readline()
    await oc.write(number.encode() + b"\\n" if line == b"who\\n" else line)

async def main():
    address = f"192.0.2.{number}"
    async with conduit.listen(f"tcp://{address}:7000", answer) as srv, Etcd([etcd]) as members:
        async with members.registered("echo", srv.endps[0], ttl=2):
            print("up", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            subprocess.run(["nft", "-f", "-"], input=DROP, text=True, check=True)
            print("dropping", flush=True)
            await asyncio.Event().wait()

print("here", flush=True)
sys.stdin.readline()
for command in (f"address add 192.0.2.{number}/24 dev eth0", "link set eth0 up"):
    subprocess.run(["ip", *command.split()], check=True)
conduit.run(main())
'''

logging.getLogger("conduit").setLevel(logging.ERROR)


def run(*command):
    subprocess.run(command, check=True)


def tell(what, **facts):
    print(what, json.dumps(facts), flush=True)


class Host:
    def __init__(self, number):
        self.number = number
        command = ["unshare", "--net", sys.executable, "-c", HOST, str(number), ETCD]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def told(self, line=None):
        if line is not None:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def wire(self):
        # A cable from its namespace to the bridge.
        pid = str(self.process.pid)
        run("ip", "link", "add", f"h{self.number}", "type", "veth", "peer", "eth0", "netns", pid)
        run("ip", "link", "set", f"h{self.number}", "master", "bridge", "up")

    def link(self, state):
        run("ip", "link", "set", f"h{self.number}", state)


def make_network(folder):
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "bridge", "type", "bridge")
    run("ip", "address", "add", f"{HERE}/24", "dev", "bridge")
    run("ip", "link", "set", "bridge", "up")
    ours = folder / "resolv.conf"
    ours.write_text(f"nameserver {HERE}\n")
    run("mount", "--bind", str(ours), "/etc/resolv.conf")


def start_servers(folder):
    command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root"]
    command += ["--pid-file=", "--no-hosts", "--no-resolv", f"--listen-address={HERE}"]
    command += ["--local=/test/", "--local-ttl=60"]
    for number in (1, 2, 3):
        command.append(f"--srv-host=_echo._tcp.svc.test,h{number}.test,7000")
        command.append(f"--host-record=h{number}.test,192.0.2.{number}")
    etcd = ["etcd", "--data-dir", str(folder / "etcd"), "--log-level", "fatal"]
    etcd += ["--listen-client-urls", f"http://{ETCD}", "--advertise-client-urls", f"http://{ETCD}"]
    etcd += ["--heartbeat-interval", "50", "--election-timeout", "500"]
    return [
        subprocess.Popen(one, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for one in (command, etcd)
    ]


async def who(ctx, target, count=20):
    # Who answers, and how long the slowest took.
    said, slowest = set(), 0.0
    for _ in range(count):
        started = time.monotonic()
        async with conduit.connect(target, ctx=ctx, timeout=5) as (_, ic, oc):
            await oc.write(b"who\n")
            said.add(int(await ic.readline()))
        slowest = max(slowest, time.monotonic() - started)
    return {"said": sorted(said), "slowest": slowest}


async def until(etcd, *numbers):
    # Wait until these hosts are registered, and no others.
    started = time.monotonic()
    wanted = {f"tcp://192.0.2.{number}:7000" for number in numbers}
    while {str(one.endp) for one in (await etcd.resolve("echo")).addresses} != wanted:
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def scene(hosts):
    async with Etcd([ETCD]) as etcd:
        rule = Rule(etcd, name=host_name, pick="round-robin")
        ctx = await conduit.init(resolver=Resolver(rewrites=[("echo", rule)]))
        await until(etcd, 1, 2, 3)
        # By the name servers of the system, with no resolver given.
        by_srv = "tcp://_echo._tcp.svc.test"
        tell("all", srv=await who(None, by_srv, 40), etcd=await who(ctx, "http://echo"))
        calls = Calls(None, by_srv, limit=1.0)
        going_on = asyncio.create_task(calls.go_on())
        await calls.answered(20)
        # One whose cable is cut, and one that drops what arrives.
        hosts[0].link("down")
        assert await asyncio.to_thread(hosts[1].told, "drop") == "dropping"
        tell("gone", seconds=await until(etcd, 3), etcd=await who(ctx, "http://echo"))
        hosts[0].link("up")
        tell("again", seconds=await until(etcd, 1, 3), etcd=await who(ctx, "http://echo"))
        going_on.cancel()
        await going_on
        failed = [repr(one) for one in calls.failed]
        tell("calls", made=calls.made, retried=calls.retried, failed=failed, slowest=calls.slowest)


def main(folder):
    make_network(folder)
    running = start_servers(folder)
    try:
        hosts = [Host(number) for number in (1, 2, 3)]
        running += [host.process for host in hosts]
        for host in hosts:
            assert host.told() == "here"
            host.wire()
        assert [host.told("go") for host in hosts] == ["up"] * 3
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(scene(hosts))
    finally:
        for one in running:
            one.kill()
            one.wait()


with tempfile.TemporaryDirectory() as name:
    main(Path(name))
"""
