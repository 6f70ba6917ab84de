"""Decisions of recent sessions, for Explain: bounded, in memory, without credentials or content."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from services.policy.rules.model import Facts, Snapshot, Verdict

_DECISIONS_PER_SESSION = 50


@dataclass(frozen=True, slots=True)
class PastDecision:
    facts: Facts
    verdict: Verdict
    snapshot: Snapshot


class History:
    """The last decisions of the last `sessions` sessions."""

    def __init__(self, sessions: int) -> None:
        self._limit = sessions
        self._kept: OrderedDict[str, list[PastDecision]] = OrderedDict()

    def add(self, facts: Facts, verdict: Verdict, snapshot: Snapshot) -> None:
        if self._limit == 0:
            return
        past = self._kept.get(facts.session_id)
        if past is None:
            past = self._kept[facts.session_id] = []
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        elif len(past) >= _DECISIONS_PER_SESSION:
            # The connection's own decisions at the front stay.
            del past[_DECISIONS_PER_SESSION // 2]
        past.append(PastDecision(facts, verdict, snapshot))

    def of_session(self, session_id: str) -> tuple[PastDecision, ...]:
        """Oldest first; empty when nothing is kept."""
        return tuple(self._kept.get(session_id, ()))
