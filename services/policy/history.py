"""Decisions of recent sessions, for Explain: bounded, in memory, without credentials or content."""

from __future__ import annotations

from collections import OrderedDict, deque

from libs.smtp.value import value
from services.policy.rules.model import Facts, Snapshot, Verdict

_DECISIONS_PER_SESSION = 50
# A snapshot may be large: decisions under older ones are explained by the oldest that is kept.
_SNAPSHOTS = 3


@value(frozen=True, slots=True)
class PastDecision:
    facts: Facts
    verdict: Verdict
    snapshot: Snapshot


class History:
    """The last decisions of the last `sessions` sessions."""

    def __init__(self, sessions: int) -> None:
        self._limit = sessions
        self._kept: OrderedDict[str, list[tuple[Facts, Verdict, int]]] = OrderedDict()
        self._snapshots: deque[Snapshot] = deque(maxlen=_SNAPSHOTS)

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
        past.append((facts, verdict, snapshot.revision))
        if not self._snapshots or self._snapshots[-1] is not snapshot:
            self._remember(snapshot)

    def of_session(self, session_id: str) -> tuple[PastDecision, ...]:
        """Oldest first; empty when nothing is kept."""
        by_revision = {snapshot.revision: snapshot for snapshot in self._snapshots}
        return tuple(
            PastDecision(facts, verdict, by_revision.get(revision, self._snapshots[0]))
            for facts, verdict, revision in self._kept.get(session_id, ())
        )

    def _remember(self, snapshot: Snapshot) -> None:
        """A decision may end under the snapshot before the newest."""
        if all(known is not snapshot for known in self._snapshots):
            self._snapshots.append(snapshot)
