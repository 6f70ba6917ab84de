"""The values that relay's environment variables may have."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.relay.settings import Settings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (name, text)
        for name in ("LEASE_SECONDS", "STORE_SECONDS", "DRAIN_SECONDS", "MEMORY_MB", "DISK_RESERVE_MB")
        for text in ("-1", "inf", "nan", "1e30")
    ]
    + [("LEASE_SECONDS", "1e-7"), ("STORE_SECONDS", "1e-7"), ("MEMORY_MB", "1"), ("MX_PORT", "0")],
)
def test_invalid_numbers_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """With a very short lease every worker would count as dead, and with an endless lease no worker ever would."""
    monkeypatch.setenv(f"RELAY_{name}", text)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize(("name", "text"), [("lease_seconds", "1"), ("store_seconds", "0.1"), ("drain_seconds", "0")])
def test_the_shortest_times_are_accepted(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"RELAY_{name.upper()}", text)
    assert getattr(Settings(), name) == float(text)
