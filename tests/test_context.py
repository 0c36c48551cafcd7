"""`Context`, `init` and `default_ctx`."""

from __future__ import annotations

import dataclasses
import os
import socket
import ssl
from ipaddress import ip_address

import pytest

import conduit
from conduit import _lookup, client, endp, server
from tests.children import Child
from tests.endpoints import port_of, tcp_endp


async def test_without_arguments_nothing_is_set():
    ctx = await conduit.init()
    assert ctx.src == ()
    assert ctx.tls_own_key is None
    assert ctx.tls_authenticator is None
    assert ctx.ssl_ctx is None
    assert ctx.ssl_client_verify == conduit.Verify(hostname=True, ip=True)
    assert ctx.alpn == ()
    assert ctx.resolver is None
    assert ctx.allow_truncation is False
    assert ctx.close_timeout == 5.0


async def test_arguments_are_kept():
    key = conduit.OwnKey("a.crt", "a.key")
    verify = conduit.Verify(hostname=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    resolver = conduit.resolver.system()
    ctx = await conduit.init(
        ssl_ctx=context,
        ssl_client_verify=verify,
        alpn=["h2", "http/1.1"],
        resolver=resolver,
        allow_truncation=True,
        close_timeout=0.5,
    )
    assert (await conduit.init(tls_own_key=key)).tls_own_key is key
    assert ctx.ssl_ctx is context
    assert ctx.ssl_client_verify is verify
    assert ctx.alpn == ("h2", "http/1.1")
    assert ctx.resolver is resolver
    assert ctx.allow_truncation is True
    assert ctx.close_timeout == 0.5
    authenticator = object()
    assert (await conduit.init(tls_authenticator=authenticator)).tls_authenticator is authenticator


async def test_arguments_are_given_by_name():
    with pytest.raises(TypeError):
        await conduit.init("127.0.0.1")  # type: ignore[call-arg]


async def test_is_read_only_and_each_is_itself():
    ctx, other = await conduit.init(), await conduit.init()
    with pytest.raises(dataclasses.FrozenInstanceError):
        ctx.close_timeout = 1.0  # type: ignore[misc]
    assert ctx != other
    assert len({ctx, other, ctx}) == 2


async def test_secrets_are_not_printed():
    ctx = await conduit.init(tls_own_key=conduit.OwnKey("a.crt", "a.key", lambda _: "hush-hush"))
    assert "a.crt" in repr(ctx)
    assert "hush" not in repr(ctx)
    assert "lambda" not in repr(ctx)


async def test_verify_checks_everything_unless_told():
    assert conduit.Verify() == conduit.Verify(hostname=True, ip=True)
    assert conduit.Verify(hostname=False) != conduit.Verify(ip=False)


# src ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "protocols"),
    [
        ("h2", ("h2",)),
        (["h2", "http/1.1"], ("h2", "http/1.1")),
        ((), ()),
        ("a" * 255, ("a" * 255,)),
    ],
)
async def test_alpn_is_one_protocol_or_several(given, protocols):
    """`alpn="h2"` is an easy slip; to offer "h" and "2" to every peer is no answer to it."""
    assert (await conduit.init(alpn=given)).alpn == protocols


@pytest.mark.parametrize("wrong", ["", "a" * 256, "h\xe9", [""], ["h2", ""], [b"h2"], [None]])
async def test_alpn_that_cannot_be_said_is_refused(wrong):
    with pytest.raises(ValueError, match=r"alpn has .*: a protocol is a str of 1 to 255 ASCII"):
        await conduit.init(alpn=wrong)


@pytest.mark.parametrize("wrong", [True, None, "no"])
async def test_verify_must_say_what(wrong):
    with pytest.raises(TypeError, match=r"ssl_client_verify must be a conduit\.Verify, not"):
        await conduit.init(ssl_client_verify=wrong)


@pytest.mark.parametrize(
    ("src", "addresses"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        (ip_address("::1"), ["::1"]),
        ("fe80::1%lo", ["fe80::1%lo"]),
        ([], []),
        (["127.0.0.1"], ["127.0.0.1"]),
        (("::1", ip_address("127.0.0.2")), ["::1", "127.0.0.2"]),
        ({"127.0.0.1": "a dict's keys"}.keys(), ["127.0.0.1"]),
    ],
)
async def test_src_is_an_address_or_several(src, addresses):
    ctx = await conduit.init(src=src)
    assert [str(address) for address in ctx.src] == addresses


async def test_src_may_be_a_name_that_is_resolved_once(monkeypatch):
    asked = []

    async def getaddrinfo(host, port, **options):
        asked.append(host)
        found = ["127.0.0.7", "127.0.0.8", "::1"]
        return [(0, 0, 0, "", (address, 0)) for address in found]

    monkeypatch.setattr(_lookup, "getaddrinfo", getaddrinfo)
    ctx = await conduit.init(src="me.example")
    # The first of each family: there is one socket to bind, and no second try.
    assert {str(address) for address in ctx.src} == {"127.0.0.7", "::1"}
    with pytest.raises(conduit.ConnectError):
        await conduit.connect(client.TCP("127.77.0.1", 9), ctx=ctx)
    assert asked == ["me.example"]


async def test_src_name_is_really_resolved():
    ctx = await conduit.init(src="localhost")
    assert ctx.src
    assert all(address.is_loopback for address in ctx.src)


