"""Hits of access rules since they were last reported."""

from __future__ import annotations

from collections.abc import Iterable

# Rules with hits that wait for config_api to come back; more are not counted.
MAX_RULES = 200_000


class HitCounts:
    """Added up by rule, until somebody takes them away."""

    def __init__(self) -> None:
        # Rule id to (hits, time of the last one, seconds since the epoch).
        self._hits: dict[str, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._hits)

    def add(self, rule_ids: Iterable[str], now: float) -> None:
        for rule_id in rule_ids:
            count, _ = self._hits.get(rule_id, (0, 0.0))
            if count or len(self._hits) < MAX_RULES:
                self._hits[rule_id] = (count + 1, now)

    def take(self) -> dict[str, tuple[int, float]]:
        """What gathered; counting begins anew."""
        taken, self._hits = self._hits, {}
        return taken
