"""When a delivery is tried again, when its sender hears of the delay, and when it is given up. Pure.

Times are microseconds since 1970; durations in the settings are seconds.
"""

from __future__ import annotations

from services.relay.configuration.model import QueueSettings

MICROSECONDS = 1_000_000
# A retry is put off by up to this part of its delay, so that mail deferred together does not come back together.
_JITTER = 0.1
# So many numbers of attempts have a bound of their own when due times are checked. For more, the longest delay is the
# bound.
_DISTINCT_DELAYS = 40
# The sweep leaves a delivery that is due at its very end to its last attempt.
_SWEEP_GRACE = 60 * MICROSECONDS
# After so many deferrals in a row that were no fault of the message or its destination (Outcome.counts), a delivery
# waits as after any other.
UNCOUNTED_LIMIT = 3


def retry_delay(settings: QueueSettings, attempts: int, jitter: float) -> float:
    """Seconds from a failed attempt to the next. `attempts` have failed so far; `jitter` in [0, 1) spreads.

    The delay grows from `first_retry` by `retry_growth` up to `max_retry`. Jitter never leads outside of these bounds.
    """
    try:
        delay = settings.first_retry * settings.retry_growth ** max(attempts - 1, 0)
    except OverflowError:
        delay = settings.max_retry
    if delay * (1 + _JITTER) >= settings.max_retry:
        return max(settings.max_retry * (1 - _JITTER * jitter), min(settings.first_retry, settings.max_retry))
    return delay * (1 + _JITTER * jitter)


def longest_delays(settings: QueueSettings) -> list[float]:
    """The most that `retry_delay` gives after each number of failed attempts, from one on; the last for any more."""
    delays: list[float] = []
    for attempts in range(1, _DISTINCT_DELAYS + 1):
        delays.append(max(retry_delay(settings, attempts, 0.0), retry_delay(settings, attempts, 1.0)))
        if delays[-1] >= settings.max_retry:
            return delays
    return [*delays, settings.max_retry]


def next_attempt(settings: QueueSettings, attempts: int, now: int, expires_at: int, jitter: float) -> int:
    """When to try again: never after the expiry, so that the last attempt comes at the very end."""
    due = now + int(retry_delay(settings, attempts, jitter) * MICROSECONDS)
    return min(due, max(expires_at, now))


def expiry(settings: QueueSettings, stored_at: int, *, null_sender: bool) -> int:
    """When a message is given up."""
    seconds = settings.bounce_expire_after if null_sender else settings.expire_after
    return stored_at + int(seconds * MICROSECONDS)


def delay_notice(settings: QueueSettings, stored_at: int, *, null_sender: bool) -> int | None:
    """When the sender is told of a delay; None: never."""
    if null_sender or settings.delay_notice_after <= 0:
        return None
    return stored_at + int(settings.delay_notice_after * MICROSECONDS)


def sweep(settings: QueueSettings, stored_at: int, *, null_sender: bool, delay_noticed: bool) -> int:
    """When time alone makes something due: the notice of delay, or the expiry."""
    ends = expiry(settings, stored_at, null_sender=null_sender) + _SWEEP_GRACE
    notice = None if delay_noticed else delay_notice(settings, stored_at, null_sender=null_sender)
    return ends if notice is None else min(ends, notice + _SWEEP_GRACE)
