"""Actions that time alone causes: notices of delay, expiry, the end of the history, and jumps of the clock."""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.relay.api.operator import Action, Progress
from services.relay.configuration.model import Configuration, QueueSettings
from services.relay.intake.submission import Frame
from services.relay.model.states import FOREVER, State
from services.relay.queue.destinations import Suspension
from services.relay.queue.filters import MessageFilter
from tests.relay.scripted_transport import ScriptedTransport, deferred
from tests.relay.whole_relay import WholeRelay, incoming_of

HOUR = 3600.0


async def act(relay: WholeRelay, action: Action, queue_id: str) -> Progress:
    last = Progress()
    async for progress in relay.relay.operator.act(action, MessageFilter(), int(queue_id, 16), "anna", dry_run=False):
        last = progress
    return last


async def sweep(relay: WholeRelay) -> None:
    while await relay.relay.sweeper.sweep():
        pass


async def test_held_mail_expires_and_its_sender_gets_a_report(database_url: str, tmp_path: Path) -> None:
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
        assert [event.event for event in (await relay.message(ack.queue_id)).events] == ["held", "dsn_sent", "expired"]


async def test_new_times_apply_to_queued_mail(database_url: str, tmp_path: Path) -> None:
    """C138, C135: held mail has no attempts, so relay cannot notice the new times at an attempt."""
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    patient = QueueSettings(delay_notice_after=0, first_retry=7200)
    async with WholeRelay(database_url, tmp_path, Configuration(1, "gw.test", queue=patient), transport) as relay:
        held = await relay.submit(b"u@one.test")
        bounce = await relay.submit(b"u@one.test", sender=b"")
        waiting = await relay.submit(b"u@one.test", sender=b"b@sender.test")
        await relay.settled(3)
        await act(relay, Action.HOLD, held.queue_id)
        await act(relay, Action.HOLD, bounce.queue_id)
        await sweep(relay)
        hasty = QueueSettings(
            first_retry=60, max_retry=300, expire_after=2 * HOUR, delay_notice_after=HOUR, bounce_expire_after=HOUR
        )
        relay.configure(Configuration(2, "gw.test", queue=hasty))
        await sweep(relay)
        await relay.relay.sweeper.pull_back()
        (row,) = (await relay.message(waiting.queue_id)).deliveries
        assert row.due_at <= relay.clock.now() + 300 * 1_000_000
        relay.clock.pass_time(1.1 * HOUR)
        await sweep(relay)
        await transport.until(lambda: len(transport.to(b"a@sender.test")) == 1)
        assert b"Action: delayed" in transport.to(b"a@sender.test")[0].content
        assert await relay.states(bounce.queue_id) == {b"u@one.test": State.BOUNCED}
        relay.clock.pass_time(HOUR)
        await sweep(relay)
        assert await relay.states(held.queue_id) == {b"u@one.test": State.BOUNCED}


async def test_mail_for_a_suspended_destination_expires(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        await relay.relay.suspensions.suspend(Suspension("domain:one.test", FOREVER, "anna"))
        await relay.after(121 * HOUR)
        await sweep(relay)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.BOUNCED}


async def test_the_sender_gets_one_notice_of_delay(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred], b"v@two.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        await relay.submit(b"u@one.test", b"v@two.test", b"w@three.test")
        await relay.settled(3)
        relay.clock.pass_time(3.9 * HOUR)
        await sweep(relay)
        assert transport.to(b"a@sender.test") == []
        # While a delivery is being tried, the notice waits for a minute.
        for _ in range(12):
            relay.clock.pass_time(0.02 * HOUR)
            await relay.committed()
            await sweep(relay)
        await transport.until(lambda: len(transport.to(b"a@sender.test")) == 1)
        (notice,) = transport.to(b"a@sender.test")
        assert notice.content.count(b"Action: delayed") == 2
        assert b"w@three.test" not in notice.content
        assert b"Will-Retry-Until: " in notice.content


async def test_the_notice_of_delay_waits_for_deliveries_that_are_being_tried(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred], b"v@two.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        await relay.submit(b"u@one.test", b"v@two.test")
        await relay.settled(2)
        transport.gates[b"v@two.test"] = asyncio.Event()
        await relay.after(3.9 * HOUR)
        await relay.settled(3)
        await transport.until_begun(4)
        relay.clock.pass_time(0.2 * HOUR)
        await sweep(relay)
        relay.clock.pass_time(61)
        await sweep(relay)
        await relay.committed()
        assert transport.to(b"a@sender.test") == []
        transport.gates.pop(b"v@two.test").set()
        # A retry for the other recipient may be running. The notice then waits for this retry, too.
        for _ in range(5):
            await relay.committed()
            relay.clock.pass_time(61)
            await sweep(relay)
        await transport.until(lambda: len(transport.to(b"a@sender.test")) == 1)
        (notice,) = transport.to(b"a@sender.test")
        assert (b"u@one.test" in notice.content, b"v@two.test" in notice.content) == (True, True)


