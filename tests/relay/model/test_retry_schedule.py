"""The retry schedule, the time of expiry, and the times of the notice of delay and of the sweep."""

from __future__ import annotations

import pytest

from services.relay.configuration.model import QueueSettings
from services.relay.model.retry_schedule import delay_notice, expiry, next_attempt, retry_delay, sweep

DEFAULT = QueueSettings()
SECOND = 1_000_000
HOUR = 3600 * SECOND


def test_the_default_schedule_has_the_documented_times() -> None:
    assert [retry_delay(DEFAULT, attempts, 0.0) for attempts in range(1, 12)] == [
        300.0,
        450.0,
        675.0,
        1012.5,
        1518.75,
        2278.125,
        3417.1875,
        5125.78125,
        7200.0,
        7200.0,
        7200.0,
    ]


def test_jitter_stays_within_the_bounds() -> None:
    assert [round(retry_delay(DEFAULT, attempts, 0.999999)) for attempts in (1, 2, 8, 9, 50)] == [
        330,
        495,
        5638,
        6480,
        6480,
    ]
    for attempts in range(1, 60):
        for jitter in (0.0, 0.25, 0.5, 0.999):
            assert 300.0 <= retry_delay(DEFAULT, attempts, jitter) <= 7200.0


def test_all_attempts_of_a_message_until_it_expires() -> None:
    settings = QueueSettings(first_retry=300, retry_growth=2, max_retry=3600, expire_after=4 * 3600)
    ends, now, times = expiry(settings, 0, null_sender=False), 0, []
    for attempts in range(1, 20):
        if now >= ends:
            break
        now = next_attempt(settings, attempts, now, ends, 0.0)
        times.append(now // SECOND)
    # The last attempt is at the very end of the lifetime, and not when the schedule would have its next attempt.
    assert times == [300, 900, 2100, 4500, 8100, 11700, 14400]


@pytest.mark.parametrize("attempts", [10_000, 10**9])
def test_any_number_of_attempts_has_a_delay(attempts: int) -> None:
    assert retry_delay(DEFAULT, attempts, 0.0) == 7200.0


def test_a_growth_factor_of_one_gives_a_constant_schedule() -> None:
    settings = QueueSettings(first_retry=60, retry_growth=1.0, max_retry=7200)
    assert {retry_delay(settings, attempts, 0.0) for attempts in range(1, 100)} == {60.0}


def test_a_first_retry_above_the_longest_is_shortened() -> None:
    settings = QueueSettings(first_retry=7200, max_retry=600)
    assert retry_delay(settings, 1, 0.0) == 600.0
    assert retry_delay(settings, 1, 0.999) == 600.0


def test_reports_expire_earlier_and_cause_no_notice_of_delay() -> None:
    assert expiry(DEFAULT, 0, null_sender=False) == 120 * HOUR
    assert expiry(DEFAULT, 0, null_sender=True) == 24 * HOUR
    assert delay_notice(DEFAULT, 0, null_sender=False) == 4 * HOUR
    assert delay_notice(DEFAULT, 0, null_sender=True) is None
    assert delay_notice(QueueSettings(delay_notice_after=0), 0, null_sender=False) is None


def test_the_sweep_waits_for_the_next_notice_or_expiry() -> None:
    minute = 60 * SECOND
    assert sweep(DEFAULT, 0, null_sender=False, delay_noticed=False) == 4 * HOUR + minute
    assert sweep(DEFAULT, 0, null_sender=False, delay_noticed=True) == 120 * HOUR + minute
    assert sweep(DEFAULT, 0, null_sender=True, delay_noticed=False) == 24 * HOUR + minute
    late_notice = QueueSettings(delay_notice_after=200 * 3600)
    assert sweep(late_notice, 0, null_sender=False, delay_noticed=False) == 120 * HOUR + minute


def test_a_retry_after_the_expiry_is_due_at_once() -> None:
    assert next_attempt(DEFAULT, 1, 130 * HOUR, 120 * HOUR, 0.5) == 130 * HOUR
