"""Group commit when the database fails: each acknowledged message is stored, a refused message stays only if another
relay acknowledged it, and no outcome is lost.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import text

from services.relay.configuration.model import Configuration
from services.relay.intake.intake import Result
from services.relay.intake.submission import Frame
from services.relay.model.message import NewMessage
from services.relay.model.states import Kind, State
from services.relay.queue import group_commit, leases
from services.relay.queue.database import Connection, UnavailableError, Work, open_database
from services.relay.queue.storing import store
from tests.peers.postgres import Postgres
from tests.relay.scripted_transport import ScriptedTransport, deferred
from tests.relay.whole_relay import WholeRelay, incoming_of

T = TypeVar("T")


class BreakingCommits:
    """Replaces the database of the committer. It does the work, and then reports that the connection broke."""

    def __init__(self, relay: WholeRelay, times: int) -> None:
        self._write = relay.database.write
        self.exclusive = relay.database.exclusive
        self.left = times
        self.broken = asyncio.Event()
        relay.relay.committer._database = self  # type: ignore[assignment]

    async def write(self, work: Work[T]) -> T:
        result = await self._write(work)
        if self.left > 0:
            self.left -= 1
            self.broken.set()
            raise UnavailableError("connection lost in COMMIT")
        return result


async def test_a_commit_whose_answer_was_lost_is_found_again(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        BreakingCommits(relay, 1)
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        assert ack.result is Result.STORED
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.DELIVERED}
        assert len(relay.transport.begun) == 1
        assert await relay.rows("SELECT count(*) FROM messages") == [(1,)]


async def test_a_refused_submission_that_was_stored_is_removed(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        BreakingCommits(relay, 1)
        relay.clock.steady_seconds -= 60
        relay.stream.feed(Frame((incoming_of([b"u@one.test"]),), (), (), ()))
        relay.clock.steady_seconds += 60
        (ack,) = await relay.acks(1)
        assert ack.result is Result.TEMPORARY_FAILURE
        await relay.committed()
        assert await relay.rows("SELECT count(*) FROM messages") == [(0,)]
        assert await relay.rows("SELECT count(*) FROM deliveries") == [(0,)]
        assert await relay.rows("SELECT count(*) FROM contents") == [(0,)]
        assert relay.transport.begun == []
        assert (relay.relay.memory.deliveries, relay.relay.memory.octets) == (0, 0)


class FoundByAnother(BreakingCommits):
    """In addition, another relay stores the same submission before the answer of the commit is lost. This happens when
    the stream to the first relay breaks.
    """

    def __init__(self, relay: WholeRelay) -> None:
        super().__init__(relay, 1)
        self._clock = relay.clock
        self.acknowledged: dict[str, int] = {}

    async def write(self, work: Work[T]) -> T:
        def with_other(connection: Connection) -> T:
            result = work(connection)
            submissions = connection.execute(text("SELECT id, submission_id FROM messages")).all()
            again = [
                NewMessage(row.id + 10**6, Kind.MAIL, b"", b"", 0, (), submission_id=row.submission_id)
                for row in submissions
            ]
            self.acknowledged |= store(connection, again, 1, self._clock.now())
            return result

        return await super().write(with_other if self.left else work)


async def test_a_refused_submission_that_another_relay_acknowledged_stays(postgres_url: str, tmp_path: Path) -> None:
    async with WholeRelay(postgres_url, tmp_path) as relay:
        other = FoundByAnother(relay)
        relay.clock.steady_seconds -= 60
        relay.stream.feed(Frame((incoming_of([b"u@one.test"]),), (), (), ()))
        relay.clock.steady_seconds += 60
        (ack,) = await relay.acks(1)
        assert ack.result is Result.TEMPORARY_FAILURE
        await relay.committed()
        assert await relay.rows("SELECT id FROM messages") == [(number,) for number in other.acknowledged.values()]
        assert await relay.rows("SELECT count(*) FROM deliveries") == [(1,)]
        assert await relay.rows("SELECT count(*) FROM contents") == [(1,)]


async def test_a_settlement_is_committed_with_the_next_submission(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "_ALONE_SECONDS", 3600)
    async with WholeRelay(database_url, tmp_path) as relay:
        first = await relay.submit(b"u@one.test")
        await relay.transport.until_ended(1)
        second = await relay.submit(b"v@one.test")
        assert await relay.states(first.queue_id) == {b"u@one.test": State.DELIVERED}
        await relay.transport.until_ended(2)
        monkeypatch.undo()
        await relay.submit(b"w@one.test")
        assert await relay.states(second.queue_id) == {b"v@one.test": State.DELIVERED}


async def test_settlements_alone_are_committed_too(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.DELIVERED}


async def test_submissions_of_many_sessions_wait_for_half_of_the_average_batch(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    gather = group_commit.Committer._gather

    def counted(committer: group_commit.Committer) -> group_commit._Batch:
        batch = gather(committer)
        sizes.append(len(batch.stores))
        return batch

    monkeypatch.setattr(group_commit, "_MAX_WAIT_SECONDS", 3600)
    monkeypatch.setattr(group_commit.Committer, "_gather", counted)
    async with WholeRelay(database_url, tmp_path) as relay:
        relay.stream.feed(Frame(tuple(incoming_of([b"u@one.test"]) for _ in range(5)), (), (), ()))
        await relay.acks(5)
        for _ in range(2):
            for _ in range(3):
                relay.stream.feed(Frame((incoming_of([b"v@one.test"]),), (), (), ()))
                await asyncio.sleep(0)
            assert {ack.result for ack in await relay.acks(3)} == {Result.STORED}
        await relay.settled(11)
    assert [size for size in sizes if size] == [5, 3, 3]


async def test_submissions_are_committed_when_no_others_arrive(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        relay.stream.feed(Frame(tuple(incoming_of([b"u%d@one.test" % number]) for number in range(9)), (), (), ()))
        await relay.acks(9)
        assert (await relay.submit(b"v@one.test")).result is Result.STORED


async def test_a_locked_sqlite_file_refuses_and_recovers(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    async with WholeRelay(f"sqlite:///{path}", tmp_path) as relay:
        await relay.database.write(lambda connection: _pragma(connection, "busy_timeout=20"))
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        relay.stream.feed(Frame((incoming_of([b"u@one.test"]),), (), (), ()))
        relay.clock.steady_seconds += 60
        (ack,) = await relay.acks(1)
        assert ack.result is Result.TEMPORARY_FAILURE
        assert "SQLITE_BUSY" in ack.reason
        assert "SQLITE_BUSY" in relay.relay.committer.unavailable_reason
        other.rollback()
        other.close()
        assert (await relay.submit(b"v@one.test")).result is Result.STORED
        await relay.settled(1)
        assert relay.relay.committer.unavailable_reason == ""
        assert await relay.rows("SELECT count(*) FROM messages") == [(1,)]


async def test_a_full_disk_refuses_with_its_own_result_and_recovers(tmp_path: Path) -> None:
    async with WholeRelay(f"sqlite:///{tmp_path / 'queue.sqlite3'}", tmp_path) as relay:
        pages = (await relay.rows("PRAGMA page_count"))[0][0]
        await relay.database.write(lambda connection: _pragma(connection, f"max_page_count={pages + 20}"))
        large = b"Subject: x\r\n\r\n" + b"y" * 500_000 + b"\r\n"
        ack = await relay.submit(b"u@one.test", content=large)
        assert ack.result is Result.INSUFFICIENT_STORAGE
        assert not relay.relay.storage.state.accepting
        await relay.database.write(lambda connection: _pragma(connection, "max_page_count=1073741823"))
        relay.clock.pass_time(30)
        relay.relay.storage.look()
        assert relay.relay.storage.state.accepting
        assert (await relay.submit(b"u@one.test", content=large)).result is Result.STORED
        await relay.settled(1)
        assert await relay.rows("SELECT count(*) FROM messages") == [(1,)]


async def test_outcomes_wait_for_the_database_and_are_not_tried_again(database_url: str, tmp_path: Path) -> None:
    gate = asyncio.Event()
    transport = ScriptedTransport({b"u@one.test": [deferred]}, gates={b"u@one.test": gate})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await transport.until_begun(1)
        failing = _Failing(relay)
        gate.set()
        async with asyncio.timeout(60):
            await failing.tried.wait()
        failing.end()
        await relay.committed()
        (row,) = (await relay.message(ack.queue_id)).deliveries
        assert (row.attempts, row.state, row.lease_owner) == (1, State.QUEUED, None)
        assert len(transport.begun) == 1


async def test_a_message_that_cannot_be_written_affects_no_other(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        good, bad, fine = (incoming_of([b"u%d@one.test" % number]) for number in range(3))
        # No database accepts these values in the columns.
        object.__setattr__(bad, "ret", b"\xff")
        object.__setattr__(bad, "received_at", 2**70)
        relay.stream.feed(Frame((good, bad, fine), (), (), ()))
        results = {ack.submission_id: ack.result for ack in await relay.acks(3)}
        assert results == {
            good.id: Result.STORED,
            bad.id: Result.TEMPORARY_FAILURE,
            fine.id: Result.STORED,
        }
        await relay.settled(2)
        assert await relay.rows("SELECT count(*) FROM messages") == [(2,)]


async def test_a_relay_that_was_declared_dead_continues_under_a_new_id(postgres_url: str, tmp_path: Path) -> None:
    gate = asyncio.Event()
    transport = ScriptedTransport(gates={b"old@one.test": gate})
    async with WholeRelay(postgres_url, tmp_path, transport=transport) as relay:
        old = relay.relay.holder.id
        first = await relay.submit(b"old@one.test")
        await transport.until_begun(1)

        def bury(connection: Connection) -> None:
            leases.unregister(connection, old)
            leases.free(connection, old, relay.clock.now())

        await relay.database.write(bury)
        second = await relay.submit(b"new@one.test")
        await transport.until(lambda: len(transport.to(b"new@one.test")) == 1)
        assert relay.relay.holder.id != old
        # Relay gave up the old attempt with its lease. It claimed the delivery again and marked it. Mail arrives once.
        gate.set()
        relay.relay.dispatcher.wake()
        await transport.until(lambda: len(transport.to(b"old@one.test")) == 1)
        await relay.committed()
        assert await relay.states(second.queue_id) == {b"new@one.test": State.DELIVERED}
        (row,) = (await relay.message(first.queue_id)).deliveries
        assert (row.state, row.possible_duplicate) == (State.DELIVERED, True)


async def test_postgresql_restarts_and_nothing_is_lost(postgres: Postgres, postgres_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    async with WholeRelay(postgres_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        await asyncio.to_thread(postgres.restart)
        assert (await relay.submit(b"v@one.test")).result is Result.STORED
        await relay.settled(2)
        assert (await relay.states(ack.queue_id)) == {b"u@one.test": State.QUEUED}


async def test_without_postgresql_submissions_are_refused_until_it_is_back(
    postgres: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    async with WholeRelay(postgres_url, tmp_path) as relay:
        await asyncio.to_thread(postgres.break_off)
        relay.stream.feed(Frame((incoming_of([b"u@one.test"]),), (), (), ()))
        relay.clock.steady_seconds += 60
        (ack,) = await relay.acks(1)
        assert ack.result is Result.TEMPORARY_FAILURE
        await asyncio.to_thread(postgres.start)
        assert (await relay.submit(b"v@one.test")).result is Result.STORED
        await relay.settled(1)
        assert await relay.rows("SELECT recipient FROM deliveries") == [(b"v@one.test",)]


async def test_a_second_relay_on_one_sqlite_file_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'queue.sqlite3'}"
    async with WholeRelay(url, tmp_path):
        second = open_database(url)
        with pytest.raises(Exception, match=r"another relay already uses .*queue\.sqlite3"):
            await second.open()
        await second.close()


async def test_a_restart_frees_the_leases_of_the_previous_process_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'queue.sqlite3'}"
    held = ScriptedTransport(gates={b"u@one.test": asyncio.Event()})
    killed = WholeRelay(url, tmp_path, transport=held)
    await killed.__aenter__()
    ack = await killed.submit(b"u@one.test")
    await held.until_begun(1)
    # The process ends as if it had got SIGKILL, so its lease of the deliveries stays in the database.
    await killed.relay._background.stop()
    await killed.relay._server.stop(0)
    await killed.database.close()
    async with WholeRelay(url, tmp_path) as relay:
        await relay.settled(1)
        (row,) = (await relay.message(ack.queue_id)).deliveries
        assert (row.state, row.possible_duplicate) == (State.DELIVERED, True)
        assert [event.event for event in (await relay.message(ack.queue_id)).events] == ["resumed"]
    for task in list(killed.relay.dispatcher._tasks):
        task.cancel()


async def test_a_queue_of_a_newer_release_is_refused(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path, Configuration(1, "gw.test")) as relay:
        await relay.database.write(
            lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        )
    again = open_database(database_url)
    with pytest.raises(Exception, match="newer release"):
        await again.open()
    await again.close()


class _Failing:
    """Replaces the database of the committer with a database that fails without doing the work."""

    def __init__(self, relay: WholeRelay) -> None:
        self._committer = relay.relay.committer
        self._real = relay.database
        self.exclusive = relay.database.exclusive
        self.tried = asyncio.Event()
        self._committer._database = self  # type: ignore[assignment]

    async def write(self, work: Work[T]) -> T:
        self.tried.set()
        raise UnavailableError("away")

    def end(self) -> None:
        self._committer._database = self._real


def _pragma(connection: Connection, pragma: str) -> Any:
    return connection.exec_driver_sql(f"PRAGMA {pragma}").fetchall()
