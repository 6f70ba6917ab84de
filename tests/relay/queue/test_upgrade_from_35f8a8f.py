"""Upgrade of a queue that commit 35f8a8f wrote: its mail is delivered, and its history is still shown.

The rows were written by the code of that commit: one delivered message, and one with two recipients that waits for its
next attempt. The rows are the same on SQLite and PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, MetaData, inspect, text

from services.relay.clock import MICROSECONDS
from services.relay.model.states import State
from services.relay.queue.database import SCHEMA, Connection, open_database
from tests.relay.whole_relay import HandClock, WholeRelay

DATA = Path(__file__).parents[1] / "data" / "35f8a8f_queue.json"
# The last revision of the schema at that commit.
REVISION = "0003"
# Tables to which other tables refer come first.
TABLES = ("identifiers", "destinations", "messages", "contents", "deliveries", "attempts")


def restore(connection: Connection, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Replaces the present schema by the schema of that commit with its rows."""
    present = MetaData()
    present.reflect(connection)
    present.drop_all(connection)
    SCHEMA.upgrade(connection, REVISION)
    assert set(tables) == set(TABLES)
    for table in TABLES:
        kinds = {column["name"]: column["type"] for column in inspect(connection).get_columns(table)}
        connection.execute(text(f"DELETE FROM {table}"))
        for row in tables[table]:
            assert row.keys() <= kinds.keys()
            names = ", ".join(f'"{name}"' for name in row)
            statement = f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in row)})"
            connection.execute(text(statement), {name: value_of(kinds[name], value) for name, value in row.items()})


def value_of(kind: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    return bool(value) if isinstance(kind, Boolean) and value is not None else value


async def test_queued_mail_is_delivered_and_history_stays(empty_database_url: str, tmp_path: Path) -> None:
    tables = json.loads(await asyncio.to_thread(DATA.read_text))
    opened = open_database(empty_database_url)
    await opened.open()
    await opened.write(lambda connection: restore(connection, tables))
    await opened.close()
    delivered, waiting = sorted(tables["messages"], key=lambda row: int(row["id"]))
    clock = HandClock()
    due_at = max(row["due_at"] for row in tables["deliveries"] if row["due_at"])
    clock.jump(1 + due_at / MICROSECONDS - time.time())
    async with WholeRelay(empty_database_url, tmp_path, clock=clock) as relay:
        await relay.after(0)
        # There may be one transaction or two: a delivery that was leased when the old relay ended is claimed
        # separately.
        both = b"later@two.test", b"also@two.test"
        await relay.transport.until(lambda: all(relay.transport.to(recipient) for recipient in both))
        await relay.committed()
        queue_id = f"{waiting['id']:X}"
        assert await relay.states(queue_id) == dict.fromkeys(both, State.DELIVERED)
        (content,) = tables["contents"]
        assert {each.content for each in relay.transport.ended} == {bytes.fromhex(content["content"]["hex"])}
        message = await relay.message(f"{delivered['id']:X}")
        assert message.deliveries[0].last_reply == "250 2.0.0 Ok"
        ack = await relay.submit(b"new@three.test")
        await relay.transport.until(lambda: bool(relay.transport.to(b"new@three.test")))
        assert int(ack.queue_id, 16) > waiting["id"], "new numbers continue after the old ones"
