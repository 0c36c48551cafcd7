"""Certificates and authorities that are read again while a server runs."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import conduit
from conduit import OwnKey, client, server, trust
from conduit._reload import Reloader
from conduit.testing import Authority
from conduit.transports import Reloadable
from tests.certificates import in_thread
from tests.endpoints import port_of
from tests.event_log import until

LOCAL = "127.0.0.1"
QUICKLY = 0.01


async def echo(f, ic, oc):
    async for line in ic:
        await oc.write(line)


class Files:
    """A server's certificate and key, which a test replaces."""

    def __init__(self, directory: Path, name: str = "own") -> None:
        self.directory = directory
        self.name = name
        self.key = OwnKey(directory / f"{name}.crt", directory / f"{name}.key")

    def put(self, authority: Authority, *names: str) -> bytes:
        """A new certificate in their place: its DER."""
        issued = in_thread(lambda: authority.issue(*names))
        in_thread(lambda: issued.write(self.directory, self.name))
        return issued.der

    def spoil(self) -> None:
        """Half of a certificate, as a full disk would leave it; in one step, to be seen once."""
        path = Path(self.key.crt_file)

        def spoil() -> None:
            half = path.with_suffix(".half")
            half.write_text(path.read_text()[:200])
            half.replace(path)

        in_thread(spoil)


@pytest.fixture
def files(tmp_path, certificates):
    found = Files(tmp_path)
    found.first = found.put(certificates.ca, "localhost")  # type: ignore[attr-defined]
    return found


@pytest.fixture
async def ctx(certificates):
    return await conduit.init(tls_authenticator=trust.ca(certificates.trusted))


def serving(files: Files, **options):
    key = files.key
    mode = server.TLS(key.crt_file, key.key_file, None, 0, ip=LOCAL)
    return conduit.listen(mode, echo, **{"on_exn": lambda error: None, **options})


@asynccontextmanager
async def connected(srv, ctx, hostname="localhost"):
    """A client that is not to be recognized."""
    target = client.TLS(hostname, LOCAL, port_of(srv))
    async with conduit.connect(target, ctx=replace(ctx)) as triple:
        yield triple


async def shown(srv, ctx, hostname="localhost") -> bytes:
    """The certificate that a new client is shown."""
    async with connected(srv, ctx, hostname) as (_, _, oc):
        return oc.get_extra_info("peer_certificate")  # type: ignore[no-any-return]


async def answers(ic, oc) -> bool:
    oc.write(b"hello\n")
    return bool(await ic.readline() == b"hello\n")


# When told to -------------------------------------------------------------------------------------


async def test_new_clients_are_shown_the_new_certificate(files, certificates, ctx):
    async with serving(files) as srv:
        async with connected(srv, ctx) as (_, ic, oc):
            second = files.put(certificates.ca, "localhost")
            assert await shown(srv, ctx) == files.first
            await srv.reload()
            assert await shown(srv, ctx) == second != files.first
            # Whoever is there goes on.
            assert await answers(ic, oc)
            assert oc.get_extra_info("peer_certificate") == files.first


