"""Records the outcomes of leased deliveries, and finishes messages that have no open delivery."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    case,
    delete,
    insert,
    literal_column,
    null,
    select,
    update,
)

from libs.smtp.value import fast_value
from services.relay.model.message import NewMessage, Settled
from services.relay.model.states import State
from services.relay.queue.change_numbers import change_number
from services.relay.queue.destinations import record_errors, wake
from services.relay.queue.recipient_answers import remove_answers
from services.relay.queue.statements import Many, Once, Row, among, listed
from services.relay.queue.storing import INSERT_EVENT, store
from services.relay.queue.tables import attempts, contents, deliveries, messages


@fast_value(frozen=True, slots=True)
class Event:
    """An entry in the timeline of a message that no other column contains."""

    id: int
    message_id: int
    at: int
    event: str
    recipient: bytes = b""
    detail: str = ""
    actor: str = ""


@fast_value(frozen=True, slots=True)
class Settlement:
    """The outcomes of one attempt for deliveries of one message, and the reports that are stored with them."""

    message_id: int
    owner: int
    deliveries: tuple[Settled, ...]
    reports: tuple[NewMessage, ...] = ()
    events: tuple[Event, ...] = ()
    errors: tuple[tuple[str, str], ...] = ()
    # The source that the message counts against.
    source: str = ""
    # Our recipients (`key_of`) that their server refuses permanently. Its earlier answers about them are no longer
    # valid.
    refused: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Settling:
    """The result of a group of settlements: the deliveries whose lease was lost, and the reports that were not stored.

    `woken` has the destination and source of mail that waits now, each with the first time at which some of it is due.
    """

    lost: set[int] = field(default_factory=set)
    dropped_reports: set[int] = field(default_factory=set)
    woken: dict[tuple[str, str], int] = field(default_factory=dict)


# On PostgreSQL the rows are locked, in the order of their identifiers.
_LEASES = Once(
    lambda dialect: (
        select(deliveries.c.id, deliveries.c.lease_owner)
        .where(among(dialect, deliveries.c.id, "ids"))
        .order_by(deliveries.c.id)
        .with_for_update()
    ),
    ("ids",),
)
_SETTLE = Many(
    update(deliveries)
    .where(deliveries.c.id == bindparam("delivery"))
    .values(
        state=bindparam("new_state"),
        destination=bindparam("new_destination"),
        due_at=bindparam("new_due"),
        lease_owner=null(),
        attempts=bindparam("new_attempts"),
        possible_duplicate=bindparam("duplicate"),
        finished_at=bindparam("finished"),
        last_attempt=bindparam("attempt"),
        last_reply=bindparam("reply"),
        change_number=bindparam("change"),
    ),
    (
        "new_state",
        "new_destination",
        "new_due",
        "new_attempts",
        "duplicate",
        "finished",
        "attempt",
        "reply",
        "change",
        "delivery",
    ),
)
_GIVE_BACK = Many(
    update(deliveries)
    .where(deliveries.c.id == bindparam("delivery"))
    .values(lease_owner=null(), due_at=bindparam("new_due"), destination=bindparam("new_destination")),
    ("new_due", "new_destination", "delivery"),
)
# The final states that readers of events see.
_TOLD = frozenset({State.DELIVERED, State.BOUNCED})
TOLD_EVENTS = frozenset({"held", "bounced", "expired"})
_ATTEMPT = Many(insert(attempts), attempts.c.keys())
_CLOSE = Many(
    update(messages)
    .where(messages.c.id == bindparam("message"))
    .values(
        open=messages.c.open - bindparam("count"),
        finished_at=case(
            (messages.c.open <= bindparam("count_again"), bindparam("now", type_=BigInteger)), else_=null()
        ),
    ),
    ("message", "count", "count_again", "now"),
)
# The 0 is a literal, because a parameter would have to be bound again at each run.
_DROP_CONTENT = Once(
    lambda dialect: delete(contents).where(
        contents.c.message_id.in_(
            select(messages.c.id).where(among(dialect, messages.c.id, "ids"), messages.c.open <= literal_column("0"))
        )
    ),
    ("ids",),
)


def settle(connection: Connection, settlements: Sequence[Settlement], worker: int, now: int) -> Settling:
    """Records the outcomes of deliveries that are still leased to the owner of their settlement. Other outcomes are
    ignored, and so are the reports of a settlement that has lost all of its leases. New reports are leased to `worker`.
    """
    result = Settling()
    lease_owners = _leases(connection, settlements)
    settle_rows: list[Row] = []
    back_rows: list[Row] = []
    attempt_rows: list[Row] = []
    closed: dict[int, int] = {}
    woken = result.woken
    number = change_number(connection) if lease_owners else 0
    reports: list[NewMessage] = []
    not_mine: list[NewMessage] = []
    for settlement in settlements:
        mine = [
            delivery for delivery in settlement.deliveries if lease_owners.get(delivery.delivery_id) == settlement.owner
        ]
        if len(mine) < len(settlement.deliveries):
            result.lost.update(delivery.delivery_id for delivery in settlement.deliveries)
            result.lost.difference_update(each.delivery_id for each in mine)
        if not mine:
            not_mine += settlement.reports
            continue
        reports += settlement.reports
        for each in mine:
            _rows_of(each, now, number, settle_rows, back_rows, attempt_rows)
            if not each.state.open:
                closed[settlement.message_id] = closed.get(settlement.message_id, 0) + 1
            elif each.due_at is not None:
                pair = each.destination, settlement.source
                woken[pair] = min(each.due_at, woken.get(pair, each.due_at))
    _SETTLE.run(connection, settle_rows)
    _GIVE_BACK.run(connection, back_rows)
    _ATTEMPT.run(connection, attempt_rows)
    close(connection, closed, now)
    errors = _follow_up(connection, settlements, lease_owners, now)
    if reports:
        store(connection, reports, worker, now)
    wake(connection, woken)
    # The first mail that waits for a destination makes its row, so its error is recorded after that.
    record_errors(connection, errors)
    if not_mine:
        result.dropped_reports = {report.id for report in not_mine} - _stored_before(connection, not_mine, worker)
    return result


def _stored_before(connection: Connection, reports: Sequence[NewMessage], worker: int) -> set[int]:
    """Returns the reports that are already stored and leased to this worker. An earlier commit stored them, and its
    answer was lost.
    """
    query = select(deliveries.c.message_id).where(
        deliveries.c.message_id.in_([report.id for report in reports]), deliveries.c.lease_owner == worker
    )
    return set(connection.execute(query).scalars())


def close(connection: Connection, closed: dict[int, int], now: int, *, keep_content: bool = False) -> None:
    """Subtracts the newly finished deliveries from the count of each message, and removes the content of messages that
    have none left.
    """
    if not closed:
        return
    # The rows are sorted, so that two relays that finish deliveries of the same messages cannot cause a deadlock.
    _CLOSE.run(connection, [(message, count, count, now) for message, count in sorted(closed.items())])
    if not keep_content:
        _DROP_CONTENT.run(connection, listed(connection, closed))


def record_events(connection: Connection, new: Iterable[Event]) -> None:
    """Adds events to timelines."""
    recorded = list(new)
    number = change_number(connection) if any(event.event in TOLD_EVENTS for event in recorded) else 0
    INSERT_EVENT.run(
        connection,
        [
            (
                *(event.id, event.message_id, event.at, event.event, event.recipient, event.detail, event.actor),
                number if event.event in TOLD_EVENTS else None,
            )
            for event in recorded
        ],
    )


def _leases(connection: Connection, settlements: Sequence[Settlement]) -> dict[int, int]:
    """Returns the owner of the lease of each delivery."""
    delivery_ids = [delivery.delivery_id for settlement in settlements for delivery in settlement.deliveries]
    if not delivery_ids:
        return {}
    return {row[0]: row[1] for row in _LEASES.rows(connection, listed(connection, delivery_ids))}


def _rows_of(
    settled: Settled, now: int, number: int, settle_rows: list[Row], back_rows: list[Row], attempt_rows: list[Row]
) -> None:
    if settled.attempt is None and settled.state is State.QUEUED:
        back_rows.append((settled.due_at, settled.destination, settled.delivery_id))
        return
    settle_rows.append(
        (
            int(settled.state),
            settled.destination,
            settled.due_at,
            settled.attempts,
            1 if settled.possible_duplicate else 0,
            None if settled.state.open else now,
            settled.attempt,
            settled.reply,
            number if settled.state in _TOLD else None,
            settled.delivery_id,
        )
    )
    if settled.state.open and settled.attempt is not None:
        # The last attempt of a finished delivery is only in the row of the delivery. Most mail therefore needs no row
        # for attempts.
        attempt_rows.append((settled.delivery_id, settled.started_at, settled.attempt, number))


def _follow_up(
    connection: Connection, settlements: Sequence[Settlement], held: dict[int, int], now: int
) -> dict[str, tuple[str, int]]:
    """Records events, and returns the last error of each destination."""
    errors: dict[str, tuple[str, int]] = {}
    new_events: list[Event] = []
    refused: set[bytes] = set()
    for settlement in settlements:
        if not (settlement.events or settlement.errors or settlement.refused):
            continue
        if not any(held.get(delivery.delivery_id) == settlement.owner for delivery in settlement.deliveries):
            continue
        new_events += settlement.events
        errors.update({name: (text, now) for name, text in settlement.errors})
        refused.update(settlement.refused)
    record_events(connection, new_events)
    remove_answers(connection, refused)
    return errors
