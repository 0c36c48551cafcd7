"""TCP: where it connects from and to, and where it listens."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import select
import socket
import subprocess
import sys
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

import conduit
from conduit import client, endp, flow, server
from conduit.transports import tcp
from tests.children import Child
from tests.conftest import open_descriptors
from tests.endpoints import port_of, tcp_endp
from tests.unprivileged import unprivileged


async def echo(f, ic, oc):
    while data := await ic.read(65536):
        await oc.write(data)


async def nothing(f, ic, oc):
    pass


async def listen_error(mode, **options) -> OSError:
    """What listening raises."""
    with pytest.raises(OSError, match="cannot listen") as caught:
        async with conduit.listen(mode, nothing, **options):
            pytest.fail("listening")
    return caught.value


def can_connect(ip: str, port: int) -> bool:
    try:
        with socket.create_connection((ip, port), timeout=5):
            return True
    except ConnectionRefusedError:
        return False


# Both ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_both_ends_know_each_other(ip):
    flows = []
    names = []

    async def note(f, ic, oc):
        assert f.fd == oc.get_extra_info("socket").fileno()
        flows.append(f)
        names.append((oc.get_extra_info("sockname")[:2], oc.get_extra_info("peername")[:2]))
        await echo(f, ic, oc)

    async with conduit.listen(server.TCP(0, ip=ip), note) as srv:
        where = tcp_endp(srv)
        assert srv.endps == (endp.TCP(ip, where.port),)
        assert where.port > 0
        async with conduit.connect(client.TCP(ip, where.port)) as (f, ic, oc):
            assert f == flow.TCP(oc.get_extra_info("socket").fileno(), ip_address(ip), where.port)
            here, there = oc.get_extra_info("sockname"), oc.get_extra_info("peername")
            assert there[:2] == (ip, where.port)
            await oc.write(b"x\n")
            assert await ic.readline() == b"x\n"
        [accepted] = flows
        assert (accepted.ip, accepted.port) == (ip_address(ip), here[1])
        assert names == [(there[:2], here[:2])]


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_no_delay_on_both_sides(ip):
    seen = []

    def no_delay(oc) -> bool:
        sock = oc.get_extra_info("socket")
        return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def note(f, ic, oc):
        seen.append(no_delay(oc))

    async with conduit.listen(server.TCP(0), note) as srv:
        async with conduit.connect(client.TCP(ip, port_of(srv))) as (_, ic, oc):
            assert no_delay(oc)
            await ic.read()
    assert seen == [True]


async def test_no_descriptor_goes_to_a_program_that_is_started():
    """Not the listener's, not the accepted ones', not the connected ones'."""
    before = set(open_descriptors().values())
    listing = (
        "import os\n"
        "for name in os.listdir('/proc/self/fd'):\n"
        "    try: print(os.readlink(f'/proc/self/fd/{name}'))\n"
        "    except FileNotFoundError: pass\n"
    )
    async with conduit.listen(server.TCP(0), echo) as srv:
        async with conduit.connect(client.TCP("127.0.0.1", port_of(srv))) as (_, ic, oc):
            await oc.write(b"x")
            await ic.readexactly(1)
            ours = set(open_descriptors().values()) - before
            assert len(ours) >= 3
            result = subprocess.run(
                [sys.executable, "-c", listing],
                close_fds=False,
                capture_output=True,
                text=True,
                check=True,
            )
    theirs = set(result.stdout.split())
    assert theirs
    assert not theirs & ours


# All addresses ------------------------------------------------------------------------------------


async def test_by_default_one_socket_serves_both_families_on_one_port():
    peers = []

    async def note(f, ic, oc):
        peers.append((str(f.ip), oc.get_extra_info("peername")[0], oc.get_extra_info("sockname")))

    async with conduit.listen(server.TCP(0), note) as srv:
        where = tcp_endp(srv)
        assert srv.endps == (endp.TCP("::", where.port),)
        for ip in ("127.0.0.1", "::1"):
            async with conduit.connect(client.TCP(ip, where.port)) as (_, ic, _):
                await ic.read()
    # A client by IPv4 looks like one, although the socket is of IPv6.
    (ip4, peer4, name4), (ip6, peer6, name6) = peers
    assert (ip4, peer4, name4) == ("127.0.0.1", "127.0.0.1", ("127.0.0.1", where.port))
    assert (ip6, peer6, name6[:2]) == ("::1", "::1", ("::1", where.port))


