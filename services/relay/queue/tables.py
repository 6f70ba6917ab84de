"""The queue's tables. Times are microseconds since 1970 (UTC), in integers.

The indexes for claiming, sweeping and listing the queue contain no finished messages, so finished messages cost nothing
there. The indexes for claiming contain no leased deliveries either.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    and_,
    literal_column,
    text,
)

Identifier = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

messages = Table(
    "messages",
    metadata,
    Column("id", Identifier, primary_key=True, autoincrement=False),
    # The id of the submission. It is NULL for messages that relay made itself, and for refusals.
    Column("submission_id", String(64)),
    Column("kind", SmallInteger, nullable=False),
    Column("sender", LargeBinary, nullable=False),
    Column("sender_domain", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("stored_at", BigInteger, nullable=False),
    # The time of the next work that time alone makes due: a delay notice or the expiry. NULL means none.
    Column("sweep_at", BigInteger),
    Column("delay_noticed", Boolean, nullable=False),
    # The number of unfinished deliveries.
    Column("open", Integer, nullable=False),
    Column("finished_at", BigInteger),
    Column("ret", String(8), nullable=False),
    Column("envelope_id", LargeBinary, nullable=False),
    Column("smtputf8", Boolean, nullable=False),
    Column("body_8bitmime", Boolean, nullable=False),
    Column("quarantine", Boolean, nullable=False),
    Column("session_id", String(64), nullable=False),
    Column("client_address", String(64), nullable=False),
    Column("helo_name", LargeBinary, nullable=False),
    Column("account_login", Text, nullable=False),
    Column("listener", String(16), nullable=False),
    Column("tls", Boolean, nullable=False),
    # For REFUSED: the reply and the rule, as JSON.
    Column("refusal", Text),
    # The trace that every attempt joins (W3C traceparent). NULL means none.
    Column("traceparent", String(55)),
    # Whether the session may send to any domain. NULL means unknown, which is treated as no.
    Column("may_relay", Boolean),
    # For refusals only: the number of the change that recorded it, for readers of events (queue/change_numbers.py).
    Column("change_number", BigInteger),
    # The Message-ID without angle brackets, and its key in the index (model/message_id.py). NULL means that there is
    # none, or that an older release stored the message.
    Column("message_id", Text),
    Column("message_id_key", BigInteger),
    # The subject. It is NULL when there is none, or when the setting keep_subjects was off.
    Column("subject", Text),
    # The verdicts of the session in which a rule matched, as JSON (queue/verdicts.py). NULL means none.
    Column("verdicts", Text),
)
Index("messages_submission", messages.c.submission_id, unique=True)
_IS_OPEN = text("open > 0")
Index("messages_queued", messages.c.stored_at, messages.c.id, sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN)
Index("messages_sweep", messages.c.sweep_at, sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN)
# The same condition for queries. SQLite uses a partial index only where the query states its condition literally, not
# with a parameter.
HAS_OPEN_DELIVERIES: ColumnElement[bool] = literal_column("messages.open > 0")
_IS_FINISHED = text("finished_at IS NOT NULL")
Index(
    "messages_finished",
    messages.c.finished_at,
    messages.c.id,
    sqlite_where=_IS_FINISHED,
    postgresql_where=_IS_FINISHED,
)
_HAS_MESSAGE_ID = text("message_id_key IS NOT NULL")
Index(
    "messages_message_id",
    messages.c.message_id_key,
    sqlite_where=_HAS_MESSAGE_ID,
    postgresql_where=_HAS_MESSAGE_ID,
)
Index("messages_received", messages.c.received_at, messages.c.id)

contents = Table(
    "contents",
    metadata,
    Column("message_id", Identifier, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Identifier, primary_key=True, autoincrement=False),
    Column("message_id", BigInteger, nullable=False),
    Column("recipient", LargeBinary, nullable=False),
    Column("recipient_domain", Text, nullable=False),
    # The recipient as submitted, if an alias, a role or an operator replaced it; otherwise empty.
    Column("submitted_recipient", LargeBinary, nullable=False),
    # RFC 3461: NOTIFY values, comma-separated, and ORCPT as received.
    Column("notify", String(32), nullable=False),
    Column("orcpt", LargeBinary, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("destination", Text, nullable=False),
    # The time at which the delivery is due. NULL means that it is held or finished.
    Column("due_at", BigInteger),
    # The worker that has leased the delivery, to try it now or soon. No other worker changes it in this time.
    Column("lease_owner", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("possible_duplicate", Boolean, nullable=False),
    Column("finished_at", BigInteger),
    # The last attempt, as JSON. The earlier attempts are in `attempts`.
    Column("last_attempt", Text),
    Column("last_reply", Text, nullable=False),
    # The source that the message counts against (`source_of`). It is empty when a release without sources stored it.
    Column("source", Text, nullable=False, server_default=""),
    # The number of the change in which an attempt or the intake finished the delivery. NULL when another event records
    # its end.
    Column("change_number", BigInteger),
    # The next hop to which an operator redirected the delivery, as JSON (model/redirect.py). NULL means that the
    # configuration decides.
    Column("next_hop", Text),
)
Index("deliveries_message", deliveries.c.message_id)
_IS_WAITING = text("lease_owner IS NULL AND state <= 3")
Index(
    "deliveries_waiting_of_source",
    deliveries.c.destination,
    deliveries.c.source,
    deliveries.c.due_at,
    sqlite_where=_IS_WAITING,
    postgresql_where=_IS_WAITING,
)
# The same condition for queries.
WAITING: ColumnElement[bool] = and_(deliveries.c.lease_owner.is_(None), literal_column("deliveries.state <= 3"))
_IS_LEASED = text("lease_owner IS NOT NULL")
Index("deliveries_leased", deliveries.c.lease_owner, sqlite_where=_IS_LEASED, postgresql_where=_IS_LEASED)

attempts = Table(
    "attempts",
    metadata,
    Column("delivery_id", BigInteger, primary_key=True, autoincrement=False),
    Column("started_at", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Text, nullable=False),
    Column("change_number", BigInteger),
)

events = Table(
    "events",
    metadata,
    Column("id", Identifier, primary_key=True, autoincrement=False),
    Column("message_id", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("event", String(32), nullable=False),
    Column("recipient", LargeBinary, nullable=False),
    Column("detail", Text, nullable=False),
    Column("actor", Text, nullable=False),
    # The number of the change. It is NULL for events that are shown in timelines only.
    Column("change_number", BigInteger),
)
Index("events_message", events.c.message_id)

# The tables whose rows may be events for readers. Each has the column by which its rows of the same change are told
# apart.
NUMBERED: dict[Table, Column[int]] = {
    messages: messages.c.id,
    deliveries: deliveries.c.id,
    attempts: attempts.c.delivery_id,
    events: events.c.id,
}
_HAS_NUMBER = text("change_number IS NOT NULL")
for _table, _identifier in NUMBERED.items():
    Index(
        f"{_table.name}_changed",
        _table.c.change_number,
        _identifier,
        sqlite_where=_HAS_NUMBER,
        postgresql_where=_HAS_NUMBER,
    )

destinations = Table(
    "destinations",
    metadata,
    Column("name", Text, primary_key=True),
    # The time at which relay must check whether a delivery is due. NULL means that nothing waits, or that the
    # destination is suspended until an operator resumes it.
    Column("wake_at", BigInteger),
    # NULL means that the destination is not suspended.
    Column("suspended_until", BigInteger),
    Column("suspended_by", Text, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("last_error_at", BigInteger),
)
_IS_AWAITED = text("wake_at IS NOT NULL")
Index("destinations_wake", destinations.c.wake_at, sqlite_where=_IS_AWAITED, postgresql_where=_IS_AWAITED)

# The sources that have mail for a destination waiting in the database, each with the first time at which some of it is
# due.
waiting_sources = Table(
    "waiting_sources",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("wake_at", BigInteger, nullable=False),
)
Index("waiting_sources_wake", waiting_sources.c.destination, waiting_sources.c.wake_at)
Index("waiting_sources_source", waiting_sources.c.source, waiting_sources.c.wake_at)

# The processes that have leases. A process whose `beat` does not change counts as dead, by the steady clock of each
# other process.
workers = Table(
    "workers",
    metadata,
    Column("id", Identifier, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("renewed_at", BigInteger, nullable=False),
    # The time at which its leases end unless they are renewed. It is only for people who read the table.
    Column("lease_until", BigInteger, nullable=False),
)

# The answers of mailbox servers about recipients, for domains whose recipients are verified.
recipient_answers = Table(
    "recipient_answers",
    metadata,
    # The recipient, compared without case (`configuration.model.key_of`).
    Column("recipient", LargeBinary, primary_key=True),
    Column("is_there", Boolean, nullable=False),
    Column("answered_at", BigInteger, nullable=False),
    # The last time at which the server accepted mail for it. NULL means never, or that the server has refused it since.
    Column("known_good_at", BigInteger),
)
Index("recipient_answers_by_age", recipient_answers.c.answered_at)

# For each client and minute (since 1970), the number of its recipients about which a mailbox server had to be asked.
recipient_questions = Table(
    "recipient_questions",
    metadata,
    Column("client", String(64), primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("questions", Integer, nullable=False),
)

# The counts of each kind in each five minutes (queue/statistics.py).
statistics = Table(
    "statistics",
    metadata,
    Column("starts_at", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), primary_key=True),
    Column("reason_id", String(64), primary_key=True),
    Column("rule_id", String(64), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

# The messages that were sent to a destination in a minute (since 1970), for destinations with a limit.
message_counts = Table(
    "message_counts",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("messages", Integer, nullable=False),
)

# Ids are given out in blocks, so that no clock and no replica can cause the same id twice.
identifiers = Table(
    "identifiers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),
)
