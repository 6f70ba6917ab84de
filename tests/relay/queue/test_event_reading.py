"""Events are read with a cursor from the queue's tables: each outcome once, in the order of the commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from posthouse.relay.v1 import relay_pb2 as pb
from posthouse.relay.v1 import relay_pb2_grpc
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from services.relay.configuration.model import Alias, Configuration, QueueSettings
from services.relay.intake.submission import Frame, Refusal
from services.relay.model.message import Origin
from services.relay.queue import change_numbers, event_reading
from services.relay.queue.database import Connection
from services.relay.queue.event_reading import Cursor, StoredEvent
from tests.relay.scripted_transport import ScriptedTransport, deferred, delivered, failed
from tests.relay.whole_relay import WholeRelay

LATER = {b"later@one.test": [deferred, delivered], b"no@one.test": [failed], b"never@one.test": [deferred] * 99}
LOOP = Alias("a1", b"round@local.test", (b"round@local.test",))
CONFIGURATION = Configuration(3, "gw.test", aliases={LOOP.address: LOOP})


@pytest.fixture
async def relay(database_url: str, tmp_path: Path) -> AsyncIterator[WholeRelay]:
    transport = ScriptedTransport({key: list(value) for key, value in LATER.items()})
    async with WholeRelay(database_url, tmp_path, CONFIGURATION, transport) as whole:
        yield whole


async def read(relay: WholeRelay, after: Cursor | None = None, size: int = 100) -> list[StoredEvent]:
    page = await relay.database.view(lambda connection: event_reading.event_page(connection, after or Cursor(), size))
    return list(page.events)


def told(events: list[StoredEvent]) -> list[tuple[str, bytes]]:
    return [(event.kind.value, *event.recipients) for event in events]  # type: ignore[misc]


async def act(relay: WholeRelay, action: pb.QueueAction.ValueType, queue_id: str) -> None:
    async with relay.channel() as channel:
        stub: relay_pb2_grpc.RelayAsyncStub = relay_pb2_grpc.RelayStub(channel)
        async for _ in stub.ActOnMessages(pb.ActOnMessagesRequest(action=action, queue_id=queue_id, actor="anna")):
            pass


async def test_each_outcome_is_one_event_in_the_order_of_the_commits(relay: WholeRelay) -> None:
    await relay.submit(b"b@one.test", b"later@one.test", b"no@one.test")
    # One transaction is that of the message, and the other one that of the report about the failed recipient.
    await relay.settled(2)
    await relay.after(3600)
    await relay.settled(3)

    events = await read(relay)

    of_message = [event for event in events if event.message.sender]
    first = {event.recipients: event.kind.value for event in of_message[:3]}
    assert first == {(b"b@one.test",): "delivered", (b"later@one.test",): "deferred", (b"no@one.test",): "bounced"}
    assert told(of_message[3:]) == [("delivered", b"later@one.test")]
    assert told([event for event in events if not event.message.sender]) == [("delivered", b"a@sender.test")]


async def test_a_reader_with_pages_of_one_misses_and_repeats_nothing(relay: WholeRelay) -> None:
    for number in range(3):
        await relay.submit(b"b@one.test", b"c@two.test", submission_id=f"{number:032}")
    await relay.settled(6)
    whole = await read(relay)
    assert len(whole) == 6

    one_by_one: list[StoredEvent] = []
    while page := await read(relay, one_by_one[-1].cursor if one_by_one else None, 1):
        one_by_one += page

    assert [event.cursor for event in one_by_one] == [event.cursor for event in whole]


async def test_actions_of_operators_and_expiry_are_events(relay: WholeRelay) -> None:
    held = await relay.submit(b"never@one.test")
    await relay.settled(1)
    await act(relay, pb.QUEUE_ACTION_HOLD, held.queue_id)
    await act(relay, pb.QUEUE_ACTION_RELEASE, held.queue_id)
    await relay.settled(2)
    await act(relay, pb.QUEUE_ACTION_HOLD, held.queue_id)
    await act(relay, pb.QUEUE_ACTION_BOUNCE, held.queue_id)

    events = [event for event in await read(relay) if event.message.sender]

    assert [event.kind.value for event in events] == ["deferred", "held", "deferred", "held", "bounced"]
    assert [event.actor for event in events] == ["", "anna", "", "anna", "anna"]


async def test_sweep_and_attempt_both_report_expiry(relay: WholeRelay) -> None:
    relay.configure(replace(CONFIGURATION, queue=QueueSettings(expire_after=3600.0)))
    await relay.submit(b"never@one.test")
    await relay.settled(1)
    relay.clock.pass_time(4000)
    await relay.relay.sweeper.sweep()
    by_sweep = [event for event in await read(relay) if event.message.sender]
    # The second transaction delivers the report about the first message.
    await relay.settled(2)
    await relay.submit(b"never@one.test", submission_id="0" * 31 + "1")
    await relay.settled(3)
    # This message expires while its delivery is due, so an attempt notices this before the sweep does.
    await relay.after(4000)
    await relay.settled(4)

    by_attempt = [event for event in await read(relay, by_sweep[-1].cursor) if event.message.sender]

    assert [event.kind.value for event in by_sweep] == ["deferred", "expired"]
    assert [event.kind.value for event in by_attempt] == ["deferred", "expired"]


async def test_a_failure_at_the_intake_is_a_bounced_event(relay: WholeRelay) -> None:
    await relay.submit(b"round@local.test")
    await relay.committed()

    events = [event for event in await read(relay) if event.message.sender]

    assert told(events) == [("bounced", b"round@local.test")]


async def test_refusals_and_blocked_clients_are_events(relay: WholeRelay) -> None:
    def refusal(reason_id: str, *, discarded: bool = False, recipients: tuple[bytes, ...] = ()) -> Refusal:
        return Refusal(
            Origin("s1", "192.0.2.9"), b"", recipients, 550, "5.7.1", "no", reason_id, "", "RCPT", 1, discarded
        )

    refusals = (
        refusal("relay_denied", recipients=(b"x@one.test", b"y@one.test")),
        refusal("client_blocked"),
        refusal("blocked_ip", discarded=True),
    )
    relay.stream.feed(Frame((), (), (), refusals))
    await relay.committed()

    events = await read(relay)

    assert [(event.kind.value, event.recipients) for event in events] == [
        ("refused", (b"x@one.test", b"y@one.test")),
        ("client_blocked", ()),
    ]


async def test_change_numbers_are_higher_after_a_start_even_without_history(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        await relay.submit(b"b@one.test")
        await relay.settled(1)
        (before,) = await read(relay)
        await relay.database.write(lambda connection: connection.execute(text("DELETE FROM deliveries")))
    async with WholeRelay(database_url, tmp_path) as relay:
        await relay.submit(b"c@one.test", submission_id="0" * 31 + "1")
        await relay.settled(1)

        assert told(await read(relay, before.cursor)) == [("delivered", b"c@one.test")]


async def test_a_cursor_of_another_database_reads_from_the_beginning(relay: WholeRelay) -> None:
    await relay.submit(b"b@one.test")
    await relay.settled(1)

    assert told(await read(relay, Cursor(2**62, 3, 1))) == [("delivered", b"b@one.test")]


async def test_no_event_is_read_while_a_lower_change_number_may_be_committed(postgres_url: str, tmp_path: Path) -> None:
    async with WholeRelay(postgres_url, tmp_path) as relay:
        other = create_async_engine(postgres_url.replace("postgresql://", "postgresql+asyncpg://"))
        async with other.connect() as slow:
            await slow.execute(text("SELECT pg_current_xact_id()"))
            await relay.submit(b"b@one.test")
            await relay.settled(1)
            assert await read(relay) == []
            await slow.rollback()
        await other.dispose()

        assert told(await read(relay)) == [("delivered", b"b@one.test")]


async def test_a_transaction_in_another_database_delays_no_event(postgres_url: str, tmp_path: Path) -> None:
    async with WholeRelay(postgres_url, tmp_path) as relay:
        elsewhere = make_url(postgres_url).set(drivername="postgresql+asyncpg", database="postgres")
        other = create_async_engine(elsewhere)
        async with other.connect() as slow:
            await slow.execute(text("SELECT pg_current_xact_id()"))
            await relay.submit(b"b@one.test")
            await relay.settled(1)
            assert told(await read(relay)) == [("delivered", b"b@one.test")]
            await slow.rollback()
        await other.dispose()


async def test_change_numbers_go_on_in_a_database_restored_elsewhere(postgres_url: str, tmp_path: Path) -> None:
    async with WholeRelay(postgres_url, tmp_path) as relay:
        await relay.submit(b"b@one.test")
        await relay.settled(1)
        # The change numbers are raised, as in a dump from a server that has had many more transactions.
        await relay.database.write(
            lambda connection: connection.execute(text("UPDATE deliveries SET change_number = change_number + 1000000"))
        )
        await relay.database.write(change_numbers.continue_numbering)
        (old,) = await read(relay)
        await relay.submit(b"c@one.test", submission_id="0" * 31 + "1")
        await relay.settled(2)

        assert told(await read(relay, old.cursor)) == [("delivered", b"c@one.test")]


async def test_queries_of_events_use_indexes(relay: WholeRelay) -> None:
    def plans(connection: Connection) -> list[str]:
        tables = ("messages", "deliveries", "attempts", "events")
        return [
            " ".join(
                str(row)
                for row in connection.execute(
                    text(
                        f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE change_number IS NOT NULL "
                        f"AND change_number < 9 AND change_number >= 1 ORDER BY change_number LIMIT 5"
                    )
                )
            )
            for table in tables
        ]

    if relay.database.exclusive:
        found = await relay.database.read(plans)
        assert all("_changed" in plan and "SCAN" not in plan for plan in found), found


async def test_read_events_reads_by_cursor_and_refuses_invalid_cursors(relay: WholeRelay) -> None:
    async with relay.channel() as channel:
        stub: relay_pb2_grpc.RelayAsyncStub = relay_pb2_grpc.RelayStub(channel)
        end = (await stub.ReadEvents(pb.ReadEventsRequest())).next_cursor
        waiting = asyncio.ensure_future(stub.ReadEvents(pb.ReadEventsRequest(cursor=end, wait_ms=30_000)))
        ack = await relay.submit(b"b@one.test")
        page = await waiting

        (event,) = page.events
        assert (event.kind, event.queue_id, event.sender, list(event.recipients)) == (
            pb.EVENT_KIND_DELIVERED,
            ack.queue_id,
            b"a@sender.test",
            [b"b@one.test"],
        )
        assert event.attempt.code == 250
        assert page.next_cursor == event.cursor
        again = await stub.ReadEvents(pb.ReadEventsRequest(cursor=event.cursor, including_cursor=True, page_size=1))
        assert [each.cursor for each in again.events] == [event.cursor]
        assert not (await stub.ReadEvents(pb.ReadEventsRequest(cursor=event.cursor))).events
        for cursor in ("x", "1-2", "1-9-1", "1-1-x", "99999999999999999999-1-1"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ReadEvents(pb.ReadEventsRequest(cursor=cursor))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
