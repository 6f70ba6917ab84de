"""Puts new messages, and records of refused ones, into the tables."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from services.relay.model.message import NewMessage, Refused, domain_of
from services.relay.model.message_id import index_key, message_id_of
from services.relay.model.states import Kind, State
from services.relay.queue import verdicts
from services.relay.queue.change_numbers import change_number
from services.relay.queue.destinations import wake
from services.relay.queue.statements import Many, Once, Row, among, listed
from services.relay.queue.tables import attempts, contents, deliveries, events, messages

_INSERT_MESSAGE = Many(insert(messages), messages.c.keys())
_INSERT_CONTENT = Many(insert(contents), contents.c.keys())
# The column of the next hop is left out, because a new delivery has none.
_INSERT_DELIVERY = Many(insert(deliveries), [each.name for each in deliveries.c if each is not deliveries.c.next_hop])
INSERT_EVENT = Many(insert(events), events.c.keys())
_CHECKED = "checked"
_BY_SUBMISSION = Once(
    lambda dialect: select(messages.c.submission_id, messages.c.id).where(
        among(dialect, messages.c.submission_id, "submissions")
    ),
    ("submissions",),
)


def store(connection: Connection, new: Sequence[NewMessage], owner: int, now: int) -> dict[str, int]:
    """Stores messages with their content and deliveries. The deliveries are leased to `owner`, except those to the
    destinations in `message.unleased`.

    Submissions that the queue or the history already has are left out. Returns the ids of these submissions, each with
    its message.
    """
    submissions = [message.submission_id for message in new if message.submission_id is not None]
    known_ids: dict[str, int] = {}
    if submissions:
        rows = _BY_SUBMISSION.rows(connection, listed(connection, submissions))
        known_ids = _confirmed(connection, new, {row[0]: row[1] for row in rows}) if rows else {}
        if known_ids:
            new = [message for message in new if message.submission_id not in known_ids]
    message_rows: list[Row] = []
    content_rows: list[Row] = []
    delivery_rows: list[Row] = []
    event_rows: list[Row] = []
    woken: dict[tuple[str, str], int] = {}
    # Few messages need the number of the change, so it is read only when one does.
    number = functools.cache(lambda: change_number(connection))
    for message in new:
        open_ones = _delivery_rows(delivery_rows, message, owner, now, woken, number)
        message_rows.append(_message_row(message, open_ones, now))
        if open_ones:
            content_rows.append((message.id, message.content))
        if message.check_results:
            event_rows += _checked(message.id, message.check_results, now)
    _INSERT_MESSAGE.run(connection, message_rows)
    _INSERT_CONTENT.run(connection, content_rows)
    _INSERT_DELIVERY.run(connection, delivery_rows)
    INSERT_EVENT.run(connection, event_rows)
    wake(connection, woken)
    return known_ids


def store_deliveries(connection: Connection, addition: NewMessage, now: int) -> int:
    """Stores more deliveries of a message that is already stored. Returns how many of them are open."""
    rows: list[Row] = []
    woken: dict[tuple[str, str], int] = {}
    opened = _delivery_rows(rows, addition, 0, now, woken, lambda: change_number(connection))
    _INSERT_DELIVERY.run(connection, rows)
    wake(connection, woken)
    return opened


def confirm(connection: Connection, submission: str) -> int | None:
    """Returns the id of the message as which a submission is stored already, or None when it is not stored. The message
    is kept, even if the relay that stored it is about to remove it.
    """
    known = {row[0]: row[1] for row in _BY_SUBMISSION.rows(connection, listed(connection, [submission]))}
    return _confirmed(connection, (), known).get(submission)


def _confirmed(connection: Connection, new: Sequence[NewMessage], known: dict[str, int]) -> dict[str, int]:
    """Returns the known submissions that are still stored, and makes sure that the relay that stored them first does
    not remove them.

    That relay may have refused them on a stream that broke, and may be about to remove them (`forget_refused`). A later
    `stored_at` prevents this. A submission that was already removed is not in the result, so it is stored again.
    """
    own = {message.id for message in new}
    others = [message_id for message_id in known.values() if message_id not in own]
    if not others:
        return known
    confirming = (
        update(messages)
        .where(messages.c.id.in_(sorted(others)))
        .values(stored_at=messages.c.stored_at + 1)
        .returning(messages.c.id)
    )
    present_ids = own.union(connection.execute(confirming).scalars())
    return {submission: message_id for submission, message_id in known.items() if message_id in present_ids}


def _message_row(message: NewMessage, open_ones: int, now: int) -> Row:
    origin = message.origin
    message_id = message_id_of(message.content)
    return (
        message.id,
        message.submission_id,
        int(message.kind),
        message.sender,
        domain_of(message.sender),
        len(message.content),
        message.received_at,
        now,
        message.sweep_at if open_ones else None,
        0,
        open_ones,
        None if open_ones else now,
        message.ret,
        message.envelope_id,
        # With a type other than int, the driver of SQLite searches for an adapter, which costs time.
        1 if message.smtputf8 else 0,
        1 if message.body_8bitmime else 0,
        1 if message.quarantine else 0,
        origin.session_id,
        origin.client_address,
        origin.helo_name,
        origin.account_login,
        origin.listener,
        1 if origin.tls else 0,
        None,
        message.traceparent or None,
        1 if origin.may_relay else 0,
        None,
        message_id or None,
        index_key(message_id, message.id) if message_id else None,
        message.subject or None,
        verdicts.as_json(message.verdicts) if message.verdicts else None,
    )


def _delivery_rows(
    rows: list[Row],
    message: NewMessage,
    owner: int,
    now: int,
    woken: dict[tuple[str, str], int],
    number: Callable[[], int],
) -> int:
    """Adds the rows of a message's deliveries. Returns how many of them are open."""
    open_ones = 0
    source, unleased = message.source, message.unleased
    for delivery in message.deliveries:
        is_open = delivery.state.open
        open_ones += is_open
        queued = delivery.state is State.QUEUED
        leased = queued and delivery.destination not in unleased
        if queued and not leased:
            woken[delivery.destination, source] = now
        rows.append(
            (
                delivery.id,
                message.id,
                delivery.recipient,
                domain_of(delivery.recipient),
                delivery.submitted_recipient,
                ",".join(delivery.notify),
                delivery.orcpt,
                int(delivery.state),
                delivery.destination,
                now if queued else None,
                owner if leased else None,
                0,
                0,
                None if is_open else now,
                delivery.record or None,
                delivery.reply,
                source,
                number() if delivery.state is State.BOUNCED else None,
            )
        )
    return open_ones


