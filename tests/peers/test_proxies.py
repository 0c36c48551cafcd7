"""Through real proxies: squid by CONNECT, dante by SOCKS5, one behind the other, TLS around all."""

import errno

import pytest

import conduit
from conduit import CertificateError, ConnectError, client, endp, flow
from conduit.text import PasswordFromEnv, PasswordFromFile
from tests.endpoints import port_of
from tests.peers.handlers import digest, digest_reply, exchange, noise
from tests.peers.programs import port_of_its_own
from tests.peers.proxies import PASSWORD, USER, dante, squid
from tests.peers.tls_server import serving


async def greet(f, ic, oc):
    await oc.write(b"hello\n")


async def hear(target, ctx=None) -> bytes:
    async with conduit.connect(target, ctx=ctx, timeout=20) as (_, ic, _):
        return await ic.readline()


async def test_squid_and_all_it_may_say(program, papers, monkeypatch):
    """A server that speaks first, by every way to the proxy; what it refuses, with its words."""
    ctx = await papers.ctx()
    async with (
        squid(program, papers) as ports,
        conduit.listen("tcp://127.0.0.1:0", greet) as srv,
    ):
        far = "127.0.0.1", port_of(srv)
        plain = client.TCP("127.0.0.1", ports.plain)
        async with conduit.connect(client.HTTPConnect(*far, plain)) as (f, ic, _):
            assert isinstance(f, flow.TCP)
            # The socket leads to the proxy; whom the flow is with is the host.
            assert (f.port, conduit.endp_of_flow(f)) == (ports.plain, endp.TCP(*far))
            assert await ic.readline() == b"hello\n"
        secure = client.TLSOver("localhost", client.Host("localhost", ports.secure))
        assert await hear(client.HTTPConnect(*far, secure), ctx) == b"hello\n"
        text = f"connect+tls://localhost:{ports.secure}?to=localhost:{far[1]}"
        assert await hear(text, ctx) == b"hello\n"
        with pytest.raises(CertificateError, match=r"other\.example"):
            await hear(f"connect+{secure}?to=h:1&hostname=other.example", ctx)

        with pytest.raises(ConnectError, match="the proxy refused: 403 Forbidden") as caught:
            await hear(client.HTTPConnect("127.0.0.1", 9, plain))
        assert caught.value.errno == errno.EACCES
        with port_of_its_own() as nobody, pytest.raises(ConnectError, match="refused: 503 "):
            await hear(client.HTTPConnect("127.0.0.1", nobody, plain))


async def test_tls_in_tls_through_squid(program, papers):
    ctx, data = await papers.ctx(), noise(500_000)
    far = await papers.issue("far.example")
    async with (
        squid(program, papers) as ports,
        serving(papers, digest, certificates=[far]) as srv,
    ):
        proxy = client.TLS("localhost", "127.0.0.1", ports.secure)
        by_proxy = client.HTTPConnect("127.0.0.1", srv.port, proxy)
        target = client.TLSOver("far.example", by_proxy)
        assert conduit.text.parse_client(str(target)) == target
        async with conduit.connect(target, ctx=ctx) as (f, ic, oc):
            assert oc.get_extra_info("sni") == "far.example"
            where = endp.TLS("far.example", endp.TCP("127.0.0.1", srv.port))
            assert conduit.endp_of_flow(f) == where
            assert await exchange(ic, oc, data) == digest_reply(data)
        with pytest.raises(CertificateError, match=r"wrong\.example"):
            await hear(client.TLSOver("wrong.example", by_proxy), ctx)


