"""Contexts as the options of a text tailor them."""

import gc
import ssl
from ipaddress import ip_address

import pytest

import conduit
from conduit import trust
from conduit._tailored import _known, tailored

ONE = "11" * 32
TWO = "22" * 32


async def test_without_options_it_is_the_same_context():
    ctx = await conduit.init()
    assert tailored(ctx) is ctx


async def test_text_has_its_way_and_the_rest_stays():
    ctx = await conduit.init(src="127.0.0.1", alpn="h2", keepalive=10, close_timeout=0.5)
    src = (ip_address("127.0.0.2"),)
    new = tailored(ctx, src=src, alpn=("http/1.1",), keepalive=60)
    assert (new.src, new.alpn, new.keepalive) == (src, ("http/1.1",), 60)
    assert new.close_timeout == 0.5
    assert new.pid == ctx.pid
    assert tailored(ctx, keepalive=60).src == ctx.src
    assert ctx.keepalive == 10


async def test_same_options_give_the_same_context():
    """By which sessions of TLS and files that were read are remembered."""
    ctx, other = await conduit.init(), await conduit.init()
    assert tailored(ctx, ca=("/a",)) is tailored(ctx, ca=("/a",))
    assert tailored(ctx, ca=("/a",)) is not tailored(ctx, ca=("/b",))
    assert tailored(ctx, ca=("/a",)) is not tailored(other, ca=("/a",))


async def test_contexts_are_not_kept_for_ever():
    ctx = await conduit.init()
    for n in range(500):
        assert tailored(ctx, ca=(f"/{n}",)).tls_authenticator == trust.ca(f"/{n}")
    assert len(_known[ctx]) <= 64
    before = len(_known)
    del ctx
    gc.collect()
    assert len(_known) < before


async def test_whom_to_trust():
    ctx = await conduit.init()
    assert tailored(ctx, ca=("/a", "/b")).tls_authenticator == trust.ca(["/a", "/b"])
    assert tailored(ctx, fingerprint=(ONE, TWO)).tls_authenticator == trust.fingerprint(ONE, TWO)
    both = tailored(ctx, ca=("/a",), fingerprint=(ONE,)).tls_authenticator
    assert both == trust.ca("/a") & trust.fingerprint(ONE)


async def test_fingerprint_comes_on_top_of_what_the_context_demands():
    ctx = await conduit.init(tls_authenticator=trust.ca("/a") & trust.fingerprint(TWO))
    told = tailored(ctx, fingerprint=(ONE,)).tls_authenticator
    assert told == trust.ca("/a") & trust.fingerprint(TWO) & trust.fingerprint(ONE)


@pytest.mark.parametrize(
    "settings",
    [
        {"tls_authenticator": trust.ca("/ours.pem")},
        {"tls_authenticator": trust.fingerprint(ONE)},
        {"tls_authenticator": trust.insecure_no_verification()},
        {"ssl_ctx": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
    ],
    ids=["ca", "fingerprint", "insecure", "ssl_ctx"],
)
async def test_ca_would_replace_what_the_context_says(settings):
    ctx = await conduit.init(**settings)
    with pytest.raises(conduit.AddressError, match=r"^ca= in the text.*leave out one of the two"):
        tailored(ctx, ca=("/a",))


async def test_fingerprint_and_an_ssl_ctx_exclude_each_other():
    ctx = await conduit.init(ssl_ctx=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(conduit.AddressError, match=r"^fingerprint= in the text.* has an ssl_ctx"):
        tailored(ctx, fingerprint=(ONE,))
