"""Why certificates are refused: with what OpenSSL really says of real ones, in both directions."""

from __future__ import annotations

import re
import ssl
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit import CertificateError
from conduit.testing import Issued
from conduit.tls.refusal import _EXPLAINED, no_certificate, refused, wrong_fingerprint, wrong_name
from tests.tls.bad_certificates import BAD, CA, HOUR, NOW, pattern, sent_by
from tests.tls.handshake import VERSIONS, client, server, shake


def refused_by_client(issued: Issued, trusted: bytes, asked: str = "db.example", **more) -> str:
    """What a client says of the server that shows this certificate."""
    ctx = client(trusted, **more)
    return _said(*shake(server(issued, level=0), ctx, asked), asked=asked, peer="server")


def refused_by_server(issued: Issued, trusted: bytes, version: ssl.TLSVersion) -> str:
    """What a server says of the client that shows this certificate."""
    ctx = server(CA.issue("server.example"), trusted=trusted, level=2)
    near, far = shake(ctx, client(None, own=issued, level=0, version=version))
    # OpenSSL does not keep what a refused client sent; whoever calls has seen it on its way.
    return _said(far, near, asked=None, peer="client", chain=sent_by(issued))


def _said(side, _, *, asked, peer, chain=None) -> str:
    assert isinstance(side.error, ssl.SSLCertVerificationError), "it was not refused"
    code, message = side.error.verify_code, side.error.verify_message
    chain = side.sent_chain if chain is None else chain
    assert chain, "nothing was sent"
    error = refused(code, message, chain, asked=asked, peer=peer)
    assert type(error) is CertificateError
    assert error.chain == tuple(chain)
    assert str(error).isprintable()
    assert len(str(error)) < 500
    return str(error)


# What both sides refuse ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD)
def test_client_says_why_it_refuses_a_server(name):
    make, text = BAD[name]
    said = refused_by_client(*make())
    assert re.search(pattern(text, "the certificate of 'db.example'", "server"), said), said


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("name", BAD)
def test_server_says_why_it_refuses_a_client(name, version):
    make, text = BAD[name]
    said = refused_by_server(*make(), version)
    assert re.search(pattern(text, "the client's certificate ('CN=db.example')", "client"), said), (
        said
    )


@pytest.mark.parametrize(("usages", "refuses"), [(["client"], "server"), (["server"], "client")])
def test_the_other_sides_usage(usages, refuses):
    issued = CA.issue("db.example", usages=usages)
    if refuses == "server":
        said = refused_by_client(issued, CA.pem)
        assert said.endswith(" is for 'clientAuth' only, and not for a TLS server")
    else:
        said = refused_by_server(issued, CA.pem, VERSIONS[1])
        assert said.endswith(" is for 'serverAuth' only, and not for a TLS client")


def test_weak_signature(program, tmp_path):
    """By the openssl program: the other library refuses to make one."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db.example")])
    request = x509.CertificateSigningRequestBuilder(name).sign(private, hashes.SHA256())
    for file, data in {
        "ca.key": to_pem(CA.private_key),
        "csr": request.public_bytes(serialization.Encoding.PEM),
    }.items():
        (tmp_path / file).write_bytes(data)
    CA.write(tmp_path)
    signed = subprocess.run(
        [program("openssl"), "x509", "-req", "-in", "csr", "-CA", "ca.crt", "-CAkey", "ca.key",
         "-sha1", "-days", "2", "-set_serial", "5"],
        cwd=tmp_path, capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    said = refused_by_client(Issued(signed.stdout, to_pem(private), b""), CA.pem)
    assert said == (
        "the certificate of 'db.example' is signed by SHA-1 with ECDSA, which is too weak: "
        "the server needs a new one"
    )


def to_pem(key) -> bytes:
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    return bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))


@pytest.mark.parametrize("revoked", [True, False])
def test_revoked(revoked):
    issued = CA.issue("db.example")
    serial = x509.load_der_x509_certificate(issued.der).serial_number
    revocations = x509.CertificateRevocationListBuilder(
        CA.certificate.subject, NOW - HOUR, NOW + HOUR
    ).add_revoked_certificate(
        x509.RevokedCertificateBuilder(serial, NOW - HOUR).build()
    ).sign(CA.private_key, hashes.SHA256())  # fmt: skip
    trusted = CA.pem
    if revoked:
        trusted += revocations.public_bytes(serialization.Encoding.PEM)
    ctx = client(None)
    ctx.verify_mode, ctx.check_hostname = ssl.CERT_REQUIRED, True
    ctx.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    ctx.load_verify_locations(cadata=CA.pem.decode())
    if revoked:
        load_revocations(ctx, trusted)
    said = _said(*shake(server(issued), ctx, "db.example"), asked="db.example", peer="server")
    if revoked:
        assert "was revoked by its authority ('CN=conduit test authority')" in said
    else:
        assert said.startswith(
            "whether the certificate of 'db.example' was revoked cannot be known"
        )


def load_revocations(ctx: ssl.SSLContext, pem: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:  # a list is read from a file alone
        file.write(pem)
        file.flush()
        ctx.load_verify_locations(cafile=file.name)


def test_what_has_no_words_of_ours_has_those_of_openssl():
    """Such as what only the strict rules of RFC 5280 forbid."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db.example")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(CA.certificate.subject)
        .public_key(private.public_key())
        .serial_number(7)
        .not_valid_before(NOW - HOUR)
        .not_valid_after(NOW + HOUR)
        .sign(CA.private_key, hashes.SHA256())
    )
    issued = Issued(made.public_bytes(serialization.Encoding.PEM), to_pem(private), b"")
    ctx = client(CA.pem)
    ctx.verify_flags |= ssl.VERIFY_X509_STRICT
    said = _said(*shake(server(issued), ctx, "db.example"), asked="db.example", peer="server")
    assert said == "the certificate of 'db.example' is refused: Missing Authority Key Identifier"


