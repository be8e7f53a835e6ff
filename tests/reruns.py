"""Failed tests with labs are run once more, alone. If they pass then, the closing lines list them as flaky.

Many labs on a busy machine sometimes make a test miss a deadline. Such a test must not fail the run, but it must not be hidden
either. `--rerun-labs` (used by scripts/test) enables this. Other tests are never run twice.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

LABS = "tests/e2e/"
_MOST = 8  # load does not explain more failures than this
_FAILED = ("failed", "error")
_DEADLINE = 2100  # seconds for all that is run again


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rerun-labs", action="store_true", help="run tests with labs that failed once more, alone")


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Rerun failed tests after all tests, in this process, when all workers and their labs are gone."""
    result = yield
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if config.getoption("--rerun-labs") and not hasattr(config, "workerinput") and reporter:
        session.testsfailed -= _rerun(reporter)
    return result


def _rerun(reporter: TerminalReporter) -> int:
    """Rerun the failed tests with labs. Returns the number of failures that no longer count."""
    nodeids = (report.nodeid for kind in _FAILED for report in reporter.stats.get(kind, []))
    failed = list(dict.fromkeys(nodeid for nodeid in nodeids if nodeid.startswith(LABS)))
    if len(failed) > _MOST:
        reporter.write_line(
            f"\n{len(failed)} tests with labs failed: none is run again, because load does not explain so many"
        )
        return 0
    until = time.monotonic() + _DEADLINE
    passed = [nodeid for nodeid in failed if _passes_alone(reporter, nodeid, until)]
    return sum(_taken_back(reporter, nodeid) for nodeid in passed)


def _passes_alone(reporter: TerminalReporter, nodeid: str, until: float) -> bool:
    reporter.write_line(f"\nrunning again, alone: {nodeid}")
    argv = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", nodeid]
    try:
        ended = subprocess.run(
            argv,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=max(until - time.monotonic(), 0.1),
        )
    except subprocess.TimeoutExpired:
        reporter.write_line(f"what is run again did not end within {_DEADLINE} s")
        return False
    reporter.write_line("passed" if ended.returncode == 0 else ended.stdout)
    return ended.returncode == 0


def _taken_back(reporter: TerminalReporter, nodeid: str) -> int:
    """Count the test as flaky. Returns its number of failures: setup, call and teardown may each have failed."""
    reports = []
    for kind in _FAILED:
        kept = [report for report in reporter.stats.pop(kind, []) if report.nodeid != nodeid or reports.append(report)]
        if kept:
            reporter.stats[kind] = kept
    reporter.stats.setdefault("flaky", []).append(reports[0])
    return len(reports)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: TerminalReporter) -> Iterator[None]:
    """Print the full first failure of each flaky test, and the list of flaky tests as the last section."""
    flaky = terminalreporter.stats.get("flaky", [])
    for report in flaky:
        terminalreporter.section(f"first failure of {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
    result = yield
    if flaky:
        terminalreporter.section("flaky: failed with other tests running, passed alone")
    for report in flaky:
        terminalreporter.write_line(f"FLAKY {report.nodeid} - {_error(report)}")
    return result


def _error(report: pytest.TestReport) -> str:
    """The exception in one line, as in pytest's own summary."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message.splitlines()[0] if crash else report.longreprtext.rstrip().rpartition("\n")[2]
