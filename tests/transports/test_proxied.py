"""Proxies that answer badly: what they may say, how long, and what is left then."""

import asyncio
from functools import partial

import pytest

import conduit
from conduit import AddressError, ConnectError, ConnectTimeout, UnsupportedTransport, client
from conduit.text import PasswordFromEnv
from tests.endpoints import port_of

HELLO, OK = b"\x05\x00", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"


async def ask(kind, answers, *, host="db.example", login=None, timeout=10):
    """Connect by a proxy that says each of `answers` when it has been told something."""
    heard = []

    async def proxy(f, ic, oc):
        for answer in answers:
            heard.append(await ic.read(4096))
            oc.write(answer)
        if timeout < 1:
            await ic.read()

    async with conduit.listen("tcp://127.0.0.1:0", proxy) as srv:
        target = kind(host, 5432, client.TCP("127.0.0.1", port_of(srv)), login)
        async with conduit.connect(target, timeout=timeout) as (_, ic, _):
            return heard, await ic.read()


async def test_what_the_host_says_at_once_is_not_lost():
    heard, said = await ask(client.SOCKS5, [HELLO, OK + b"hello"])
    assert heard == [b"\x05\x01\x00", b"\x05\x01\x00\x03\x0adb.example\x15\x38"]
    assert said == b"hello"
    for status in (b"200 OK", b"204 Fine"):
        heard, said = await ask(
            client.HTTPConnect, [b"HTTP/1.1 " + status + b"\r\nA: b\r\n\r\nhello\r\n\r\n"]
        )
        assert heard[0].startswith(b"CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n")
        assert said == b"hello\r\n\r\n"