async def test_port_zero_gives_a_new_port_each_time():
    async with conduit.listen(server.TCP(0), nothing) as first:
        async with conduit.listen(server.TCP(0), nothing) as second:
            assert port_of(first) != port_of(second)


class WithoutIPv6(socket.socket):
    """A socket of a host that lacks IPv6 in the way that `refusal` says."""

    refusal = 0

    def __init__(self, family=-1, *args, **options) -> None:
        if family == socket.AF_INET6 and self.refusal != errno.EADDRNOTAVAIL:
            raise OSError(self.refusal, os.strerror(self.refusal))
        super().__init__(family, *args, **options)

    def bind(self, address) -> None:
        if self.family == socket.AF_INET6:
            raise OSError(self.refusal, os.strerror(self.refusal))
        super().bind(address)


@pytest.mark.parametrize(
    "refusal", [errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL]
)
async def test_host_without_ipv6_listens_on_all_of_ipv4(monkeypatch, refusal):
    monkeypatch.setattr(WithoutIPv6, "refusal", refusal)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", WithoutIPv6)
        listening = conduit.listen(server.TCP(0), echo)
        srv = await listening.__aenter__()
    assert srv.endps == (endp.TCP("0.0.0.0", port_of(srv)),)
    async with conduit.connect(client.TCP("127.0.0.1", port_of(srv))) as (_, ic, oc):
        await oc.write(b"x\n")
        assert await ic.readline() == b"x\n"
    await listening.__aexit__(None, None, None)


