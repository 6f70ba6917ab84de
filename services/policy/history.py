"""Decisions of recent sessions, for Explain. These decisions are in memory only, and contain no credentials and no
content.

The number of sessions and of octets is bounded, and a client's network has a share of both. So a client that opens many
sessions displaces only its own earlier sessions once it has used up its share.

A request is stored as its serialised octets. The octets are one object. The facts would be a dozen objects, which would
slow down every decision. The facts are read from the octets when Explain needs them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from libs.smtp.value import fast_value
from services.policy.rules.lookup import LookupResults
from services.policy.rules.model import Counts, Facts, Snapshot, Verdict

# The number of objects that a decision uses in a session's list.
_WIDTH = 6
_FULL = 50 * _WIDTH
# The largest number of octets of requests that are stored, in total and for one session. The request at the end of data
# names all recipients.
_MOST_OCTETS = 128 * 1024 * 1024
_MOST_OCTETS_OF_SESSION = 256 * 1024
# When there is no room, a network that uses more than this fraction (1 / 20) of it loses its own oldest session.
_CLIENT_SHARE = 20
# The number of snapshots that are kept. It is small, because a snapshot may be large. Decisions under older snapshots
# are explained by the oldest snapshot that is kept.
_SNAPSHOTS = 3


@fast_value(frozen=True, slots=True)
class PastDecision:
    facts: Facts
    verdict: Verdict
    snapshot: Snapshot


@fast_value(frozen=True, slots=True)
class PastRequest:
    """A request, with the time and the result of its decision."""

    kept: bytes
    now: float
    counts: Counts
    lookup_results: LookupResults
    verdict: Verdict
    snapshot: Snapshot


class _Network:
    """The sessions of one client's network, the oldest first, and the sum of their octets. Only the oldest session is
    ever dropped.
    """

    __slots__ = ("name", "octets", "sessions")

    def __init__(self, name: str) -> None:
        self.name = name
        # This is no dict, because a dict would have to skip the places of all removed entries to find its oldest entry.
        self.sessions: deque[str] = deque()
        self.octets = 0


class _Session:
    """The decisions of one session in a flat list, with `_WIDTH` objects for each, and their octets."""

    __slots__ = ("decisions", "network", "octets")

    def __init__(self, network: _Network) -> None:
        self.network = network
        self.decisions: list[Any] = []
        self.octets = 0


class History:
    """The decisions of at most `sessions` sessions. Older sessions make room for newer ones."""

    def __init__(self, sessions: int) -> None:
        self.on = sessions > 0
        self._limit = sessions
        self._kept: OrderedDict[str, _Session] = OrderedDict()
        self._networks: dict[str, _Network] = {}
        self._octets = 0
        self._snapshots: deque[Snapshot] = deque(maxlen=_SNAPSHOTS)
        self._newest_snapshot: Snapshot | None = None

    def add(self, kept: bytes, facts: Facts, verdict: Verdict, snapshot: Snapshot) -> None:
        """Stores a decision. `kept` are the octets of the request."""
        session = self._kept.get(facts.session_id)
        if session is None:
            session = self._begin(facts.session_id, facts.client.network)
        size = len(kept)
        decisions = session.decisions
        if len(decisions) >= _FULL or session.octets + size > _MOST_OCTETS_OF_SESSION:
            self._make_room(session, size)
        decisions += (kept, facts.now, facts.counts, facts.lookup_results or None, verdict, snapshot.revision)
        # This code is written without helper functions, because it runs for every decision.
        session.octets += size
        session.network.octets += size
        self._octets += size
        if self._octets > _MOST_OCTETS:
            self._drop_for_room(session)
        if snapshot is not self._newest_snapshot:
            self._remember(snapshot)

    def _begin(self, session_id: str, network_name: str) -> _Session:
        network = self._networks.get(network_name)
        if network is None:
            network = self._networks[network_name] = _Network(network_name)
        session = self._kept[session_id] = _Session(network)
        network.sessions.append(session_id)
        if len(self._kept) > self._limit:
            is_over_share = len(network.sessions) > max(self._limit // _CLIENT_SHARE, 1)
            self._drop_session(network.sessions[0] if is_over_share else next(iter(self._kept)))
        return session

    def _make_room(self, session: _Session, size: int) -> None:
        """Removes decisions from the middle, so that the first ones, about the connection, stay."""
        decisions = session.decisions
        while decisions and (len(decisions) >= _FULL or session.octets + size > _MOST_OCTETS_OF_SESSION):
            middle = len(decisions) // _WIDTH // 2 * _WIDTH
            self._release(session, len(decisions[middle]))
            del decisions[middle : middle + _WIDTH]

    def _drop_for_room(self, session: _Session) -> None:
        """Removes old sessions while all sessions together have too many octets. If the network of `session` has more
        than its share, its oldest session is removed, and otherwise the oldest of all sessions. The session of the
        newest decision stays.
        """
        while self._octets > _MOST_OCTETS and len(self._kept) > 1:
            network = session.network
            is_over_share = network.octets > _MOST_OCTETS // _CLIENT_SHARE
            oldest = network.sessions[0] if is_over_share else next(iter(self._kept))
            if self._kept[oldest] is session:
                return
            self._drop_session(oldest)

    def _drop_session(self, session_id: str) -> None:
        session = self._kept.pop(session_id)
        network = session.network
        network.sessions.popleft()
        self._release(session, session.octets)
        if not network.sessions:
            del self._networks[network.name]

    def _release(self, session: _Session, octets: int) -> None:
        session.octets -= octets
        session.network.octets -= octets
        self._octets -= octets

    def of_session(self, session_id: str) -> tuple[PastRequest, ...]:
        """Returns the decisions of a session, oldest first. The result is empty when none are stored."""
        by_revision = {snapshot.revision: snapshot for snapshot in self._snapshots}
        session = self._kept.get(session_id)
        past = session.decisions if session is not None else []
        requests = []
        for start in range(0, len(past), _WIDTH):
            request_bytes, now, counts, lookup_results, verdict, revision = past[start : start + _WIDTH]
            snapshot = by_revision.get(revision, self._snapshots[0])
            requests.append(
                PastRequest(request_bytes, now, counts, lookup_results or LookupResults(), verdict, snapshot)
            )
        return tuple(requests)

    def _remember(self, snapshot: Snapshot) -> None:
        """Stores a snapshot. A decision may end under an older snapshot than the newest."""
        if all(kept_snapshot is not snapshot for kept_snapshot in self._snapshots):
            self._snapshots.append(snapshot)
            self._newest_snapshot = snapshot
