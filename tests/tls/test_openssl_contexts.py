"""Contexts of OpenSSL made from settings: own keys and anchors, and what is wrong with them."""

from __future__ import annotations

import logging
import os
import pty
import ssl
import stat
import subprocess
import sys
from dataclasses import replace
from textwrap import dedent

import pytest

import conduit
from conduit import OwnKey, trust
from conduit.testing import Authority, self_signed
from conduit.tls import openssl_contexts as contexts
from conduit.tls.engine import ClientSettings, ServerSettings
from tests.tls.handshake import shake

HOST = "db.example"
HUSH = "hush-hush"


def serving(key, **more) -> ssl.SSLContext:
    return contexts.server_context(ServerSettings(keys=(key,), **more), key)


def connecting(trusted=None, **more) -> ssl.SSLContext:
    return contexts.client_context(ClientSettings(trust=trusted, **more), checks_name=True)


def agree(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Whether a handshake succeeds."""
    near, far = shake(server, client, HOST)
    return near.done and far.done


def lock(key: OwnKey, password) -> OwnKey:
    return replace(key, password=password)


@pytest.fixture
def key(certificates):
    return certificates.key(HOST)


@pytest.fixture
def encrypted(certificates):
    return certificates.key(HOST, password=HUSH)


@pytest.fixture
def trusted(certificates) -> trust.Trust:
    return trust.ca(certificates.trusted)


# Own keys -----------------------------------------------------------------------------------------


def test_key_is_loaded(key, trusted):
    assert agree(serving(key), connecting(trusted))


def test_the_function_is_asked_for_the_password_of_an_encrypted_key(encrypted, trusted):
    asked = []

    def password(again):
        asked.append(again)
        return HUSH

    assert agree(serving(lock(encrypted, password)), connecting(trusted))
    assert asked == [False]


def test_key_without_a_password_does_not_ask(key, trusted):
    def password(again):
        pytest.fail("asked")

    assert agree(serving(lock(key, password)), connecting(trusted))


@pytest.mark.parametrize("part", ["crt_file", "key_file"])
@pytest.mark.parametrize("missing", ["no.pem", "no/such/directory.pem"])
def test_missing_file_is_named(key, tmp_path, part, missing):
    path = str(tmp_path / missing)
    with pytest.raises(FileNotFoundError, match=f"cannot read {path}: No such file") as caught:
        serving(replace(key, **{part: path}))
    assert caught.value.errno == 2


@pytest.mark.parametrize("part", ["crt_file", "key_file"])
def test_directory_is_no_file(key, tmp_path, part):
    with pytest.raises(IsADirectoryError, match=f"cannot read {tmp_path}: "):
        serving(replace(key, **{part: str(tmp_path)}))


@pytest.mark.parametrize("part", ["crt_file", "key_file"])
@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x00\xff" * 100, b"-----BEGIN"])
def test_file_that_holds_nothing_is_named(key, tmp_path, part, content):
    path = tmp_path / "odd.pem"
    path.write_bytes(content)
    held = "certificate" if part == "crt_file" else "private key"
    with pytest.raises(conduit.TLSError, match=f"^{path} holds no {held} in PEM$"):
        serving(replace(key, **{part: str(path)}))


def test_swapped_files_are_told(key):
    with pytest.raises(conduit.TLSError, match=f"^{key.key_file} holds no certificate in PEM$"):
        serving(OwnKey(key.key_file, key.crt_file))


def test_certificate_in_der_is_told(key, tmp_path):
    path = tmp_path / "own.der"
    with open(key.crt_file) as file:
        path.write_bytes(ssl.PEM_cert_to_DER_cert(file.read()))
    with pytest.raises(conduit.TLSError, match=f"^{path} holds no certificate in PEM$"):
        serving(replace(key, crt_file=str(path)))


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_key_of_another_certificate_is_told(key, certificates, kind):
    other = certificates.key("other.example", key=kind)
    with pytest.raises(conduit.TLSError) as caught:
        serving(replace(key, key_file=other.key_file))
    said = f"the key {other.key_file} is not that of the certificate {key.crt_file}"
    assert str(caught.value) == said


def test_damaged_key_is_told(key, tmp_path):
    path = tmp_path / "own.key"
    with open(key.key_file) as file:
        lines = file.read().splitlines()
    path.write_text("\n".join([lines[0], "A" * 64, *lines[2:]]))
    with pytest.raises(conduit.TLSError, match=f"^cannot use {key.crt_file} with {path}: "):
        serving(replace(key, key_file=str(path)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda _: "guess", "the password of the key {} is wrong, or the file is damaged"),
        (lambda _: "", "the password of the key {} is wrong, or the file is damaged"),
        (lambda _: HUSH.encode(), "the password function of {} returned bytes, not a str"),
        (lambda _: None, "the password function of {} returned NoneType, not a str"),
        (lambda _: 1 / 0, "the password of {} could not be had: division by zero"),
        (lambda: HUSH, "the password of {} could not be had: "),
        (lambda _: "x" * 1024, "the password of {} is longer than 1023 bytes"),
        (None, "the key {} is encrypted: give a function that returns its password"),
    ],
    ids=["wrong", "empty", "bytes", "none", "raises", "signature", "long", "no function"],
)
def test_password_that_cannot_be_had_is_told(encrypted, wrong, said):
    with pytest.raises(conduit.TLSError) as caught:
        serving(lock(encrypted, wrong))
    assert str(caught.value).startswith(said.format(encrypted.key_file))


def test_what_the_function_raised_is_the_cause(encrypted):
    def password(again):
        raise KeyError("VAULT_TOKEN")

    with pytest.raises(conduit.TLSError, match="could not be had: 'VAULT_TOKEN'") as caught:
        serving(lock(encrypted, password))
    assert isinstance(caught.value.__cause__, KeyError)


def test_interrupt_of_the_function_is_no_error_of_the_password(encrypted):
    def password(again):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serving(lock(encrypted, password))


PROMPT = """
    import sys, conduit
    from conduit.tls import openssl_contexts as contexts
    from conduit.tls.engine import ServerSettings

    key = conduit.OwnKey(*sys.argv[1:])
    try:
        contexts.server_context(ServerSettings(keys=(key,)), key)
    except conduit.TLSError as error:
        print(error)
"""


def test_nobody_is_prompted_on_the_terminal(encrypted):
    """OpenSSL would open the terminal itself, and the program would stand still."""
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0), open(theirs, "rb", buffering=0):
        result = subprocess.run(
            [sys.executable, "-c", dedent(PROMPT), encrypted.crt_file, encrypted.key_file],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            start_new_session=True,
            check=True,
            timeout=20,
        )
        os.set_blocking(ours, False)
        with pytest.raises(BlockingIOError):
            os.read(ours, 1)  # nothing was shown there
    assert "is encrypted: give a function that returns its password" in result.stdout


@pytest.mark.parametrize("bits", [1024])
def test_weak_certificate_of_our_own_is_told(certificates, bits):
    weak = certificates.key(HOST, key="rsa", bits=bits)
    with pytest.raises(conduit.TLSError, match=f"^the certificate {weak.crt_file} is too weak"):
        serving(weak)


def test_client_shows_its_key(key, certificates, trusted):
    server = serving(key, trust=trusted, client_auth="required")
    own = certificates.key("client.example")
    assert agree(server, connecting(trusted, own_key=own))
    assert not agree(server, connecting(trusted))


@pytest.mark.parametrize(
    ("before", "names"),
    [("", (HOST,)), ("# ours\nsubject=CN = db\n", (HOST,)), ("-----BEGIN X-----\n", (HOST,))],
)
def test_names_of_a_certificate(key, tmp_path, before, names):
    path = tmp_path / "own.crt"
    with open(key.crt_file) as file:
        path.write_text(before + file.read())
    assert contexts.names_of(replace(key, crt_file=str(path))) == names


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_certificate_too_odd_to_be_read_has_no_names(key, tmp_path, text):
    path = tmp_path / "own.crt"
    path.write_text(text)
    assert contexts.names_of(replace(key, crt_file=str(path))) == ()


# Anchors ------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(certificates):
    """As distributions write it: several, with comments between them, not all in ASCII."""
    other = certificates.other_ca.pem
    return "# Über uns\n".encode() + other + b"\n# ours\n" + certificates.ca.pem + b"\n# end\n"


@pytest.mark.parametrize("form", ["PEM", "DER", "several", "bundle", "file", "DER file", "path"])
def test_authorities_in_every_form(certificates, key, tmp_path, bundle, form):
    ca = certificates.ca
    (tmp_path / "ca.pem").write_bytes(bundle)
    (tmp_path / "ca.der").write_bytes(ca.der)
    given = {
        "PEM": ca.pem,
        "DER": ca.der,
        "several": [certificates.other_ca.der, ca.pem],
        "bundle": bundle,
        "file": str(tmp_path / "ca.pem"),
        "DER file": str(tmp_path / "ca.der"),
        "path": tmp_path / "ca.pem",
    }[form]
    assert agree(serving(key), connecting(trust.ca(given)))


def test_no_others_are_trusted(certificates, key):
    assert not agree(serving(key), connecting(trust.ca(certificates.other_ca.pem)))


def test_intermediate_may_be_all_that_is_trusted(tmp_path, certificates):
    between = certificates.ca.intermediate()
    key = certificates.write(between.issue(HOST), tmp_path)
    assert agree(serving(key), connecting(trust.ca(between.pem)))
    beside = certificates.write(certificates.ca.issue(HOST), tmp_path, "beside")
    assert not agree(serving(beside), connecting(trust.ca(between.pem)))


def test_self_signed_certificate_may_be_trusted_itself(tmp_path, certificates):
    issued = self_signed(HOST)
    key = certificates.write(issued, tmp_path)
    assert agree(serving(key), connecting(trust.ca(issued.der)))
    assert not agree(serving(key), connecting(trust.ca(self_signed(HOST).der)))


def test_missing_file_of_authorities_is_named(tmp_path):
    path = tmp_path / "no.pem"
    with pytest.raises(FileNotFoundError, match=f"cannot read {path}: "):
        connecting(trust.ca(path))


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"hello", b"0\x82", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"],
    ids=["empty", "blank", "text", "cut DER", "empty PEM"],
)
def test_file_without_an_authority_is_named(tmp_path, content):
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(conduit.TLSError, match=f"^{path}: no certificate of an authority"):
        connecting(trust.ca(path))


def test_key_in_place_of_an_authority_is_told(key):
    with pytest.raises(conduit.TLSError, match=f"^{key.key_file}: no certificate of an authority"):
        connecting(trust.ca(key.key_file))


def test_bytes_without_an_authority_are_told():
    with pytest.raises(conduit.TLSError, match=r"^what was given to trust\.ca: no certificate"):
        connecting(trust.ca(b"hello"))


def test_damaged_certificate_in_a_bundle_is_told(bundle, tmp_path):
    """Half of a file is not silently trusted for the whole."""
    start = bundle.rindex(b"-----BEGIN CERTIFICATE-----")
    path = tmp_path / "ca.pem"
    path.write_bytes(bundle[: start + 300])
    with pytest.raises(conduit.TLSError, match=f"^{path}: no certificate of an authority"):
        connecting(trust.ca(path))


def test_without_trust_it_is_the_operating_systems():
    assert connecting().get_ca_certs() == connecting(trust.os()).get_ca_certs()
    assert connecting().verify_mode is ssl.CERT_REQUIRED
    assert connecting().check_hostname


def test_no_verification_is_none():
    context = connecting(trust.insecure_no_verification())
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


# What every context has ---------------------------------------------------------------------------


def test_versions_and_suites_are_the_safe_ones(key, trusted):
    for context in (serving(key), connecting(trusted)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION
        for suite in context.get_ciphers():
            assert suite["aead"], suite
            assert "ECDHE" in suite["name"] or suite["protocol"] == "TLSv1.3", suite


@pytest.mark.parametrize(
    ("offered", "known", "agreed"),
    [
        (("h2", "http/1.1"), ("http/1.1", "h2"), "http/1.1"),
        (("h2",), ("h2", "http/1.1"), "h2"),
        ((), ("h2",), None),
        (("h2",), (), None),
        (("h3",), ("h2",), None),
    ],
)
def test_the_server_prefers_among_the_protocols(key, trusted, offered, known, agreed):
    near, far = shake(serving(key, alpn=known), connecting(trusted, alpn=offered), HOST)
    assert near.tls.selected_alpn_protocol() == far.tls.selected_alpn_protocol() == agreed


def test_key_log_gets_the_secrets_and_says_so(key, trusted, tmp_path, caplog):
    path = tmp_path / "keys.log"
    with caplog.at_level(logging.WARNING, "conduit"):
        assert agree(serving(key, key_log=str(path)), connecting(trusted))
    assert f"the secrets of TLS sessions are written to {path}" in caplog.messages
    assert "CLIENT_TRAFFIC_SECRET_0" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_key_log_is_appended_to(key, trusted, tmp_path):
    path = tmp_path / "keys.log"
    path.write_text("# before\n")
    assert agree(serving(key), connecting(trusted, key_log=str(path)))
    assert path.read_text().startswith("# before\n")
    assert "CLIENT_TRAFFIC_SECRET_0" in path.read_text()


def test_key_log_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(IsADirectoryError, match=f"cannot write TLS secrets to key_log={tmp_path}"):
        connecting(trust.ca(Authority().pem), key_log=str(tmp_path))


def test_without_a_key_log_there_is_none(trusted, monkeypatch):
    """Only the transport looks at the environment, so that one setting decides."""
    monkeypatch.setenv("SSLKEYLOGFILE", "/nowhere/keys.log")
    assert connecting(trusted).keylog_filename is None
