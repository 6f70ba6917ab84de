"""The queue's tables and the states in them. Times are microseconds since 1970 (UTC), in integers.

What an index leaves out matters as much as what it holds: a finished message costs nothing in any index that claiming,
sweeping or listing the queue looks at, and a leased delivery is in none that claiming looks at.
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
    # NULL for what relay made itself, and for refusals.
    Column("submission_id", String(64)),
    Column("kind", SmallInteger, nullable=False),
    Column("sender", LargeBinary, nullable=False),
    Column("sender_domain", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("stored_at", BigInteger, nullable=False),
    # When time alone makes something due: a delay notice or the expiry. NULL: nothing.
    Column("sweep_at", BigInteger),
    Column("delay_noticed", Boolean, nullable=False),
    # Deliveries that are not finished.
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
    # REFUSED: the reply and the rule, as JSON.
    Column("refusal", Text),
    # The trace that every attempt joins (W3C traceparent). NULL: none.
    Column("traceparent", String(55)),
    # Whether its session may send to any domain. NULL: not known, as no.
    Column("may_relay", Boolean),
    # Refusals alone: the number of the change that recorded it, for readers of events (queue/change_numbers.py).
    Column("change_number", BigInteger),
    # Without angle brackets, and its key in the index (model/message_id.py). NULL: none, or stored by an older release.
    Column("message_id", Text),
    Column("message_id_key", BigInteger),
    # NULL: the setting keep_subjects was off.
    Column("subject", Text),
    # Verdicts of the session in which a rule matched, as JSON (queue/verdicts.py). NULL: none.
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
    # The recipient as submitted, when an alias, a role or an operator replaced it; else empty.
    Column("submitted_recipient", LargeBinary, nullable=False),
    # RFC 3461: NOTIFY values, comma-separated, and ORCPT as received.
    Column("notify", String(32), nullable=False),
    Column("orcpt", LargeBinary, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("destination", Text, nullable=False),
    # When the delivery is due. NULL: it is held or finished.
    Column("due_at", BigInteger),
    # The worker that tries it now; nobody else touches it meanwhile.
    Column("lease_owner", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("possible_duplicate", Boolean, nullable=False),
    Column("finished_at", BigInteger),
    # The last attempt as JSON; those before it are in `attempts`.
    Column("last_attempt", Text),
    Column("last_reply", Text, nullable=False),
    # The source that the message counts against (`source_of`). Empty: stored by a release without sources.
    Column("source", Text, nullable=False, server_default=""),
    # The number of the change in which an attempt or the intake finished it. NULL where another event tells of the end.
    Column("change_number", BigInteger),
    # The next hop that an operator redirected it to, as JSON (model/redirect.py). NULL: the configuration decides.
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
    # NULL for what is shown in timelines alone.
    Column("change_number", BigInteger),
)
Index("events_message", events.c.message_id)

# Tables whose rows may be events for readers, each with what tells its rows of one change apart.
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
    # When somebody should look whether a delivery is due. NULL: nothing waits.
    Column("wake_at", BigInteger),
    # NULL: not suspended.
    Column("suspended_until", BigInteger),
    Column("suspended_by", Text, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("last_error_at", BigInteger),
)
_IS_AWAITED = text("wake_at IS NOT NULL")
Index("destinations_wake", destinations.c.wake_at, sqlite_where=_IS_AWAITED, postgresql_where=_IS_AWAITED)

# Sources that have mail for a destination waiting here, each with the first time at which some of it is due.
waiting_sources = Table(
    "waiting_sources",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("wake_at", BigInteger, nullable=False),
)
Index("waiting_sources_wake", waiting_sources.c.destination, waiting_sources.c.wake_at)
Index("waiting_sources_source", waiting_sources.c.source, waiting_sources.c.wake_at)

# Processes that hold leases. Whose `beat` stands still is dead, by everybody's own steady clock.
workers = Table(
    "workers",
    metadata,
    Column("id", Identifier, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("renewed_at", BigInteger, nullable=False),
    # When its leases end unless it renews them; for people to read.
    Column("lease_until", BigInteger, nullable=False),
)

# Answers of mailbox servers about recipients of domains whose recipients are verified.
recipient_answers = Table(
    "recipient_answers",
    metadata,
    # Without regard to case (`configuration.model.key_of`).
    Column("recipient", LargeBinary, primary_key=True),
    Column("is_there", Boolean, nullable=False),
    Column("answered_at", BigInteger, nullable=False),
    # When the server last took mail for it. NULL: never, or it has refused it since.
    Column("known_good_at", BigInteger),
)
Index("recipient_answers_by_age", recipient_answers.c.answered_at)

# By client and minute (since 1970), the number of its recipients that a mailbox server had to be asked about.
recipient_questions = Table(
    "recipient_questions",
    metadata,
    Column("client", String(64), primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("questions", Integer, nullable=False),
)

# How much of each kind happened in each five minutes (queue/statistics.py).
statistics = Table(
    "statistics",
    metadata,
    Column("starts_at", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), primary_key=True),
    Column("reason_id", String(64), primary_key=True),
    Column("rule_id", String(64), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

# Messages that were sent to a destination in a minute since 1970, where their number is limited.
message_counts = Table(
    "message_counts",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("messages", Integer, nullable=False),
)

# Identifiers are handed out in blocks, so that no clock and no replica can make one twice.
identifiers = Table(
    "identifiers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),
)
