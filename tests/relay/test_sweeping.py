"""What time alone makes due: notices, expiry of held and waiting mail, the end of the history, clocks that jump."""

from __future__ import annotations

from pathlib import Path

from services.relay.configuration import Configuration, QueueSettings
from services.relay.operating import Action, Progress
from services.relay.queue.destinations import Suspension
from services.relay.queue.filters import MessageFilter
from services.relay.states import FOREVER, State
from tests.relay.scripted_transport import ScriptedTransport, deferred
from tests.relay.whole_relay import WholeRelay

HOUR = 3600.0


async def act(relay: WholeRelay, action: Action, queue_id: str) -> Progress:
    last = Progress()
    async for progress in relay.relay.operator.act(action, MessageFilter(), int(queue_id, 16), "anna", dry_run=False):
        last = progress
    return last


async def sweep(relay: WholeRelay) -> None:
    while await relay.relay.sweeper.sweep():
        pass


async def test_held_mail_expires_too_and_its_sender_hears_of_it(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        await act(relay, Action.HOLD, ack.queue_id)
        relay.clock.pass_time(119 * HOUR)
        await sweep(relay)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.HELD}
        relay.clock.pass_time(1.1 * HOUR)
        await sweep(relay)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.BOUNCED}
        await transport.until(lambda: len(transport.to(b"a@sender.test")) == 2)
        delayed, expired = transport.to(b"a@sender.test")
        assert b"Action: delayed" in delayed.content
        assert b"Status: 4.4.7" in expired.content
        assert b"Diagnostic-Code: smtp; 451 4.3.0 later" in expired.content
        assert [each.event for each in (await relay.message(ack.queue_id)).events] == ["held", "dsn_sent", "expired"]


async def test_mail_for_a_suspended_destination_expires(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        await relay.relay.suspensions.suspend(Suspension("domain:one.test", FOREVER, "anna"))
        await relay.after(121 * HOUR)
        await sweep(relay)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.BOUNCED}


async def test_the_sender_hears_of_a_delay_once(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred], b"v@two.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        await relay.submit(b"u@one.test", b"v@two.test", b"w@three.test")
        await relay.settled(3)
        relay.clock.pass_time(3.9 * HOUR)
        await sweep(relay)
        assert transport.to(b"a@sender.test") == []
        relay.clock.pass_time(0.2 * HOUR)
        for _ in range(3):
            await sweep(relay)
        await transport.until(lambda: len(transport.to(b"a@sender.test")) == 1)
        (notice,) = transport.to(b"a@sender.test")
        assert notice.content.count(b"Action: delayed") == 2
        assert b"w@three.test" not in notice.content
        assert b"Will-Retry-Until: " in notice.content


async def test_notices_and_reports_of_bounces_themselves_are_never_sent(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test", sender=b"")
        await relay.settled(1)
        await act(relay, Action.HOLD, ack.queue_id)
        relay.clock.pass_time(25 * HOUR)
        await sweep(relay)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.BOUNCED}
        assert await relay.rows("SELECT count(*) FROM messages") == [(1,)]


async def test_three_days_forward_give_up_nothing_at_once(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    short = Configuration(1, "gw.test", queue=QueueSettings(expire_after=24 * HOUR))
    async with WholeRelay(database_url, tmp_path, short, transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        relay.clock.pass_time(200)
        relay.clock.jump(72 * HOUR)
        await sweep(relay)
        await relay.relay.sweeper.retire()
        relay.relay.dispatcher.poke()
        await transport.until(lambda: len(transport.to(b"u@one.test")) == 2)
        await relay.committed()
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.QUEUED}
        # Somebody sets the clock right, and nothing has happened.
        relay.clock.jump(-72 * HOUR)
        await relay.relay.sweeper.pull_back()
        (row,) = (await relay.message(ack.queue_id)).deliveries
        assert row.due_at <= relay.clock.now() + 7200 * 1_000_000
        assert row.state == State.QUEUED


async def test_when_the_clock_was_right_after_all_mail_expires_an_hour_later(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    short = Configuration(1, "gw.test", queue=QueueSettings(expire_after=24 * HOUR))
    async with WholeRelay(database_url, tmp_path, short, transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        await act(relay, Action.HOLD, ack.queue_id)
        relay.clock.jump(72 * HOUR)
        await sweep(relay)
        relay.clock.pass_time(2 * HOUR)
        await sweep(relay)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.BOUNCED}


async def test_an_hour_back_delays_nothing_for_longer_than_the_schedule(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    quick = Configuration(1, "gw.test", queue=QueueSettings(first_retry=60, max_retry=120))
    async with WholeRelay(database_url, tmp_path, quick, transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        relay.clock.jump(-HOUR)
        relay.clock.now()
        await relay.relay.sweeper.pull_back()
        (row,) = (await relay.message(ack.queue_id)).deliveries
        assert row.due_at <= relay.clock.now() + 120 * 1_000_000
        await relay.after(121)
        await transport.until(lambda: len(transport.to(b"u@one.test")) == 2)


async def test_finished_mail_is_kept_for_the_retention_and_then_removed_with_all_that_belongs_to_it(
    database_url: str, tmp_path: Path
) -> None:
    transport = ScriptedTransport({b"w@one.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        await relay.submit(b"u@one.test")
        waiting = await relay.submit(b"w@one.test")
        await relay.settled(2)
        await act(relay, Action.HOLD, waiting.queue_id)
        relay.clock.pass_time(6.9 * 24 * HOUR)
        await relay.relay.sweeper.retire()
        assert await relay.rows("SELECT count(*) FROM messages") == [(2,)]
        relay.clock.pass_time(0.2 * 24 * HOUR)
        await relay.relay.sweeper.retire()
        assert await relay.states(waiting.queue_id) == {b"w@one.test": State.HELD}
        assert await relay.rows("SELECT count(*) FROM messages") == [(1,)]
        assert await relay.rows("SELECT count(*) FROM deliveries") == [(1,)]
        await act(relay, Action.DELETE, waiting.queue_id)
        relay.clock.pass_time(8 * 24 * HOUR)
        await relay.relay.sweeper.retire()
        for table in ("messages", "deliveries", "attempts", "events", "contents"):
            assert await relay.rows(f"SELECT count(*) FROM {table}") == [(0,)], table


async def test_a_sqlite_file_shrinks_when_its_mail_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    async with WholeRelay(
        f"sqlite:///{path}", tmp_path, transport=ScriptedTransport(capacities={"domain:x.test": 0})
    ) as relay:
        large = b"Subject: x\r\n\r\n" + b"y" * 2_000_000 + b"\r\n"
        acks = [await relay.submit(b"u@x.test", content=large) for _ in range(15)]
        full = (await relay.rows("PRAGMA page_count"))[0][0]
        for ack in acks:
            await act(relay, Action.DELETE, ack.queue_id)
        while await relay.relay.sweeper.retire():
            pass
        left = (await relay.rows("PRAGMA page_count"))[0][0]
        assert full * 4096 > 30_000_000
        assert left * 4096 < 18_000_000
