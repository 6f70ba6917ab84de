"""The counts of `/v1/statistics` over a period, with the buckets that the API leaves out. This module is pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.console.graphs import Bar


@dataclass(frozen=True, slots=True)
class Period:
    """The length of the period. `bucket` is the API's name for the width of a bar, and `label` the format in which the
    time of a bar is shown.
    """

    name: str
    bucket: str
    width: timedelta
    count: int
    label: str

    def starts(self, now: datetime) -> list[datetime]:
        """Returns the start of each bar, oldest first. The last one contains `now` (UTC)."""
        seconds = self.width.total_seconds()
        last = datetime.fromtimestamp(now.timestamp() // seconds * seconds, now.tzinfo)
        return [last - self.width * number for number in reversed(range(self.count))]


PERIODS = {
    period.name: period
    for period in (
        Period("hour", "five_minutes", timedelta(minutes=5), 12, "%H:%M"),
        Period("day", "hour", timedelta(hours=1), 24, "%H:%M"),
        Period("week", "day", timedelta(days=1), 7, "%Y-%m-%d"),
    )
}


class PeriodCounts:
    """The buckets of a period."""

    def __init__(self, period: Period, starts: Sequence[datetime], buckets: Sequence[Mapping[str, Any]]) -> None:
        self._period = period
        self._starts = starts
        self._buckets = {datetime.fromisoformat(bucket["starts_at"]): bucket for bucket in buckets}

    def bars(self, value: Callable[[Mapping[str, Any]], int]) -> list[Bar]:
        """Returns a bar for each bucket, including those in which nothing happened."""
        return [
            Bar(f"{start:{self._period.label}}", value(self._buckets[start]) if start in self._buckets else 0)
            for start in self._starts
        ]

    def refused(self) -> list[tuple[str, int]]:
        """Returns the refusals by reason, the most frequent one first."""
        counts: Counter[str] = Counter()
        for bucket in self._buckets.values():
            for refusal in bucket["refused"]:
                counts[refusal["reason_id"]] += refusal["count"]
        return counts.most_common()

    def shadow(self) -> list[tuple[str, str | None, int]]:
        """Returns the refusals that rules in shadow mode would have made: reason, id of the access rule, count."""
        counts: Counter[tuple[str, str | None]] = Counter()
        for bucket in self._buckets.values():
            for outcome in bucket["shadow"]:
                counts[outcome["reason_id"], outcome["rule_id"]] += outcome["count"]
        return [(reason, rule, count) for (reason, rule), count in counts.most_common()]

    def total(self, name: str) -> int:
        """Returns the sum of one count over all buckets: `accepted`, `delivered`, `deferred` or `bounced`."""
        return sum(bucket[name] for bucket in self._buckets.values())


def refused_in(bucket: Mapping[str, Any]) -> int:
    """Returns the number of all refusals in a bucket."""
    return sum(refusal["count"] for refusal in bucket["refused"])
