"""Decisions of recent sessions, for Explain: bounded, in memory, without credentials or content.

A request is kept as its bytes: one object where its facts are a dozen, which every decision would push out of the
processor's cache. The facts are read from them again when somebody asks.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from libs.smtp.value import value
from services.policy.rules.lookup import Findings
from services.policy.rules.model import Counts, Facts, Snapshot, Verdict

_DECISIONS_PER_SESSION = 50
# A snapshot may be large: decisions under older ones are explained by the oldest that is kept.
_SNAPSHOTS = 3


@value(frozen=True, slots=True)
class PastDecision:
    facts: Facts
    verdict: Verdict
    snapshot: Snapshot


@value(frozen=True, slots=True)
class PastRequest:
    """What was decided on, when, and how."""

    kept: bytes
    now: float
    counts: Counts
    findings: Findings
    verdict: Verdict
    snapshot: Snapshot


class History:
    """The last decisions of the last `sessions` sessions."""

    def __init__(self, sessions: int) -> None:
        self.on = sessions > 0
        self._limit = sessions
        # Of each session its decisions one after the other, each as many objects as `_WIDTH`.
        self._kept: OrderedDict[str, list[Any]] = OrderedDict()
        self._snapshots: deque[Snapshot] = deque(maxlen=_SNAPSHOTS)

    def add(self, kept: bytes, facts: Facts, verdict: Verdict, snapshot: Snapshot) -> None:
        """`kept`: the request's bytes."""
        past = self._kept.get(facts.session_id)
        if past is None:
            past = self._kept[facts.session_id] = []
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        elif len(past) >= _DECISIONS_PER_SESSION * _WIDTH:
            # The connection's own decisions at the front stay.
            middle = _DECISIONS_PER_SESSION // 2 * _WIDTH
            del past[middle : middle + _WIDTH]
        past += (kept, facts.now, facts.counts, facts.findings or None, verdict, snapshot.revision)
        if not self._snapshots or self._snapshots[-1] is not snapshot:
            self._remember(snapshot)

    def of_session(self, session_id: str) -> tuple[PastRequest, ...]:
        """Oldest first; empty when nothing is kept."""
        by_revision = {snapshot.revision: snapshot for snapshot in self._snapshots}
        past = self._kept.get(session_id, [])
        found = []
        for start in range(0, len(past), _WIDTH):
            kept, now, counts, findings, verdict, revision = past[start : start + _WIDTH]
            snapshot = by_revision.get(revision, self._snapshots[0])
            found.append(PastRequest(kept, now, counts, findings or Findings(), verdict, snapshot))
        return tuple(found)

    def _remember(self, snapshot: Snapshot) -> None:
        """A decision may end under the snapshot before the newest."""
        if all(known is not snapshot for known in self._snapshots):
            self._snapshots.append(snapshot)


_WIDTH = 6
