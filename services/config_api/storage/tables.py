"""The tables that config_api owns (SQLAlchemy Core). The migrations make the tables, and a test compares both
definitions.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

# This table has one row: the number of the newest revision. Every writer of a revision locks this row first, so that
# revisions become visible in the order of their numbers.
head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", BigInteger, nullable=False),
)

# All configured objects except listed recipients, and a few documents of the service itself. `body` has the members as
# JSON, with secrets encrypted or hashed.
documents = Table(
    "documents",
    metadata,
    Column("kind", String(64), primary_key=True),
    # In collections the id is a UUIDv7, so the order of ids is that of creation.
    Column("id", String(64), primary_key=True),
    Column("body", Text, nullable=False),
    # The number of the revision that last wrote the object, which is its ETag.
    Column("version", BigInteger, nullable=False),
    # Times are in microseconds since 1970, also in the other tables.
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("documents_by_update", "kind", "updated_at"),
)

# The values that only one object may have. `value` is in canonical form.
unique_keys = Table(
    "unique_keys",
    metadata,
    Column("scope", String(64), primary_key=True),
    Column("value", String(1024), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("document_id", String(64), nullable=False),
    Index("unique_keys_by_document", "kind", "document_id"),
)

# The values of objects by which lists are filtered.
terms = Table(
    "terms",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("field", String(64), primary_key=True),
    Column("value", String(1024), primary_key=True),
    Column("document_id", String(64), primary_key=True),
    Index("terms_by_document", "kind", "document_id"),
)

# The listed recipients: the addresses that exist in domains whose recipients are listed. There may be a million.
recipients = Table(
    "recipients",
    metadata,
    Column("id", String(64), primary_key=True),
    # The address without regard to case. It is unique.
    Column("key", String(1024), nullable=False),
    Column("domain", String(255), nullable=False),
    # The bucket of the snapshot (libs/smtp/address_set.py).
    Column("bucket", Integer, nullable=False),
    Column("address", String(1024), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("recipients_by_key", "key", unique=True),
    Index("recipients_by_domain", "domain", "id"),
    Index("recipients_by_bucket", "bucket", "key"),
)

# The numbers of the buckets of recipients that a revision changed, in 16 bits each.
recipient_changes = Table(
    "recipient_changes",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("buckets", LargeBinary, nullable=False),
)

revisions = Table(
    "revisions",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("created_at", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(64), nullable=False),
    Column("summary", String(500), nullable=False),
    Column("actor_id", String(64)),
)

# The changes of a revision: each changed object before and after the revision. NULL means that the object did not
# exist.
changes = Table(
    "changes",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(64), primary_key=True),
    Column("document_id", String(64), primary_key=True),
    Column("before", Text),
    Column("after", Text),
    Index("changes_by_document", "kind", "document_id", "revision"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    Column("client_address", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(300), nullable=False),
    Column("status", Integer, nullable=False),
    # The code of the problem with which the call was refused.
    Column("problem", String(64), nullable=False),
    Column("revision", BigInteger),
    Column("request_id", String(64), nullable=False),
    # The id of the API key. It is NULL without a valid key, for changes by the service itself, and in entries that are
    # older than this column.
    Column("actor_id", String(64)),
    Index("audit_log_by_actor", "actor", "id"),
    Index("audit_log_by_actor_id", "actor_id", "id"),
    Index("audit_log_by_action", "action", "id"),
    Index("audit_log_by_target", "target", "id"),
    Index("audit_log_by_request", "request_id"),
)

# The answers to POST requests with an Idempotency-Key, which are stored for a day. `actor` is the id of the caller's
# API key.
idempotency = Table(
    "idempotency",
    metadata,
    Column("actor", String(200), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", LargeBinary(32), nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("idempotency_by_age", "created_at"),
)

rule_hits = Table(
    "rule_hits",
    metadata,
    Column("rule_id", String(64), primary_key=True),
    Column("hits", BigInteger, nullable=False),
    Column("last_hit_at", BigInteger),
)

# The ids of reports about hits that were already counted. They are stored for a day.
hit_reports = Table(
    "hit_reports",
    metadata,
    Column("report_id", String(128), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Index("hit_reports_by_age", "created_at"),
)

key_uses = Table(
    "key_uses",
    metadata,
    Column("key_id", String(64), primary_key=True),
    Column("last_used_at", BigInteger, nullable=False),
)

# The config_api processes that share the database, and the replicas of policy and relay that watch them. A row is valid
# while its holder renews it.
replicas = Table(
    "replicas",
    metadata,
    # The config_api process that renews the row.
    Column("holder", String(200), primary_key=True),
    Column("service", String(32), primary_key=True),
    Column("name", String(200), primary_key=True),
    # The gRPC address of a config_api process. It is empty for other services.
    Column("address", String(300), nullable=False),
    Column("transport", String(32), nullable=False),
    Column("version", String(64), nullable=False),
    # The revision in force at the replica.
    Column("revision", BigInteger, nullable=False),
    # The time of the last renewal, by the clock of the database.
    Column("seen_at", BigInteger, nullable=False),
)

# The state of each webhook: the event up to which all wanted events were accepted, the time from which the failures of
# its oldest event count, the replica that serves the webhook, and the end of the replica's lease. The times of leases
# are by the clock of the database.
webhook_states = Table(
    "webhook_states",
    metadata,
    Column("webhook_id", String(64), primary_key=True),
    Column("cursor", String(100), nullable=False),
    Column("failing_since", BigInteger),
    Column("lease_owner", String(64), nullable=False),
    Column("lease_until", BigInteger, nullable=False),
)

# The newest events that were sent to a webhook, each with its last attempt, but without the body.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("webhook_id", String(64), primary_key=True),
    Column("event_id", String(100), primary_key=True),
    Column("event", String(32), nullable=False),
    Column("queue_id", String(64), nullable=False),
    # The state is delivered or failing.
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_attempt_at", BigInteger, nullable=False),
    # NULL means that there was no complete answer. In this case `error` gives the reason.
    Column("http_status", Integer),
    Column("error", String(200), nullable=False),
    Column("took_us", BigInteger, nullable=False),
    Index("webhook_deliveries_newest", "webhook_id", "last_attempt_at", "event_id"),
)
