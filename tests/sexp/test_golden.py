"""What the OCaml library prints and reads, row for row.

golden/sexp.jsonl was made by conduit 8.0.0 with sexplib 0.15, ppx_sexp_conv 0.15 and ipaddr 5.3.1.
Rows of which our addresses refuse the value are listed by name in golden/refused.json, each below
its reason; where our conversions say something else on purpose, `OURS` says what, and why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import conduit
from conduit import AddressError, SexpError, sexp

from .trees import OUR_NAME, build

GOLDEN = Path(__file__).with_name("golden")
ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (GOLDEN / "sexp.jsonl").read_text("utf-8").splitlines()
]
REFUSED = {
    (type_, text): reason
    for reason, rows in json.loads((GOLDEN / "refused.json").read_text("utf-8")).items()
    for type_, text in rows
}
WORDS = {
    "a port is outside 0..65535": "outside 0..65535",
    "a domid is negative": "is negative",
    "a host is empty": "is empty",
    "a name holds a NUL": "NUL",
    "a source address is a Unix socket": "is not an IP address",
}


def rows(direction: str, refused: bool = False) -> list[dict[str, Any]]:
    return [
        row
        for row in ROWS
        if row["direction"] == direction and (is_refused(row) is not None) == refused
    ]


def each(rows: list[dict[str, Any]]) -> pytest.MarkDecorator:
    """Run a test on the rows of each type in turn: a failure shows the row."""
    types = dict.fromkeys(row["type"] for row in rows)
    return pytest.mark.parametrize(
        "rows", [pytest.param([row for row in rows if row["type"] == t], id=t) for t in types]
    )


def is_refused(row: dict[str, Any]) -> str | None:
    return REFUSED.get((row["type"], row.get("input", ""))) if "output" in row else None


def converter(row: dict[str, Any]) -> Any:
    return sexp.converters[OUR_NAME.get(row["type"], row["type"])]


def read(row: dict[str, Any]) -> sexp.Sexp:
    if "input_hex" in row:
        return sexp.of_bytes(bytes.fromhex(row["input_hex"]))
    # The same as bytes and as a str.
    try:
        as_bytes = sexp.of_bytes(row["input"].encode())
    except SexpError:
        as_bytes = None
    found = sexp.of_string(row["input"])
    assert found == as_bytes
    return found


def check_output(row: dict[str, Any], printed: sexp.Sexp) -> None:
    assert sexp.to_string(printed) == row["output"]
    if "output_hum" in row:
        assert sexp.to_string_hum(printed) == row["output_hum"]


def test_rows_are_there():
    assert len(ROWS) > 700
    listed = {row.get("input", "") for row in ROWS if is_refused(row)}
    assert listed == {text for _, text in REFUSED}, "a row is listed that is not there"


@each(rows("print"))
def test_value_prints(rows):
    for row in rows:
        check_output(row, converter(row).to_sexp(build(row["type"], row["value"])))


@each(rows("print", refused=True))
def test_value_that_is_refused_says_why(rows):
    for row in rows:
        with pytest.raises(AddressError, match=WORDS[is_refused(row) or ""]):
            build(row["type"], row["value"])


@each(rows("print") + rows("print", refused=True))
def test_what_was_printed_reads_and_prints_the_same(rows):
    for row in rows:
        check_output(row, sexp.of_string(row["output"]))
        check_output(row, sexp.of_string(row["output_hum"]))


@each([row for row in rows("parse") if "output" in row])
def test_text_is_read_and_printed(rows):
    for row in rows:
        found = read(row)
        if row["type"] != "sexp":
            found = converter(row).to_sexp(converter(row).of_sexp(found))
        check_output(row, found)


@each(rows("parse", refused=True))
def test_text_of_a_value_that_is_refused_says_why(rows):
    for row in rows:
        with pytest.raises(SexpError, match=WORDS[is_refused(row) or ""]) as caught:
            converter(row).of_sexp(read(row))
        assert caught.value.line == 1
        assert sexp.to_string(caught.value.sexp or "") in row["output"]


def mistake_in(row: dict[str, Any]) -> SexpError:
    try:
        found = read(row)
        if row["type"] != "sexp":
            found = converter(row).of_sexp(found)
    except SexpError as error:
        return error
    pytest.fail(f"read as {found!r}")


@each([row for row in rows("parse") if "error" in row])
def test_text_is_refused(rows):
    for row in rows:
        error = mistake_in(row)
        assert error.line is not None
        assert error.column is not None
        if row.get("error_sexp") is not None:
            assert error.sexp is not None, row
            assert sexp.to_string(error.sexp) == row["error_sexp"]


# Conversions --------------------------------------------------------------------------------------

ADDRESS_IS_KEPT = "the reference forgets the IP address and listens on all of them"
ANY_TLS = "the reference has TLS over TCP only"
KEY = "(Crt_file_path c)(Key_file_path k)No_password"
OURS: dict[tuple[str, str, bool], tuple[str, str]] = {
    ("endp_to_client", '`TLS ("h", `Vchan_direct (1, "p"))', False): (
        "(TLS_over((Hostname h)(Vchan_direct((Domid 1)(Port p)))))",
        ANY_TLS,
    ),
    ("endp_to_client", '`TLS ("h", `TLS ("i", `TCP ((ip "127.0.0.1"), 1)))', False): (
        "(TLS_over((Hostname h)(TLS((Hostname i)(IP 127.0.0.1)(Port 1)))))",
        ANY_TLS,
    ),
    ("endp_to_server", '`TCP ((ip "127.0.0.1"), 80)', True): (
        "(TCP((IP 127.0.0.1)(Port 80)))",
        ADDRESS_IS_KEPT,
    ),
    ("endp_to_server", '`TCP ((ip "127.0.0.1"), 80)', False): (
        "(TCP((IP 127.0.0.1)(Port 80)))",
        ADDRESS_IS_KEPT,
    ),
    ("endp_to_server", '`TCP ((ip "::1"), 65535)', True): (
        "(TCP((IP ::1)(Port 65535)))",
        ADDRESS_IS_KEPT,
    ),
    ("endp_to_server", '`TCP ((ip "::1"), 65535)', False): (
        "(TCP((IP ::1)(Port 65535)))",
        ADDRESS_IS_KEPT,
    ),
    ("endp_to_server", '`TLS ("h", `TCP ((ip "127.0.0.1"), 443))', True): (
        "(TLS((Crt_file_path c)(Key_file_path k)No_password(Port 443)(IP 127.0.0.1)))",
        ADDRESS_IS_KEPT,
    ),
    ("endp_to_server", '`TLS ("h", `Unix_domain_socket "/x")', True): (
        "(TLS_over((Unix_domain_socket(File /x))(Crt_file_path c)(Key_file_path k)No_password))",
        ANY_TLS,
    ),
    ("endp_to_server", '`TLS ("h", `Vchan_direct (1, "p"))', True): (
        "(TLS_over((Vchan_direct(1 p))(Crt_file_path c)(Key_file_path k)No_password))",
        ANY_TLS,
    ),
    ("endp_to_server", '`TLS ("h", `TLS ("i", `TCP ((ip "127.0.0.1"), 1)))', True): (
        f"(TLS_over((TLS({KEY}(Port 1)(IP 127.0.0.1))){KEY}))",
        ANY_TLS,
    ),
}


def test_each_conversion_of_ours_is_another_than_the_references():
    there = {}
    for row in ROWS:
        if row["direction"] == "convert":
            there[row["type"], row["input"], "with key" in row["note"]] = row.get("output")
    assert set(OURS) <= set(there)
    assert all(there[name] != ours for name, (ours, _) in OURS.items())


@pytest.mark.parametrize("row", rows("convert"))
def test_conversion(row):
    with_key = "with key" in row["note"]
    key = conduit.OwnKey("c", "k") if with_key else None
    value = build("Conduit_lwt_unix.endp", row["value"])
    convert = getattr(conduit, row["type"])
    to_sexp = sexp.converters[row["type"].removeprefix("endp_to_")].to_sexp
    ours = OURS.get((row["type"], row["input"], with_key))
    expected = row.get("output") if ours is None else ours[0]
    ctx = conduit.Context(tls_own_key=key)
    if expected is None:
        with pytest.raises(conduit.ConduitError):
            convert(value, ctx=ctx)
    else:
        assert sexp.to_string(to_sexp(convert(value, ctx=ctx))) == expected
