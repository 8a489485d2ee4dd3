"""A gate that lets nothing be skipped in silence: where `CI` is set, a skip that is not expected fails the run.

A missing program or package would otherwise look like passing.
"""

import os
from collections.abc import Mapping

import pytest

# Skips that say "this can't be asked here", by the reason they give.
EXPECTED = frozenset({"SQLite has no schemas", "only root can build an image here"})


class SkipGate:
    """Collects unexpected skips of tests and of whole modules, and turns them into a failed session."""

    def __init__(self, environment: Mapping[str, str] = os.environ, expected: frozenset[str] = EXPECTED) -> None:
        self._is_closed = environment.get("CI", "").lower() in ("true", "1")
        self._expected = expected
        self._unexpected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._unexpected and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._unexpected:
            terminalreporter.section("skipped without being expected", red=True)
            for one in self._unexpected:
                terminalreporter.line(one)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not self._is_closed or not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if reason.removeprefix("Skipped: ") not in self._expected:
            self._unexpected.append(f"{report.nodeid}: {reason}")