async def test_the_notice_of_delay_waits_for_an_hour_at_most(database_url: str, tmp_path: Path) -> None:
    """A server may be slow for every recipient of a long list."""
    transport = ScriptedTransport({b"u@one.test": [deferred], b"v@two.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        await relay.submit(b"u@one.test", b"v@two.test")
        await relay.settled(2)
        gate = transport.gates[b"v@two.test"] = asyncio.Event()
        await relay.after(3.9 * HOUR)
        await relay.settled(3)
        await transport.until_begun(4)
        relay.clock.pass_time(1.2 * HOUR)
        for _ in range(5):
            await relay.committed()
            await sweep(relay)
            relay.clock.pass_time(61)
        await transport.until(lambda: len(transport.to(b"a@sender.test")) == 1)
        (notice,) = transport.to(b"a@sender.test")
        assert (b"u@one.test" in notice.content, b"v@two.test" in notice.content) == (True, False)
        gate.set()


async def test_null_sender_mail_is_reported_only_to_the_postmasters(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test", sender=b"")
        await relay.settled(1)
        await act(relay, Action.HOLD, ack.queue_id)
        relay.clock.pass_time(25 * HOUR)
        await sweep(relay)
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.BOUNCED}
        # The report to the postmasters is held until postmasters are configured.
        held = await relay.rows("SELECT recipient, destination FROM deliveries WHERE state <= 3")
        assert [(bytes(recipient), destination) for recipient, destination in held] == [(b"postmaster", "hold")]
        assert len(transport.begun) == 1


async def test_a_clock_three_days_ahead_expires_nothing_at_once(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    short = Configuration(1, "gw.test", queue=QueueSettings(expire_after=24 * HOUR))
    async with WholeRelay(database_url, tmp_path, short, transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        relay.clock.pass_time(200)
        relay.clock.jump(72 * HOUR)
        await sweep(relay)
        await relay.relay.sweeper.retire()
        relay.relay.dispatcher.wake()
        await transport.until(lambda: len(transport.to(b"u@one.test")) == 2)
        await relay.committed()
        assert await relay.states(ack.queue_id) == {b"u@one.test": State.QUEUED}
        # When the clock is set right again, the jump has had no effect.
        relay.clock.jump(-72 * HOUR)
        await relay.relay.sweeper.pull_back()
        (row,) = (await relay.message(ack.queue_id)).deliveries
        assert row.due_at <= relay.clock.now() + 7200 * 1_000_000
        assert row.state == State.QUEUED


async def test_mail_expires_an_hour_after_a_jump_of_the_clock(database_url: str, tmp_path: Path) -> None:
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


async def test_a_clock_set_back_an_hour_delays_nothing_beyond_the_schedule(database_url: str, tmp_path: Path) -> None:
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


async def test_a_clock_set_back_an_hour_keeps_each_retry_in_the_schedule(database_url: str, tmp_path: Path) -> None:
    """By the default schedule the retry is five minutes after the first failure, not an hour and five minutes."""
    transport = ScriptedTransport({b"u@one.test": [deferred], b"v@one.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        first = await relay.submit(b"u@one.test")
        await relay.settled(1)
        for attempt in range(2, 5):
            await relay.after(3600)
            await relay.settled(attempt)
        second = await relay.submit(b"v@one.test")
        await relay.settled(5)
        (before,) = (await relay.message(first.queue_id)).deliveries
        relay.clock.jump(-HOUR)
        relay.clock.now()
        await relay.relay.sweeper.pull_back()
        now = relay.clock.now()
        (fourth,) = (await relay.message(first.queue_id)).deliveries
        (once,) = (await relay.message(second.queue_id)).deliveries
        assert fourth.attempts == 4
        assert 300 <= (once.due_at - now) / 1_000_000 <= 331
        assert 331 < (fourth.due_at - now) / 1_000_000 <= 300 * 1.5**3 * 1.1 + 1 < (before.due_at - now) / 1_000_000


async def test_after_a_jump_of_the_clock_no_notice_of_delay_is_sent(database_url: str, tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    async with WholeRelay(database_url, tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        await act(relay, Action.HOLD, ack.queue_id)
        relay.clock.jump(72 * HOUR)
        await sweep(relay)
        assert await relay.rows("SELECT count(*) FROM messages") == [(1,)]
        relay.clock.jump(-72 * HOUR)
        relay.clock.pass_time(2 * HOUR)
        await sweep(relay)
        assert await relay.rows("SELECT count(*) FROM messages") == [(1,)]
        relay.clock.pass_time(2.1 * HOUR)
        await sweep(relay)
        await transport.until(lambda: len(transport.to(b"a@sender.test")) == 1)


async def test_the_history_is_removed_in_small_steps_and_actions_report_each_batch(tmp_path: Path) -> None:
    capacities = {"domain:x.test": 0}
    async with WholeRelay(
        f"sqlite:///{tmp_path / 'queue.sqlite3'}", tmp_path, transport=ScriptedTransport(capacities=capacities)
    ) as relay:
        relay.stream.feed(Frame(tuple(incoming_of([b"u@x.test"]) for _ in range(1100)), (), (), ()))
        await relay.acks(1100)
        await relay.committed()
        for dry_run in (True, False):
            seen = [
                (progress.matched, progress.acted, progress.done)
                async for progress in relay.relay.operator.act(
                    Action.DELETE, MessageFilter(sender_domain="sender.test"), None, "anna", dry_run=dry_run
                )
            ]
            assert seen[-1] == (1100, 0 if dry_run else 1100, True)
            assert [matched for matched, _, _ in seen][:5] == [200, 400, 600, 800, 1000]
        relay.clock.pass_time(8 * 24 * HOUR)
        left = []
        while await relay.relay.sweeper.retire():
            left += await relay.rows("SELECT count(*) FROM messages")
        assert left == [(600,), (100,)]


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
