"""The hits of access rules since the last report."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

# The largest number of rules with hits that wait for config_api. Further rules are not counted.
MAX_RULES = 200_000
# The largest number of sessions whose present message is remembered. A rule may be counted twice for a message of a
# forgotten session.
MAX_SESSIONS = 10_000


class HitCounts:
    """Counts hits by rule, once for each message, until they are taken for a report."""

    def __init__(self) -> None:
        # For each rule id: (number of hits, time of the last hit in seconds since the epoch).
        self._hits: dict[str, tuple[int, float]] = {}
        # For each session, the rules that were counted for its present message.
        self._counted: OrderedDict[str, set[str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hits)

    def add(self, session_id: str, rule_ids: Iterable[str], now: float, *, recipients_asked: int) -> None:
        """Counts each rule once for each message. `recipients_asked` is the number of earlier recipients of the
        message. If it is 0, a new message begins.
        """
        counted = self._counted.get(session_id)
        if counted is None or recipients_asked == 0:
            counted = self._counted[session_id] = set()
            self._counted.move_to_end(session_id)
            if len(self._counted) > MAX_SESSIONS:
                self._counted.popitem(last=False)
        for rule_id in rule_ids:
            if rule_id in counted:
                continue
            counted.add(rule_id)
            count, _ = self._hits.get(rule_id, (0, 0.0))
            if count or len(self._hits) < MAX_RULES:
                self._hits[rule_id] = (count + 1, now)

    def take(self) -> dict[str, tuple[int, float]]:
        """Returns the counts, and sets them to zero."""
        hits, self._hits = self._hits, {}
        return hits
