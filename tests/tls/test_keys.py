"""Our own key; its files and password are also in tests/test_fields.py."""

import pytest

from conduit.errors import AddressError
from conduit.tls.keys import OwnKey


def test_password_may_be_left_out(tmp_path):
    key = OwnKey(tmp_path / "a.crt", tmp_path / "a.key")
    assert key == OwnKey(str(tmp_path / "a.crt"), str(tmp_path / "a.key"), None)
    assert key.password is None


def test_files_are_not_read_when_it_is_made():
    assert OwnKey("no/such.crt", "no/such.key").crt_file == "no/such.crt"


@pytest.mark.parametrize("part", ["crt_file", "key_file"])
@pytest.mark.parametrize("value", [None, 3, b"a.crt", "a\0"])
def test_files_are_paths(part, value):
    with pytest.raises(AddressError, match=rf"^OwnKey: {part} "):
        OwnKey(**{"crt_file": "a.crt", "key_file": "a.key"} | {part: value})
