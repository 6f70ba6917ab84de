"""Computes when a delivery is tried again, when its sender gets a notice of delay, and when it expires. This module is
pure.

Times are microseconds since 1970; durations in the settings are seconds.
"""

from __future__ import annotations

from services.relay.configuration.model import QueueSettings

MICROSECONDS = 1_000_000
# A retry is delayed by up to this part of its delay, so that mail that was deferred together is not tried again at the
# same moment.
_JITTER = 0.1
# The check of due times has a limit for each number of attempts up to this. For more attempts, the longest delay is the
# limit.
_DISTINCT_DELAYS = 40
# A delivery that is due just before it expires gets this time for its last attempt, before the sweep ends it.
_SWEEP_GRACE = 60 * MICROSECONDS
# After this number of deferrals in a row that did not count (Outcome.counts), a delivery waits as long as after any
# other deferral.
UNCOUNTED_LIMIT = 3


def retry_delay(settings: QueueSettings, attempts: int, jitter: float) -> float:
    """Returns the seconds from a failed attempt to the next one. `attempts` is the number of failed attempts. `jitter`
    is a random number in [0, 1), which spreads the retries.

    The delay grows from `first_retry` by `retry_growth` up to `max_retry`. The delay with jitter stays within these
    bounds.
    """
    try:
        delay = settings.first_retry * settings.retry_growth ** max(attempts - 1, 0)
    except OverflowError:
        delay = settings.max_retry
    if delay * (1 + _JITTER) >= settings.max_retry:
        return max(settings.max_retry * (1 - _JITTER * jitter), min(settings.first_retry, settings.max_retry))
    return delay * (1 + _JITTER * jitter)


def longest_delays(settings: QueueSettings) -> list[float]:
    """Returns the longest `retry_delay` after each number of failed attempts, from one on. The last entry is for all
    higher numbers.
    """
    delays: list[float] = []
    for attempts in range(1, _DISTINCT_DELAYS + 1):
        delays.append(max(retry_delay(settings, attempts, 0.0), retry_delay(settings, attempts, 1.0)))
        if delays[-1] >= settings.max_retry:
            return delays
    return [*delays, settings.max_retry]


def next_attempt(settings: QueueSettings, attempts: int, now: int, expires_at: int, jitter: float) -> int:
    """Returns the time of the next attempt. It is never after the expiry, so that the last attempt is made just before
    the expiry.
    """
    due = now + int(retry_delay(settings, attempts, jitter) * MICROSECONDS)
    return min(due, max(expires_at, now))


def expiry(settings: QueueSettings, stored_at: int, *, null_sender: bool) -> int:
    """Returns the time at which a message expires."""
    seconds = settings.bounce_expire_after if null_sender else settings.expire_after
    return stored_at + int(seconds * MICROSECONDS)


def delay_notice(settings: QueueSettings, stored_at: int, *, null_sender: bool) -> int | None:
    """Returns the time at which the sender is told of a delay. None means never."""
    if null_sender or settings.delay_notice_after <= 0:
        return None
    return stored_at + int(settings.delay_notice_after * MICROSECONDS)


def sweep(settings: QueueSettings, stored_at: int, *, null_sender: bool, delay_noticed: bool) -> int:
    """Returns the time of the next work that time alone makes due: the notice of delay, or the expiry."""
    ends = expiry(settings, stored_at, null_sender=null_sender) + _SWEEP_GRACE
    notice = None if delay_noticed else delay_notice(settings, stored_at, null_sender=null_sender)
    return ends if notice is None else min(ends, notice + _SWEEP_GRACE)
