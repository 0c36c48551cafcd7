"""The log of steps."""

import logging

import pytest

from conduit import endp, events, flow
from conduit._debug import _log_event, step


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG, "conduit")
    return caplog


SHOWN = [
    ({"to": endp.TCP("::1", 80)}, "x to=tcp://[::1]:80"),
    ({"to": [endp.TCP("::1", 80), endp.UnixDomainSocket("/x")]}, "x to=tcp://[::1]:80,unix:/x"),
    ({"seconds": 0.123456789}, "x seconds=0.123457"),
    ({"tls": True, "port": 0}, "x tls=yes port=0"),
    ({"reason": "no such host"}, "x reason='no such host'"),
    ({"reason": "a\nforged=line"}, r"x reason='a\nforged=line'"),
    ({"reason": 'with "quotes"'}, "x reason='with \"quotes\"'"),
    ({"why": None, "names": [], "text": ""}, "x"),
    ({"error": ConnectionRefusedError(111, "refused")}, "x error='[Errno 111] refused'"),
]


@pytest.mark.parametrize(("facts", "line"), SHOWN)
def test_line(log, facts, line):
    step("x", **facts)
    [record] = log.records
    assert record.getMessage() == line
    assert record.levelno == logging.DEBUG
    assert (record.step, record.facts) == ("x", facts)


def test_nothing_is_written_when_nobody_listens(caplog):
    class Unprintable:
        def __str__(self):
            raise AssertionError("it was printed")

    caplog.set_level(logging.INFO, "conduit")
    step("x", value=Unprintable())
    assert not caplog.records


def test_event_is_a_step_of_its_name(log):
    _log_event(events.Attempt(endp.TCP("::1", 80)))
    _log_event(events.Closed(flow.Vsock(2, 80), "closed", 1, 2, 0, 0.5))
    assert [record.getMessage() for record in log.records] == [
        "Attempt address=tcp://[::1]:80",
        "Closed flow='flow.Vsock(2, 80)' reason=closed received=1 sent=2 unsent=0 seconds=0.5",
    ]