async def test_answer_may_be_announced():
    soon = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\nA: b\r\n\r\n"
    _, said = await ask(
        client.HTTPConnect, [soon + b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 100 \r\n\r\n"]
    )
    assert said == b"HTTP/1.1 100 \r\n\r\n"


async def test_proxy_is_told_a_port():
    target = client.HTTPConnect("_x._tcp.db.example", 0, client.TCP("192.0.2.1", 1))
    with pytest.raises(AddressError, match="must be told a port, and 0 is none"):
        await conduit.connect(target)


async def test_hosts_of_every_kind():
    heard, _ = await ask(client.SOCKS5, [HELLO, OK], host="2001:db8::1")
    assert heard[1] == bytes.fromhex("05010004 20010db8000000000000000000000001 1538")
    heard, _ = await ask(client.HTTPConnect, [b"HTTP/1.0 200\r\n\r\n"], host="2001:db8::1")
    assert heard[0].startswith(b"CONNECT [2001:db8::1]:5432 ")
    heard, _ = await ask(client.SOCKS5, [HELLO, OK], host="B\u00fccher.example")
    assert b"xn--bcher-kva.example" in heard[1]
    named = b"\x05\x00\x00\x03\x04name\x00\x50"
    assert (await ask(client.SOCKS5, [HELLO, named + b"x"]))[1] == b"x"


@pytest.mark.parametrize(
    ("kind", "answers", "why"),
    [
        (client.SOCKS5, [b""], "closed the connection before it had answered"),
        (client.SOCKS5, [HELLO, b"\x05\x00\x00"], "closed the connection before"),
        (client.SOCKS5, [b"HTTP/1.1 400\r\n"], "refused: Unexpected SOCKS version"),
        (client.SOCKS5, [b"\x05\xff"], "refused: No acceptable .* wants a login"),
        (client.SOCKS5, [b"\x05\x02"], "refused: Unexpected SOCKS authentication"),
        (client.SOCKS5, [HELLO, b"\x05\x04"], "refused: Host unreachable"),
        (client.SOCKS5, [HELLO, b"\x05\x77"], "refused: Invalid reply code"),
        (client.SOCKS5, [HELLO, b"\x05\x00\x00\x09"], "refused: Invalid address type"),
        (client.SOCKS5, [HELLO, b"\x05\x00\x00\x03\x01\xff\x00\x50"], "refused: "),
        (client.HTTPConnect, [b"HTTP/1.1 200 OK\r\n"], "closed the connection before"),
        (client.HTTPConnect, [b"SSH-2.0-x\r\n\r\n"], "does not speak HTTP/1.1"),
        (client.HTTPConnect, [b"HTTP/1.1 zzz\r\n\r\n"], "refused: Invalid status code"),
        (client.HTTPConnect, [b"HTTP/1.1 407 No\r\n\r\n"], "refused: 407 No; it wants a login"),
        (client.HTTPConnect, [b"HTTP/1.1 302 \x1b[31m\xff\r\n\r\n"], r"refused: 302 \?\[31m\?$"),
        (client.HTTPConnect, [b"HTTP/1.1 500 " + b"x" * 9000 + b"\r\n\r\n"], r"x{190,}\.\.\.$"),
        (client.HTTPConnect, [b"HTTP/1.1 200 " + b"x" * 20000], "longer than 16384 bytes"),
        (client.HTTPConnect, [b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 9000], "longer than 16384"),
        (client.HTTPConnect, [b"HTTP/1.1 100 \r\n\r\n" * 9000], "longer than 16384"),
        (client.HTTPConnect, [b"HTTP/1.1 101 Other\r\n\r\n"], "refused: 101 Other"),
    ],
)
async def test_bad_answer_is_told_of_and_nothing_is_left(kind, answers, why):
    with pytest.raises(ConnectError, match=why) as caught:
        await ask(kind, answers)
    assert "cannot connect to " in str(caught.value)
    assert "?to=db.example:5432: the proxy" in str(caught.value)


@pytest.mark.parametrize("kind", [client.SOCKS5, client.HTTPConnect])
async def test_silent_proxy_is_named_at_the_deadline(kind):
    with pytest.raises(ConnectTimeout, match=r"within 0.1 s: the proxy tcp://.*: no answer"):
        await ask(kind, [b""], timeout=0.1)


async def test_proxy_that_is_not_there_is_named():
    async with conduit.listen("tcp://127.0.0.1:0", lambda *_: asyncio.sleep(0)) as srv:
        port = port_of(srv)
    with pytest.raises(ConnectError, match=f"the proxy tcp://127.0.0.1:{port}: ") as caught:
        await conduit.connect(f"socks5+tcp://127.0.0.1:{port}?to=h:1")
    assert caught.value.errno is not None


@pytest.mark.parametrize(
    ("login", "why"),
    [
        ("nothing-hush", "has no ':'"),
        ("us\u00e9r\u20ac:hush", "not 1 to 255 characters of ASCII|not of Latin-1"),
        (":hush", "not 1 to 255 characters of ASCII|no user"),
        ("a\r\n\u0100b:hush", "not of Latin-1|of ASCII"),
    ],
)
@pytest.mark.parametrize("kind", [client.SOCKS5, client.HTTPConnect])
async def test_login_that_cannot_be_said_is_not_shown(kind, login, why, monkeypatch):
    monkeypatch.setenv("LOGIN", login)
    with pytest.raises(AddressError, match=why) as caught:
        await ask(kind, [HELLO, OK], login=PasswordFromEnv("LOGIN"))
    assert "hush" not in f"{caught.value!r}"


def test_what_a_proxy_cannot_be():
    here = client.TCP("127.0.0.1", 1)
    with pytest.raises(AddressError, match="zone"):
        client.SOCKS5("fe80::1%eth0", 1, here)
    with pytest.raises(AddressError, match="USER:PASSWORD") as caught:
        client.HTTPConnect("h", 1, here, "u:hush")  # type: ignore[arg-type]
    assert "hush" not in str(caught.value)
    assert "hush" not in repr(client.SOCKS5("h", 1, here, partial(str.removesuffix, "hush")))


async def test_without_the_package_it_is_named(monkeypatch):
    import sys

    for package in ("python_socks", "python_socks._protocols"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "python_socks._protocols.socks5", raising=False)
    with pytest.raises(UnsupportedTransport, match=r"pip install 'conduit-net\[proxy\]'"):
        await conduit.connect("socks5+tcp://127.0.0.1:1?to=h:1")
