"""For every test: in CI nothing skips, but for want of hardware or of material that is not in the repository."""

from __future__ import annotations

import os
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("recipe", deadline=None)  # no test asserts on wall time
hypothesis.settings.load_profile("recipe")

# ASR_CI_LACKS: what .ci/run could not install, one reason a line; it says so aloud.
LACKING = tuple(filter(None, os.environ.get("ASR_CI_LACKS", "").splitlines()))
MAY_SKIP_IN_CI = ("needs a GPU", "needs ../shared", *LACKING)


def forbid_skip(report: Any) -> Any:
    """Turn a skipped report into a failed one where CI is set and its reason is not one of those that may be."""
    if not os.environ.get("CI") or not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(MAY_SKIP_IN_CI):
        report.outcome = "failed"
        report.longrepr = f"in CI nothing skips: {reason}"
    return report


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """A test that skips itself, or whose mark does."""
    outcome = yield
    forbid_skip(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report():
    """A whole file that skips itself (importorskip)."""
    outcome = yield
    forbid_skip(outcome.get_result())
