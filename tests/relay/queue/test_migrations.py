"""The queue's schema is migrated while mail is stored in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sqlalchemy import text

from libs.runtime.database import VERSION_TABLE
from services.relay.model.message import NewMessage, Origin
from services.relay.model.message_id import index_key
from services.relay.queue.claiming import Claim, ClaimLimits, claim
from services.relay.queue.database import SCHEMA, Connection, open_database
from services.relay.queue.filters import MessageFilter
from services.relay.queue.reading import message_page
from services.relay.queue.storing import store
from tests.relay.queue.test_claiming import NOW, SECOND, waiting

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def traced(message: NewMessage) -> NewMessage:
    """Changes the message so that it belongs to a trace and comes from a session that may send anywhere. Returns it."""
    object.__setattr__(message, "traceparent", PARENT)
    object.__setattr__(message, "origin", Origin(may_relay=True))
    return message


def as_first(connection: Connection) -> None:
    """Brings the schema back to the state after its first migration."""
    for statement in (
        "ALTER TABLE deliveries DROP COLUMN next_hop",
        "DROP TABLE message_counts",
        "DROP TABLE recipient_answers",
        "DROP TABLE recipient_questions",
        *(
            statement
            for table in ("messages", "deliveries", "attempts", "events")
            for statement in (f"DROP INDEX {table}_changed", f"ALTER TABLE {table} DROP COLUMN change_number")
        ),
        "DELETE FROM identifiers WHERE id = 2",
        "DROP INDEX deliveries_waiting_of_source",
        "DROP TABLE waiting_sources",
        "ALTER TABLE deliveries DROP COLUMN source",
        "CREATE INDEX deliveries_waiting ON deliveries (destination, due_at) WHERE lease_owner IS NULL AND state <= 3",
        "ALTER TABLE messages DROP COLUMN traceparent",
        "ALTER TABLE messages DROP COLUMN may_relay",
        "DROP INDEX messages_received",
        "DROP INDEX messages_message_id",
        "DROP TABLE statistics",
        *(
            f"ALTER TABLE messages DROP COLUMN {name}"
            for name in ("message_id", "message_id_key", "subject", "verdicts")
        ),
        f"UPDATE {VERSION_TABLE} SET version_num = '0001'",
    ):
        connection.execute(text(statement))


async def test_mail_stored_before_a_migration_is_claimed_after_it(empty_database_url: str, tmp_path: Path) -> None:
    """Columns that were added later are NULL in rows that were stored earlier, or by an earlier release."""
    opened = open_database(empty_database_url)
    await opened.open()
    try:

        def as_before(connection: Connection) -> None:
            store(connection, [waiting(1, "domain:a.test", leased=False)], 0, NOW)
            as_first(connection)

        def upgraded(connection: Connection) -> Claim:
            SCHEMA.upgrade(connection)
            store(connection, [traced(waiting(2, "domain:b.test", leased=False))], 0, NOW)
            return claim(connection, 7, NOW + SECOND, ClaimLimits(10), 5 * SECOND)

        await opened.write(as_before)
        found = await opened.write(upgraded)
    finally:
        await opened.close()
    later = {message.id: (message.traceparent, message.may_relay) for _, message, _ in found.jobs}
    assert later == {1: ("", False), 2: (PARENT, True)}


async def test_message_ids_stored_before_a_migration_are_found_after_it(empty_database_url: str) -> None:
    """The old index keys began with the hour in which a message was received."""
    opened = open_database(empty_database_url)
    await opened.open()
    wanted = MessageFilter(message_id="1@a.test")
    number = 5_000_000

    def as_before(connection: Connection) -> None:
        message = replace(waiting(number, "domain:a.test"), content=b"Message-ID: <1@a.test>\r\n\r\n")
        store(connection, [message], 0, NOW)
        of_the_hour = (NOW // (3600 * SECOND) << 32) | (index_key("1@a.test", number) & (2**32 - 1))
        connection.execute(text(f"UPDATE messages SET message_id_key = {of_the_hour}"))
        assert not message_page(connection, wanted, 10, None, NOW).messages
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0009'"))

    def upgraded(connection: Connection) -> list[int]:
        SCHEMA.upgrade(connection)
        return [message.row.id for message in message_page(connection, wanted, 10, None, NOW).messages]

    try:
        await opened.write(as_before)
        assert await opened.write(upgraded) == [number]
    finally:
        await opened.close()
