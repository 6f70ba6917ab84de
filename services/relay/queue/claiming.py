"""Takes deliveries that are due, a few for each destination, at a cost that does not depend on how many wait.

Each destination has a time at which to look at it (`wake_at`); only those whose time has come are looked at, the
longest waiting first, and only as many of their deliveries are read as are taken. Suspended destinations have no such
time. On PostgreSQL rows that another relay is at are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, literal_column, null, select, update

from services.relay.model.message import QueuedDelivery, QueuedMessage
from services.relay.model.states import HELD_BY_ROUTE, Kind, State
from services.relay.queue.destinations import next_due, wake
from services.relay.queue.statements import Many, Once, among, listed, not_among
from services.relay.queue.tables import contents, deliveries, destinations, messages

# Content up to this size is read with the claim.
INLINE_OCTETS = 64 * 1024
# Destinations looked at in one claim.
_DESTINATIONS = 64

_AWAKE = Once(
    lambda dialect: (
        select(destinations.c.name, destinations.c.suspended_until)
        .where(
            destinations.c.wake_at <= bindparam("now"),
            literal_column("wake_at IS NOT NULL"),
            not_among(dialect, destinations.c.name, "full"),
        )
        .order_by(destinations.c.wake_at)
        .limit(literal_column(str(_DESTINATIONS)))
        .with_for_update(skip_locked=True)
    ),
    ("now", "full"),
)
_EARLIEST = Once(
    lambda dialect: (
        select(destinations.c.wake_at)
        .where(literal_column("wake_at IS NOT NULL"), not_among(dialect, destinations.c.name, "full"))
        .order_by(destinations.c.wake_at)
        .limit(literal_column("1"))
    ),
    ("full",),
)
_DUE = Once(
    select(deliveries.c.id)
    .where(
        literal_column("deliveries.lease_owner IS NULL"),
        literal_column("deliveries.state <= 3"),
        deliveries.c.destination == bindparam("destination"),
        deliveries.c.due_at <= bindparam("now"),
    )
    .order_by(deliveries.c.due_at)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True),
    ("destination", "now", "count"),
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
    """The columns of _CLAIMED. In a damaged file anything may stand in them."""

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


@dataclass(slots=True)
class Claim:
    """What was taken: each message with its deliveries to one destination, and what turned out to be unreadable."""

    jobs: list[tuple[str, QueuedMessage, tuple[QueuedDelivery, ...]]] = field(default_factory=list)
    # Delivery and what is wrong with it.
    corrupt: list[tuple[int, int, str]] = field(default_factory=list)
    # Destinations that got their share, and have more that is due.
    more: set[str] = field(default_factory=set)
    # When to look again at the earliest at another destination; None: nothing waits.
    next_wake: int | None = None

    @property
    def count(self) -> int:
        return sum(len(job[2]) for job in self.jobs)

    @property
    def deliveries(self) -> list[int]:
        """All that is leased by it."""
        return [each.id for job in self.jobs for each in job[2]] + [entry[0] for entry in self.corrupt]


def claim(
    connection: Connection,
    owner: int,
    now: int,
    room: int,
    share: Mapping[str, int],
    default_share: int,
    pause: int,
    *,
    inline: bool = True,
    full: Collection[str] = (),
) -> Claim:
    """Leases up to `room` deliveries to `owner`.

    `share`: how many a destination may get now, `default_share` where it is not named; 0 puts it off by `pause`
    microseconds, so that it does not stand in the way of others. `inline`: with the content of small messages.
    `full`: destinations of which the caller has enough, left as they are.
    """
    awake = _AWAKE.rows(connection, now, listed(connection, full))
    taken: list[int] = []
    more: set[str] = set()
    wakes: list[tuple[int | None, str]] = []
    for name, suspended_until in awake:
        if suspended_until is not None and suspended_until > now:
            wakes_at = None if suspended_until >= 2**62 else suspended_until
            connection.execute(update(destinations).where(destinations.c.name == name).values(wake_at=wakes_at))
            continue
        left = room - len(taken)
        if left <= 0:
            break
        allowed = min(left, share.get(name, default_share))
        if allowed <= 0:
            wakes.append((now + pause, name))
            continue
        ids = [row[0] for row in _DUE.rows(connection, name, now, allowed)]
        _LEASE.run(connection, [(owner, each) for each in ids])
        taken += ids
        due = _next_wake(connection, name, now, len(ids) == allowed)
        wakes.append((due, name))
        if due == now:
            more.add(name)
    _WAKE.run(connection, wakes)
    result = _read(connection, taken, owner, inline=inline)
    result.more = more
    result.next_wake = earliest_wake(connection, more.union(full))
    return result


def earliest_wake(connection: Connection, full: Collection[str] = ()) -> int | None:
    """The first time at which a destination wants to be looked at; not one of `full`."""
    found: int | None = _EARLIEST.value(connection, listed(connection, full))
    return found


def read_content(connection: Connection, message_id: int) -> bytes | None:
    """A message's content; None when it is gone."""
    content: bytes | None = _CONTENT.value(connection, message_id)
    return content


def _next_wake(connection: Connection, name: str, now: int, full: bool) -> int | None:
    due = next_due(connection, name)
    if due is None or due > now:
        return due
    # More is due: behind all other destinations that wait. Or another relay is at those rows: soon again.
    return now if full else now + 1_000_000


def _read(connection: Connection, ids: list[int], owner: int, *, inline: bool) -> Claim:
    claimed = Claim()
    if not ids:
        return claimed
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
    claimed.jobs = [(key[1], message, tuple(found)) for key, (message, found) in jobs.items() if found]
    return claimed


def _message(row: Any, content: bytes | None, inline: bool) -> QueuedMessage:
    """Raises ValueError for a row that can't be what was stored."""
    if row.kind is None:
        raise ValueError("the message of this delivery is missing")
    if inline and content is None:
        raise ValueError("the content is missing")
    if content is not None and len(content) != row.size:
        raise ValueError(f"the content has {len(content)} octets and {row.size} were stored")
    if not isinstance(row.sender, bytes) or not isinstance(row.ret, str) or not isinstance(row.envelope_id, bytes):
        raise ValueError("the envelope can't be read")
    if not isinstance(row.size, int) or not isinstance(row.stored_at, int) or not isinstance(row.helo_name, bytes):
        raise ValueError("the message's row can't be read")
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
    )


def _delivery(row: Any, owner: int) -> QueuedDelivery:
    if not isinstance(row.recipient, bytes) or not row.recipient or not isinstance(row.attempts, int):
        raise ValueError("the recipient can't be read")
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
    )


def wake_held_by_route(connection: Connection, now: int) -> int:
    """Mail that no route took is due at once: the configuration has changed. How many deliveries that is."""
    found = connection.execute(
        update(deliveries)
        .where(
            literal_column("deliveries.lease_owner IS NULL"),
            literal_column("deliveries.state <= 3"),
            deliveries.c.destination == HELD_BY_ROUTE,
            deliveries.c.due_at.is_(None),
            deliveries.c.state == int(State.QUEUED),
        )
        .values(due_at=now)
    )
    if found.rowcount:
        wake(connection, {HELD_BY_ROUTE: now})
    return int(found.rowcount)
