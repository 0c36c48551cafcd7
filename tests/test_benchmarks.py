"""The benchmarks: the arithmetic of their figures, who is compared, and how TLS is used."""

import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import certificates, other_processes, report, rows
from benchmarks.peers import tls_contexts
from benchmarks.peers.interface import TLS_KINDS, Kind, WrongHandshake
from benchmarks.ratios import (
    below_recorded,
    far_above_the_rest,
    operations_for,
    quantile,
    ratios,
    spread,
    turns,
)
from benchmarks.report import LABEL_WIDTH
from benchmarks.variants import Variant
from benchmarks.worker_process import WorkerProcess

numbers = st.floats(min_value=0.001, max_value=1e6)


def test_quantile_interpolates_between_neighbours():
    assert quantile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.5
    assert quantile([1.0, 2.0], 0.25) == 1.25
    assert quantile([7.0], 0.9) == 7.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.5), ([1.0], -0.1)])
def test_quantile_of_nothing_or_beyond_the_ends_is_refused(values, share):
    with pytest.raises(ValueError, match=r"no values|a share"):
        quantile(values, share)


@given(st.lists(numbers, min_size=1))
def test_the_spread_lies_in_order_within_the_values(values):
    found = spread(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)


def test_ratios_are_taken_round_by_round():
    # The second round was twice as slow for both; the ratio does not see it.
    assert ratios([10.0, 5.0], [20.0, 10.0]) == [0.5, 0.5]
    with pytest.raises(ValueError, match="2 rounds cannot be compared with 1"):
        ratios([1.0, 2.0], [1.0])


def test_turns_go_there_and_back():
    assert list(turns("ABC", 3)) == [list("ABC"), list("CBA"), list("ABC")]


@given(st.integers(1, 10_000), st.floats(0.0001, 10), st.integers(1, 200))
def test_operations_are_a_positive_multiple_near_the_target(operations, seconds, multiple):
    found = operations_for(0.05, operations, seconds, multiple)
    assert found >= multiple
    assert found % multiple == 0
    assert abs(found - operations * 0.05 / seconds) <= multiple


def test_who_waits_stands_out_of_the_rest():
    assert far_above_the_rest({"a": 1.0, "b": 1.1, "c": 2.5}, 2) == ["c"]
    assert far_above_the_rest({}, 2) == []


def test_a_fall_below_the_recorded_share_is_named():
    recorded = {"rate": 1.0, "memory": 1.0, "gone": 1.0}
    lower_is_better = {"rate": False, "memory": True, "new": False}
    fine = {"rate": 0.71, "memory": 1.42, "new": 0.1}
    assert below_recorded(fine, recorded, lower_is_better, 0.7) == []
    bad = {"rate": 0.69, "memory": 1.44}
    assert below_recorded(bad, recorded, lower_is_better, 0.7) == ["memory", "rate"]


# Rows ---------------------------------------------------------------------------------------------

every_row: list[rows.RateRow | rows.MemoryRow] = [*rows.RATE_ROWS, *rows.MEMORY_ROWS]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (None, set(rows.ALL_NAMES)),
        ("tls-in", {"bulk/tls-in-tls"}),
        ("ping-pong/t*,import", {"ping-pong/tcp", "ping-pong/tls", "import"}),
        ("nothing,", set()),
    ],
)
def test_rows_are_chosen_by_parts_of_their_names_and_by_patterns(pattern, expected):
    assert {name for name in rows.ALL_NAMES if rows.chosen(pattern, name)} == expected


def test_the_names_of_rows_are_unique_and_their_titles_fit_the_table():
    assert len(set(rows.ALL_NAMES)) == len(rows.ALL_NAMES)
    assert all(len(row.title) <= LABEL_WIDTH for row in every_row)


@pytest.mark.parametrize("row", every_row, ids=lambda row: row.name)
def test_every_row_is_compared_with_streams_on_both_loops(row):
    panels = rows.rate_panels if isinstance(row, rows.RateRow) else rows.memory_panels
    compared = {
        (comparison.ours, comparison.theirs)
        for panel in rows.panels_for(panels("conduit"), row.kind)
        for comparison in panel.comparisons
    }
    for loop in ("uvloop", "asyncio"):
        assert (Variant.both("conduit", loop), Variant.both("streams", loop)) in compared


