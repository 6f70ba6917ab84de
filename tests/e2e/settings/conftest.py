"""Fixtures that give all tests of settings one suite, and restore it after each test."""

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
    """Posthouse with its first settings. What the test changes is rolled back afterwards."""
    yield _gateway
    _gateway.restore()
