"""What a caller sees of an error: what it can catch, what it reads, what survives a copy."""

import copy
import errno
import pickle
from pathlib import Path

import pytest

from conduit import endp, errors
from conduit.errors import (
    AddressError,
    CertificateError,
    ConduitError,
    ConnectError,
    ConnectTimeout,
    NoVariantMatch,
    ResolutionError,
    SexpError,
    TLSError,
    TruncatedError,
    UnsupportedTransport,
)

BUILTINS = {
    ConduitError: Exception,
    AddressError: ValueError,
    SexpError: ValueError,
    NoVariantMatch: ValueError,
    ConnectError: ConnectionError,
    ConnectTimeout: TimeoutError,
    TLSError: ConnectionError,
    CertificateError: ConnectionError,
    TruncatedError: EOFError,
    ResolutionError: OSError,
    UnsupportedTransport: OSError,
}

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
SILENT = TimeoutError()
FIRST = endp.TCP("2001:db8::1", 5432)
SECOND = endp.TCP("192.0.2.1", 5432)

# Copying: by value, and through another process.
COPIES = [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]


def test_every_error_is_listed_here():
    found = {e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)}
    assert found == set(BUILTINS)


def test_tree_at_the_top_names_every_error():
    assert errors.__doc__ is not None
    for error in BUILTINS:
        assert f" {error.__name__} " in errors.__doc__.replace("\n", " ")
    assert Path(errors.__file__).read_text("utf-8").startswith(f'"""{errors.__doc__[:20]}')


@pytest.mark.parametrize(("error", "builtin"), BUILTINS.items())
def test_error_is_caught_as_its_builtin(error, builtin):
    with pytest.raises(builtin, match=r"^what happened$") as caught:
        raise error("what happened")
    assert isinstance(caught.value, ConduitError)
    assert caught.value.args == ("what happened",)
    assert repr(caught.value) == f"{error.__name__}('what happened')"


@pytest.mark.parametrize("error", BUILTINS)
def test_error_may_be_raised_bare(error):
    assert str(error()) == ""


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("error", BUILTINS)
def test_error_survives_a_copy(error, copied):
    original = error("what happened")
    original.add_note("while testing")
    again = copied(original)
    assert type(again) is error
    assert str(again) == "what happened"
    assert again.__notes__ == ["while testing"]


def test_timeout_is_a_connect_error_and_an_os_error():
    assert issubclass(ConnectTimeout, (ConnectError, OSError))
    with pytest.raises(ConnectionError):
        raise ConnectTimeout("too slow")


# ConnectError -------------------------------------------------------------------------------------


def test_connect_error_without_attempts():
    error = ConnectError("nowhere to go")
    assert error.attempts == ()
    assert error.errno is None
    assert error.strerror is None


@pytest.mark.parametrize("kind", [ConnectError, ConnectTimeout])
def test_one_attempt_is_told_on_one_line(kind):
    error = kind("cannot connect to db.example", [("192.0.2.1", REFUSED)])
    assert str(error) == (
        f"cannot connect to db.example: 192.0.2.1: [Errno {errno.ECONNREFUSED}] Connection refused"
    )


def test_address_named_by_the_message_is_not_repeated():
    error = ConnectError("cannot connect to 192.0.2.1", [("192.0.2.1", SILENT)])
    assert str(error) == "cannot connect to 192.0.2.1: TimeoutError"


def test_several_attempts_are_told_on_a_line_each():
    error = ConnectError("cannot connect to db.example", [(FIRST, SILENT), (SECOND, REFUSED)])
    assert str(error).splitlines() == [
        "cannot connect to db.example:",
        f"  {FIRST}: TimeoutError",
        f"  {SECOND}: [Errno {errno.ECONNREFUSED}] Connection refused",
    ]


def test_attempts_within_an_attempt_are_indented_below_it():
    inner = ConnectError("no route", [("a", REFUSED), ("b", SILENT)])
    error = ConnectError("cannot connect", [("first", inner), ("second", SILENT)])
    assert [len(line) - len(line.lstrip()) for line in str(error).splitlines()] == [0, 2, 4, 4, 2]


def test_only_attempt_gives_its_errno():
    error = ConnectError("cannot connect", [(SECOND, REFUSED)])
    assert error.errno == errno.ECONNREFUSED
    assert error.strerror == "Connection refused"
    assert error.attempts == ((SECOND, REFUSED),)


@pytest.mark.parametrize(
    "attempts",
    [[(FIRST, REFUSED), (SECOND, REFUSED)], [(FIRST, ValueError("not of the system"))]],
)
def test_no_errno_where_no_single_system_error_is_to_blame(attempts):
    error = ConnectError("cannot connect", attempts)
    assert error.errno is None
    assert error.strerror is None


def test_attempts_may_be_any_iterable_and_are_kept_as_a_tuple():
    error = ConnectError("cannot connect", iter([(FIRST, REFUSED)]))
    assert error.attempts == ((FIRST, REFUSED),)


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("kind", [ConnectError, ConnectTimeout])
@pytest.mark.parametrize("attempts", [[(SECOND, REFUSED)], [(FIRST, SILENT), (SECOND, REFUSED)]])
def test_copied_connect_error_tells_the_same(kind, attempts, copied):
    original = kind("cannot connect", attempts)
    again = copied(original)
    assert type(again) is kind
    assert str(again) == str(original)
    assert again.errno == original.errno
    assert again.strerror == original.strerror
    assert [address for address, _ in again.attempts] == [address for address, _ in attempts]


# TLS ----------------------------------------------------------------------------------------------


def test_certificate_error_carries_the_chain():
    assert CertificateError("not trusted").chain == ()
    error = CertificateError("not trusted", chain=[b"leaf", b"root"])
    assert error.chain == (b"leaf", b"root")
    assert str(error) == "not trusted"


def test_truncated_error_carries_what_was_read():
    assert TruncatedError("cut short").partial == b""
    error = TruncatedError("cut short", partial=b"half a mess")
    assert error.partial == b"half a mess"
    assert str(error) == "cut short"


@pytest.mark.parametrize("copied", COPIES)
def test_copied_tls_errors_carry_the_same(copied):
    assert copied(CertificateError("not trusted", chain=[b"leaf"])).chain == (b"leaf",)
    assert copied(TruncatedError("cut short", partial=b"half")).partial == b"half"
