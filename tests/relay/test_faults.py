"""When a file system is full or a database read-only, relay refuses mail, leaves nothing behind, and recovers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from posthouse.relay.v1 import relay_pb2 as pb
from posthouse.relay.v1 import relay_pb2_grpc
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from libs.runtime.lifecycle import StartupError
from services.relay.api.operator import Action
from services.relay.intake.intake import Result
from services.relay.intake.submission import Frame
from services.relay.model.states import FOREVER, State
from services.relay.queue.claiming import Claim
from services.relay.queue.database import (
    Connection,
    Database,
    SqliteDatabase,
    UnavailableError,
    Work,
    open_database,
)
from services.relay.queue.destinations import Suspension
from services.relay.queue.filters import MessageFilter
from services.relay.queue.free_space import SHORT_LOG_OCTETS, SPARE_OCTETS
from services.relay.settings import Settings
from tests.peers.postgres import Postgres
from tests.peers.smtp_sink import SmtpSink, Stage, reply
from tests.relay.relay_process import RelayProcess, history, submission, submit, until_empty
from tests.relay.scripted_transport import ScriptedTransport, deferred, delivered, failed
from tests.relay.whole_relay import CONFIGURATION, CONTENT, WholeRelay, incoming_of

MEGABYTE = 1024 * 1024
HOUR = 3600.0
T = TypeVar("T")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yields a folder on a file system of 32 MB."""
    yield from mounted(tmp_path / "disk", 32)