# What a client refuses: names ---------------------------------------------------------------------


@pytest.mark.parametrize(("names", "asked", "text"), [
    (["a.example"], "db.example",
     "the server's certificate is not for 'db.example': it is for 'a.example'; connect by one"),
    (["a.example", "b.example", "127.0.0.1"], "db.example",
     "it is for 'a.example', 'b.example' and '127.0.0.1'; connect"),
    ([f"n{number}.example" for number in range(50)], "db.example",
     "it is for 'n0.example', 'n1.example', 'n2.example', 'n3.example', 'n4.example' and 45 more;"),
    (["*.db.example"], "a.b.db.example",
     "it is for '*.db.example'; '*.db.example' stands for exactly one label before the rest"),
    (["*.db.example"], "db.example",
     "it is for '*.db.example'; '*.db.example' stands for exactly one label before the rest"),
    (["*.example"], "db.example",
     "it is for '*.example'; '*.example' is too wide to count"),
    (["db.example", "127.0.0.1", "::1"], "127.0.0.2",
     "is not for the IP address '127.0.0.2': it is for 'db.example', '127.0.0.1' and '::1'"),
    (["db.example"], "127.0.0.1",
     "it has no IP address; it is for 'db.example', so connect by name"),
    (["127.0.0.1"], "::1", "not for the IP address '::1': it is for '127.0.0.1'"),
    (["127.0.0.1"], "localhost", "is not for 'localhost': it is for '127.0.0.1'; connect by"),
    ([("a" * 60 + ".") * 3 + "b"], "db.example", f"it is for '{'a' * 60}.{'a' * 16}...';"),
])  # fmt: skip
def test_wrong_name(names, asked, text):
    issued = CA.issue(*names)
    said = refused_by_client(issued, CA.pem, asked)
    assert text in said
    # The same where it is not OpenSSL that compares the names.
    assert str(wrong_name([issued.der], asked=asked)) == said


def test_common_name_does_not_count():
    issued = CA.issue("db.example", alternative_names=False)
    assert refused_by_client(issued, CA.pem) == (
        "the server's certificate is not for 'db.example': it has no subjectAltName, and a common "
        "name ('db.example') does not count: the server needs a certificate with the name in its "
        "subjectAltName"
    )
    issued = CA.issue(common_name="127.0.0.1")
    assert refused_by_client(issued, CA.pem, "127.0.0.1").endswith(
        ": it has no IP address, and a common name does not count for one"
    )


