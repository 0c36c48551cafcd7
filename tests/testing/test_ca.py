"""The authority for tests: its certificates say what they were told to, and TLS believes them."""

from __future__ import annotations

import os
import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID as Use

import conduit
from conduit.testing import Authority, Issued, self_signed
from tests.tls.handshake import client, server, shake


def read(issued: Issued) -> x509.Certificate:
    return x509.load_der_x509_certificate(issued.der)


def extension(issued: Issued, kind: type) -> Any:
    return read(issued).extensions.get_extension_for_class(kind).value


def believed(issued: Issued, trusted: Authority, name: str = "db.example", strict=False) -> bool:
    """Whether a client that checks everything takes it for the server of that name."""
    ctx = client(trusted.pem)
    if strict:
        ctx.verify_flags |= ssl.VERIFY_X509_STRICT
    near, far = shake(server(issued), ctx, name)
    assert near.done == (near.error is None)
    return near.done and far.done


# What it issues is believed -----------------------------------------------------------------------


@pytest.mark.parametrize("key", ["ec", "rsa", "ed25519"])
@pytest.mark.parametrize("above", ["ec", "rsa", "ed25519"])
def test_strict_clients_believe_it_for_all_its_names(key, above):
    ca = Authority(key=above)
    issued = ca.issue("db.example", "*.web.example", "127.0.0.1", "::1", key=key)
    for name in ("db.example", "a.web.example", "127.0.0.1", "::1"):
        assert believed(issued, ca, name, strict=True), name
    assert not believed(issued, ca, "other.example")
    assert not believed(issued, Authority(), "db.example")


def test_names_may_be_address_objects():
    ca = Authority()
    issued = ca.issue(IPv4Address("127.0.0.1"), IPv6Address("fe80::1"))
    names = extension(issued, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.IPAddress) == [
        IPv4Address("127.0.0.1"),
        IPv6Address("fe80::1"),
    ]


@pytest.mark.parametrize(("key", "kind"), [
    ("ec", ec.EllipticCurvePrivateKey),
    ("rsa", rsa.RSAPrivateKey),
    ("ed25519", ed25519.Ed25519PrivateKey),
])  # fmt: skip
def test_key_is_of_the_kind_asked_for(key, kind):
    issued = Authority().issue("a", key=key)
    private = load_pem_private_key(issued.key_pem, None)
    assert isinstance(private, kind)
    assert private.public_key() == read(issued).public_key()


def test_a_client_certificate_is_believed_by_a_server():
    ca = Authority()
    far = server(ca.issue("db.example"), trusted=ca.pem)
    near, there = shake(
        far, client(ca.pem, own=ca.issue("someone", usages=["client"])), "db.example"
    )
    assert near.done
    assert there.done
    assert there.error is None


def test_intermediates_are_sent_unless_left_out():
    ca = Authority()
    below = ca.intermediate("first").intermediate("second")
    issued = below.issue("db.example")
    chain = x509.load_pem_x509_certificates(issued.crt_pem)
    assert [one.subject.rfc4514_string() for one in chain] == [
        "CN=db.example",
        "CN=second",
        "CN=first",
    ]
    assert believed(issued, ca, strict=True)
    bare = below.issue("db.example", leave_out_chain=True)
    assert len(x509.load_pem_x509_certificates(bare.crt_pem)) == 1
    assert not believed(bare, ca)


# What it is told to say ---------------------------------------------------------------------------


def test_usages():
    ca = Authority()

    def usages(**more):
        return list(extension(ca.issue("a", **more), x509.ExtendedKeyUsage))

    assert usages() == [Use.SERVER_AUTH, Use.CLIENT_AUTH]
    assert usages(usages=["server"]) == [Use.SERVER_AUTH]
    assert usages(usages=["client"]) == [Use.CLIENT_AUTH]
    assert usages(usages=["code_signing", "email"]) == [Use.CODE_SIGNING, Use.EMAIL_PROTECTION]
    with pytest.raises(x509.ExtensionNotFound):
        usages(usages=[])


def test_common_name_alone():
    ca = Authority()
    issued = ca.issue("db.example", alternative_names=False)
    assert read(issued).subject.rfc4514_string() == "CN=db.example"
    with pytest.raises(x509.ExtensionNotFound):
        extension(issued, x509.SubjectAlternativeName)
    assert not believed(issued, ca)


def test_common_name_may_be_another_one_and_is_never_too_long():
    ca = Authority()
    assert read(ca.issue("a", common_name="b")).subject.rfc4514_string() == "CN=b"
    long = "a" * 60 + ".example"
    assert believed(ca.issue(long), ca, long)
    assert read(ca.issue()).subject.rfc4514_string() == "CN=conduit test certificate"


def test_dates():
    ca = Authority()
    now = datetime.now(UTC)
    usual = read(ca.issue("a"))
    assert now - timedelta(days=2) < usual.not_valid_before_utc < now - timedelta(hours=1)
    assert now + timedelta(days=1) < usual.not_valid_after_utc < now + timedelta(days=30)
    # One date alone moves the other out of its way.
    past = read(ca.issue("a", not_after=datetime(2020, 1, 2, tzinfo=UTC)))
    assert past.not_valid_before_utc < past.not_valid_after_utc == datetime(2020, 1, 2, tzinfo=UTC)
    future = read(ca.issue("a", not_before=datetime(2050, 1, 2, tzinfo=UTC)))
    assert datetime(2050, 1, 2, tzinfo=UTC) == future.not_valid_before_utc
    assert future.not_valid_before_utc < future.not_valid_after_utc


