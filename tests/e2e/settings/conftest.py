"""One suite for all tests of settings, put back after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.settings.gateway import Gateway


@pytest.fixture(scope="package")
def _gateway() -> Iterator[Gateway]:
    with Gateway() as running:
        yield running


@pytest.fixture
def gateway(_gateway: Gateway) -> Iterator[Gateway]:
    """Posthouse with its settings of the beginning; what the test changes is rolled back."""
    yield _gateway
    _gateway.restore()
