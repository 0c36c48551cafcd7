"""curl against a small HTTP server of ours, over TCP and by --unix-socket."""

import hashlib

import pytest

import conduit
from conduit import server
from tests.peers.handlers import noise
from tests.peers.http_server import BIG, http
from tests.peers.programs import run


@pytest.fixture(params=["tcp4", "tcp6", "unix", "abstract"])
async def served(request, socket_path, program):
    """A server, as the beginning of a curl command and that of a URL."""
    curl = [program("curl"), "-q", "-sS", "--fail", "--max-time", "20", "--noproxy", "*"]
    failures: list[BaseException] = []
    mode: server.Mode
    match request.param:
        case "unix":
            mode, url = server.UnixDomainSocket(socket_path), "http://localhost"
            curl += ["--unix-socket", socket_path]
        case "abstract":
            mode, url = server.UnixDomainSocket(f"@{socket_path}"), "http://localhost"
            curl += ["--abstract-unix-socket", socket_path]
        case "tcp4":
            mode, url = server.TCP(0, ip="127.0.0.1"), "http://127.0.0.1:{}"
        case _:
            mode, url = server.TCP(0), "http://[::1]:{}"
    async with conduit.listen(mode, http, on_exn=failures.append) as srv:
        yield curl, url.format(getattr(srv.endps[0], "port", ""))
    assert failures == []


async def test_get(served):
    curl, url = served
    assert await run(*curl, f"{url}/hello") == b"GET /hello\n"


async def test_keep_alive(served):
    """Five requests over one connection."""
    curl, url = served
    urls = [f"{url}/{n}" for n in range(5)]
    out = (await run(*curl, "-w", "%{num_connects}\n", *urls)).decode().splitlines()
    assert out[0::2] == [f"GET /{n}" for n in range(5)]
    # curl 7.88 never uses a connection to an abstract name twice.
    if "--abstract-unix-socket" not in curl:
        assert out[1::2] == ["1", "0", "0", "0", "0"]


async def test_many_connections_at_once(served):
    curl, url = served
    urls = [f"{url}/{n}" for n in range(40)]
    parallel = ("--parallel", "--parallel-immediate", "--no-progress-meter")
    out = await run(*curl, *parallel, "-H", "Connection: close", *urls)
    assert sorted(out.decode().splitlines()) == sorted(f"GET /{n}" for n in range(40))


@pytest.mark.parametrize("path", ["/big", "/until-the-end"])
async def test_download(served, path):
    curl, url = served
    assert await run(*curl, f"{url}{path}") == BIG


@pytest.mark.parametrize("options", [(), ("-H", "Transfer-Encoding: chunked")], ids=["", "chunked"])
async def test_upload(served, options, tmp_path):
    curl, url = served
    data = noise(10_000_000, seed=3)
    (tmp_path / "data").write_bytes(data)
    out = await run(*curl, *options, "-T", str(tmp_path / "data"), f"{url}/put")
    assert out.decode() == f"{len(data)} {hashlib.sha256(data).hexdigest()}\n"


async def test_upload_and_download_in_one_connection(served, tmp_path):
    curl, url = served
    (tmp_path / "data").write_bytes(BIG)
    put = ("-T", str(tmp_path / "data"), f"{url}/put")
    out = await run(*curl, *put, "--next", "-sS", *curl[6:], f"{url}/big")
    assert out == f"{len(BIG)} {hashlib.sha256(BIG).hexdigest()}\n".encode() + BIG