def mounted(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mounts a file system of this size, which a test can fill, and yields its folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Fills the file system except for `leave` octets. Returns the path of the file that fills it."""
    ballast = folder / "ballast"
    ballast.write_bytes(b"")
    free = _free(folder)
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        file.write(b"\x00" * max(0, free - leave))
        while leave == 0:
            file.write(b"\x00" * 4096)
    return ballast


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


async def test_below_the_reserve_new_mail_is_refused_and_queued_mail_goes_on(small_disk: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred, delivered], b"no@one.test": [deferred, failed]})
    url = f"sqlite:///{small_disk / 'queue.sqlite3'}"
    async with WholeRelay(url, small_disk, transport=transport, disk_reserve_mb=12) as relay:
        waiting = await relay.submit(b"u@one.test", b"no@one.test")
        await relay.settled(1)
        ballast = fill(small_disk, 10 * MEGABYTE)
        relay.relay.storage.look()
        assert (await relay.submit(b"v@one.test")).result is Result.INSUFFICIENT_STORAGE
        # One recipient is delivered. The report about the other one is stored and delivered too.
        await relay.after(400)
        await relay.settled(3)
        assert await relay.states(waiting.queue_id) == {b"u@one.test": State.DELIVERED, b"no@one.test": State.BOUNCED}
        ballast.unlink()
        relay.relay.storage.look()
        assert (await relay.submit(b"v@one.test")).result is Result.STORED
        await relay.settled(4)


async def test_mail_that_does_not_fit_is_refused_and_smaller_mail_is_accepted(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk / 'queue.sqlite3'}"
    async with WholeRelay(url, small_disk, disk_reserve_mb=20) as relay:
        available = relay.relay.storage.state.available
        assert 0 < available < 6 * MEGABYTE
        ack = await relay.submit(b"u@one.test", content=b"Subject: x\r\n\r\n" + b"y" * available)
        assert ack.result is Result.INSUFFICIENT_STORAGE
        assert (await relay.submit(b"u@one.test")).result is Result.STORED


async def test_nothing_is_stored_in_part_on_a_completely_full_disk(small_disk: Path) -> None:
    """The refused message leaves nothing behind, and queued mail is delivered when space is free again."""
    transport = ScriptedTransport({b"u@one.test": [deferred, delivered]})
    url = f"sqlite:///{small_disk / 'queue.sqlite3'}"
    async with WholeRelay(url, small_disk, transport=transport, disk_reserve_mb=0) as relay:
        waiting = await relay.submit(b"u@one.test")
        await relay.settled(1)
        ballast = fill(small_disk, 0)
        large = b"Subject: x\r\n\r\n" + b"y" * 4 * MEGABYTE
        assert (await relay.submit(b"v@one.test", content=large)).result is Result.INSUFFICIENT_STORAGE
        ballast.unlink()
        relay.clock.pass_time(400)
        relay.relay.storage.look()
        relay.relay.dispatcher.wake()
        await relay.settled(2)
        assert await relay.states(waiting.queue_id) == {b"u@one.test": State.DELIVERED}
        assert await relay.rows("SELECT count(*) FROM messages") == [(1,)]
        assert await relay.rows("PRAGMA integrity_check") == [("ok",)]
        assert len(transport.to(b"u@one.test")) == 2


async def test_a_log_that_cannot_be_written_loses_no_mail(
    small_disk: Path, tmp_path: Path, smtp_sink: SmtpSink
) -> None:
    """C133: the log is on a file system of its own, which is full."""
    smtp_sink.on(Stage.RCPT, reply("550 5.1.1 no such user"), address="no@one.test")
    relay = RelayProcess(small_disk, f"sqlite:///{tmp_path / 'queue.sqlite3'}", smtp_sink.port)
    await relay.start()
    fill(small_disk, 0)
    load = [submission(number, b"no@one.test" if number % 3 == 0 else b"u@one.test") for number in range(30)]
    stored = await submit(relay, load)
    assert len(stored) == len(load)
    await until_empty(relay)
    assert len(await history(relay)) == 40
    assert len(smtp_sink.messages) == 30
    assert relay.terminate() == 0


async def test_a_read_only_database_refuses_and_recovers(tmp_path: Path) -> None:
    async with WholeRelay(f"sqlite:///{tmp_path / 'queue.sqlite3'}", tmp_path) as relay:
        await relay.database.write(lambda connection: _query_only(connection, "ON"))
        relay.stream.feed(Frame((incoming_of([b"u@one.test"]),), (), (), ()))
        relay.clock.steady_seconds += 60
        (ack,) = await relay.acks(1)
        assert ack.result is Result.TEMPORARY_FAILURE
        assert "SQLITE_READONLY" in ack.reason
        # The pragma is set in the writer's thread outside a transaction, because no transaction can begin.
        assert isinstance(relay.database, SqliteDatabase)
        assert relay.database._writer is not None
        await relay.database._writer.run(lambda own: _query_only(own.connection(), "OFF"))
        assert (await relay.submit(b"v@one.test")).result is Result.STORED
        await relay.settled(1)
        assert await relay.rows("SELECT recipient FROM deliveries") == [(b"v@one.test",)]


MARKER = b"DAMAGE-ME-" * 3000


def damage(path: Path) -> None:
    """Overwrites octets of the file in such a way that SQLite does not notice it when it opens the file."""
    # When several connections close at the same moment, each may leave the write-ahead log to the others.
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = bytearray(path.read_bytes())
    # The chain of overflow pages now leads to a page that does not exist.
    page = (raw.index(MARKER[:2000]) // 4096 + 1) * 4096
    raw[page : page + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(raw)


async def test_damaged_pages_of_one_content_affect_one_message(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    url = f"sqlite:///{path}"
    transport = ScriptedTransport({b"u@one.test": [deferred, delivered], b"v@one.test": [deferred, delivered]})
    async with WholeRelay(url, tmp_path, transport=transport) as relay:
        bad = await relay.submit(b"u@one.test", content=b"Subject: x\r\n\r\n" + MARKER)
        good = await relay.submit(b"v@one.test")
        await relay.settled(2)
    damage(path)
    again = ScriptedTransport()
    async with WholeRelay(url, tmp_path, transport=again) as relay:
        await relay.after(400)
        await again.until_ended(1)
        while relay.relay.memory.deliveries:
            await relay.committed()
        assert await relay.states(good.queue_id) == {b"v@one.test": State.DELIVERED}
        rows = await relay.rows(f"SELECT state FROM deliveries WHERE message_id = {int(bad.queue_id, 16)}")
        assert rows == [(State.QUARANTINED,)]


async def test_damaged_pages_stop_neither_expiry_nor_retention(tmp_path: Path) -> None:
    """C140: the damaged rows belong to held mail, which is not read before it expires."""
    path = tmp_path / "queue.sqlite3"
    url = f"sqlite:///{path}"
    transport = ScriptedTransport({b"u@one.test": [deferred], b"v@one.test": [deferred]})
    async with WholeRelay(url, tmp_path, transport=transport) as relay:
        bad = await relay.submit(b"u@one.test", content=b"Subject: x\r\n\r\n" + MARKER)
        good = await relay.submit(b"v@one.test")
        await relay.settled(2)
        for number in (bad.queue_id, good.queue_id):
            async for _ in relay.relay.operator.act(Action.HOLD, MessageFilter(), int(number, 16), "a", dry_run=False):
                pass
    damage(path)
    async with WholeRelay(url, tmp_path) as relay:
        relay.clock.pass_time(121 * HOUR)
        while await relay.relay.sweeper.sweep():
            pass
        assert await relay.states(good.queue_id) == {b"v@one.test": State.BOUNCED}
        async with relay.channel() as channel:
            request = pb.GetMessageRequest(queue_id=bad.queue_id, include_header=True)
            shown = await relay_pb2_grpc.RelayStub(channel).GetMessage(request)
        assert shown.state == pb.DELIVERY_STATE_QUARANTINED
        await relay.settled(1)
        relay.clock.pass_time(8 * 24 * HOUR)
        while await relay.relay.sweeper.retire():
            pass
        assert await relay.rows("SELECT count(*) FROM messages") == [(0,)]


# A column of a queued message or of its delivery, and the wrong value that is written to it.
GARBAGE = (
    ("messages", "kind", "77"),
    ("messages", "sender", "'text'"),
    ("messages", "sender", "12"),
    ("messages", "size", "'x'"),
    ("messages", "stored_at", "'x'"),
    ("messages", "envelope_id", "'x'"),
    ("messages", "helo_name", "'x'"),
    ("messages", "open", "5"),
    ("deliveries", "recipient", "'text'"),
    ("deliveries", "recipient", "x''"),
    ("deliveries", "notify", "x'ff'"),
    ("deliveries", "orcpt", "'text'"),
    ("deliveries", "state", "99"),
    ("deliveries", "attempts", "'q'"),
    ("deliveries", "last_attempt", "'{'"),
    ("deliveries", "due_at", "'q'"),
    ("contents", "content", "x''"),
    ("contents", "content", "'text'"),
    ("contents", "content", "5"),
)


@pytest.mark.parametrize("swept_first", [False, True])
async def test_any_values_in_a_row_do_not_stop_other_mail(tmp_path: Path, swept_first: bool) -> None:
    """C140: the claim, the sweep, a new configuration and the lists go on, and every message ends."""
    recipients = [b"u%d@one.test" % number for number in range(len(GARBAGE) + 1)]
    transport = ScriptedTransport({recipient: [deferred, delivered] for recipient in recipients})
    async with WholeRelay(f"sqlite:///{tmp_path / 'queue.sqlite3'}", tmp_path, transport=transport) as relay:
        acks = [await relay.submit(recipient) for recipient in recipients]
        await relay.settled(len(acks))
        for ack, (table, column, garbage) in zip(acks, GARBAGE, strict=False):
            key = "id" if table == "messages" else "message_id"
            sql = f"UPDATE {table} SET {column}={garbage} WHERE {key}={int(ack.queue_id, 16)}"
            await relay.database.write(lambda connection: connection.exec_driver_sql(sql))  # noqa: B023 - used at once
        relay.clock.pass_time(4.1 * HOUR)
        if swept_first:
            while await relay.relay.sweeper.sweep():
                pass
        async with relay.channel() as channel:
            stub = relay_pb2_grpc.RelayStub(channel)
            assert (await stub.ListMessages(pb.ListMessagesRequest(page_size=100))).messages
            await relay.relay.sweeper.pull_back()
            relay.configure(replace(CONFIGURATION, revision=2))
            relay.relay.dispatcher.wake()
            await transport.until(lambda: len(transport.to(recipients[-1])) == 2)
            await relay.committed()
            assert await relay.states(acks[-1].queue_id) == {recipients[-1]: State.DELIVERED}
            relay.clock.pass_time(121 * HOUR)
            while await relay.relay.sweeper.sweep():
                pass
            await relay.committed()
            assert await relay.rows("SELECT count(*) FROM messages WHERE open > 0 AND kind <> 1") == [(0,)]
            finished = await stub.ListHistory(pb.ListHistoryRequest(page_size=100))
            assert {ack.queue_id for ack in acks} <= {message.queue_id for message in finished.messages}


def _query_only(connection: Connection, value: str) -> None:
    connection.exec_driver_sql(f"PRAGMA query_only={value}")


async def test_a_claim_whose_commit_lost_its_answer_leaves_nothing_behind(database_url: str, tmp_path: Path) -> None:
    """Relay does not know that the deliveries of this claim are leased to it. They must not wait until it restarts."""
    transport = ScriptedTransport({b"u@one.test": [deferred, delivered]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        waiting = await relay.submit(b"u@one.test")
        await relay.settled(1)
        write, broken = relay.database.write, asyncio.Event()

        async def write_and_break(work: Work[T]) -> T:
            result = await write(work)
            if isinstance(result, Claim) and result.count and not broken.is_set():
                broken.set()
                raise UnavailableError("connection lost in COMMIT")
            return result

        relay.relay.dispatcher._database = _With(relay.database, write_and_break)  # type: ignore[assignment]
        await relay.after(400)
        async with asyncio.timeout(60):
            await broken.wait()
        await relay.settled(2)
        (row,) = (await relay.message(waiting.queue_id)).deliveries
        assert (row.state, row.possible_duplicate) == (State.DELIVERED, False)


async def test_a_report_whose_commit_lost_its_answer_is_sent_once(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [failed]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        write, broken = relay.database.write, asyncio.Event()

        async def write_and_break(work: Work[T]) -> T:
            result = await write(work)
            if relay.transport.ended and not broken.is_set():
                broken.set()
                raise UnavailableError("connection lost in COMMIT")
            return result

        relay.relay.committer._database = _With(relay.database, write_and_break)  # type: ignore[assignment]
        refused = await relay.submit(b"u@one.test")
        await relay.settled(2)
        assert broken.is_set()
        assert await relay.states(refused.queue_id) == {b"u@one.test": State.BOUNCED}
        assert len(transport.to(b"a@sender.test")) == 1
        assert await relay.rows("SELECT count(*) FROM deliveries WHERE lease_owner IS NOT NULL") == [(0,)]


class _With:
    """A database whose method `write` is replaced."""

    def __init__(self, database: Database, write: Callable[[Any], Awaitable[Any]]) -> None:
        self.exclusive = database.exclusive
        self.read = database.read
        self.write = write


@pytest.fixture
def larger_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "disk", 64)


async def test_all_queued_mail_is_delivered_without_free_space_at_the_start(larger_disk: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{larger_disk / 'queue.sqlite3'}"
    recipients = [b"u%d@one.test" % number for number in range(300)]
    content = CONTENT + b"y" * 8000 + b"\r\n"
    async with WholeRelay(url, larger_disk, disk_reserve_mb=0) as relay:
        await relay.relay.suspensions.suspend(Suspension("domain:one.test", FOREVER, "anna"))
        for recipient in recipients:
            await relay.submit(recipient, content=content)
        await relay.committed()
    assert (larger_disk / "queue.sqlite3.spare").stat().st_size == SPARE_OCTETS
    ballast = fill(larger_disk, 0)
    async with WholeRelay(url, tmp_path, disk_reserve_mb=0) as relay:
        await relay.relay.suspensions.resume("domain:one.test")
        relay.relay.dispatcher.wake()
        await relay.settled(300)
        assert await relay.rows("SELECT state, count(*) FROM deliveries GROUP BY state") == [(State.DELIVERED, 300)]
        assert await relay.rows("PRAGMA integrity_check") == [("ok",)]
        # The write-ahead log is copied into the file in small steps, so it stays short.
        assert (larger_disk / "queue.sqlite3-wal").stat().st_size <= SHORT_LOG_OCTETS
    assert not (larger_disk / "queue.sqlite3.spare").exists()
    ballast.unlink()
    async with WholeRelay(url, tmp_path, disk_reserve_mb=0):
        assert (larger_disk / "queue.sqlite3.spare").stat().st_size == SPARE_OCTETS


async def test_a_start_without_space_and_without_a_spare_file_says_what_is_missing(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk / 'queue.sqlite3'}"
    async with WholeRelay(url, small_disk, disk_reserve_mb=0):
        pass
    assert not (small_disk / "queue.sqlite3.spare").exists()
    fill(small_disk, 0)
    database = open_database(url)
    with pytest.raises(StartupError, match="the disk is full, and 4 MB must be free"):
        await database.open()
    await database.close()


def test_a_reserve_that_the_log_does_not_fit_into_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="the reserve must have space for the database's log"):
        Settings.model_validate({"POSTHOUSE_DATA_DIR": tmp_path, "disk_reserve_mb": 4})


async def test_files_of_the_queue_that_become_read_only_under_load_lose_nothing(tmp_path: Path) -> None:
    """While its files are read-only, the database cannot be written. Mail that was accepted before is delivered."""
    folder = tmp_path / "data"
    folder.mkdir()
    transport = ScriptedTransport(gates={b"u0@one.test": asyncio.Event()}, capacities={"domain:one.test": 1})
    async with WholeRelay(f"sqlite:///{folder / 'queue.sqlite3'}", tmp_path, transport=transport) as relay:
        before = [await relay.submit(b"u%d@one.test" % number) for number in range(20)]
        await transport.until_begun(1)
        with immutable(folder):
            load = [incoming_of([b"v%d@one.test" % number]) for number in range(20)]
            relay.stream.feed(Frame(tuple(load), (), (), ()))
            # Outcomes wait until relay can write again.
            transport.gates[b"u0@one.test"].set()
            await transport.until_ended(1)
            relay.clock.steady_seconds += 60
            refused = await relay.acks(20)
            assert {ack.result for ack in refused} == {Result.TEMPORARY_FAILURE}
        assert (await relay.submit(b"w@one.test")).result is Result.STORED
        await relay.settled(21)
        assert await relay.rows("SELECT state, count(*) FROM deliveries GROUP BY state") == [(State.DELIVERED, 21)]
        assert len(transport.begun) == len(before) + 1
        assert await relay.rows("PRAGMA integrity_check") == [("ok",)]


@contextlib.contextmanager
def immutable(folder: Path) -> Iterator[None]:
    """Makes the queue's file and its log immutable, so that no process can write to them, even if it has them open.

    The index of the log stays writable, because it is mapped into memory, and the kernel ends a process that cannot
    write to such memory.
    """
    files = [str(path) for path in (folder / "queue.sqlite3", folder / "queue.sqlite3-wal")]
    if subprocess.run(["chattr", "+i", *files], capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can make files immutable, and not on every file system")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)


@pytest.fixture
def postgres_disk() -> Iterator[Path]:
    """Yields a folder to which the user of PostgreSQL has access. This user has no access to the folders of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="posthouse-disk-"))
    folder.chmod(0o755)
    try:
        yield from mounted(folder / "disk", 48)
    finally:
        shutil.rmtree(folder)


