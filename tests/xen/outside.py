"""A pytest plugin: the tests that are collected here run in domain 0 of a real Xen, in QEMU.

    python -m pytest -p tests.xen.outside tests/transports/vchan

Each is reported as it would be here, as soon as it is done there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from . import image, machine
from .packages import packages

CACHE = image.ROOT / ".cache" / "xen"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--xen-cache", type=Path, default=CACHE, help="where packages and images are kept"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    if session.testsfailed or session.config.option.collectonly or not session.items:
        return False
    cache: Path = session.config.getoption("--xen-cache")
    cache.mkdir(parents=True, exist_ok=True)
    unpacked = packages(cache)
    items = {item.nodeid: item for item in session.items}
    image.build(cache, unpacked, chosen=list(items))
    missing = dict(items)
    trouble = ""
    with machine.running(cache, unpacked) as lines:
        for line in lines:
            told = _read(line)
            if "report" in told:
                _report(session, told["report"], items, missing)
            elif "trouble" in told:
                trouble += told["trouble"]
            elif "finished" in told:
                break
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
    for item in missing.values():
        _report_missing(session, item, trouble or "the machine ended before")
    if missing and not trouble:
        _show_console(session, cache)
    return True


def _read(line: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _report(
    session: pytest.Session,
    data: dict[str, Any],
    items: dict[str, pytest.Item],
    missing: dict[str, pytest.Item],
) -> None:
    hook = session.config.hook
    report = hook.pytest_report_from_serializable(config=session.config, data=data)
    item = items.get(report.nodeid)
    if item is None:
        return
    if isinstance(report.longrepr, list):
        # Where a test was skipped, and why; JSON has no tuples.
        report.longrepr = tuple(report.longrepr)
    if report.when == "setup":
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    hook.pytest_runtest_logreport(report=report)
    if report.when == "teardown":
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        missing.pop(item.nodeid, None)


def _show_console(session: pytest.Session, cache: Path) -> None:
    log = cache / "console.log"
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    last = [line for line in lines if not line.startswith("(XEN)")][-20:]
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"\nThe last lines of {log}:")
        for line in last:
            reporter.write_line(f"  {line}")


def _report_missing(session: pytest.Session, item: pytest.Item, why: str) -> None:
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", f"not done: {why}", "call")
    session.config.hook.pytest_runtest_logreport(report=report)