async def test_a_port_that_is_taken_is_no_lack_of_ipv6(monkeypatch):
    """Else the server would listen on IPv4 alone, beside whoever has the port."""
    with socket.socket(socket.AF_INET6) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("::", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = await listen_error(server.TCP(port))
    assert error.errno == errno.EADDRINUSE
    assert str(error) == (
        f"[Errno {errno.EADDRINUSE}] cannot listen on port {port} of all addresses: "
        "Address already in use"
    )


# One address, or several --------------------------------------------------------------------------


async def test_ip_listens_there_and_nowhere_else():
    async with conduit.listen(server.TCP(0, ip="127.0.0.2"), nothing) as srv:
        port = port_of(srv)
        assert can_connect("127.0.0.2", port)
        assert not can_connect("127.0.0.1", port)


@pytest.mark.parametrize("ip", ["::1", "::"])
async def test_an_ipv6_address_is_of_ipv6_only(ip):
    async with conduit.listen(server.TCP(0, ip=ip), nothing) as srv:
        assert tcp_endp(srv).ip == ip_address(ip)
        assert can_connect("::1", port_of(srv))
        assert not can_connect("127.0.0.1", port_of(srv))


async def test_any_ipv4_address_is_of_ipv4_only():
    async with conduit.listen(server.TCP(0, ip="0.0.0.0"), nothing) as srv:
        assert tcp_endp(srv).ip == ip_address("0.0.0.0")
        assert can_connect("127.0.0.1", port_of(srv))
        assert not can_connect("::1", port_of(srv))


async def test_several_sources_share_the_port_that_was_chosen():
    ctx = await conduit.init(src=["127.0.0.2", "::1"])
    async with conduit.listen(server.TCP(0), echo, ctx=ctx) as srv:
        port = port_of(srv)
        assert srv.endps == (endp.TCP("127.0.0.2", port), endp.TCP("::1", port))
        for where in srv.endps:
            async with conduit.connect(where) as (_, ic, oc):
                await oc.write(b"x\n")
                assert await ic.readline() == b"x\n"
    assert not can_connect("127.0.0.2", port)
    assert not can_connect("::1", port)


async def test_a_port_taken_on_one_of_the_addresses_is_chosen_anew(monkeypatch):
    bind = tcp._bind
    tried = []

    def bind_late(host, port, options, **more):
        if host == "::1":
            tried.append(port)
            if len(tried) < 4:
                raise OSError(errno.EADDRINUSE, "Address already in use")
        return bind(host, port, options, **more)

    monkeypatch.setattr(tcp, "_bind", bind_late)
    ctx = await conduit.init(src=["127.0.0.1", "::1"])
    async with conduit.listen(server.TCP(0), nothing, ctx=ctx) as srv:
        port = tried[-1]
        assert srv.endps == (endp.TCP("127.0.0.1", port), endp.TCP("::1", port))
    assert len(tried) == 4


async def test_a_port_that_is_always_taken_is_given_up(monkeypatch):
    bind = tcp._bind

    def never(host, port, options, **more):
        if host == "::1":
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return bind(host, port, options, **more)

    monkeypatch.setattr(tcp, "_bind", never)
    ctx = await conduit.init(src=["127.0.0.1", "::1"])
    error = await listen_error(server.TCP(0), ctx=ctx)
    assert error.errno == errno.EADDRINUSE
    assert "port 0 of 127.0.0.1 and ::1" in str(error)


async def test_a_fixed_port_taken_on_one_of_the_addresses_is_an_error_and_frees_the_other():
    ctx = await conduit.init(src=["127.0.0.2", "::1"])
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        error = await listen_error(server.TCP(port), ctx=ctx)
        assert error.errno == errno.EADDRINUSE
        assert f"port {port} of 127.0.0.2 and ::1" in str(error)
        assert not can_connect("127.0.0.2", port)


# What cannot be listened on -----------------------------------------------------------------------


async def test_taken_port_says_which():
    async with conduit.listen(server.TCP(0, ip="127.0.0.1"), nothing) as srv:
        port = port_of(srv)
        error = await listen_error(server.TCP(port, ip="127.0.0.1"))
    assert error.errno == errno.EADDRINUSE
    assert str(error) == (
        f"[Errno {errno.EADDRINUSE}] cannot listen on port {port} of 127.0.0.1: "
        "Address already in use"
    )


async def test_address_of_another_machine_says_which():
    error = await listen_error(server.TCP(0, ip="192.0.2.1"))
    assert error.errno == errno.EADDRNOTAVAIL
    assert "port 0 of 192.0.2.1" in str(error)


async def test_forbidden_port_says_which():
    if socket_needs_no_privilege():
        pytest.skip("here any port may be listened on by anyone")
    async with conduit.listen(server.TCP(0), nothing):
        pass  # all that is needed is imported before this process may read less
    with unprivileged():
        error = await listen_error(server.TCP(1, ip="127.0.0.1"))
    assert error.errno == errno.EACCES
    assert str(error).endswith("cannot listen on port 1 of 127.0.0.1: Permission denied")


def socket_needs_no_privilege() -> bool:
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as start:
            return int(start.read()) <= 1
    except FileNotFoundError:
        return sys.platform != "linux"


def loop_name(anyio_backend) -> str:
    return "uvloop" if anyio_backend[1]["use_uvloop"] else "asyncio"


# Again and beside each other ----------------------------------------------------------------------


async def test_a_stopped_servers_port_is_free_at_once():
    port = 0
    for _ in range(3):
        # The server closes first, so its end of the connection stays in TIME_WAIT.
        async with conduit.listen(server.TCP(port, ip="127.0.0.1"), nothing) as srv:
            port = port_of(srv)
            async with conduit.connect(client.TCP("127.0.0.1", port)) as (_, ic, _):
                assert await ic.read() == b""
        assert not can_connect("127.0.0.1", port)


async def test_reuse_port_lets_two_servers_share():
    served = {"first": 0, "second": 0}

    def counting(name):
        async def count(f, ic, oc):
            served[name] += 1

        return count

    async with conduit.listen(server.TCP(0), counting("first"), reuse_port=True) as first:
        port = port_of(first)
        async with conduit.listen(server.TCP(port), counting("second"), reuse_port=True):
            for _ in range(50):
                async with conduit.connect(client.TCP("127.0.0.1", port)) as (_, ic, _):
                    await ic.read()
        # Both must say so.
        assert (await listen_error(server.TCP(port))).errno == errno.EADDRINUSE
    assert sum(served.values()) == 50
    assert min(served.values()) > 0


async def test_without_reuse_port_nobody_can_join():
    async with conduit.listen(server.TCP(0), nothing) as srv:
        error = await listen_error(server.TCP(port_of(srv)), reuse_port=True)
        assert error.errno == errno.EADDRINUSE


async def test_reuse_port_where_the_system_lacks_it_is_a_clear_error(monkeypatch):
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises((OSError, ValueError), match=r"reuse_port|SO_REUSEPORT"):
        await conduit.serve(server.TCP(0), nothing, reuse_port=True)
    async with conduit.listen(server.TCP(0), nothing):
        pass


@pytest.mark.parametrize("backlog", [1, 5])
async def test_backlog_says_how_many_may_wait(backlog):
    inside, release = asyncio.Event(), asyncio.Event()

    async def hold(f, ic, oc):
        inside.set()
        await release.wait()

    async with conduit.listen(
        server.TCP(0, ip="127.0.0.1"), hold, backlog=backlog, max_active=1
    ) as srv:
        address = "127.0.0.1", port_of(srv)
        with ExitStack() as stack:
            stack.enter_context(socket.create_connection(address))
            await inside.wait()
            # Linux lets one more wait than it is told.
            for _ in range(backlog + 1):
                assert is_connected(stack.enter_context(connecting(address)), 5)
            assert not is_connected(stack.enter_context(connecting(address)), 0.2)
            release.set()


def connecting(address: tuple[str, int]) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    assert sock.connect_ex(address) in (0, errno.EINPROGRESS)
    return sock


def is_connected(sock: socket.socket, seconds: float) -> bool:
    _, writable, _ = select.select([], [sock], [], seconds)
    return bool(writable) and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


# Scopes, and a host with IPv6 switched off: in a network of the test's own ------------------------


@pytest.fixture
def own_network(program) -> list[str]:
    """The command that gives a program a network namespace of its own, where `ip` may do all."""
    program("ip")
    command = [program("unshare"), "--net"]
    if os.getuid():
        command.append("--map-root-user")
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("a network namespace cannot be made here")
    return command


SCOPES = """
    import asyncio, os, socket, subprocess, sys
    import conduit
    from conduit import client, server

    def ip(command):
        subprocess.run(["ip", *command.split()], check=True)

    ip("link set lo up")
    ip("link add v0 type veth peer name v1")
    ip("link set v0 addrgenmode none")
    ip("link set v1 addrgenmode none")
    ip("address add fe80::1/64 dev v0 nodad")
    ip("address add fe80::2/64 dev v1 nodad")
    ip("link set v0 up")
    ip("link set v1 up")

    async def tell_peer(f, ic, oc):
        oc.write(f"{f.ip} {conduit.endp_of_flow(f).ip}".encode())

    async def show(what, target, ctx=None):
        try:
            async with conduit.connect(target, ctx=ctx, timeout=5) as (f, ic, oc):
                peer = await ic.read()
                scope = socket.if_indextoname(oc.get_extra_info("peername")[3])
                print(what, f.ip, peer.decode(), scope)
        except Exception as error:
            print(what, type(error).__name__, error)

    async def main():
        async with conduit.listen(server.TCP(0, ip="fe80::1%v0"), tell_peer) as srv:
            [where] = srv.endps
            print("listening", where.ip)
            await show("endpoint", where)
            await show("number", client.TCP(f"fe80::1%{socket.if_nametoindex('v0')}", where.port))
            await show("host", client.Host("fe80::1%v0", where.port))
            ctx = await conduit.init(src="fe80::1%v0")
            await show("source", client.TCP("fe80::1%v0", where.port), ctx)
            await show("unscoped", client.TCP("fe80::1", where.port))
            await show("unknown", client.TCP("fe80::1%nosuch", where.port))
        ctx = await conduit.init(src="fe80::2%v1")
        async with conduit.listen(server.TCP(0), tell_peer, ctx=ctx) as srv:
            print("listening", srv.endps[0].ip)
        async with conduit.listen(server.TCP(0), tell_peer) as srv:
            port = srv.endps[0].port
            await show("all", client.TCP("fe80::2%v1", port))
            for zone in ("lo", "nosuch"):
                try:
                    async with conduit.connect(client.TCP(f"::1%{zone}", port)) as (f, ic, oc):
                        print("loopback", f.ip, (await ic.read()).decode())
                except conduit.ConduitError as error:
                    print("loopback", "refused:", error)
        for ip in ("fe80::1%nosuch", "fe80::1"):
            try:
                async with conduit.listen(server.TCP(0, ip=ip), tell_peer):
                    print("listening")
            except (OSError, conduit.AddressError) as error:
                print("refused", error)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
"""


_SCOPES: dict[str, dict[str, list[str]]] = {}


@pytest.fixture
async def scopes(own_network, anyio_backend) -> dict[str, list[str]]:
    """What the program above says, by the first word of its lines; it is run once for each loop."""
    loop = loop_name(anyio_backend)
    if loop not in _SCOPES:
        said: dict[str, list[str]] = {}
        with Child(SCOPES, loop=loop, command=own_network) as child:
            while line := await child.says():
                what, _, rest = line.partition(" ")
                said.setdefault(what, []).append(rest)
            assert await child.status() == 0
        _SCOPES[loop] = said
    return _SCOPES[loop]


async def test_zone_is_kept_at_both_ends(scopes):
    # The flow of connect, the flow of the server and its endpoint, the name of the socket.
    assert scopes["endpoint"] == ["fe80::1%v0 fe80::1%v0 fe80::1%v0 v0"]
    assert scopes["host"] == scopes["endpoint"]
    [number] = scopes["number"]
    assert number.split()[1:] == ["fe80::1%v0", "fe80::1%v0", "v0"]
    assert scopes["all"] == ["fe80::2%v1 fe80::2%v1 fe80::2%v1 v1"]


async def test_source_with_a_zone_is_bound(scopes):
    assert scopes["source"] == ["fe80::1%v0 fe80::1%v0 fe80::1%v0 v0"]


async def test_server_of_a_zone_says_it(scopes):
    assert scopes["listening"] == ["fe80::1%v0", "fe80::2%v1"]


async def test_zone_that_is_missing_or_unknown_is_a_clear_error(scopes):
    [unscoped], [unknown] = scopes["unscoped"], scopes["unknown"]
    assert re.match(r"(Connect|Address)Error .*fe80::1\b", unscoped)
    assert re.match(r"(Connect|Address)Error .*fe80::1%nosuch", unknown)
    unknown, missing = scopes["refused"]
    assert "fe80::1%nosuch" in unknown
    assert "fe80::1" in missing


async def test_zone_of_the_loopback_address(scopes):
    """It needs none, but one that is right does no harm, and one that is wrong is told."""
    right, wrong = scopes["loopback"]
    assert right == "::1%lo ::1 ::1"
    assert re.match(r"refused: .*::1%nosuch", wrong)


async def test_with_ipv6_switched_off_all_addresses_are_those_of_ipv4(own_network, anyio_backend):
    program = """
        import asyncio, pathlib, subprocess
        import conduit
        from conduit import client, server

        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        pathlib.Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")

        async def greet(f, ic, oc):
            oc.write(str(f.ip).encode())

        async def main():
            async with conduit.listen(server.TCP(0), greet) as srv:
                port = srv.endps[0].port
                async with conduit.connect(client.TCP("127.0.0.1", port)) as (f, ic, oc):
                    print((await ic.read()).decode())
                try:
                    await conduit.connect(client.TCP("::1", port))
                except conduit.ConnectError as error:
                    print(error)
            try:
                async with conduit.listen(server.TCP(0, ip="::1"), greet):
                    print("listening")
            except OSError as error:
                print(error)

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
    """
    with Child(program, loop=loop_name(anyio_backend), command=own_network) as child:
        assert await child.says() == "127.0.0.1"
        assert "cannot connect to tcp://[::1]:" in await child.says()
        assert "cannot listen on port 0 of ::1: " in await child.says()
        assert await child.status() == 0