def signed_with_names(*names: x509.GeneralName, subject: str | None = None) -> bytes:
    """Certificates of kinds that no server should have."""
    attributes = [] if subject is None else [x509.NameAttribute(NameOID.COMMON_NAME, subject)]
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(CA.certificate.subject)
        .public_key(CA.private_key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - HOUR)
        .not_valid_after(NOW + HOUR)
    )
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=True)
    signed = made.sign(CA.private_key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def test_names_of_other_kinds():
    nameless = signed_with_names(subject=None)
    assert str(wrong_name([nameless], asked="db.example")).endswith(": it has no subjectAltName")
    uri = x509.UniformResourceIdentifier("spiffe://example/db")
    only_uri = signed_with_names(uri, subject="db.example")
    said = str(wrong_name([only_uri], asked="db.example"))
    assert "it has no DNS name, and a common name ('db.example') does not count" in said
    as_name = signed_with_names(x509.DNSName("127.0.0.1"), subject="x")
    said = str(wrong_name([as_name], asked="127.0.0.1"))
    assert said.endswith("it has no IP address, and a DNS name does not count for one")


def test_a_client_without_a_subject_goes_by_another_name():
    uri = x509.UniformResourceIdentifier("spiffe://example/db")
    error = refused(23, "", [signed_with_names(uri)], asked=None, peer="client")
    assert str(error).startswith("the client's certificate ('spiffe://example/db'), or one in its ")
    error = refused(23, "", [signed_with_names()], asked=None, peer="client")
    assert str(error).startswith("the client's certificate ((no name)), or one")


# What OpenSSL does not decide ---------------------------------------------------------------------


@pytest.mark.parametrize("peer", ["server", "client"])
def test_wrong_fingerprint_shows_the_right_one(peer):
    issued = CA.issue("db.example")
    sha256 = x509.load_der_x509_certificate(issued.der).fingerprint(hashes.SHA256()).hex()
    error = wrong_fingerprint([issued.der, CA.der], peer=peer)
    assert str(error) == (
        f"the {peer}'s certificate ('CN=db.example') is not among those whose fingerprints are "
        f"accepted. Its SHA-256 is {sha256}: if it was replaced on purpose, "
        f"trust.fingerprint('{sha256}') accepts it"
    )
    assert error.chain == (issued.der, CA.der)
    assert str(wrong_fingerprint([], peer=peer)).startswith(f"the {peer} showed no certificate")


def test_no_certificate():
    error = no_certificate()
    assert type(error) is CertificateError
    assert error.chain == ()
    assert "showed no certificate" in str(error)
    assert "client_auth='required'" in str(error)


def test_without_a_chain_openssl_is_quoted():
    error = refused(10, "certificate has expired", [], asked="db.example", peer="server")
    assert str(error) == "the certificate of 'db.example' is refused: certificate has expired"
    error = refused(10, "certificate has expired", [b"\x30"], asked=None, peer="client")
    assert str(error) == "the client's certificate is refused: certificate has expired"
    assert error.chain == (b"\x30",)
    assert str(refused(99, "", [], asked=None, peer="client")).endswith("is refused: error 99")


@pytest.mark.parametrize(("ago", "text"), [
    (timedelta(seconds=1), "1 second ago"),
    (timedelta(seconds=59), "59 seconds ago"),
    (timedelta(seconds=119), "1 minute ago"),
    (timedelta(hours=23), "23 hours ago"),
    (timedelta(days=1.5), "1 day ago"),
    (timedelta(days=500), "500 days ago"),
    (timedelta(days=3 * 366), "3 years ago"),
])  # fmt: skip
def test_how_long_ago(ago, text):
    moment = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    issued = CA.issue("db.example", not_after=moment)
    error = refused(10, "", [issued.der], asked="db.example", peer="server", now=moment + ago)
    assert f" expired on 2024-05-06 07:08:09 UTC, {text}: " in str(error)


# Whoever wants to be believed writes the certificates ---------------------------------------------

HOSTILE = "db.example\n\r\0\x1b[2J" + "x" * 5000


def test_hostile_names_stay_in_one_short_line():
    names = [x509.DNSName("a\n\0\x1b" + "x" * 2000)] * 10
    der = signed_with_names(*names, subject=HOSTILE[:64])
    for code in sorted({*_EXPLAINED, 0, 99}):
        for asked in (None, HOSTILE, "127.0.0.1", "db.example"):
            error = refused(code, HOSTILE, [der, der], asked=asked, peer="server")
            assert str(error).isprintable()
            assert len(str(error)) < 1000


def test_no_more_of_a_chain_is_read_than_a_real_one_has():
    """Reading for a message must not keep a server busy."""
    huge = signed_with_names(*[x509.DNSName("a" * 60)] * 600)
    assert len(huge) > 32 * 1024
    error = refused(26, "unsuitable purpose", [huge], asked=None, peer="client")
    assert str(error) == "the client's certificate is refused: unsuitable purpose"
    assert error.chain == (huge,)
    own = CA.issue("someone", usages=["server"]).der
    error = refused(26, "", [own, huge, huge], asked=None, peer="client")
    assert " is for 'serverAuth' only" in str(error)


CHAIN = [CA.issue("db.example", "127.0.0.1").der, CA.intermediate(permitted=["a"]).der, CA.der]


@given(
    st.integers(-1, 100),
    st.lists(st.one_of(st.sampled_from(CHAIN), st.binary(max_size=100)), max_size=20),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3),
    st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["127.0.0.1", "db.example"])),
    st.sampled_from(["server", "client"]),
    st.text(max_size=30),
)
@settings(deadline=None)
def test_whatever_was_sent_there_is_an_error_of_one_line(code, chain, changes, asked, peer, words):
    sent = [bytearray(one) for one in chain]
    for number, (at, byte) in enumerate(changes):
        if sent and sent[number % len(sent)]:
            one = sent[number % len(sent)]
            one[at % len(one)] = byte
    error = refused(code, words, [bytes(one) for one in sent], asked=asked, peer=peer)
    assert type(error) is CertificateError
    assert str(error).isprintable()
    assert 10 < len(str(error)) < 1000
    assert error.chain == tuple(map(bytes, sent))
