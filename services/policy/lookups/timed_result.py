"""The outcome of a look-up that needs several DNS questions, with its lifetime."""

from __future__ import annotations

from collections.abc import Iterable

from libs.smtp.value import fast_value
from services.policy.lookups.resolver import Answer
from services.policy.rules.lookup import LookupResult


@fast_value(frozen=True, slots=True)
class TimedResult:
    """A look-up result, and the time by the monotonic clock until which it is valid."""

    lookup_result: LookupResult
    expires_at: float


def earliest(answers: Iterable[Answer]) -> float:
    """Returns the earliest time at which one of the answers expires."""
    return min(answer.expires_at for answer in answers)
