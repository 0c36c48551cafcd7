"""A program that connects to names, in a network of its own with a real name server.

It is run in fresh namespaces for the network and for mounts, which go when it ends, with all in
them. Every result is a line: what was tried, and JSON.
"""

PROGRAM = r"""
import asyncio, json, os, random, resource, subprocess, sys, tempfile, time
from pathlib import Path

import conduit
from conduit import client, endp, server

# 2 serves, 3 refuses, 66 and 67 swallow all packets, 53 is the name server.
ADDRESSES = ["192.0.2.2", "192.0.2.3", "192.0.2.53", "192.0.2.66", "192.0.2.67"]
ADDRESSES += [address.replace("192.0.2.", "2001:db8::") for address in ADDRESSES]
UNREACHABLE = ["198.51.100.1", "2001:db8:dead::1"]

RULES = '''
table inet names {
    chain arriving {
        type filter hook input priority 0; policy accept
        ip daddr { 192.0.2.66, 192.0.2.67 } drop
        ip6 daddr { 2001:db8::66, 2001:db8::67 } drop
    }
}
'''

RECORDS = [
    "v4.test,192.0.2.2",
    "both.test,192.0.2.2,2001:db8::2",
    "drops6.test,192.0.2.2,2001:db8::66",
    "refuses6.test,192.0.2.2,2001:db8::3",
    "failing.test,192.0.2.3,2001:db8::3",
    "failing.test,198.51.100.1,2001:db8:dead::1",
    "dead.test,192.0.2.3,2001:db8:dead::1",
    "dead.test,192.0.2.66,2001:db8::66",
    "dead.test,198.51.100.1",
    "hole.test,192.0.2.66,2001:db8::66",
    "hole.test,192.0.2.67,2001:db8::67",
]


def run(*command, text=None):
    subprocess.run(command, input=text, text=True, check=True)


def make_network(folder):
    run("ip", "link", "set", "lo", "up")
    for address in ADDRESSES:
        run("ip", "address", "add", address, "dev", "lo", *(["nodad"] if ":" in address else []))
    for address in UNREACHABLE:
        run("ip", "route", "add", "unreachable", address)
    run("nft", "-f", "-", text=RULES)
    for file, text in {
        "/etc/resolv.conf": "nameserver 192.0.2.53\noptions timeout:1 attempts:1\n",
        "/etc/hosts": "127.0.0.1 localhost\n",
        "/etc/nsswitch.conf": "hosts: files dns\n",
    }.items():
        ours = folder / Path(file).name
        ours.write_text(text)
        run("mount", "--bind", str(ours), file)


def start_dnsmasq():
    # silent.test is asked of a server that never answers, and other domains of none.
    command = ["dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null"]
    command += ["--user=root", "--pid-file=", "--no-hosts", "--no-resolv", "--bind-interfaces"]
    command += ["--listen-address=192.0.2.53", "--local=/test/", "--server=/silent.test/192.0.2.66"]
    command += ["--txt-record=empty.test,nothing", "--host-record=xn--bcher-kva.test,192.0.2.2"]
    command += [f"--host-record={record}" for record in RECORDS]
    dnsmasq = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in dnsmasq.stderr:
        if "started" in line:
            return dnsmasq
    sys.exit("dnsmasq has not started")


def tell(what, **facts):
    print(what, json.dumps(facts), flush=True)


async def greet(f, ic, oc):
    oc.write(b"hello")


def host_of(address):
    return str(address.ip) if isinstance(address, endp.TCP) else address.name


async def attempt(name, port, timeout=10.0, ctx=None):
    # What came of it, as plain data.
    started = time.perf_counter()
    facts = {}
    try:
        target = client.Host(name, port)
        async with conduit.connect(target, timeout=timeout, ctx=ctx) as (f, ic, oc):
            facts = {"ip": str(f.ip), "origin": f.origin.name, "said": (await ic.read()).decode()}
    except conduit.ConduitError as error:
        facts = {"error": type(error).__name__, "text": str(error)}
        facts["attempts"] = [
            [host_of(address), type(failure).__name__, str(failure)]
            for address, failure in getattr(error, "attempts", ())
        ]
    facts["seconds"] = time.perf_counter() - started
    return facts


async def cancel_a_thousand(srv, port):
    chance = random.Random(1)
    loop = asyncio.get_running_loop()
    while srv.active:
        await asyncio.sleep(0.01)
    before = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    most = before[0]
    target = client.Host("hole.test", port)
    tasks = [asyncio.create_task(conduit.connect(target)) for _ in range(1000)]
    for task in tasks:
        loop.call_later(chance.uniform(0, 1.2), task.cancel)
    pending = set(tasks)
    while pending:
        _, pending = await asyncio.wait(pending, timeout=0.1)
        most = max(most, len(os.listdir("/proc/self/fd")))
    after = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    cancelled = sum(task.cancelled() for task in tasks)
    tell("thousand", cancelled=cancelled, before=before, most=most, after=after)


async def main():
    ctx = await conduit.init(src=["192.0.2.2", "2001:db8::2"])
    async with conduit.listen(server.TCP(0), greet, ctx=ctx) as srv:
        port = srv.endps[0].port
        tell("late", **await attempt("b.silent.test", port, timeout=0.2))
        for name in ("v4", "both", "drops6", "refuses6", "failing"):
            tell(name, **await attempt(f"{name}.test", port))
        tell("missing", **await attempt("missing.test", port))
        tell("empty", **await attempt("empty.test", port))
        tell("nobody", **await attempt("nobody.example", port))
        tell("dotted", **await attempt("V4.test.", port))
        tell("letters", **await attempt("B\u00fccher.test", port))
        ctx = await conduit.init(src="192.0.2.2")
        tell("source", **await attempt("drops6.test", port, ctx=ctx))
        # What takes a while, at once.
        slow = {
            "dead": attempt("dead.test", port, timeout=0.8),
            "sourceless": attempt("dead.test", port, timeout=0.7, ctx=ctx),
            "silent": attempt("a.silent.test", port),
        }
        for name, facts in zip(slow, await asyncio.gather(*slow.values())):
            tell(name, **facts)
        await cancel_a_thousand(srv, port)


with tempfile.TemporaryDirectory() as folder:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    make_network(Path(folder))
    dnsmasq = start_dnsmasq()
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
    finally:
        dnsmasq.kill()
        dnsmasq.wait()
        dnsmasq.stderr.close()
"""