async def test_src_that_is_no_address_says_so(monkeypatch):
    async def getaddrinfo(host, port, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(_lookup, "getaddrinfo", getaddrinfo)
    with pytest.raises(conduit.AddressError, match=r"^src='nosuch' is no IP address and no known"):
        await conduit.init(src="nosuch")


@pytest.mark.parametrize("src", ["", "a" * 64 + ".example", "127.0.0.1:80", "[::1]"])
async def test_src_that_cannot_be_is_refused(src):
    with pytest.raises(conduit.AddressError, match=r"^src="):
        await conduit.init(src=src)


async def test_two_sources_of_one_family_are_refused():
    with pytest.raises(conduit.AddressError, match=r"^src=127\.0\.0\.2: .* of this family already"):
        await conduit.init(src=["127.0.0.1", "::1", "127.0.0.2"])


async def test_src_for_picks_the_family():
    ctx = await conduit.init(src=["127.0.0.2", "::1"])
    assert ctx.src_for(ip_address("192.0.2.1")) == ip_address("127.0.0.2")
    assert ctx.src_for(ip_address("2001:db8::1")) == ip_address("::1")
    assert (await conduit.init()).src_for(ip_address("192.0.2.1")) is None
    with pytest.raises(conduit.AddressError, match="give an IPv6 source too"):
        (await conduit.init(src="127.0.0.2")).src_for(ip_address("2001:db8::1"))


async def test_servers_listen_on_src():
    ctx = await conduit.init(src="127.0.0.2")

    async def nothing(f, ic, oc):
        pass

    async with conduit.listen(server.TCP(0), nothing, ctx=ctx) as srv:
        assert srv.endps == (endp.TCP("127.0.0.2", port_of(srv)),)
    # What the mode says counts more.
    async with conduit.listen(server.TCP(0, ip="127.0.0.3"), nothing, ctx=ctx) as srv:
        assert srv.endps == (endp.TCP("127.0.0.3", port_of(srv)),)


# What excludes each other, and what cannot be -----------------------------------------------------


async def test_an_ssl_ctx_brings_its_own_trust():
    with pytest.raises(conduit.TLSError, match="tls_authenticator and ssl_ctx exclude each other"):
        await conduit.init(
            tls_authenticator=object(), ssl_ctx=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )


async def test_close_timeout_is_not_negative():
    with pytest.raises(ValueError, match="close_timeout is -1"):
        await conduit.init(close_timeout=-1)
    assert (await conduit.init(close_timeout=0)).close_timeout == 0


# The default --------------------------------------------------------------------------------------


async def test_default_is_made_once_and_sets_nothing():
    ctx = conduit.default_ctx()
    assert conduit.default_ctx() is ctx
    fresh = await conduit.init()
    fields = [field.name for field in dataclasses.fields(ctx) if field.compare]
    assert {name: getattr(ctx, name) for name in fields} == {
        name: getattr(fresh, name) for name in fields
    }


async def test_default_is_what_is_used(monkeypatch):
    async def nothing(f, ic, oc):
        pass

    ctx = await conduit.init(src="127.0.0.2")
    monkeypatch.setattr("conduit.context._default", ctx)
    assert conduit.default_ctx() is ctx
    async with conduit.listen(server.TCP(0), nothing) as srv:
        assert tcp_endp(srv).ip == ip_address("127.0.0.2")
        async with conduit.connect(tcp_endp(srv)) as (_, _, oc):
            assert oc.get_extra_info("sockname")[0] == "127.0.0.2"


# Fork ---------------------------------------------------------------------------------------------

FORK = """
import asyncio, os, sys, warnings
import conduit
from conduit import client, endp, server

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads: it is ours


async def nothing(f, ic, oc):
    pass


def attempt(what):
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(what())
    except BaseException as error:
        print(type(error).__name__, error, flush=True)
    else:
        print("no error", flush=True)


async def connect():
    await conduit.connect(client.TCP("127.0.0.1", 1), ctx=ctx)


async def listen():
    async with conduit.listen(server.TCP(0), nothing, ctx=ctx):
        pass


async def default():
    async with conduit.listen(server.TCP(0), nothing) as srv:
        target = client.TCP("127.0.0.1", srv.endps[0].port)
        async with conduit.connect(target) as (f, ic, oc):
            await ic.read()


with asyncio.Runner(loop_factory=new_loop) as runner:
    ctx = runner.run(conduit.init())
    inherited = conduit.default_ctx()
pid = os.fork()
if not pid:
    print(os.getppid(), os.getpid(), flush=True)
    attempt(connect)
    attempt(listen)
    attempt(default)
    print(conduit.default_ctx() is inherited, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(conduit.default_ctx() is inherited)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
async def test_in_a_forked_child_a_context_is_refused(anyio_backend):
    with Child(FORK, loop=loop_name(anyio_backend)) as child:
        parent, forked = (await child.says()).split()
        refusal = (
            f"RuntimeError this Context was made in process {parent} and cannot be used in its "
            f"forked child {forked}: call conduit.init there"
        )
        assert await child.says() == refusal
        assert await child.says() == refusal
        # The default is made anew there, and works.
        assert await child.says() == "no error"
        assert await child.says() == "False"
        assert await child.says() == "True"
        assert await child.status() == 0


def loop_name(anyio_backend) -> str:
    return "uvloop" if anyio_backend[1]["use_uvloop"] else "asyncio"
