"""A pytest plugin for domain 0: what becomes of each test is written to a line, as JSON."""

from __future__ import annotations

import json
import os
from typing import Any, TextIO

import pytest


class Reporter:
    """Writes reports. to: where; flushed with each line."""

    def __init__(self, config: pytest.Config, to: TextIO) -> None:
        self._config = config
        self._to = to

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._tell(report=data)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._tell(trouble=str(report.longrepr))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._tell(finished=int(exitstatus))

    def _tell(self, **what: Any) -> None:
        self._to.write(json.dumps(what) + "\n")
        self._to.flush()


def pytest_configure(config: pytest.Config) -> None:
    place = os.environ["CONDUIT_REPORTS"]
    to = open(place, "w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
    config.pluginmanager.register(Reporter(config, to))