def test_who_cannot_do_tls_is_not_asked_to():
    for kind in TLS_KINDS:
        panels = [*rows.rate_panels("conduit"), *rows.memory_panels("conduit")]
        variants = rows.variants_of(rows.panels_for(panels, kind))
        peers = {peer for variant in variants for peer in (variant.server, variant.client)}
        assert peers.isdisjoint({"protocol", "accept-loop"})
        assert ("system-calls" in peers) == (kind != "tls-in-tls")


# TLS ----------------------------------------------------------------------------------------------


def _connection(clients: tls_contexts.Clients, directory: str) -> ssl.SSLObject:
    """The client's end of a connection over which the server has spoken."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = clients.context.wrap_bio(to_client, to_server, server_hostname=tls_contexts.NAME)
    context = tls_contexts.server_context(directory)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(2):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    server.write(b"hello")
    assert client.read(5) == b"hello"
    return client


def test_clients_take_up_the_last_session_where_the_row_asks_for_it(tmp_path):
    certificates.make(tmp_path)
    directory = str(tmp_path)
    expectations: dict[Kind, list[bool]] = {
        "tls": [False, False, False],
        "tls-resumed": [False, True, True],
    }
    for kind, expected in expectations.items():
        clients = tls_contexts.Clients(kind, directory)
        found = []
        for _ in range(3):
            connection = _connection(clients, directory)
            clients.talked(connection)
            found.append(connection.session_reused)
        assert found == expected


def test_a_handshake_of_another_kind_is_a_failure(tmp_path):
    certificates.make(tmp_path)
    clients = tls_contexts.Clients("tls-resumed", str(tmp_path))
    clients.talked(_connection(clients, str(tmp_path)))
    # A server that does not know the session: a new context has another key for its tickets.
    tls_contexts.server_context.cache_clear()
    with pytest.raises(WrongHandshake, match="not resumed"):
        clients.talked(_connection(clients, str(tmp_path)))
    with pytest.raises(WrongHandshake, match=r"TLSv1\.2"):
        tls_contexts.check("TLSv1.2", False, False)
    with pytest.raises(WrongHandshake, match="unasked"):
        tls_contexts.check("TLSv1.3", True, False)


@pytest.mark.parametrize(("server", "client"), [("conduit", "streams"), ("streams", "conduit")])
def test_conduit_and_streams_do_the_work_with_each_other(server, client, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(rows.__file__).parents[1])
    certificates.make(tmp_path)
    kinds: tuple[Kind, ...] = ("unix", *TLS_KINDS)
    with WorkerProcess(Variant(server, client, "asyncio"), None, tmp_path) as worker:
        for kind in kinds:
            worker.open(kind)
            for work, count in (("connect", 3), ("ping-pong", 10), ("bulk", 4)):
                done = worker.ask(do="round", work=work, count=count, size=65536, at_once=1)
                assert done["operations"] == count
                assert done["cpu"] > 0
            worker.ask(do="close")


# Growth, and other processes ----------------------------------------------------------------------


def test_growth_is_compared_with_two_peers_and_a_quick_run_has_some_of_it():
    [panel] = rows.growth_panels("conduit")
    assert [comparison.column for comparison in panel.comparisons] == ["streams", "protocol"]
    assert set(rows.BRIEF_GROWTH) < {row.name for row in rows.GROWTH_ROWS}
    assert all(len(row.title) <= LABEL_WIDTH for row in rows.GROWTH_ROWS)


@pytest.mark.parametrize("peer", ["conduit", "streams", "protocol"])
def test_held_connections_talk_round_after_round(peer, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(rows.__file__).parents[1])
    with WorkerProcess(Variant.both(peer, "uvloop"), None, tmp_path) as worker:
        worker.open("tcp")
        for size in (64, 300_000):
            done = worker.ask(do="round", work="crowd", count=12, size=size, at_once=4)
            assert done["operations"] == 12


@pytest.mark.parametrize("row", other_processes.NAMES)
def test_programs_are_measured_from_outside(row, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(rows.__file__).parents[1])
    monkeypatch.setattr(other_processes, "TRANSFER", 4 * other_processes.MEBIBYTE)
    monkeypatch.setattr(other_processes, "OPERATIONS", {"connect": 200, "ping-pong": 400})
    result = other_processes.measure(row, 2, tmp_path, None, print)
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in result.costs.values())
    found = report.Findings(costs=[result])
    assert {ratio.theirs for ratio in found.ratios()} == set(result.costs) - {result.ours}
    assert result.title in found.tables() or len(result.costs) == 1