def test_expired_and_early_ones_are_not_believed():
    ca = Authority()
    now = datetime.now(UTC)
    assert not believed(ca.issue("db.example", not_after=now - timedelta(hours=1)), ca)
    assert not believed(ca.issue("db.example", not_before=now + timedelta(hours=1)), ca)
    old = Authority(not_after=now - timedelta(hours=1))
    assert not believed(old.issue("db.example"), old)


def test_name_constraints():
    ca = Authority(permitted=["example", "10.0.0.0/8"], excluded=["bad.example"])
    constraints = ca.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [
        x509.DNSName("example"),
        x509.IPAddress(IPv4Network("10.0.0.0/8")),
    ]
    assert believed(ca.issue("db.example"), ca, "db.example")
    assert believed(ca.issue("10.1.2.3"), ca, "10.1.2.3")
    assert not believed(ca.issue("db.bad.example"), ca, "db.bad.example")
    assert not believed(ca.issue("db.test"), ca, "db.test")
    assert not believed(ca.issue("127.0.0.1"), ca, "127.0.0.1")


def test_path_length_and_what_is_no_authority():
    short = Authority(path_length=0)
    assert believed(short.issue("db.example"), short)
    assert not believed(short.intermediate().issue("db.example"), short)
    ca = Authority()
    assert not believed(ca.intermediate(can_sign=False).issue("db.example"), ca)


def test_self_signed_is_believed_only_where_it_is_trusted_itself():
    issued = self_signed("db.example")
    assert read(issued).issuer == read(issued).subject
    near, _ = shake(server(issued), client(issued.crt_pem), "db.example")
    assert near.done
    assert not believed(issued, Authority())


def test_weak_key():
    ca = Authority()
    issued = ca.issue("db.example", key="rsa", bits=1024)
    public = read(issued).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 1024
    near, _ = shake(server(issued, level=0), client(ca.pem, level=0), "db.example")
    assert near.done
    near, _ = shake(server(issued, level=0), client(ca.pem, level=2), "db.example")
    assert not near.done


@pytest.mark.parametrize("bad", [
    {"names": ["bücher.example"]},
    {"names": [""]},
    {"key": "dsa"},
    {"usages": ["everything"]},
    {"common_name": "a" * 65},
    {"not_before": datetime(2020, 1, 1)},
    {"not_after": datetime(2020, 1, 1)},
    {"not_before": datetime(2020, 1, 2, tzinfo=UTC), "not_after": datetime(2020, 1, 1, tzinfo=UTC)},
], ids=str)  # fmt: skip
def test_what_a_certificate_cannot_say_is_refused(bad):
    names = bad.pop("names", ["a"])
    with pytest.raises(ValueError, match=r"."):
        Authority().issue(*names, **bad)


def test_every_certificate_is_another_one():
    ca = Authority()
    one, two = ca.issue("a"), ca.issue("a")
    assert read(one).serial_number != read(two).serial_number
    assert one.key_pem != two.key_pem


# Files --------------------------------------------------------------------------------------------


def test_files_are_written_where_they_are_wanted(tmp_path):
    ca = Authority()
    issued = ca.issue("db.example")
    key = issued.write(tmp_path)
    assert key == conduit.OwnKey(tmp_path / "own.crt", tmp_path / "own.key")
    assert Path(key.crt_file).read_bytes() == issued.crt_pem
    assert Path(key.key_file).read_bytes() == issued.key_pem
    assert stat.S_IMODE(os.stat(key.key_file).st_mode) == 0o600
    other = ca.issue("other.example")
    assert other.write(tmp_path) == key, "the same names, so that a server can be told to reload"
    assert Path(key.crt_file).read_bytes() == other.crt_pem
    assert other.write(tmp_path, "web").key_file == str(tmp_path / "web.key")
    assert Path(ca.write(tmp_path)).read_bytes() == ca.pem


def test_directory_of_files_goes_with_its_block():
    with Authority().issue("db.example").files() as key:
        assert Path(key.crt_file).exists()
        assert Path(key.key_file).exists()
    assert not Path(key.crt_file).parent.exists()


def test_encrypted_key_needs_its_password(tmp_path):
    key = Authority().issue("db.example", password="open sesame").write(tmp_path)
    assert "BEGIN ENCRYPTED PRIVATE KEY" in Path(key.key_file).read_text()
    assert key.password is not None
    assert key.password(False) == key.password(True) == "open sesame"
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(key.crt_file, key.key_file, key.password(False))
    with pytest.raises(ssl.SSLError):
        ctx.load_cert_chain(key.crt_file, key.key_file, "guess")


def test_no_key_and_no_password_is_printed():
    issued = Authority().issue("db.example", password="open sesame")
    shown = repr(issued) + str(issued)
    assert "sesame" not in shown
    assert "PRIVATE" not in shown


def test_openssl_finds_nothing_to_complain_of(program, tmp_path):
    ca = Authority()
    key = ca.intermediate().issue("db.example", "127.0.0.1").write(tmp_path)
    found = subprocess.run(
        [program("openssl"), "verify", "-x509_strict", "-purpose", "sslserver",
         "-CAfile", ca.write(tmp_path), "-untrusted", key.crt_file,
         "-verify_hostname", "db.example", key.crt_file],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")


def test_without_cryptography_it_says_what_to_install():
    program = """
import sys
sys.modules["cryptography"] = None
from conduit import testing
testing.Memory("everything else works")
for make in testing.Authority, lambda: testing.self_signed("db.example"):
    try:
        make()
    except ImportError as error:
        assert error.name == "cryptography", error.name
        print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout.count('pip install "conduit-net[testing]"') == 2
