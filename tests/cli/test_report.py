"""The table fits the terminal, whatever it has to show."""

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduit.cli.report import JSONLines, Row, Table
from tests.cli.command import without_styles

VERSIONS = {"conduit": "Conduit 1.2.3", "loop": "uvloop 4.5.6"}

OK = Row(
    server="server.TCP(0)",
    address="client.TCP('127.0.0.1', 54321)",
    flow="flow.TCP(15, '127.0.0.1', 54321)",
    connect_seconds=0.00123,
    sent=16_000_000,
    transfer_seconds=0.02,
)


def shown(*rows: Row, width=80, encoding="utf-8", colour=False, live=False) -> str:
    """What a table with these rows looks like."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding, newline="")
    table = Table(stream, width=width, colour=colour, live=live)
    table.begin(VERSIONS, 8_000_000)
    for row in rows:
        if row.state != "missing":
            table.serving(row.server, f"endp.TCP('::', {width})")
            table.trying(row.address)
        table.add(row)
    table.end(1.25)
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_row_shows_address_flow_time_and_speed():
    assert "✓ client.TCP('127.0.0.1', 54321)  TCP(15, '127.0.0.1', 54321)  1.23 ms  800 MB/s\n" in (
        shown(OK)
    )


SECURED = replace(OK, tls="TLSv1.3 TLS_AES_256_GCM_SHA384 resumed", handshake_seconds=0.00099)


def test_tls_has_a_line_of_its_own():
    lines = shown(SECURED).splitlines()
    at = lines.index("    TLSv1.3 TLS_AES_256_GCM_SHA384 resumed, handshake 0.99 ms")
    assert lines[at - 1].startswith("✓ client.TCP(")
    assert "TLS" not in shown(OK)


@pytest.mark.parametrize("width", [20, 36, 80])
def test_line_of_tls_fits(width):
    lines = shown(SECURED, width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert "handshake" in "".join(lines)


def test_title_says_what_it_runs_on():
    assert shown(OK).startswith("Conduit 1.2.3 · uvloop 4.5.6\n8 MB of random data")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0000004, "0.00 ms"),
        (0.00994, "9.94 ms"),
        (0.009996, "10.0 ms"),
        (0.09994, "99.9 ms"),
        (0.09996, "100 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (12.0, "12.0 s"),
        (120.0, "120 s"),
    ],
)
def test_time_to_connect(seconds, text):
    row = Row(server="", address="a", connect_seconds=seconds, sent=1, transfer_seconds=1.0)
    assert f"  {text.rjust(7)}  " in shown(row)


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (1_000, "0.0 MB/s"),
        (9.9e6, "9.9 MB/s"),
        (12e6, "12 MB/s"),
        (9.997e8, "1.0 GB/s"),
        (9.94e9, "9.9 GB/s"),
        (9.96e9, "10 GB/s"),
    ],
)
def test_speed(rate, text):
    row = Row(server="", address="a", connect_seconds=1.0, sent=int(rate), transfer_seconds=1.0)
    assert f"  {text.rjust(8)}\n" in shown(row)


@pytest.mark.parametrize("end", ["", "+"])
def test_verdict_counts_what_was_tried(end):
    failed = Row(server="s", address="a" + end, state="failed", reason="it burns")
    missing = Row(server="", address="client.Dove", state="missing", reason="no birds")
    assert shown(OK, OK, missing).endswith("✓ All 2 connections passed, in 1.2 s.\n")
    text = shown(OK, failed, missing)
    assert text.endswith("✗ 1 of 2 connections failed, in 1.2 s.\n")
    assert f"✗ a{end}\n    it burns\n" in text


def test_what_is_missing_is_grouped_by_its_reason():
    text = shown(
        OK,
        Row(server="", address="server.Dove", state="missing", reason="no birds"),
        Row(server="", address="server.Drum", state="missing", reason="no sticks"),
        Row(server="", address="client.Dove", state="missing", reason="no birds"),
    )
    assert "- server.Dove, client.Dove\n    no birds\n- server.Drum\n    no sticks\n" in text


def test_a_long_path_keeps_its_end():
    row = Row(server="s", address="client.UnixDomainSocket('/run/user/1000/app.sock')")
    assert "✓ client.UnixDomainSocket('…ock')" in shown(row)
    assert row.address in shown(row, width=120)


def test_narrow_table_leaves_columns_out():
    narrow, very_narrow = shown(OK, width=60), shown(OK, width=40)
    assert "flow" not in narrow
    assert "1.23 ms" in narrow
    assert "1.23 ms" not in very_narrow
    assert "800 MB/s" in very_narrow


def test_encoding_without_the_signs_gets_plain_ones():
    text = shown(OK, Row(server="s", address="é", state="failed", reason="ü"), encoding="ascii")
    assert text.isascii()
    assert "ok client.TCP" in text
    assert "!! \\xe9\n     \\xfc\n" in text


def test_colours_are_only_used_when_asked_for():
    assert "\x1b" not in shown(OK)
    assert "\x1b[32m✓\x1b[m" in shown(OK, colour=True)
    # Taking a line back is no colour.
    assert without_styles(shown(OK, live=True)) == shown(OK, live=True)
    assert without_styles(shown(OK, colour=True)) == shown(OK)


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=150)
rows = st.builds(
    Row,
    server=printable,
    address=printable.filter(str.strip),
    state=st.sampled_from(["ok", "failed", "missing"]),
    flow=printable,
    connect_seconds=st.floats(0, 999),
    sent=st.integers(0, 500_000_000),
    transfer_seconds=st.floats(0.01, 999),
    reason=printable,
)


@settings(deadline=None)
@given(st.lists(rows, max_size=4), st.integers(20, 200), st.sampled_from(["utf-8", "ascii"]))
def test_nothing_is_wider_than_the_terminal(rows, width, encoding):
    text = shown(*rows, width=width, encoding=encoding)
    assert max(map(len, text.splitlines())) <= width


def test_json_is_an_object_a_line():
    stream = io.StringIO()
    report = JSONLines(stream)
    report.begin(VERSIONS, 8_000_000)
    report.serving("server.TCP(0)", "endp.TCP('::', 1)")
    report.trying("x")
    report.add(OK)
    report.add(Row(server="s", address="a", state="failed", reason="it burns\nbrightly"))
    report.end(1.0)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first == {
        "server": "server.TCP(0)",
        "address": "client.TCP('127.0.0.1', 54321)",
        "state": "ok",
        "flow": "flow.TCP(15, '127.0.0.1', 54321)",
        "connect_seconds": 0.00123,
        "sent": 16_000_000,
        "transfer_seconds": 0.02,
        "tls": None,
        "handshake_seconds": None,
        "reason": None,
        "versions": VERSIONS,
    }
    assert (second["state"], second["reason"]) == ("failed", "it burns\nbrightly")
