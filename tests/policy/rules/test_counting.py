"""The ends of the minutes and days in which policy counts."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.rules.counting import day_end, minute_end

_ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"])
_TIMES = st.floats(0, 4_000_000_000)


@given(_TIMES)
def test_a_minute_ends_when_the_next_minute_of_the_clock_begins(now: float) -> None:
    end = minute_end(now)
    assert end % 60 == 0
    assert 0 < end - now <= 60


@given(_TIMES, _ZONES)
def test_a_day_ends_at_the_next_midnight(now: float, zone: str) -> None:
    timezone = ZoneInfo(zone)
    end = day_end(now, timezone)
    assert now < end <= now + 26 * 3600
    today = datetime.fromtimestamp(now, timezone).date()
    assert datetime.fromtimestamp(end - 1, timezone).date() == today
    assert datetime.fromtimestamp(end, timezone).date() > today


@pytest.mark.parametrize(
    ("zone", "moment", "hours"),
    [("Europe/Berlin", "2026-03-29T00:00:00", 23), ("Europe/Berlin", "2026-10-25T00:00:00", 25)],
)
def test_days_on_which_clocks_change_end_at_midnight(zone: str, moment: str, hours: int) -> None:
    timezone = ZoneInfo(zone)
    start = datetime.fromisoformat(moment).replace(tzinfo=timezone).timestamp()
    assert day_end(start, timezone) == start + hours * 3600
