"""Releases can run side by side. Within a generation of the schema, an older relay works on a newer database."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from libs.runtime.database import VERSION_TABLE, generation
from libs.runtime.lifecycle import StartupError
from services.relay.queue.database import (
    SCHEMA,
    Connection,
    Database,
    PostgresqlDatabase,
    UnavailableError,
    open_database,
)
from tests.peers.postgres import Postgres
from tests.relay.queue.test_migrations import as_first
from tests.relay.whole_relay import WholeRelay


def newer(revision: str) -> str:
    """Returns statements that a later release's migration may run: a new table, and columns that an INSERT may omit."""
    return f"""
        CREATE TABLE later_invention (id BIGINT PRIMARY KEY, note TEXT);
        ALTER TABLE messages ADD COLUMN later_fact TEXT;
        ALTER TABLE deliveries ADD COLUMN later_count INTEGER NOT NULL DEFAULT 0;
        UPDATE {VERSION_TABLE} SET version_num = '{revision}'
    """


async def migrate(database: Database, revision: str) -> None:
    """Migrates the database while relays work on it, as a later release does."""

    def run(connection: Connection) -> None:
        for statement in newer(revision).split(";"):
            connection.execute(text(statement))

    for _ in range(20):
        # When the migration and a relay's transaction deadlock, PostgreSQL may abort the migration.
        with contextlib.suppress(UnavailableError):
            await database.write(run)
            return
    raise AssertionError("the migration failed 20 times")


async def test_a_running_relay_continues_while_a_newer_release_migrates(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        await relay.submit(b"u@one.test")
        await relay.settled(1)
        await migrate(relay.database, "0099")
        await relay.submit(b"u@two.test")
        await relay.settled(2)
        assert await relay.rows("SELECT count(*) FROM messages WHERE later_fact IS NOT NULL") == [(0,)]


async def test_an_older_relay_starts_with_a_schema_that_only_has_additions(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        await migrate(relay.database, "0099")
    async with WholeRelay(database_url, tmp_path) as older:
        ack = await older.submit(b"u@one.test")
        await older.settled(1)
        assert ack.queue_id
        assert await older.rows(f"SELECT version_num FROM {VERSION_TABLE}") == [("0099",)], (
            "the older relay does not change the schema's version"
        )


async def test_f16_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "photos.sqlite3"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    before = file.read_bytes()
    database = open_database(f"sqlite:///{file}")
    with pytest.raises(StartupError, match="RELAY_DATABASE_URL names a file with the tables of another program"):
        await database.open()
    await database.close()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("photos",)]
    assert len(before) == file.stat().st_size


async def test_a_newer_generation_is_refused(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        await migrate(relay.database, "0101")
    older = open_database(database_url)
    with pytest.raises(StartupError, match=r"newer release \(schema 0101"):
        await older.open()
    await older.close()


async def test_a_migration_waits_for_working_relays_in_short_steps(
    postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.relay.queue.database._LOCK_MILLISECONDS", 50)
    monkeypatch.setattr("services.relay.queue.database._MIGRATION_TRIES", 10_000)
    working, upgrading = open_database(postgres_url), open_database(postgres_url)
    await working.open()

    await working.write(as_first)
    assert isinstance(working, PostgresqlDatabase)
    async with working._engine.begin() as transaction:
        await transaction.execute(text("SELECT count(*) FROM messages"))
        migrating = asyncio.create_task(upgrading.open())
        async with asyncio.timeout(60):
            while "ALTER" not in await asyncio.to_thread(
                postgres.query, "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            ):
                assert not migrating.done()
        # A query of the working relay does not wait long behind the migration's lock.
        await working.read(lambda connection: connection.execute(text("SELECT count(*) FROM messages")))
    await migrating
    assert (
        await upgrading.read(
            lambda connection: connection.execute(text("SELECT traceparent, may_relay FROM messages")).all()
        )
        == []
    )
    await working.close()
    await upgrading.close()


Columns = dict[str, dict[str, str]]


def columns(connection: Connection) -> Columns:
    """Returns the type of each column of each table, and whether an INSERT must give it a value."""
    found = inspect(connection)
    return {
        table: {
            each["name"]: f"{each['type']}{'' if each['nullable'] or each['default'] is not None else ', needed'}"
            for each in found.get_columns(table)
        }
        for table in found.get_table_names()
    }


def test_migrations_within_a_generation_only_add(tmp_path: Path) -> None:
    """Rolling upgrades rely on this rule."""
    engine = create_engine(f"sqlite:///{tmp_path / 'queue.sqlite3'}")
    revisions = [script.revision for script in SCHEMA.scripts().walk_revisions()][::-1]
    assert revisions == sorted(revisions)
    assert all(len(revision) == 4 and revision.isdigit() for revision in revisions)
    with engine.connect() as connection:
        before: Columns = {}
        previous = ""
        for revision in revisions:
            SCHEMA.upgrade(connection, revision)
            after = columns(connection)
            if previous and generation(previous) == generation(revision):
                for table, had in before.items():
                    assert had.items() <= after[table].items(), f"{revision} changes or removes a column of {table}"
                    added = {name: after[table][name] for name in after[table].keys() - had}
                    assert not [name for name, kind in added.items() if kind.endswith("needed")], revision
            before, previous = after, revision
    engine.dispose()