async def test_file_that_is_broken_keeps_the_old_one_and_says_so(files, certificates, ctx, caplog):
    async with serving(files) as srv:
        files.spoil()
        with pytest.raises(
            conduit.TLSError, match=r"cannot use .*own\.crt with .*damaged or was cut short"
        ):
            await srv.reload()
        [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert record.getMessage().startswith(
            f"cannot reload {files.key.crt_file}, {files.key.key_file}, what was read before stays"
        )
        assert await shown(srv, ctx) == files.first
        in_thread(Path(files.key.crt_file).unlink)
        with pytest.raises(FileNotFoundError, match=r"cannot read .*own\.crt"):
            await srv.reload()
        assert await shown(srv, ctx) == files.first
        # The next one that is good is taken.
        mended = files.put(certificates.ca, "localhost")
        await srv.reload()
        assert await shown(srv, ctx) == mended


async def test_key_that_does_not_fit_keeps_the_old_one(files, certificates, ctx):
    """A certificate was replaced, and its key not yet."""
    async with serving(files) as srv:
        key = Path(files.key.key_file)
        old = in_thread(key.read_bytes)
        files.put(certificates.ca, "localhost")
        new = in_thread(key.read_bytes)
        in_thread(lambda: key.write_bytes(old))
        with pytest.raises(conduit.TLSError, match="is not that of the certificate"):
            await srv.reload()
        assert await shown(srv, ctx) == files.first
        in_thread(lambda: key.write_bytes(new))
        await srv.reload()
        assert await shown(srv, ctx) != files.first


async def test_every_certificate_is_read_again(files, certificates, ctx, tmp_path):
    more = Files(tmp_path, "more")
    more.put(certificates.ca, "more.example")
    async with serving(files, certificates=[more.key]) as srv:
        before = await shown(srv, ctx, "more.example")
        after = more.put(certificates.ca, "more.example", "new.example")
        await srv.reload()
        assert await shown(srv, ctx, "more.example") == after != before
        assert await shown(srv, ctx, "new.example") == after
        assert await shown(srv, ctx) == files.first


async def test_one_broken_certificate_of_several_changes_nothing(
    files, certificates, ctx, tmp_path
):
    more = Files(tmp_path, "more")
    old = more.put(certificates.ca, "more.example")
    async with serving(files, certificates=[more.key]) as srv:
        files.put(certificates.ca, "localhost")
        more.spoil()
        with pytest.raises(conduit.TLSError, match=r"more\.crt"):
            await srv.reload()
        assert await shown(srv, ctx) == files.first
        assert await shown(srv, ctx, "more.example") == old


async def test_authorities_of_clients_are_read_again(files, certificates, tmp_path, ctx):
    path = in_thread(lambda: certificates.ca.write(tmp_path, "clients"))
    options = {
        "ctx": await conduit.init(tls_authenticator=trust.ca(path)),
        "client_auth": "required",
    }
    own = certificates.write(certificates.other_ca.issue("me"), tmp_path, "me")
    ctx = replace(ctx, tls_own_key=own)
    async with serving(files, **options) as srv:

        async def accepted() -> bool:
            try:
                async with connected(srv, ctx) as (_, ic, oc):
                    return await answers(ic, oc)
            except conduit.TLSError:
                return False

        assert not await accepted()
        in_thread(lambda: certificates.other_ca.write(tmp_path, "clients"))
        await srv.reload()
        assert await accepted()


async def test_all_layers_are_read_again(files, certificates, ctx, tmp_path):
    inner = Files(tmp_path, "inner")
    inner.put(certificates.ca, "inner.example")
    outer = server.TLS(files.key.crt_file, files.key.key_file, None, 0, ip=LOCAL)
    mode = server.TLSOver(outer, inner.key.crt_file, inner.key.key_file)
    async with conduit.listen(mode, echo) as srv:
        second = files.put(certificates.ca, "localhost")
        third = inner.put(certificates.ca, "inner.example")
        await srv.reload()
        async with conduit.connect(srv.endps[0], ctx=ctx) as (_, _, oc):
            assert oc.get_extra_info("peer_certificate") == third
            below = oc._wire.transport.below.transport  # type: ignore[attr-defined]
            assert below.get_extra_info("peer_certificate") == second


async def test_two_reloads_at_once_end_with_the_latest(files, certificates, ctx, monkeypatch):
    """The first may be slow, and must not undo the second."""
    from conduit.tls import openssl

    load, slow = openssl.load_server, asyncio.Event()
    loop = asyncio.get_running_loop()
    loads = 0

    def load_server(settings):
        nonlocal loads
        found = load(settings)
        loads += 1
        if loads == 1:
            asyncio.run_coroutine_threadsafe(slow.wait(), loop).result()
        return found

    async with serving(files) as srv:
        monkeypatch.setattr(openssl, "load_server", load_server)
        one = asyncio.ensure_future(srv.reload())
        await until(lambda: loads == 1)
        second = files.put(certificates.ca, "localhost")
        two = asyncio.ensure_future(srv.reload())
        await asyncio.sleep(0)
        slow.set()
        await asyncio.gather(one, two)
        assert await shown(srv, ctx) == second


async def test_server_without_tls_has_nothing_to_read_again(socket_path):
    for mode in (server.TCP(0, ip=LOCAL), server.UnixDomainSocket(socket_path)):
        async with conduit.listen(mode, echo, reload_interval=QUICKLY) as srv:
            await srv.reload()


async def test_sessions_of_before_are_not_taken_up(files, certificates, ctx):
    """Whoever comes back sees the new certificate, even if it has a session."""
    async with serving(files) as srv:
        target = client.TLS("localhost", LOCAL, port_of(srv))
        async with conduit.connect(target, ctx=ctx) as (_, ic, oc):
            assert await answers(ic, oc)
        second = files.put(certificates.ca, "localhost")
        await srv.reload()
        async with conduit.connect(target, ctx=ctx) as (_, ic, oc):
            assert oc.get_extra_info("resumed") is False
            assert oc.get_extra_info("peer_certificate") == second


# By itself ----------------------------------------------------------------------------------------


async def becomes(srv, ctx, der: bytes) -> None:
    """Wait until new clients are shown a certificate."""
    async with asyncio.timeout(20):
        while await shown(srv, ctx) != der:  # noqa: ASYNC110 (nothing tells of a reload)
            await asyncio.sleep(QUICKLY)


async def test_change_is_noticed(files, certificates, ctx):
    async with serving(files, reload_interval=QUICKLY) as srv:
        async with connected(srv, ctx) as (_, ic, oc):
            await becomes(srv, ctx, files.put(certificates.ca, "localhost"))
            assert await answers(ic, oc)
            await becomes(srv, ctx, files.put(certificates.ca, "localhost"))


async def test_file_that_is_replaced_is_noticed(files, certificates, ctx, tmp_path):
    """By a rename, or a link that leads elsewhere, as in Kubernetes."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with serving(files, reload_interval=QUICKLY) as srv:
        issued = in_thread(lambda: certificates.ca.issue("localhost"))
        new = in_thread(lambda: issued.write(elsewhere))

        def link() -> None:
            for there, here in (
                (new.key_file, files.key.key_file),
                (new.crt_file, files.key.crt_file),
            ):
                os.symlink(there, elsewhere / "link")
                os.replace(elsewhere / "link", here)

        in_thread(link)
        await becomes(srv, ctx, issued.der)


async def test_broken_file_is_told_once_and_the_next_change_taken(files, certificates, ctx, caplog):
    def told() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]

    async with serving(files, reload_interval=QUICKLY) as srv:
        files.spoil()
        await until(lambda: bool(told()))
        assert await shown(srv, ctx) == files.first
        await asyncio.sleep(5 * QUICKLY)  # what must not come cannot be waited for
        assert len(told()) == 1
        assert "own.crt" in told()[0]
        await becomes(srv, ctx, files.put(certificates.ca, "localhost"))


@pytest.mark.parametrize(
    "error", [OSError(24, "Too many open files"), conduit.TLSError("the password could not be had")]
)
async def test_what_could_not_be_read_is_tried_again(
    files, certificates, ctx, monkeypatch, error, caplog
):
    """Descriptors may be short when a certificate is renewed: it is not forgotten for that."""
    from conduit.tls import openssl

    load, fails = openssl.load_server, 3

    def load_server(settings):
        nonlocal fails
        fails -= 1
        if fails >= 0:
            raise error
        return load(settings)

    async with serving(files, reload_interval=QUICKLY) as srv:
        monkeypatch.setattr(openssl, "load_server", load_server)
        await becomes(srv, ctx, files.put(certificates.ca, "localhost"))
        assert fails < 0
    assert [one.levelno for one in caplog.records].count(logging.ERROR) == 1


async def test_nothing_is_read_while_nothing_changes(files, ctx, monkeypatch):
    reads = []
    looks = asyncio.Event()
    from conduit import _reload

    stamp = _reload._stamp
    loop = asyncio.get_running_loop()

    def counting(names):
        reads.append(names)
        if len(reads) >= 4:
            loop.call_soon_threadsafe(looks.set)
        return stamp(names)

    monkeypatch.setattr(_reload, "_stamp", counting)
    from conduit.tls import openssl

    load, loads = openssl.load_server, []

    def load_server(settings):
        loads.append(settings)
        return load(settings)

    monkeypatch.setattr(openssl, "load_server", load_server)
    async with serving(files, reload_interval=QUICKLY):
        await looks.wait()
    # Before it began to listen, and at the first look, since something may have changed before.
    assert len(loads) == 2


async def test_the_watch_ends_with_the_server(files):
    async with serving(files, reload_interval=QUICKLY):
        assert "conduit reload" in names_of_tasks()
    await asyncio.sleep(0)
    assert "conduit reload" not in names_of_tasks()


def names_of_tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), -float("inf")])
async def test_interval_that_cannot_be(files, wrong):
    with pytest.raises(ValueError, match=r"reload_interval is .*: it must be more than 0, or None"):
        serving(files, reload_interval=wrong)


# What all of them have in common ------------------------------------------------------------------


class Counted(Reloadable):
    """Something to reload that fails with what it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count = 0
        self._error = error

    @property
    def files(self) -> tuple[str, ...]:
        return ("nowhere",)

    async def reload(self) -> None:
        self.count += 1
        if self._error is not None:
            raise self._error


class Has:
    """A listener, as far as it matters here."""

    def __init__(self, *reloads: Reloadable) -> None:
        self.reloads = reloads


async def test_all_have_their_turn_and_the_first_failure_is_raised():
    first, second = Counted(OSError("first")), Counted(conduit.TLSError("second"))
    third, shared = Counted(), Counted()
    listeners = Has(first, shared), Has(second, shared, third)
    with pytest.raises(OSError, match=r"^first$"):
        await Reloader(listeners).reload()  # type: ignore[arg-type]
    assert [one.count for one in (first, second, third, shared)] == [1, 1, 1, 1]
