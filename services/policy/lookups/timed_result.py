"""The outcome of a look-up that takes several questions to the DNS, and how long it holds."""

from __future__ import annotations

from collections.abc import Iterable

from libs.smtp.value import fast_value
from services.policy.lookups.resolver import Answer
from services.policy.rules.lookup import LookupResult


@fast_value(frozen=True, slots=True)
class TimedResult:
    """A lookup_result, and until when it holds by the monotonic clock."""

    lookup_result: LookupResult
    expires_at: float


def earliest(answers: Iterable[Answer]) -> float:
    """When the first of these no longer holds."""
    return min(answer.expires_at for answer in answers)
