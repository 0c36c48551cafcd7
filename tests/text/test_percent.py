"""Percent-coding."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.text import percent
from tests.text.addresses import anything, names

SETS = [percent.PATH, percent.SEGMENT, percent.VALUE, percent.HOST, percent.HOSTNAME, percent.ZONE]


@settings(deadline=None)
@given(st.sampled_from(SETS), names | anything)
def test_lossless(coded, text):
    written = percent.encode(text, coded)
    assert percent.decode(written) == text
    assert percent.malformed(written) is None
    assert written.isprintable()
    assert not (coded - {"%"}) & set(written.replace("%", "")) - set("ABCDEF")


@settings(deadline=None)
@given(anything)
def test_all_of_it_in_code(text):
    if text:
        assert percent.decode(percent.in_code(text)) == text


@settings(deadline=None)
@given(st.binary(max_size=12))
def test_bytes_of_file_names_are_read_as_the_operating_system_does(name):
    written = "".join(f"%{byte:02x}" for byte in name)
    text = percent.decode(written)
    try:
        surrogates = any(
            "\ud800" <= char <= "\udfff" for char in name.decode("utf-8", "surrogatepass")
        )
    except UnicodeDecodeError:
        surrogates = False
    if not surrogates:
        assert text == os.fsdecode(name)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a b", "a%20b"),
        ("é", "é"),
        ("\u202e", "%E2%80%AE"),
        ("\udcff", "%FF"),
        ("\udcc3\udca9", "%ED%B3%83%ED%B2%A9"),  # else it would be read as "é"
        ("\ud83d\ude00", "%ED%A0%BD%ED%B8%80"),
        ("%", "%25"),
        ("", ""),
    ],
)
def test_written(text, written):
    assert percent.encode(text, percent.PATH) == written
    assert percent.decode(written) == text


@pytest.mark.parametrize(
    ("text", "at"),
    [("", None), ("%41", None), ("%4", 0), ("a%", 1), ("%41%g1", 3), ("%%41", 0), ("%4é", 0)],
)
def test_malformed(text, at):
    assert percent.malformed(text) == at


@pytest.mark.parametrize(
    ("text", "expected"), [("ABZaz", "abzaz"), ("Äİ\u212a", "Äİ\u212a"), ("ÄB", "Äb")]
)
def test_small_letters_of_ascii_only(text, expected):
    assert percent.small(text) == expected
