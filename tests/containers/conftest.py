"""Shows the containers' logs with each failure, and removes what an earlier run left behind when it was killed."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.containers.podman import log, own_containers, remove_leftovers


@pytest.fixture(scope="session", autouse=True)
def _leftovers_are_removed() -> None:
    remove_leftovers()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the logs of the containers to the report of a failed test, because most failures are time-outs, whose reason
    is in a log.
    """
    report = yield
    if report.failed:
        report.sections.append(("containers", "\n".join(map(log, own_containers()))))
    return report
