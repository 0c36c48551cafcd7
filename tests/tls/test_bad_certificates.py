"""Bad certificates, in both directions: each is refused, with an error that says why.

The other side is always a foreign one, so that it can be made to show what conduit would not load,
and to speak TLS 1.2 alone.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

import conduit
from conduit import CertificateError, TLSError, Verify, trust
from conduit.testing import self_signed
from conduit.tls.alerts import alert_of
from conduit.tls.certificate import Certificate, DerError
from tests.tls import handshake
from tests.tls.bad_certificates import BAD, CA, HOUR, NOW, OTHER, pattern, sent_by, unreadable
from tests.tls.engines import STACKS
from tests.tls.foreign import ForeignServer, foreign_client
from tests.tls.handshake import VERSIONS

# How one may tell a peer that its certificate is no good (RFC 8446, 6.2).
ALERTS = {
    *("bad_certificate", "unsupported_certificate", "certificate_revoked", "certificate_expired"),
    *("certificate_unknown", "unknown_ca", "access_denied", "decrypt_error"),
}

GOOD = CA.issue("db.example", "127.0.0.1")

both_versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


@pytest.fixture
def anyio_backend():
    """The loop has no part in what a certificate is worth."""
    return "asyncio"


@pytest.fixture
def version(request):
    """The newest, unless a test asks for both."""
    return getattr(request, "param", ssl.TLSVersion.TLSv1_3)


def alert(error: OSError | None) -> str | None:
    """The alert that a foreign peer was refused by."""
    assert isinstance(error, ssl.SSLError), f"it was not told: {error!r}"
    return alert_of(error.reason or str(error))


def fingerprint(issued) -> str:
    return x509.load_der_x509_certificate(issued.der).fingerprint(hashes.SHA256()).hex()


# Servers ------------------------------------------------------------------------------------------


async def connected(stack, issued, version, asked="db.example", **settings) -> None:
    """Connect to a foreign server that shows this certificate, and hear what it says."""
    ctx = await conduit.init(**settings)
    with ForeignServer(handshake.server(issued, level=0, version=version)) as foreign:
        target = stack.client(asked, "127.0.0.1", foreign.port)
        async with conduit.connect(target, ctx=ctx) as (_, ic, _oc):
            assert await ic.readline() == b"hello\n"
    assert foreign.error is None


async def refused_server(
    stack, issued, version, asked="db.example", *, alerted=True, **settings
) -> str:
    """What `connect` says of a server that shows this certificate, after the address.

    alerted: whether the server is told by an alert.
    """
    ctx = await conduit.init(**settings)
    with ForeignServer(handshake.server(issued, level=0, version=version)) as foreign:
        target = stack.client(asked, "127.0.0.1", foreign.port)
        with pytest.raises(CertificateError) as caught:
            await conduit.connect(target, ctx=ctx)
    error = caught.value
    assert error.chain == sent_by(issued)
    if alerted:
        assert alert(foreign.error) in ALERTS
    address, _, said = str(error).partition(": ")
    assert address == str(target)
    return said


@both_versions
async def test_a_good_server_is_connected_to(stack, version):
    """So that the tests below do not pass for another reason."""
    for asked in ("db.example", "127.0.0.1"):
        await connected(stack, GOOD, version, asked, tls_authenticator=trust.ca(CA.pem))
    pinned = trust.fingerprint(fingerprint(GOOD))
    await connected(stack, GOOD, version, tls_authenticator=pinned)
    await connected(stack, GOOD, version, tls_authenticator=pinned & trust.ca(CA.pem))


@both_versions
@pytest.mark.parametrize("name", BAD)
async def test_bad_server_is_refused(stack, name, version):
    make, text = BAD[name]
    issued, trusted = make()
    said = await refused_server(stack, issued, version, tls_authenticator=trust.ca(trusted))
    assert re.search(pattern(text, "the certificate of 'db.example'", "server"), said), said


@pytest.mark.parametrize(("names", "asked", "text"), [
    (["a.example"], "db.example", "is not for 'db.example': it is for 'a.example'; connect by"),
    (["*.db.example"], "db.example", "is not for 'db.example': it is for '*.db.example'"),
    (["*.db.example"], "a.b.db.example", "stands for exactly one label before the rest"),
    (["*.example"], "db.example", "'*.example' is too wide to count"),
    (["127.0.0.2", "a.example"], "127.0.0.1", "the IP address '127.0.0.1': it is for 'a.example'"),
    (["db.example"], "127.0.0.1", "it has no IP address; it is for 'db.example', so connect by"),
    (["127.0.0.1"], "localhost", "is not for 'localhost': it is for '127.0.0.1'"),
])  # fmt: skip
@both_versions
async def test_server_of_another_name_is_refused(stack, names, asked, text, version):
    issued = CA.issue(*names)
    said = await refused_server(stack, issued, version, asked, tls_authenticator=trust.ca(CA.pem))
    assert said.startswith("the server's certificate is not for ")
    assert text in said


@both_versions
async def test_common_name_of_a_server_does_not_count(stack, version):
    ca = trust.ca(CA.pem)
    issued = CA.issue("db.example", alternative_names=False)
    said = await refused_server(stack, issued, version, tls_authenticator=ca)
    assert "it has no subjectAltName, and a common name ('db.example') does not count" in said
    issued = CA.issue(common_name="127.0.0.1")
    said = await refused_server(stack, issued, version, "127.0.0.1", tls_authenticator=ca)
    assert "it has no IP address, and a common name does not count for one" in said


@both_versions
async def test_names_are_left_alone_where_that_is_asked_for_and_nothing_else_is(stack, version):
    lax = {
        "tls_authenticator": trust.ca(CA.pem),
        "ssl_client_verify": Verify(hostname=False, ip=False),
    }
    for asked in ("other.example", "127.0.0.2"):
        await connected(stack, CA.issue("db.example"), version, asked, **lax)
    # Each has its own say.
    for verify, asked in (
        (Verify(hostname=True, ip=False), "other.example"),
        (Verify(hostname=False, ip=True), "127.0.0.1"),
    ):
        lax["ssl_client_verify"] = verify
        said = await refused_server(stack, CA.issue("db.example"), version, asked, **lax)
        assert "is not for " in said
    lax["ssl_client_verify"] = Verify(hostname=False, ip=False)
    said = await refused_server(stack, OTHER.issue("db.example"), version, **lax)
    assert "was issued by 'CN=other authority', which is not among the authorities" in said
    said = await refused_server(stack, BAD["expired"][0]()[0], version, **lax)
    assert " expired on " in said


@both_versions
async def test_wrong_fingerprint_of_a_server_is_refused(stack, version):
    other = fingerprint(CA.issue("db.example"))
    for issued in (GOOD, self_signed("db.example")):
        for pinned in (trust.fingerprint(other), trust.fingerprint(other) & trust.ca(CA.pem)):
            said = await refused_server(
                stack, issued, version, alerted=False, tls_authenticator=pinned
            )
            assert "is not among those whose fingerprints are accepted" in said
            assert f"Its SHA-256 is {fingerprint(issued)}: " in said


@both_versions
@pytest.mark.parametrize(("made", "asked", "text"), [
    ({"not_after": NOW - 3 * HOUR}, "db.example", " expired on .* UTC, 3 hours ago"),
    ({"not_before": NOW + 3 * HOUR}, "db.example", " is not valid before "),
    ({"usages": ["client"]}, "db.example", " is for 'clientAuth' only, and not for a TLS server"),
    ({}, "other.example", " is not for 'other.example': it is for 'db.example'"),
    ({}, "127.0.0.1", " is not for the IP address '127.0.0.1'"),
])  # fmt: skip
async def test_a_pinned_server_is_checked_for_all_but_its_authority(
    stack, made, asked, text, version
):
    for issued in (CA.issue("db.example", **made), self_signed("db.example", **made)):
        pinned = trust.fingerprint(fingerprint(issued))
        said = await refused_server(stack, issued, version, asked, tls_authenticator=pinned)
        assert re.search(text, said), said


@both_versions
async def test_a_pinned_server_needs_its_authority_where_both_are_asked_for(stack, version):
    issued = OTHER.issue("db.example")
    both = trust.fingerprint(fingerprint(issued)) & trust.ca(CA.pem)
    said = await refused_server(stack, issued, version, tls_authenticator=both)
    assert "was issued by 'CN=other authority', which is not among the authorities" in said


async def test_what_a_pinned_certificate_signs_is_not_trusted(stack, version):
    """It becomes no authority by being pinned, not even if it is one."""
    below = CA.intermediate("middle")
    issued = below.issue("db.example")
    pinned = trust.fingerprint(below.certificate.fingerprint(hashes.SHA256()).hex())
    said = await refused_server(stack, issued, version, alerted=False, tls_authenticator=pinned)
    assert "is not among those whose fingerprints are accepted" in said


async def test_the_operating_systems_anchors_are_the_default(stack, version):
    said = await refused_server(stack, GOOD, version)
    assert "was issued by 'CN=conduit test authority', which is not among the authorities" in said


async def test_a_callers_own_context_says_why_as_well(version):
    """Only OpenSSL knows what to do with one."""
    ctx = handshake.client(CA.pem)
    said = await refused_server(STACKS[0], CA.issue("a.example"), version, ssl_ctx=ctx)
    assert "is not for 'db.example': it is for 'a.example'" in said
    # Its name is checked even by a context that was not told to.
    ctx = handshake.client(CA.pem, name=False)
    said = await refused_server(
        STACKS[0], CA.issue("a.example"), version, alerted=False, ssl_ctx=ctx
    )
    assert "is not for 'db.example': it is for 'a.example'" in said


async def test_what_openssl_reads_and_we_do_not_is_for_nobody(version):
    """It is believed where OpenSSL checks the name, and refused in order where we have to."""
    issued = unreadable("db.example")
    with pytest.raises(DerError):
        Certificate.read(issued.der)
    await connected(STACKS[0], issued, version, tls_authenticator=trust.ca(issued.crt_pem))
    said = await refused_server(
        STACKS[1], issued, version, tls_authenticator=trust.ca(issued.crt_pem)
    )
    assert said == "the certificate of 'db.example' is refused: it cannot be read"
    ctx = handshake.client(issued.crt_pem, name=False)
    said = await refused_server(STACKS[0], issued, version, alerted=False, ssl_ctx=ctx)
    assert said == "the certificate of 'db.example' is refused: certificate is for another name"


async def test_insecure_trusts_everybody(stack, version):
    """As its name says; and so the certificates of this file can be spoken with at all."""
    for name in ("expired", "wrong usage", "self-signed", "weak key", "forged"):
        issued, _ = BAD[name][0]()
        await connected(stack, issued, version, tls_authenticator=trust.insecure_no_verification())


# Clients ------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(stack, key, client_auth: str, trusted):
    """A server of ours that asks for certificates: its port, what it served, and why it did not."""
    served: list[bytes] = []
    refusals: asyncio.Queue[BaseException] = asyncio.Queue()

    async def handler(f, ic, oc):
        oc.write(b"hello\n")
        served.append(await ic.readline())

    ctx = await conduit.init(tls_authenticator=trusted)
    mode = stack.server(key.crt_file, key.key_file, key.password, 0, ip="127.0.0.1")
    async with conduit.listen(
        mode, handler, ctx=ctx, client_auth=client_auth, on_exn=refusals.put_nowait
    ) as srv:
        where: Any = srv.endps[0]
        yield where.endp.port, served, refusals


@pytest.fixture
def own_key(tmp_path):
    """The certificate of our server."""
    return GOOD.write(tmp_path)


async def refused_client(
    stack, own_key, shown, version, trusted, *, client_auth="required", alerted=True
) -> str:
    """What our server says of a client that shows this certificate, after its address."""
    async with serving(stack, own_key, client_auth, trusted) as (port, served, refusals):
        ctx = handshake.client(None, own=shown, version=version, level=0)
        theirs = await asyncio.to_thread(foreign_client, ctx, port, "db.example")
        error = await refusals.get()
        assert refusals.empty()
    assert served == [], "the handler saw somebody who is not trusted"
    assert type(error) is CertificateError
    assert error.chain == (() if shown is None else sent_by(shown))
    if alerted:
        assert alert(theirs) in ALERTS | {"handshake_failure", "certificate_required"}
    start, _, said = str(error).partition("): ")
    assert re.match(r"a client at flow\.TCP\(\d+, '127\.0\.0\.1', \d+$", start), str(error)
    return said


async def accepted_client(stack, own_key, shown, version, trusted, client_auth="required"):
    async with serving(stack, own_key, client_auth, trusted) as (port, served, refusals):
        ctx = handshake.client(None, own=shown, version=version, level=0)
        theirs = await asyncio.to_thread(foreign_client, ctx, port, "db.example")
        assert theirs is None
    assert served == [b"hello\n"]
    assert refusals.empty()


@both_versions
async def test_a_good_client_is_served(stack, own_key, version):
    shown = CA.issue("someone", usages=["client"])
    ca, pinned = trust.ca(CA.pem), trust.fingerprint(fingerprint(shown))
    for trusted in (ca, pinned, ca & pinned):
        await accepted_client(stack, own_key, shown, version, trusted)
    await accepted_client(stack, own_key, None, version, ca, "optional")
    await accepted_client(stack, own_key, OTHER.issue("someone"), version, ca, "none")


@both_versions
@pytest.mark.parametrize("name", BAD)
async def test_bad_client_is_refused(stack, own_key, name, version):
    make, text = BAD[name]
    shown, trusted = make()
    said = await refused_client(stack, own_key, shown, version, trust.ca(trusted))
    assert re.search(pattern(text, "the client's certificate ('CN=db.example')", "client"), said), (
        said
    )


@both_versions
async def test_bad_client_is_refused_where_none_would_do(stack, own_key, version):
    said = await refused_client(
        stack, own_key, OTHER.issue("a"), version, trust.ca(CA.pem), client_auth="optional"
    )
    assert "was issued by 'CN=other authority', which is not among the authorities" in said


@both_versions
async def test_client_with_the_certificate_of_a_server_is_refused(stack, own_key, version):
    shown = CA.issue("a", usages=["server"])
    said = await refused_client(stack, own_key, shown, version, trust.ca(CA.pem))
    assert said == (
        "the client's certificate ('CN=a') is for 'serverAuth' only, and not for a TLS client"
    )


@both_versions
async def test_client_without_a_certificate_is_refused(stack, own_key, version):
    for trusted in (trust.ca(CA.pem), trust.fingerprint(fingerprint(GOOD))):
        said = await refused_client(stack, own_key, None, version, trusted)
        assert said.startswith("the client showed no certificate, and this server requires one")


@both_versions
async def test_wrong_fingerprint_of_a_client_is_refused(stack, own_key, version):
    pinned = trust.fingerprint(fingerprint(GOOD))
    for shown in (CA.issue("someone"), self_signed("someone")):
        for trusted in (pinned, pinned & trust.ca(CA.pem)):
            said = await refused_client(stack, own_key, shown, version, trusted, alerted=False)
            assert "is not among those whose fingerprints are accepted" in said
            assert f"Its SHA-256 is {fingerprint(shown)}: " in said


@both_versions
async def test_pinned_client_is_checked_for_its_dates_and_its_usage(stack, own_key, version):
    for made, text in (
        ({"not_after": NOW - 3 * HOUR}, " expired on "),
        ({"usages": ["server"]}, " is for 'serverAuth' only, and not for a TLS client"),
    ):
        shown = self_signed("someone", **made)
        pinned = trust.fingerprint(fingerprint(shown))
        said = await refused_client(stack, own_key, shown, version, pinned)
        assert text in said


async def test_a_server_may_show_what_we_cannot_read(stack, tmp_path, version):
    issued = unreadable("db.example")
    key = issued.write(tmp_path)
    async with serving(stack, key, "none", None) as (port, served, _):
        ctx = handshake.client(issued.crt_pem, version=version)
        assert await asyncio.to_thread(foreign_client, ctx, port, "db.example") is None
    assert served == [b"hello\n"]


# Both are ours ------------------------------------------------------------------------------------


async def test_each_of_our_own_sides_tells_why(stack, own_key, tmp_path):
    """The one that refuses says it in full; the other has the alert, and what it means."""
    shown = OTHER.issue("someone").write(tmp_path, "client")
    async with serving(stack, own_key, "required", trust.ca(CA.pem)) as (port, served, refusals):
        ctx = await conduit.init(tls_authenticator=trust.ca(CA.pem), tls_own_key=shown)
        target = stack.client("db.example", "127.0.0.1", port)
        with pytest.raises(TLSError) as caught:
            # In TLS 1.3 the client has finished before the server looks at its certificate.
            async with conduit.connect(target, ctx=ctx) as (_, ic, _oc):
                await ic.readline()
        refusal = await refusals.get()
    assert served == []
    assert isinstance(refusal, CertificateError)
    assert caught.value.alert == "unknown_ca"
    assert "it does not trust the authority that issued our certificate" in str(caught.value)