async def test_postgresql_without_space_refuses_and_recovers(
    postgres: Postgres, postgres_url: str, postgres_disk: Path, tmp_path: Path
) -> None:
    """While the disk with the tables is full, a message is refused. When space is free again, all mail is delivered."""
    transport = ScriptedTransport({b"u@one.test": [deferred, delivered]})
    database = make_url(postgres_url).database
    shutil.chown(postgres_disk, "postgres")
    space = f"small{uuid.uuid4().hex[:8]}"
    postgres.query(f"CREATE TABLESPACE {space} LOCATION '{postgres_disk}'")
    try:
        postgres.query(f"ALTER DATABASE {database} SET TABLESPACE {space}")
        async with WholeRelay(postgres_url, tmp_path, transport=transport) as relay:
            waiting = await relay.submit(b"u@one.test")
            await relay.settled(1)
            ballast = fill(postgres_disk, 0)
            large = b"Subject: x\r\n\r\n" + b"y" * 4 * MEGABYTE
            assert (await relay.submit(b"v@one.test", content=large)).result is Result.INSUFFICIENT_STORAGE
            assert not relay.relay.storage.state.accepting
            ballast.unlink()
            relay.clock.pass_time(400)
            relay.relay.storage.look()
            relay.relay.dispatcher.wake()
            await relay.settled(2)
            assert await relay.states(waiting.queue_id) == {b"u@one.test": State.DELIVERED}
            assert (await relay.submit(b"v@one.test", content=large)).result is Result.STORED
            await relay.settled(3)
            assert await relay.rows("SELECT count(*) FROM messages") == [(2,)]
            assert len(transport.to(b"u@one.test")) == 2
    finally:
        postgres.query(f"ALTER DATABASE {database} SET TABLESPACE pg_default")
        postgres.query(f"DROP TABLESPACE {space}")
