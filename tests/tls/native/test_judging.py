"""Whom the native stack trusts, beyond the table of bad certificates."""

from __future__ import annotations

import subprocess
import time
import warnings
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from conduit import trust
from conduit.testing import Authority, self_signed
from conduit.tls import pem
from conduit.tls.native.anchors import load_anchors
from conduit.tls.native.judging import ChainJudge


def judge(trusted, shown, peer="server", asked="db.example"):
    """What is said against a chain; empty if nothing is."""
    decide = ChainJudge(trusted, load_anchors(trusted), peer=peer, asked=asked, shown_as=asked)
    refusal = decide(shown)
    return "" if refusal is None else str(refusal.error)


def chain(issued):
    return pem.certificates(issued.crt_pem)


def test_authority_as_openssl_makes_it_without_a_key_usage(tmp_path, program):
    """The policy for the web would refuse it."""
    openssl = program("openssl")
    made = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += [
        "-nodes",
        "-subj",
        "/CN=by openssl",
        "-days",
        "2",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    ]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    request = [openssl, "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    request += ["-addext", "subjectAltName=DNS:db.example", "-keyout", "own.key"]
    request += ["-x509", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "1", "-out", "own.crt"]
    done = subprocess.run(request, cwd=tmp_path, check=False, capture_output=True)
    if done.returncode:
        pytest.skip("this openssl cannot sign with -CA")
    trusted = trust.ca(str(tmp_path / "ca.crt"))
    shown = pem.certificates((tmp_path / "own.crt").read_bytes())
    assert judge(trusted, shown) == ""


def test_client_without_a_name_is_trusted():
    authority = Authority()
    issued = authority.issue("someone", usages=["client"], alternative_names=False)
    assert judge(trust.ca(authority.pem), chain(issued), "client", None) == ""


def test_trusted_itself_though_no_authority():
    for issued in (self_signed("db.example"), Authority().issue("db.example")):
        assert judge(trust.ca(issued.der), [issued.der]) == ""
        assert "is not for 'other.example'" in judge(
            trust.ca(issued.der), [issued.der], asked="other.example"
        )


def test_intermediate_may_be_all_that_is_trusted():
    middle = Authority().intermediate("middle")
    issued = middle.issue("db.example", leave_out_chain=True)
    assert judge(trust.ca(middle.certificate.public_bytes(Encoding.DER)), chain(issued)) == ""


def test_what_is_no_certificate():
    authority = Authority()
    good = chain(authority.issue("db.example"))
    for shown in ([b""], [b"hello"], [good[0][:-1]], [good[0] + b"\0"], [*good, b"\x30\x00"]):
        assert "cannot be read" in judge(trust.ca(authority.pem), shown)


def test_a_chain_may_be_long_and_not_longer():
    authority = below = Authority()
    for number in range(18):
        issued = below.issue("db.example")
        said = judge(trust.ca(authority.pem), chain(issued))
        assert (said == "") is (number < 17), number
        below = below.intermediate(f"authority {number}")


def cross_signed(levels: int) -> list[bytes]:
    """Authorities that have signed each other so that there are 2 ** levels ways, and no end."""
    now = datetime.now(UTC)
    keys = [[ec.generate_private_key(ec.SECP256R1()) for _ in "ab"] for _ in range(levels + 1)]
    found = []
    for level in range(levels):
        for which in (0, 1):
            for above in (0, 1):
                made = (
                    x509.CertificateBuilder()
                    .subject_name(_name(level, which))
                    .issuer_name(_name(level + 1, above))
                    .public_key(keys[level][which].public_key())
                    .serial_number(x509.random_serial_number())
                    .not_valid_before(now - timedelta(hours=1))
                    .not_valid_after(now + timedelta(hours=1))
                    .add_extension(x509.BasicConstraints(True, None), critical=True)
                    .sign(keys[level + 1][above], hashes.SHA256())
                )
                found.append(made.public_bytes(Encoding.DER))
    return found


def _name(level: int, which: int) -> x509.Name:
    text = f"authority {level} {'ab'[which]}"
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


@pytest.mark.alone
def test_ways_without_end_are_not_all_gone():
    """Many authorities that sign each other: the time is bounded."""
    authority = Authority()
    shown = [authority.issue("db.example").der, *cross_signed(8)]
    stranger = Authority("stranger")
    started = time.process_time()
    assert judge(trust.ca(stranger.pem), shown)
    assert time.process_time() - started < 1
    many = [self_signed("db.example").der] * 1000
    started = time.process_time()
    assert judge(trust.ca(stranger.pem), [shown[0], *many])
    assert time.process_time() - started < 1


def test_authorities_of_the_system_can_be_read():
    """Some have a number that is none; they are read without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        anchors = load_anchors(trust.os())
    assert anchors is not None