async def test_logins_by_reference(program, papers, monkeypatch, tmp_path):
    """Each way to say where a login is, to both kinds of proxies; none of it shows anywhere."""
    secret = f"{USER}:{PASSWORD}"
    file = tmp_path / "login"
    file.write_text(f"{secret}\n")
    monkeypatch.setenv("LOGIN", secret)
    monkeypatch.setenv("WRONG", f"{USER}:hush-hush")
    monkeypatch.setenv("URL", f"http://{USER}:p4ss%3Aw%25rd@proxy.example:3128")
    monkeypatch.setenv("NO_LOGIN_IN_IT", "http://proxy.example:3128")
    logins = PasswordFromEnv("LOGIN"), PasswordFromFile(file), PasswordFromEnv("URL")
    async with (
        squid(program, papers, login=True) as ports,
        dante(program, tmp_path, login=True) as socks,
        conduit.listen("tcp://127.0.0.1:0", greet) as srv,
    ):
        far = "127.0.0.1", port_of(srv)
        for kind, port in ((client.HTTPConnect, ports.plain), (client.SOCKS5, socks)):
            proxy = client.TCP("127.0.0.1", port)
            for login in logins:
                target = kind(*far, proxy, login)
                assert await hear(target) == b"hello\n"
                assert await hear(str(target)) == b"hello\n"
                assert PASSWORD not in f"{target!r} {target}"
            for lacking in (None, PasswordFromEnv("NO_LOGIN_IN_IT")):
                with pytest.raises(ConnectError, match=r"refused: .*; it wants a login: give"):
                    await hear(kind(*far, proxy, lacking))
            with pytest.raises(ConnectError, match=r"407|authentication failure") as caught:
                await hear(kind(*far, proxy, PasswordFromEnv("WRONG")))
            assert "hush" not in f"{caught.value!r} {caught.value}"


async def test_dante_and_all_it_may_say(program, papers):
    ctx = await papers.ctx()
    async with (
        dante(program, papers.directory) as port,
        conduit.listen("tcp://127.0.0.1:0", greet) as srv,
        serving(papers) as secure,
    ):
        proxy = client.TCP("127.0.0.1", port)
        for host in ("127.0.0.1", "localhost"):
            assert await hear(client.SOCKS5(host, port_of(srv), proxy)) == b"hello\n"
        # The name goes to the proxy as it is, and TLS checks it.
        target = f"tls+socks5+{proxy}?to=localhost:{secure.port}"
        async with conduit.connect(target, ctx=ctx) as (_, ic, oc):
            await oc.write(b"hello\n")
            assert await ic.readline() == b"hello\n"
        with pytest.raises(ConnectError, match="proxy refused: Connection not allowed") as caught:
            await hear(client.SOCKS5("127.0.0.1", 9, proxy))
        assert caught.value.errno == errno.EACCES
        with port_of_its_own() as nobody, pytest.raises(ConnectError) as caught:
            await hear(client.SOCKS5("127.0.0.1", nobody, proxy))
        assert "the proxy refused: Connection refused by destination host" in str(caught.value)
        assert caught.value.errno == errno.ECONNREFUSED


async def test_one_proxy_behind_the_other(program, papers):
    ctx = await papers.ctx()
    async with (
        squid(program, papers) as ports,
        dante(program, papers.directory) as port,
        serving(papers) as srv,
    ):
        squid_port = f"127.0.0.1:{ports.plain}"
        dante_port = f"127.0.0.1:{port}"
        far, secure = f"localhost:{srv.port}", f"localhost:{ports.secure}"
        for chain in (
            f"tls+connect+socks5+tcp://{dante_port}?to={far},{squid_port}",
            f"tls+socks5+connect+tls://{secure}?to={far},{dante_port}",
            f"tls+connect+tls+socks5+tcp://{dante_port}?to={far},{secure}",
        ):
            async with conduit.connect(chain, ctx=ctx) as (_, ic, oc):
                await oc.write(b"hello\n")
                assert await ic.readline() == b"hello\n"


async def test_proxy_that_is_found_by_a_resolver(program, papers):
    """Its name is looked up by the rules of the context; that of the host is left to it."""
    async with (
        dante(program, papers.directory) as port,
        conduit.listen("tcp://127.0.0.1:0", greet) as srv,
    ):
        asked = []

        def rule(service, uri):
            asked.append(uri.host)
            return endp.TCP("127.0.0.1", port)

        resolver = conduit.resolver.Resolver(rewrites=[("proxy.example", rule)])
        ctx = await conduit.init(resolver=resolver)
        target = client.SOCKS5("localhost", port_of(srv), client.Host("proxy.example", 1080))
        assert await hear(target, ctx) == b"hello\n"
        assert asked == ["proxy.example"]
