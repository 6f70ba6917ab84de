"""Claims due deliveries, a few for each destination, at a cost that does not depend on how many are waiting.

Each destination has a time at which it must be checked (`wake_at`). A claim reads only destinations whose time has
come, and begins with the earliest time. For each destination, the sources with due mail are served in turn, the one
that waited longest first. The mail of each source is served in the order in which it became due. No more deliveries are
read than are claimed. The time of a suspended destination is the end of its suspension, if it has one. On PostgreSQL,
rows that another relay has locked are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, delete, literal_column, null, select, update

from services.relay.model.message import QueuedDelivery, QueuedMessage
from services.relay.model.redirect import next_hop_of
from services.relay.model.shares import fair_share
from services.relay.model.states import Kind, State
from services.relay.queue.destinations import next_wake, wake
from services.relay.queue.statements import Many, Once, among, listed, not_among
from services.relay.queue.tables import WAITING, contents, deliveries, destinations, messages, waiting_sources

# Content up to this size is read with the claim.
INLINE_OCTETS = 64 * 1024
# The largest number of destinations that one claim checks.
_DESTINATIONS = 64

# The largest number of sources that one claim checks for one destination.
_SOURCES = 64
# A time that is later than any real time. (A column of SQLite accepts every type, and text is sorted after it: C140.)
_END: ColumnElement[int] = literal_column(str(2**62))

_AWAKE = Once(
    lambda dialect: (
        select(destinations.c.name, destinations.c.suspended_until)
        .where(
            destinations.c.wake_at <= bindparam("now"),
            literal_column("wake_at IS NOT NULL"),
            not_among(dialect, destinations.c.name, "skipped"),
        )
        .order_by(destinations.c.wake_at)
        .limit(literal_column(str(_DESTINATIONS)))
        .with_for_update(skip_locked=True)
    ),
    ("now", "skipped"),
)
_NAMED = Once(
    lambda dialect: (
        select(destinations.c.name, destinations.c.suspended_until)
        .where(among(dialect, destinations.c.name, "names"))
        .order_by(destinations.c.name)
        .with_for_update(skip_locked=True)
    ),
    ("names",),
)
_DESTINATIONS_OF_SOURCE = Once(
    lambda dialect: (
        select(waiting_sources.c.destination)
        .where(
            waiting_sources.c.source == bindparam("source"),
            waiting_sources.c.wake_at <= bindparam("now"),
            not_among(dialect, waiting_sources.c.destination, "skipped"),
        )
        .order_by(waiting_sources.c.wake_at)
        .limit(literal_column(str(_DESTINATIONS)))
    ),
    ("source", "now", "skipped"),
)
_EARLIEST = Once(
    lambda dialect: (
        select(destinations.c.wake_at)
        .where(literal_column("wake_at IS NOT NULL"), not_among(dialect, destinations.c.name, "skipped"))
        .order_by(destinations.c.wake_at)
        .limit(literal_column("1"))
    ),
    ("skipped",),
)
_AWAKE_SOURCES = Once(
    lambda dialect: (
        select(waiting_sources.c.source)
        .where(
            waiting_sources.c.destination == bindparam("destination"),
            waiting_sources.c.wake_at <= bindparam("now"),
            not_among(dialect, waiting_sources.c.source, "skipped"),
        )
        .order_by(waiting_sources.c.wake_at)
        .limit(literal_column(str(_SOURCES)))
        .with_for_update(skip_locked=True)
    ),
    ("destination", "now", "skipped"),
)
_DUE = Once(
    select(deliveries.c.id)
    .where(
        WAITING,
        deliveries.c.destination == bindparam("destination"),
        deliveries.c.source == bindparam("source"),
        deliveries.c.due_at <= bindparam("now"),
    )
    .order_by(deliveries.c.due_at, deliveries.c.id)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True),
    ("destination", "source", "now", "count"),
)
_NEXT_DUE = Once(
    select(deliveries.c.due_at)
    .where(
        WAITING,
        deliveries.c.destination == bindparam("destination"),
        deliveries.c.source == bindparam("source"),
        deliveries.c.due_at < _END,
    )
    .order_by(deliveries.c.due_at)
    .limit(literal_column("1")),
    ("destination", "source"),
)
_LEASE = Many(
    update(deliveries).where(deliveries.c.id == bindparam("delivery")).values(lease_owner=bindparam("owner")),
    ("owner", "delivery"),
)
_WAKE = Many(
    update(destinations)
    .where(destinations.c.name == bindparam("destination"))
    .values(wake_at=bindparam("at"), suspended_until=null(), suspended_by=""),
    ("at", "destination"),
)
_WAKE_SOURCE = Many(
    update(waiting_sources)
    .where(waiting_sources.c.destination == bindparam("of"), waiting_sources.c.source == bindparam("by"))
    .values(wake_at=bindparam("at")),
    ("at", "of", "by"),
)
_DROP_SOURCE = Many(
    delete(waiting_sources).where(
        waiting_sources.c.destination == bindparam("of"), waiting_sources.c.source == bindparam("by")
    ),
    ("of", "by"),
)
_COLUMNS = (
    deliveries.c.id,
    deliveries.c.message_id,
    deliveries.c.recipient,
    deliveries.c.submitted_recipient,
    deliveries.c.notify,
    deliveries.c.orcpt,
    deliveries.c.attempts,
    deliveries.c.last_attempt,
    deliveries.c.possible_duplicate,
    deliveries.c.destination,
    messages.c.kind,
    messages.c.sender,
    messages.c.size,
    messages.c.stored_at,
    messages.c.ret,
    messages.c.envelope_id,
    messages.c.smtputf8,
    messages.c.body_8bitmime,
    messages.c.quarantine,
    messages.c.account_login,
    messages.c.helo_name,
    messages.c.session_id,
    messages.c.traceparent,
    messages.c.may_relay,
    deliveries.c.source,
    deliveries.c.due_at,
    deliveries.c.next_hop,
)
_CLAIMED = Once(
    lambda dialect: (
        select(*_COLUMNS)
        .join(messages, messages.c.id == deliveries.c.message_id, isouter=True)
        .where(among(dialect, deliveries.c.id, "ids"))
        .order_by(deliveries.c.message_id, deliveries.c.id)
    ),
    ("ids",),
)


class _Row(NamedTuple):
    """The columns of _CLAIMED. In a damaged file they may contain any value."""

    id: Any
    message_id: Any
    recipient: Any
    submitted_recipient: Any
    notify: Any
    orcpt: Any
    attempts: Any
    last_attempt: Any
    possible_duplicate: Any
    destination: Any
    kind: Any
    sender: Any
    size: Any
    stored_at: Any
    ret: Any
    envelope_id: Any
    smtputf8: Any
    body_8bitmime: Any
    quarantine: Any
    account_login: Any
    helo_name: Any
    session_id: Any
    traceparent: Any
    may_relay: Any
    source: Any
    due_at: Any
    next_hop: Any


_CONTENTS = Once(
    lambda dialect: select(contents.c.message_id, contents.c.content).where(
        among(dialect, contents.c.message_id, "ids")
    ),
    ("ids",),
)
_CONTENT = Once(
    select(contents.c.content).where(contents.c.message_id == bindparam("message")),
    ("message",),
)


@dataclass(frozen=True, slots=True)
class ClaimLimits:
    """The limits of one claim: how many deliveries it may take, and what it skips."""

    total: int
    # The number of deliveries that fit into the caller's memory, and the number that the caller has for each
    # destination.
    memory: int = 2**31
    held: Mapping[str, int] = field(default_factory=dict)
    # The largest number of deliveries that a destination gets. 0 postpones the destination, so that it does not delay
    # others.
    wanted: Mapping[str, int] = field(default_factory=dict)
    # The limit for destinations that `wanted` does not contain.
    wanted_elsewhere: int = 20
    # The limits for a source at one destination, and for a source at all destinations together. 0 means that the source
    # is skipped.
    wanted_of_source: Mapping[tuple[str, str], int] = field(default_factory=dict)
    left_of_source: Mapping[str, int] = field(default_factory=dict)
    # Destinations that the claim ignores, because the caller has enough of their mail.
    skipped: Collection[str] = ()
    # Sources that were over their share before and may be served again. Their destinations are checked even before
    # their `wake_at`.
    refilled: Collection[str] = ()


@dataclass(slots=True)
class Claim:
    """The result of a claim: each message with its deliveries to one destination, and the damaged rows."""

    jobs: list[tuple[str, QueuedMessage, tuple[QueuedDelivery, ...]]] = field(default_factory=list)
    # The delivery, its message, and what is wrong with the row.
    corrupt: list[tuple[int, int, str]] = field(default_factory=list)
    # Destinations that were checked and have more due mail, each with at most 64 of the sources of this mail.
    more: dict[str, set[str]] = field(default_factory=dict)
    # Pairs of destination and source whose due mail was claimed completely.
    drained: list[tuple[str, str]] = field(default_factory=list)
    # Whether the limit `total` was reached before all destinations were checked.
    cut_short: bool = False
    # The first time at which another destination must be checked. It is None when nothing waits.
    next_wake: int | None = None

    @property
    def count(self) -> int:
        return sum(len(job[2]) for job in self.jobs)

    @property
    def deliveries(self) -> list[int]:
        """Returns the ids of all deliveries that the claim leased."""
        return [delivery.id for job in self.jobs for delivery in job[2]] + [entry[0] for entry in self.corrupt]


# A destination is postponed for this time when only sources that are over their share wait for it. `refilled` names
# these sources as soon as they may have more.
_SOURCE_PAUSE = 300_000_000


def claim(
    connection: Connection, owner: int, now: int, limits: ClaimLimits, pause: int, *, inline: bool = True
) -> Claim:
    """Leases due deliveries to `owner`.

    A destination that may get nothing now is postponed by `pause` microseconds. With `inline`, the content of small
    messages is read too.
    """
    claimer = _Claimer(connection, owner, now, limits)
    wakes: list[tuple[int | None, str]] = []
    awake = _awake(connection, now, limits)
    parties = len(limits.held) + sum(name not in limits.held for name, _ in awake)
    share = fair_share(limits.memory, parties)
    for name, suspended_until in awake:
        if suspended_until is not None and suspended_until > now:
            wakes_at = None if suspended_until >= 2**62 else suspended_until
            connection.execute(update(destinations).where(destinations.c.name == name).values(wake_at=wakes_at))
            continue
        if claimer.left <= 0:
            claimer.result.cut_short = True
            break
        wanted = limits.wanted.get(name, limits.wanted_elsewhere)
        if wanted <= 0:
            wakes.append((now + pause, name))
            continue
        allowed = min(claimer.left, wanted, share - limits.held.get(name, 0))
        wakes.append((claimer.take(name, max(0, allowed)), name))
    _WAKE.run(connection, wakes)
    result = claimer.result
    _read(connection, claimer.taken, owner, result, inline=inline)
    result.next_wake = earliest_wake(connection, result.more.keys() | set(limits.skipped))
    return result


def _awake(connection: Connection, now: int, limits: ClaimLimits) -> list[tuple[str, int | None]]:
    """Returns the destinations to check, each with the end of its suspension, or None when it is not suspended."""
    names: list[str] = []
    nothing = {name for name, count in limits.wanted.items() if count <= 0} if limits.refilled else set()
    for source in limits.refilled:
        rows = _DESTINATIONS_OF_SOURCE.rows(connection, source, now, listed(connection, nothing.union(limits.skipped)))
        names += (row[0] for row in rows)
    awake = list(_NAMED.rows(connection, listed(connection, names))) if names else []
    awake_names = {row[0] for row in awake}
    awake += (
        row for row in _AWAKE.rows(connection, now, listed(connection, limits.skipped)) if row[0] not in awake_names
    )
    return awake


class _Claimer:
    """Collects the deliveries that one claim takes."""

    def __init__(self, connection: Connection, owner: int, now: int, limits: ClaimLimits) -> None:
        self._connection = connection
        self._owner = owner
        self._now = now
        self._limits = limits
        self._left_of_source = dict(limits.left_of_source)
        self._barred = {source for source, count in limits.left_of_source.items() if count <= 0}
        self._barred_there: dict[str, set[str]] = {}
        for (name, source), count in limits.wanted_of_source.items():
            if count <= 0:
                self._barred_there.setdefault(name, set()).add(source)
        self.taken: list[int] = []
        self.result = Claim()

    @property
    def left(self) -> int:
        return self._limits.total - len(self.taken)

    def take(self, name: str, allowed: int) -> int | None:
        """Takes up to `allowed` deliveries for a destination. Returns the time at which the destination must be checked
        again.
        """
        before = len(self.taken)
        barred = self._barred | self._barred_there.get(name, set())
        rows = self._awake_sources(name, barred)
        if not rows and next_wake(self._connection, name) is not None:
            # `next_wake` also adds sources that have no row in `waiting_sources`.
            rows = self._awake_sources(name, barred)
        left = allowed
        for number, (source,) in enumerate(rows):
            # The sources that follow share what an earlier source did not need.
            share = -(-left // (len(rows) - number))
            wanted_there = self._limits.wanted_of_source.get((name, source), share)
            share = min(share, wanted_there, self._left_of_source.get(source, share))
            left -= self._take_of_source(name, source, share)
        again = next_wake(self._connection, name)
        if again is None or again > self._now:
            return again
        more = {row[0] for row in self._awake_sources(name, ())}
        if len(self.taken) == before and more and more <= self._barred:
            return self._now + _SOURCE_PAUSE
        self.result.more[name] = more
        # The destination is served again after all other destinations that wait.
        return self._now

    def _awake_sources(self, name: str, barred: Collection[str]) -> Sequence[tuple[str]]:
        return _AWAKE_SOURCES.rows(self._connection, name, self._now, listed(self._connection, barred))

    def _take_of_source(self, name: str, source: str, count: int) -> int:
        connection, now = self._connection, self._now
        if count <= 0:
            return 0
        ids = [row[0] for row in _DUE.rows(connection, name, source, now, count)]
        _LEASE.run(connection, [(self._owner, id_) for id_ in ids])
        self.taken += ids
        if source in self._left_of_source:
            self._left_of_source[source] -= len(ids)
        due: int | None = _NEXT_DUE.value(connection, name, source)
        if due is None:
            _DROP_SOURCE.run(connection, [(name, source)])
        elif due > now:
            _WAKE_SOURCE.run(connection, [(due, name, source)])
        else:
            # More mail is due. If all wanted rows were read, this source is served again after all others. If not,
            # another replica has locked the other rows, and this source is checked again after a second.
            _WAKE_SOURCE.run(connection, [(now if len(ids) == count else now + 1_000_000, name, source)])
            return len(ids)
        self.result.drained.append((name, source))
        return len(ids)


def earliest_wake(connection: Connection, skipped: Collection[str] = ()) -> int | None:
    """Returns the first time at which a destination must be checked, or None when there is none. Destinations in
    `skipped` are left out.
    """
    wake_at: int | None = _EARLIEST.value(connection, listed(connection, skipped))
    return wake_at


def read_content(connection: Connection, message_id: int) -> bytes | None:
    """Returns the content of a message, or None when it was removed."""
    content: bytes | None = _CONTENT.value(connection, message_id)
    return content


def _read(connection: Connection, ids: list[int], owner: int, claimed: Claim, *, inline: bool) -> None:
    """Reads the leased rows into `claimed`."""
    if not ids:
        return
    rows = [_Row._make(row) for row in _CLAIMED.rows(connection, listed(connection, ids))]
    small = {row.message_id for row in rows if inline and isinstance(row.size, int) and row.size <= INLINE_OCTETS}
    content = {row[0]: row[1] for row in _CONTENTS.rows(connection, listed(connection, small))} if small else {}
    jobs: dict[tuple[int, str], tuple[QueuedMessage, list[QueuedDelivery]]] = {}
    for row in rows:
        try:
            key = (row.message_id, row.destination)
            if key not in jobs:
                jobs[key] = (_message(row, content.get(row.message_id), row.message_id in small), [])
            jobs[key][1].append(_delivery(row, owner))
        except (ValueError, TypeError, AttributeError) as error:
            claimed.corrupt.append((row.id, row.message_id, str(error)[:200]))
    claimed.jobs = [(key[1], message, tuple(of_it)) for key, (message, of_it) in jobs.items() if of_it]


def _message(row: Any, content: bytes | None, inline: bool) -> QueuedMessage:
    """Makes the message from its row. Raises ValueError for a damaged row."""
    if row.kind is None:
        raise ValueError("the message of this delivery is missing")
    if inline and content is None:
        raise ValueError("the content is missing")
    if content is not None and len(content) != row.size:
        raise ValueError(f"the content has {len(content)} octets and {row.size} were stored")
    if not isinstance(row.sender, bytes) or not isinstance(row.ret, str) or not isinstance(row.envelope_id, bytes):
        raise ValueError("the envelope cannot be read")
    if not isinstance(row.size, int) or not isinstance(row.stored_at, int) or not isinstance(row.helo_name, bytes):
        raise ValueError("the row of the message cannot be read")
    return QueuedMessage(
        row.message_id,
        Kind(row.kind),
        row.sender,
        row.size,
        row.stored_at,
        content,
        row.ret,
        row.envelope_id,
        bool(row.smtputf8),
        bool(row.body_8bitmime),
        bool(row.quarantine),
        row.account_login,
        row.helo_name,
        row.session_id,
        row.traceparent or "",
        bool(row.may_relay),
        row.source,
    )


def _delivery(row: Any, owner: int) -> QueuedDelivery:
    if not isinstance(row.recipient, bytes) or not row.recipient or not isinstance(row.attempts, int):
        raise ValueError("the recipient cannot be read")
    uncounted = 0
    if row.last_attempt:
        uncounted = int(json.loads(row.last_attempt).get("uncounted", 0))
    return QueuedDelivery(
        id=row.id,
        recipient=row.recipient,
        lease_owner=owner,
        submitted_recipient=row.submitted_recipient,
        notify=tuple(filter(None, row.notify.split(","))),
        orcpt=row.orcpt,
        attempts=row.attempts,
        uncounted=uncounted,
        possible_duplicate=bool(row.possible_duplicate),
        due_at=row.due_at,
        next_hop=None if row.next_hop is None else next_hop_of(row.next_hop),
    )


def wake_held(connection: Connection, destination: str, now: int) -> int:
    """Makes the mail that is held at HELD_BY_ROUTE or QUARANTINE due at once, because the configuration has changed.
    Returns the number of deliveries.
    """
    held_deliveries = (
        WAITING,
        deliveries.c.destination == destination,
        deliveries.c.due_at.is_(None),
        deliveries.c.state == int(State.QUEUED),
    )
    sources = connection.execute(select(deliveries.c.source).where(*held_deliveries).distinct()).scalars().all()
    changed = connection.execute(update(deliveries).where(*held_deliveries).values(due_at=now))
    wake(connection, {(destination, source): now for source in sources})
    return int(changed.rowcount)
