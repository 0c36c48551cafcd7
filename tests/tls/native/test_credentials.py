"""What the native stack loads: it says of bad files what OpenSSL's does."""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conduit import OwnKey, TLSError, trust
from conduit.testing import Authority
from conduit.tls.engine import ClientSettings, ServerSettings
from conduit.tls.library import TLSLibrary, stack_of
from conduit.tls.native import load_client, load_server
from tests.tls.attacker import NATIVE
from tests.tls.engines import VERSIONS
from tests.tls.identities import KINDS
from tests.tls.session import load

HUSH = "hush-hush"


@pytest.fixture
def key(certificates) -> OwnKey:
    key: OwnKey = certificates.key("db.example")
    return key


@pytest.fixture
def encrypted(certificates) -> OwnKey:
    key: OwnKey = certificates.key("db.example", password=HUSH)
    return key


def said(load_it: Any, settings: Any) -> tuple[type[BaseException], str]:
    with pytest.raises((TLSError, OSError)) as caught:
        load_it(settings)
    return type(caught.value), str(caught.value)


def told_alike(settings: Any) -> str:
    """What both stacks say."""
    name = "load_server" if isinstance(settings, ServerSettings) else "load_client"
    kind, text = said(getattr(stack_of(TLSLibrary.NATIVE), name), settings)
    theirs = said(getattr(stack_of(TLSLibrary.OPENSSL), name), settings)
    assert (kind, text.partition(": ")[0]) == (theirs[0], theirs[1].partition(": ")[0])
    return text


@pytest.mark.parametrize("part", ["crt_file", "key_file"])
def test_files_that_are_not_there_or_hold_something_else(key, tmp_path, part):
    told_alike(ServerSettings(keys=(replace(key, **{part: str(tmp_path / "none")}),)))
    told_alike(ServerSettings(keys=(replace(key, **{part: str(tmp_path)}),)))
    for content in (b"", b"hello\n", b"\x00\xff" * 100, b"-----BEGIN"):
        path = tmp_path / "odd.pem"
        path.write_bytes(content)
        text = told_alike(ServerSettings(keys=(replace(key, **{part: str(path)}),)))
        assert str(path) in text
    told_alike(ServerSettings(keys=(OwnKey(key.key_file, key.crt_file),)))


def test_files_that_are_damaged(key, tmp_path):
    for part in ("crt_file", "key_file"):
        path = tmp_path / f"damaged-{part}"
        lines = Path(getattr(key, part)).read_text().splitlines()
        path.write_text("\n".join([lines[0], "A" * 64, *lines[2:]]))
        settings = ServerSettings(keys=(replace(key, **{part: str(path)}),))
        assert "cannot use " in told_alike(settings)


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_key_of_another_certificate(key, certificates, kind):
    other = certificates.key("other.example", key=kind)
    settings = ServerSettings(keys=(replace(key, key_file=other.key_file),))
    assert "is not that of the certificate" in told_alike(settings)


@pytest.mark.parametrize(
    "password",
    [
        lambda _: "guess",
        lambda _: HUSH.encode(),
        lambda _: None,
        lambda _: 1 / 0,
        lambda _: "x" * 1024,
        None,
    ],
)
def test_passwords_that_do_not_open_it(encrypted, password):
    told_alike(ServerSettings(keys=(replace(encrypted, password=password),)))


def test_password_is_asked_for_once_and_only_if_it_is_needed(encrypted, key, certificates):
    asked = []

    def password(again: bool) -> str:
        asked.append(again)
        return HUSH

    load_server(ServerSettings(keys=(replace(encrypted, password=password),)))
    assert asked == [False]
    load_server(ServerSettings(keys=(replace(key, password=password),)))
    assert asked == [False]


def test_weak_key_of_our_own(certificates):
    weak = certificates.key("db.example", key="rsa", bits=1024)
    assert "is too weak for TLS" in told_alike(ServerSettings(keys=(weak,)))


@pytest.mark.parametrize(
    "content", [b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_authorities_that_are_none(tmp_path, content):
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    for source in (str(path), content):
        told_alike(ClientSettings(trust=trust.ca(source)))
    told_alike(ClientSettings(trust=trust.ca(str(tmp_path / "none"))))


@pytest.mark.parametrize("form", ["pem", "der", "file", "bundle"])
def test_authorities_in_every_form(identities, tmp_path, form):
    authority, other = identities.authority, Authority("other")
    path = tmp_path / "ca.pem"
    path.write_bytes(b"text before\n" + other.pem + b"\n# a comment\n" + authority.pem)
    source = {"pem": authority.pem, "der": authority.der, "file": str(path), "bundle": path}[form]
    session = load((NATIVE, NATIVE), None, identities.server(), trust.ca(source)).session().run()
    assert session.client.failure is None


def test_key_log_is_for_its_owner_and_can_be_read_by_others(identities, tmp_path, caplog):
    file = tmp_path / "keys"
    settings = ClientSettings(trust=identities.trust, key_log=str(file))
    with caplog.at_level(logging.WARNING, "conduit"):
        loaded = load_client(settings)
    assert str(file) in caplog.text
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    of_tls13 = {
        *("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET"),
        *("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"),
    }
    for version, labels in zip(VERSIONS, ({"CLIENT_RANDOM"}, of_tls13), strict=True):
        made = load((NATIVE, NATIVE), version, identities.server(), identities.trust)
        made.client = loaded
        session = made.session().run()
        assert session.client.failure is None
        lines = [line.split() for line in file.read_text().splitlines()]
        assert {label for label, *_ in lines} == labels
        random = bytes(session.from_client[11:43]).hex()
        assert all(one == random for _, one, _ in lines)
        file.write_text("")


def test_key_log_that_cannot_be_written(tmp_path):
    settings = ClientSettings(trust=trust.os(), key_log=str(tmp_path / "no" / "keys"))
    assert "cannot write TLS secrets" in told_alike(settings)


@pytest.mark.parametrize("kind", KINDS)
def test_certificate_by_name_whatever_the_kind_of_key(identities, certificates, kind):
    other = certificates.write(
        identities.authority.issue("other.example", "*.more.example", key=kind),
        identities.directory,
        f"other-{kind}",
    )
    loaded = load(
        (NATIVE, NATIVE), None, identities.server("rsa"), identities.trust, more_keys=(other,)
    )
    for asked in ("other.example", "OTHER.example", "a.more.example"):
        session = loaded.session(asked).run()
        assert session.client.failure is None
    assert load_server(ServerSettings(keys=(other,))).names == ("other.example", "*.more.example")


def test_system_without_authorities_trusts_nobody(identities, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    session = load((NATIVE, NATIVE), None, identities.server(), trust.os()).session().run()
    assert "not among the authorities trusted here" in str(session.client.failure)
    (tmp_path / "ours.pem").write_bytes(identities.authority.pem)
    session = load((NATIVE, NATIVE), None, identities.server(), trust.os()).session().run()
    assert session.client.failure is None