def _checked(message_id: int, results: Sequence[tuple[int, str]], at: int) -> list[Row]:
    return [(number, message_id, at, _CHECKED, b"", text, "", None) for number, text in results]


def store_refused(connection: Connection, refused: Sequence[Refused]) -> None:
    """Adds refused messages to the history."""
    message_rows: list[Row] = []
    delivery_rows: list[Row] = []
    number = change_number(connection) if refused else 0
    event_rows: list[Row] = []
    for refused_message in refused:
        event_rows += _checked(refused_message.id, refused_message.check_results, refused_message.refused_at)
        origin = refused_message.origin
        reply = {
            "code": refused_message.code,
            "enhanced_code": refused_message.enhanced_code,
            "text": refused_message.text,
            "reason_id": refused_message.reason_id,
            "rule_id": refused_message.rule_id,
            "stage": refused_message.stage,
            "discarded": refused_message.discarded,
        }
        message_rows.append(
            (
                *(
                    refused_message.id,
                    None,
                    int(Kind.REFUSED),
                    refused_message.sender,
                    domain_of(refused_message.sender),
                    0,
                    refused_message.refused_at,
                    refused_message.refused_at,
                ),
                *(None, 0, 0, refused_message.refused_at, "", b"", 0, 0, 0, origin.session_id),
                *(origin.client_address, origin.helo_name, origin.account_login, origin.listener, origin.tls),
                json.dumps(reply),
                None,
                None,
                None if refused_message.discarded else number,
                refused_message.message_id or None,
                index_key(refused_message.message_id, refused_message.id) if refused_message.message_id else None,
                None,
                verdicts.as_json(refused_message.verdicts) if refused_message.verdicts else None,
            )
        )
        state = State.DISCARDED if refused_message.discarded else State.REJECTED
        delivery_rows += [
            (
                *(
                    number,
                    refused_message.id,
                    recipient,
                    domain_of(recipient),
                    b"",
                    "",
                    b"",
                    int(state),
                    "",
                    None,
                    None,
                    0,
                    0,
                ),
                *(
                    refused_message.refused_at,
                    None,
                    f"{refused_message.code} {refused_message.enhanced_code} {refused_message.text}",
                    "",
                    None,
                ),
            )
            for number, recipient in refused_message.recipients
        ]
    _INSERT_MESSAGE.run(connection, message_rows)
    _INSERT_DELIVERY.run(connection, delivery_rows)
    INSERT_EVENT.run(connection, event_rows)


@dataclass(frozen=True, slots=True)
class DoubtfulSubmission:
    """A submission that was refused although it may be in the database, because the answer to its commit was lost."""

    # The id of the message, and the ids of the reports that should have been stored with it.
    message_ids: tuple[int, ...]
    # The values of `stored_at` that this relay used in its tries to store the submission.
    tried_at: Collection[int]


def forget_refused(connection: Connection, refused: Sequence[DoubtfulSubmission]) -> None:
    """Removes refused submissions that are in the database.

    A row with another `stored_at` stays, since another relay has acknowledged the submission meanwhile.
    """
    if not refused:
        return
    first = sorted(submission.message_ids[0] for submission in refused)
    query = select(messages.c.id, messages.c.stored_at).where(messages.c.id.in_(first)).with_for_update()
    stored_at = {row.id: row.stored_at for row in connection.execute(query)}
    mine = [each.message_ids for each in refused if stored_at.get(each.message_ids[0]) in each.tried_at]
    forget(connection, list(itertools.chain.from_iterable(mine)))


def forget(connection: Connection, message_ids: Sequence[int], *, contents_too: bool = True) -> None:
    """Removes all rows of messages, whatever their state. The contents are left when `contents_too` is false, because a
    damaged one cannot be removed.
    """
    if not message_ids:
        return
    of_them = select(deliveries.c.id).where(deliveries.c.message_id.in_(message_ids))
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(of_them)))
    connection.execute(delete(deliveries).where(deliveries.c.message_id.in_(message_ids)))
    connection.execute(delete(events).where(events.c.message_id.in_(message_ids)))
    if contents_too:
        connection.execute(delete(contents).where(contents.c.message_id.in_(message_ids)))
    connection.execute(delete(messages).where(messages.c.id.in_(message_ids)))
