"""Whom to trust, as plain data."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduit
from conduit import trust

A, B = hashlib.sha256(b"a"), hashlib.sha256(b"b")


def colons(digest: bytes) -> str:
    return ":".join(f"{byte:02X}" for byte in digest)


# What is made -------------------------------------------------------------------------------------


def test_os_has_the_systems_anchors():
    assert trust.os() == trust.Trust("os")
    assert repr(trust.os()) == "trust.os()"


@pytest.mark.parametrize(
    ("given", "sources"),
    [
        ("/etc/ours.pem", ("/etc/ours.pem",)),
        (Path("/etc/ours.pem"), ("/etc/ours.pem",)),
        (b"-----BEGIN", (b"-----BEGIN",)),
        (["a.pem", b"der", Path("b.pem")], ("a.pem", b"der", "b.pem")),
        ((one for one in ("a.pem", "b.pem")), ("a.pem", "b.pem")),
    ],
    ids=["str", "path", "bytes", "several", "generator"],
)
def test_ca_keeps_where_the_anchors_are_and_reads_nothing(given, sources):
    assert trust.ca(given).anchors == sources


@pytest.mark.parametrize("nothing", ["", b"", [], [""], ["a.pem", b""]])
def test_no_authority_is_refused(nothing):
    with pytest.raises(conduit.TLSError, match="there is no authority in nothing"):
        trust.ca(nothing)


@pytest.mark.parametrize("wrong", [None, 7, [7], [None]])
def test_what_is_no_source_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        trust.ca(wrong)


@pytest.mark.parametrize(
    "written",
    [A.digest(), A.hexdigest(), A.hexdigest().upper(), colons(A.digest()), f" {A.hexdigest()}\n"],
)
def test_fingerprint_is_taken_as_people_write_it(written):
    assert trust.fingerprint(written) == trust.Trust(None, (frozenset([A.digest()]),))


@pytest.mark.parametrize(
    "wrong",
    [
        *(b"", b"x" * 31, b"x" * 33, "", "ab", "zz" * 32, A.hexdigest() + "0"),
        hashlib.sha1(b"a").hexdigest(),
        "\N{FULLWIDTH DIGIT ONE}" * 64,
        f"{A.hexdigest()[:32]} {A.hexdigest()[32:]}",
    ],
)
def test_what_is_no_sha256_is_refused(wrong):
    with pytest.raises(conduit.TLSError, match="64 hexadecimal digits, or 32 bytes"):
        trust.fingerprint(wrong)


def test_no_fingerprint_at_all_is_refused():
    with pytest.raises(conduit.TLSError, match="at least one SHA-256"):
        trust.fingerprint()


@given(st.binary(min_size=32, max_size=32))
def test_fingerprint_in_hexadecimal_is_the_same_as_in_bytes(digest):
    assert trust.fingerprint(digest.hex()) == trust.fingerprint(digest)
    assert trust.fingerprint(colons(digest)) == trust.fingerprint(digest)
    assert trust.fingerprint(digest).accepts(digest)


# What is accepted ---------------------------------------------------------------------------------


def test_one_of_several_fingerprints_is_enough():
    pinned = trust.fingerprint(A.digest(), B.digest())
    assert pinned.accepts(A.digest())
    assert pinned.accepts(B.digest())
    assert not pinned.accepts(bytes(32))


def test_both_must_accept():
    both = trust.fingerprint(A.digest(), B.digest()) & trust.fingerprint(B.digest())
    assert both.accepts(B.digest())
    assert not both.accepts(A.digest())
    assert not (trust.fingerprint(A.digest()) & trust.fingerprint(B.digest())).accepts(A.digest())


def test_pins_and_anchors_are_both_kept():
    for one in (trust.ca("a.pem"), trust.os()):
        pinned = trust.fingerprint(A.digest())
        assert one & pinned == pinned & one == trust.Trust(one.anchors, pinned.pins)
        assert one & pinned & pinned == one & pinned


def test_two_kinds_of_anchors_cannot_be_combined():
    for one, other in [(trust.os(), trust.ca("a.pem")), (trust.ca("a.pem"), trust.ca("b.pem"))]:
        with pytest.raises(conduit.TLSError, match=re.escape(f"{one!r} and {other!r} cannot be")):
            one & other
    assert trust.ca("a.pem") & trust.ca("a.pem") == trust.ca("a.pem")


def test_no_verification_is_what_it_says():
    nobody = trust.insecure_no_verification()
    assert not nobody.verifies
    assert nobody != trust.os()
    assert trust.ca("a.pem").verifies
    assert repr(nobody) == "trust.insecure_no_verification()"


@pytest.mark.parametrize("strict", [trust.os(), trust.ca("a.pem"), trust.fingerprint(A.digest())])
def test_nothing_makes_a_demand_laxer(strict):
    """`a & b` trusts whom both trust, and no verification trusts anybody."""
    nobody = trust.insecure_no_verification()
    assert strict & nobody == nobody & strict == strict


# What is shown ------------------------------------------------------------------------------------


def test_repr_reads_back():
    for one in (
        trust.os(),
        trust.ca(["a.pem", "b.pem"]),
        trust.fingerprint(A.digest(), B.digest()),
        trust.ca("a.pem") & trust.fingerprint(A.digest()) & trust.fingerprint(B.digest()),
    ):
        assert eval(repr(one), {"trust": trust}) == one


def test_certificates_in_memory_are_not_printed():
    assert repr(trust.ca(b"x" * 700)) == "trust.ca(<700 bytes>)"
