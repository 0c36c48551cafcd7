"""Passwords that an address may speak of, since it says only where they are."""

import copy
import pickle

import pytest

from conduit import server
from conduit.errors import AddressError
from conduit.text import PasswordFromEnv, PasswordFromFile
from conduit.tls.keys import OwnKey

VARIABLE = "CONDUIT_TEST_PASSWORD"


def test_from_the_environment(monkeypatch):
    password = PasswordFromEnv(VARIABLE)
    monkeypatch.setenv(VARIABLE, "hunter2 ")
    assert [password(False), password(True)] == ["hunter2 "] * 2
    monkeypatch.setenv(VARIABLE, "other")
    assert password(False) == "other"  # it is read when it is needed


@pytest.mark.parametrize("name", [VARIABLE, "\ud800"])
def test_missing_variable(monkeypatch, name):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(AddressError) as caught:
        PasswordFromEnv(name)(False)
    assert str(caught.value) == f"password_env: the environment has no variable {name!r}"


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\r", "hunter2\r"),
        (b"hunter2\n\n", "hunter2\n"),
        (b" hunter2 ", " hunter2 "),
        ("gehe\u00efm\n".encode(), "geheïm"),
        (b"", ""),
    ],
)
def test_from_a_file(tmp_path, content, secret):
    path = tmp_path / "password"
    path.write_bytes(content)
    password = PasswordFromFile(path)
    assert [password(False), password(True)] == [secret] * 2


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        PasswordFromFile(tmp_path / "nothing")(False)


def test_file_that_is_no_text_is_not_shown(tmp_path):
    path = tmp_path / "password"
    path.write_bytes(b"hunter2\xff")
    with pytest.raises(AddressError, match="is not UTF-8") as caught:
        PasswordFromFile(path)(False)
    assert caught.value.__context__ is None
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "value", "why"),
    [
        (PasswordFromEnv, "", "name is empty"),
        (PasswordFromEnv, "A\0", r"name 'A\x00' holds a NUL"),
        (PasswordFromEnv, "PASS=hunter2", "name holds '=', which no variable's name has"),
        (PasswordFromEnv, None, "name must be a str, not None"),
        (PasswordFromFile, "", "path is empty"),
        (PasswordFromFile, "a\0", r"path 'a\x00' holds a NUL"),
        (PasswordFromFile, 3, "path must be a str or a path, not 3"),
    ],
)
def test_what_cannot_be_is_refused(make, value, why):
    with pytest.raises(AddressError) as caught:
        make(value)
    assert str(caught.value) == f"{make.__name__}: {why}"


@pytest.mark.parametrize(
    ("password", "shown"),
    [
        (PasswordFromEnv("A"), "PasswordFromEnv('A')"),
        (PasswordFromFile("/a"), "PasswordFromFile('/a')"),
    ],
)
def test_plain_data(password, shown):
    assert repr(password) == shown
    assert eval(shown) == password
    assert {eval(shown): 1}[password] == 1
    assert copy.copy(password) == pickle.loads(pickle.dumps(password)) == password
    assert password not in (PasswordFromEnv("B"), PasswordFromFile("B"), PasswordFromFile("A"))
    with pytest.raises(AttributeError):
        setattr(password, password.__match_args__[0], "C")


def test_stands_wherever_a_password_function_does():
    password = PasswordFromEnv("A")
    assert server.TLS("c", "k", password, 443) == server.TLS("c", "k", PasswordFromEnv("A"), 443)
    assert OwnKey("c", "k", password).password is password
