"""Shows the containers' logs with each failure, and removes what an earlier run that was killed has left."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.containers.podman import log, own_containers, remove_leftovers


@pytest.fixture(scope="session", autouse=True)
def _leftovers_are_removed() -> None:
    remove_leftovers()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Every wait of these tests ends with a failure, and what was waited for is explained by a log."""
    report = yield
    if report.failed:
        report.sections.append(("containers", "\n".join(map(log, own_containers()))))
    return report
