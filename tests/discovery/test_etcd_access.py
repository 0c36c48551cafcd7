"""TLS and logins of etcd: what is refused before anything is connected to, and what is shown."""

from typing import Any

import pytest

import conduit
from conduit import AddressError, OwnKey, TLSError, UnsupportedTransport
from conduit.discovery import Etcd
from conduit.discovery.etcd_tls import read_papers
from conduit.testing import Authority

MEMBERS = ["127.0.0.1:2379"]
PIN = "00" * 32


@pytest.mark.parametrize(
    ("trust", "shown"),
    [
        (conduit.trust.fingerprint(PIN), "trust.fingerprint"),
        (conduit.trust.ca(b"x") & conduit.trust.fingerprint(PIN), "trust.fingerprint"),
        (conduit.trust.insecure_no_verification(), "trust.insecure_no_verification"),
    ],
)
def test_trust_that_grpc_cannot_follow_is_refused(trust, shown):
    with pytest.raises(TLSError, match=rf"cannot follow .*{shown}.*; use conduit\.trust\.ca"):
        Etcd(MEMBERS, trust=trust)


def test_own_key_without_trust_would_be_shown_to_nobody():
    with pytest.raises(TLSError, match="say whom to trust"):
        Etcd(MEMBERS, own_key=OwnKey("a.crt", "a.key"))


@pytest.mark.parametrize("wrong", [{"trust": "ca.pem"}, {"own_key": ("a", "b")}])
def test_what_is_of_another_type(wrong):
    with pytest.raises(TypeError, match="Etcd: "):
        Etcd(MEMBERS, **wrong)


@pytest.mark.parametrize("login", [{"user": "a"}, {"password": lambda again: "b"}])
def test_login_is_a_user_and_a_password(login):
    with pytest.raises(AddressError, match="both, user= and password="):
        Etcd(MEMBERS, **login)


@pytest.mark.parametrize("member", ["10.0.0.1:2379", "etcd.example:2379", "[2001:db8::1]:2379"])
def test_a_login_leaves_this_host_by_tls_alone(member):
    login: dict[str, Any] = {"user": "a", "password": lambda again: "hunter2"}
    with pytest.raises(AddressError, match="without TLS the password would go to ") as caught:
        Etcd([*MEMBERS, member], **login)
    assert member in str(caught.value)
    Etcd([*MEMBERS, member], trust=conduit.trust.os(), **login)
    Etcd(["localhost:1", "[::1]:1", "127.0.0.2:1"], **login)


def test_password_is_given_by_reference_and_never_shown():
    with pytest.raises(AddressError, match="PasswordFromFile") as caught:
        Etcd(MEMBERS, user="a", password="hunter2")  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)
    assert repr(Etcd(MEMBERS, user="a", password=lambda again: "hunter2")) == (
        "Etcd(127.0.0.1:2379)"
    )


def test_anchors_are_those_of_files_and_bytes_in_pem_and_der(tmp_path):
    ca, other = Authority(), Authority("another authority")
    # A certificate without the end of its line must not run into the next.
    file = tmp_path / "ca.pem"
    file.write_bytes(ca.pem.rstrip())
    trust = conduit.trust.ca([str(file), other.pem])
    assert read_papers(trust, None).anchors.count(b"-----BEGIN CERTIFICATE-----\n") == 2
    assert read_papers(trust, None)[1:] == (None, None)
    import ssl

    der = ssl.PEM_cert_to_DER_cert(ca.pem.decode())
    assert b"-----BEGIN CERTIFICATE-----\n" in read_papers(conduit.trust.ca(der), None).anchors


def test_system_has_anchors_too():
    assert read_papers(conduit.trust.os(), None).anchors.count(b"-----BEGIN") > 10


def test_encrypted_key_is_opened_and_a_wrong_password_is_told_of(tmp_path, monkeypatch):
    import sys

    ca = Authority()
    trust = conduit.trust.ca(ca.pem)
    key = ca.issue("a.example", password="of the key").write(tmp_path)
    papers = read_papers(trust, key)
    assert papers.key is not None
    assert b"ENCRYPTED" not in papers.key
    assert b"BEGIN PRIVATE KEY" in papers.key
    wrong = OwnKey(key.crt_file, key.key_file, lambda again: "hunter2")
    with pytest.raises(TLSError, match=r"the password of the key .* is wrong"):
        read_papers(trust, wrong)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.serialization", None)
    with pytest.raises(UnsupportedTransport, match="pip install cryptography"):
        read_papers(trust, key)


async def test_files_are_looked_at_when_it_is_entered(tmp_path):
    pytest.importorskip("aetcd")
    missing = str(tmp_path / "nowhere.pem")
    with pytest.raises(OSError, match=r"cannot read .*nowhere\.pem"):
        async with Etcd(MEMBERS, trust=conduit.trust.ca(missing)):
            pass
    (tmp_path / "empty.pem").write_text("nothing\n")
    with pytest.raises(TLSError, match="no certificate of an authority"):
        async with Etcd(MEMBERS, trust=conduit.trust.ca(str(tmp_path / "empty.pem"))):
            pass
