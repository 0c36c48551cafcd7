"""TLS through a real proxy, which is itself reached by TLS: TLS in TLS, by `client.TLSTunnel`."""

import os
import signal
from contextlib import asynccontextmanager
from glob import glob

import pytest

import conduit
from conduit import CertificateError, TruncatedError, client, endp, flow
from tests.peers.handlers import digest, digest_reply, exchange, noise
from tests.peers.programs import port_of_its_own, until_listening
from tests.peers.talking import Talking
from tests.peers.tls_server import VERSIONS, serving

CONFIGURATION = """
http_port 127.0.0.1:{plain}
https_port 127.0.0.1:{secure} tls-cert={crt_file} tls-key={key_file}
http_access allow all
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


@pytest.fixture
def squid(program, papers):
    """`async with squid() as ports`: a proxy, and its ports for each kind of client."""
    path = program("squid")
    file = papers.directory / "squid.conf"

    @asynccontextmanager
    async def start():
        own = papers.own
        with port_of_its_own() as plain, port_of_its_own() as secure:
            text = CONFIGURATION.format(
                plain=plain, secure=secure, crt_file=own.crt_file, key_file=own.key_file
            )
            file.write_text(text)
            # Shared memory is found by the name of the service, which no other may have therefore.
            name = f"conduit{secure}"
            command = path, "-N", "-n", name, "-f", str(file)
            # To leave in order would take it a second.
            talk = Talking(*command, says="Accepting HTTPS Socket", ends_by=signal.SIGKILL)
            try:
                async with talk:
                    await until_listening(plain, secure)
                    yield {
                        "http": client.TCP("127.0.0.1", plain),
                        "https": client.TLS("localhost", "127.0.0.1", secure),
                    }
            finally:
                for left in glob(f"/dev/shm/{name}-*"):
                    os.unlink(left)

    return start


@pytest.fixture(params=["http", "https"])
def scheme(request) -> str:
    return str(request.param)


async def ask_for(port: int, ic, oc) -> None:
    """Have the proxy connect to a port of this host."""
    await oc.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    answer = await ic.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 "), answer


async def test_tunnel(squid, papers, scheme):
    """Much data both ways; our end reaches the far server, and its reply after that us."""
    ctx, data = await papers.ctx(), noise(2_000_000)
    far = await papers.issue("far.example")
    async with squid() as proxy, serving(papers, digest, certificates=[far]) as srv:
        _, ic, oc = await conduit.connect(proxy[scheme], ctx=ctx)
        await ask_for(srv.port, ic, oc)
        tunnel = client.TLSTunnel("far.example", ic, oc)
        async with conduit.connect(tunnel, ctx=ctx) as (f, inner_ic, inner_oc):
            assert f == flow.Tunnel("far.example", ic, oc)
            assert conduit.endp_of_flow(f) == endp.TLSTunnel("far.example", ic, oc)
            # Facts of the connection through the proxy, not of that to it; below there is one peer.
            assert inner_oc.get_extra_info("sni") == "far.example"
            assert inner_oc.get_extra_info("peername") == ("127.0.0.1", proxy[scheme].port)
            assert await exchange(inner_ic, inner_oc, data) == digest_reply(data)
        # The tunnel has closed what it stood on.
        assert oc.is_closing()
        await oc.wait_closed()
        assert (await srv.met.get()).sni == "far.example"
    assert srv.errors.empty()


@pytest.mark.parametrize("version", VERSIONS)
async def test_tunnel_to_a_server_of_another_make(squid, program, papers, version):
    """Nothing of ours at the other end of either connection."""
    ctx = await papers.ctx()
    far = await papers.issue("far.example")
    shown = "-cert", far.crt_file, "-key", far.key_file
    only = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}[version]
    s_server = program("openssl"), "s_server", "-accept", "127.0.0.1:0", only, *shown
    async with squid() as proxy, Talking(*s_server, says="ACCEPT 127.0.0.1:") as talk:
        _, ic, oc = await conduit.connect(proxy["https"], ctx=ctx)
        await ask_for(talk.port, ic, oc)
        tunnel = client.TLSTunnel("far.example", ic, oc)
        async with conduit.connect(tunnel, ctx=ctx) as (_, ic, oc):
            assert oc.get_extra_info("tls_version") == version
            for line in ("hello\n", "there\n"):
                await oc.write(line.encode())
                await talk.says(line)
                await talk.tell(line.upper())
                assert await ic.readline() == line.upper().encode()
        await talk.says("DONE\n")


async def test_far_server_with_another_name_is_refused(squid, papers, scheme):
    ctx = await papers.ctx()
    async with squid() as proxy, serving(papers) as srv:
        _, ic, oc = await conduit.connect(proxy[scheme], ctx=ctx)
        await ask_for(srv.port, ic, oc)
        with pytest.raises(CertificateError, match=r"far\.example"):
            await conduit.connect(client.TLSTunnel("far.example", ic, oc), ctx=ctx)
        # Nothing is left open of what it would have stood on.
        await oc.wait_closed()
        assert (await srv.errors.get()).alert == "bad_certificate"


async def test_proxy_that_is_killed_leaves_no_clean_end(squid, papers, scheme):
    ctx = await papers.ctx()
    async with serving(papers) as srv:
        async with squid() as proxy:
            _, ic, oc = await conduit.connect(proxy[scheme], ctx=ctx)
            await ask_for(srv.port, ic, oc)
            tunnel = client.TLSTunnel("localhost", ic, oc)
            _, ic, oc = await conduit.connect(tunnel, ctx=ctx)
            await oc.write(b"hello\n")
            assert await ic.readline() == b"hello\n"
        with pytest.raises(TruncatedError):
            await ic.read()
        await oc.close()
        assert isinstance(await srv.errors.get(), TruncatedError)
