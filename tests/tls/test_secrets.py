"""No secret is ever shown: not in a repr, a message, a log or an address."""

from __future__ import annotations

import base64
import logging
import traceback

import pytest

import conduit
from conduit import OwnKey, TLSError, server
from conduit.testing import self_signed
from tests.tls.flows import NAME, tls_to
from tests.tls.session import load

PASSWORD = "correct horse battery staple"


@pytest.fixture
def encrypted(identities, tmp_path):
    """A key that is encrypted, and the secrets of it."""
    issued = identities.authority.issue(NAME, password=PASSWORD)
    plain = identities.authority.issue(NAME)
    return (
        issued.write(tmp_path),
        plain.write(tmp_path, "plain"),
        [PASSWORD, *secrets(issued, plain)],
    )


def secrets(*issued):
    """Every line of the keys, and what they are in bytes."""
    for each in issued:
        lines = each.key_pem.decode().splitlines()[1:-1]
        yield from lines
        yield base64.b64decode("".join(lines)).hex()


def shown(error: BaseException) -> str:
    """All that a program may print of an error."""
    return "\n".join([repr(error), *traceback.format_exception(error, chain=True)])


def check(text: str, hidden: list[str]) -> None:
    for secret in hidden:
        assert secret not in text


def test_reprs(encrypted):
    key, _, hidden = encrypted
    mode = server.TLS(key.crt_file, key.key_file, key.password, 443)
    over = server.TLSOver(server.TCP(443), key.crt_file, key.key_file, key.password)
    ctx = conduit.Context(tls_own_key=key)
    for each in (key, mode, over, ctx, mode.config if hasattr(mode, "config") else mode):
        check(repr(each) + str(each), hidden)
        assert "lambda" not in repr(each)


@pytest.mark.parametrize("wrong", ["a wrong password", "x" * 2000, 7])
def test_messages_about_keys(encrypted, stack, identities, wrong):
    key, plain, hidden = encrypted
    bad = [
        OwnKey(key.crt_file, key.key_file, lambda again: wrong),
        OwnKey(key.crt_file, key.key_file),
        OwnKey(key.crt_file, plain.key_file),  # of another certificate
        OwnKey(plain.key_file, plain.key_file),  # no certificate at all
        OwnKey(plain.crt_file, plain.crt_file),
    ]
    for each in bad:
        with pytest.raises(TLSError) as caught:
            load((stack, stack), None, each, identities.trust)
        check(shown(caught.value), [*hidden, str(wrong) if wrong != 7 else PASSWORD])


def test_a_password_function_that_fails(encrypted, stack, identities):
    key, _, hidden = encrypted

    def fail(again):
        raise LookupError("no vault")

    with pytest.raises(TLSError, match="no vault"):
        load((stack, stack), None, OwnKey(key.crt_file, key.key_file, fail), identities.trust)
    check(repr(OwnKey(key.crt_file, key.key_file, fail)), hidden)


async def test_nothing_is_logged(encrypted, identities, caplog):
    key, plain, hidden = encrypted
    stranger = conduit.Context(tls_authenticator=conduit.trust.ca(CERTIFICATE.crt_pem))
    ctx = conduit.Context(tls_authenticator=identities.trust, tls_own_key=plain)

    async def handler(f, ic, oc):
        raise RuntimeError("the handler fails")

    mode = server.TLS(key.crt_file, key.key_file, key.password, 0, ip="127.0.0.1")
    with caplog.at_level(logging.DEBUG):
        async with conduit.listen(mode, handler, ctx=ctx, client_auth="required") as srv:
            target = tls_to(srv)
            async with conduit.connect(target, ctx=ctx) as (_, ic, _):
                assert await ic.read() == b""
            for refused in (stranger, conduit.Context(tls_authenticator=identities.trust)):
                with pytest.raises(TLSError) as caught:
                    async with conduit.connect(target, ctx=refused) as (_, ic, _):
                        await ic.read()
                check(shown(caught.value), hidden)
            await srv.reload()
    assert "the handler fails" in caplog.text
    check(caplog.text, hidden)


CERTIFICATE = self_signed(NAME)
