"""Claims and leases in the database: which worker gets which and how many deliveries, and what follows when it dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import text

from services.relay.model.message import NewDelivery, NewMessage, Settled
from services.relay.model.states import FOREVER, Kind, State
from services.relay.queue import leases
from services.relay.queue.claiming import Claim, ClaimLimits, claim
from services.relay.queue.database import Connection, Database, open_database
from services.relay.queue.destinations import Suspension, resume, suspend, wake_forgotten
from services.relay.queue.due_times import pull_back
from services.relay.queue.settling import Settlement, Settling, settle
from services.relay.queue.storing import store

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
ME, OTHER = 11, 12


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = open_database(database_url)
    await opened.open()
    yield opened
    await opened.close()


def waiting(
    number: int, destination: str, recipients: int = 1, *, leased: bool = False, source: str = ""
) -> NewMessage:
    first = number * 100
    deliveries = tuple(
        NewDelivery(first + index, b"u%d@x.test" % index, State.QUEUED, destination) for index in range(recipients)
    )
    unleased: frozenset[str] = frozenset() if leased else frozenset((destination,))
    content = b"x\r\n"
    return NewMessage(
        number,
        Kind.MAIL,
        b"a@sender.test",
        content,
        NOW,
        deliveries,
        f"s{number}",
        unleased=unleased,
        source=source,
    )


async def put(database: Database, *new: NewMessage, owner: int = OTHER, at: int = NOW) -> None:
    await database.write(lambda connection: store(connection, new, owner, at))


async def claimed(
    database: Database,
    room: int = 100,
    share: dict[str, int] | None = None,
    default: int = 100,
    now: int = NOW,
    owner: int = ME,
    **limits: Any,
) -> Claim:
    chosen = ClaimLimits(room, wanted=share or {}, wanted_elsewhere=default, **limits)
    return await database.write(lambda connection: claim(connection, owner, now, chosen, 5 * SECOND))


def recipients_of(found: Claim) -> list[tuple[str, int, int]]:
    return sorted((destination, message.id, len(deliveries)) for destination, message, deliveries in found.jobs)


async def rows(database: Database, sql: str) -> list[tuple[object, ...]]:
    return await database.read(lambda connection: [tuple(row) for row in connection.execute(text(sql))])


async def test_due_deliveries_are_claimed_once(database: Database) -> None:
    await put(database, waiting(1, "d:a", 3), waiting(2, "d:b"))
    first = await claimed(database)
    assert recipients_of(first) == [("d:a", 1, 3), ("d:b", 2, 1)]
    assert {each.lease_owner for job in first.jobs for each in job[2]} == {ME}
    assert first.jobs[0][1].content == b"x\r\n"
    again = await claimed(database)
    assert again.jobs == []
    assert again.next_wake is None


async def test_new_messages_are_leased_to_the_worker_that_received_them(database: Database) -> None:
    await put(database, waiting(1, "d:a", leased=True))
    assert (await claimed(database)).jobs == []
    assert await rows(database, "SELECT lease_owner FROM deliveries") == [(OTHER,)]


async def test_no_destination_gets_more_than_its_share(database: Database) -> None:
    await put(database, *(waiting(number, "d:big") for number in range(1, 51)), waiting(90, "d:small"))
    found = await claimed(database, default=5)
    assert recipients_of(found) == [*(("d:big", number, 1) for number in range(1, 6)), ("d:small", 90, 1)]
    assert found.more == {"d:big": {""}}
    assert found.next_wake is None


async def test_a_destination_with_enough_jobs_is_not_claimed(database: Database) -> None:
    await put(database, waiting(1, "d:full"), waiting(2, "d:other"))
    found = await claimed(database, skipped=("d:full",))
    assert recipients_of(found) == [("d:other", 2, 1)]
    assert (found.more, found.next_wake) == ({}, None)
    assert recipients_of(await claimed(database)) == [("d:full", 1, 1)]


async def test_no_more_is_claimed_than_fits_into_memory(database: Database) -> None:
    await put(database, *(waiting(number, f"d:{number}") for number in range(1, 11)))
    assert (await claimed(database, room=4)).count == 4
    assert (await claimed(database, room=100)).count == 6


async def test_a_destination_that_may_get_nothing_is_postponed(database: Database) -> None:
    await put(database, waiting(1, "d:dead"), waiting(2, "d:live"))
    found = await claimed(database, share={"d:dead": 0})
    assert recipients_of(found) == [("d:live", 2, 1)]
    assert found.next_wake == NOW + 5 * SECOND
    later = await claimed(database, now=NOW + 5 * SECOND)
    assert recipients_of(later) == [("d:dead", 1, 1)]


async def test_a_suspended_destination_is_not_claimed_until_the_end(database: Database) -> None:
    await put(database, waiting(1, "d:a"))
    end = NOW + 60 * SECOND
    await database.write(lambda connection: suspend(connection, Suspension("d:a", end, "me")))
    # New mail does not wake a suspended destination either.
    await put(database, waiting(2, "d:a"))
    found = await claimed(database)
    assert found.jobs == []
    assert found.next_wake == end
    assert recipients_of(await claimed(database, now=end)) == [("d:a", 1, 1), ("d:a", 2, 1)]


async def test_a_destination_without_an_end_of_suspension_waits_for_an_operator(database: Database) -> None:
    await put(database, waiting(1, "d:a"))
    await database.write(lambda connection: suspend(connection, Suspension("d:a", FOREVER, "me")))
    await put(database, waiting(2, "d:a"))
    found = await claimed(database, now=NOW + 10**15)
    assert (found.jobs, found.next_wake) == ([], None)
    assert await database.write(lambda connection: resume(connection, "d:a", NOW))
    assert (await claimed(database)).count == 2
    assert not await database.write(lambda connection: resume(connection, "d:unknown", NOW))


async def deferred_by(database: Database, owner: int, message: int, due_at: int) -> Settling:
    settled = Settled(message * 100, State.QUEUED, "d:a", due_at, 1, '{"result": "deferred"}', NOW, "451 later")
    settlement = Settlement(message, owner, (settled,))
    return await database.write(lambda connection: settle(connection, [settlement], owner, NOW))


async def test_a_deferred_delivery_is_due_at_its_time(database: Database) -> None:
    await put(database, waiting(1, "d:a"))
    await claimed(database)
    assert (await deferred_by(database, ME, 1, NOW + 300 * SECOND)).lost == set()
    found = await claimed(database, now=NOW + 299 * SECOND)
    assert (found.jobs, found.next_wake) == ([], NOW + 300 * SECOND)
    found = await claimed(database, now=NOW + 300 * SECOND)
    assert [(each.attempts, each.id) for job in found.jobs for each in job[2]] == [(1, 100)]


async def test_a_worker_that_lost_its_lease_cannot_settle_the_delivery(database: Database) -> None:
    await put(database, waiting(1, "d:a"))
    await claimed(database)
    await database.write(lambda connection: leases.free(connection, ME, NOW))
    await claimed(database, owner=OTHER)
    lost = await deferred_by(database, ME, 1, NOW + SECOND)
    assert lost.lost == {100}
    assert await rows(database, "SELECT lease_owner, attempts FROM deliveries") == [(OTHER, 0)]
    done = Settlement(1, OTHER, (Settled(100, State.DELIVERED, "d:a", None, 1, "{}", NOW),))
    await database.write(lambda connection: settle(connection, [done], OTHER, NOW))
    # A delivery is settled only once, even if its last owner tries again.
    assert (await deferred_by(database, OTHER, 1, NOW)).lost == {100}
    assert await rows(database, "SELECT state FROM deliveries") == [(State.DELIVERED,)]


async def test_reports_of_a_lost_lease_are_not_stored(database: Database) -> None:
    await put(database, waiting(1, "d:a"))
    await claimed(database, owner=OTHER)
    failed = Settlement(1, ME, (Settled(100, State.BOUNCED, "d:a", None, 1, "{}", NOW),), (waiting(5, "d:s"),))
    result = await database.write(lambda connection: settle(connection, [failed], ME, NOW))
    assert (result.lost, result.dropped_reports) == ({100}, {5})
    assert await rows(database, "SELECT id FROM messages ORDER BY id") == [(1,)]


async def test_deliveries_of_a_dead_worker_are_due_at_once_and_marked(database: Database) -> None:
    await put(database, waiting(1, "d:a", 2))
    await claimed(database)
    freed = await database.write(lambda connection: leases.free(connection, ME, NOW))
    assert [(delivery, message) for delivery, message, _ in freed.deliveries] == [(100, 1), (101, 1)]
    found = await claimed(database, owner=OTHER)
    assert [each.possible_duplicate for job in found.jobs for each in job[2]] == [True, True]


async def test_a_worker_that_was_unregistered_can_not_renew(database: Database) -> None:
    def register(connection: Connection) -> None:
        leases.register(connection, ME, "me", NOW, SECOND)
        leases.register(connection, OTHER, "other", NOW, SECOND)

    await database.write(register)
    assert await database.write(lambda connection: leases.renew(connection, ME, NOW, SECOND)) == {OTHER: 0}
    assert await database.write(lambda connection: leases.renew(connection, OTHER, NOW, SECOND)) == {ME: 1}
    await database.write(lambda connection: leases.unregister(connection, ME))
    assert await database.write(lambda connection: leases.renew(connection, ME, NOW, SECOND)) is None
    assert not await database.read(lambda connection: ME in leases.workers_known(connection))


async def test_identifiers_are_handed_out_once(database: Database) -> None:
    first = await database.write(lambda connection: leases.reserve(connection, 10))
    second = await database.write(lambda connection: leases.reserve(connection, 10))
    assert second.start == first.stop


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("DELETE FROM messages WHERE id = 1", "message of this delivery is missing"),
        ("DELETE FROM contents WHERE message_id = 1", "content is missing"),
        ("UPDATE contents SET content = {empty} WHERE message_id = 1", "0 octets"),
        ("UPDATE deliveries SET last_attempt = '{{' WHERE id = 100", "Expecting"),
        ("UPDATE messages SET kind = 99 WHERE id = 1", "99 is not a valid Kind"),
        ("UPDATE deliveries SET recipient = {empty} WHERE id = 100", "recipient cannot be read"),
    ],
)
async def test_damaged_rows_are_named_and_the_others_are_claimed(database: Database, damage: str, reason: str) -> None:
    await put(database, waiting(1, "d:a"), waiting(2, "d:a"))
    empty = "x''" if database.exclusive else "decode('', 'hex')"
    statement = text(damage.format(empty=empty))
    await database.write(lambda connection: connection.execute(statement))
    found = await claimed(database)
    assert recipients_of(found) == [("d:a", 2, 1)]
    ((delivery, message, why),) = found.corrupt
    assert (delivery, message) == (100, 1)
    assert reason in why


async def test_due_times_beyond_any_schedule_are_pulled_back(database: Database) -> None:
    await put(database, waiting(1, "d:a"), waiting(2, "d:a"))
    await claimed(database)
    await deferred_by(database, ME, 1, NOW + 3 * 86400 * SECOND)
    await deferred_by(database, ME, 2, NOW + 100 * SECOND)
    latest = NOW + 7200 * SECOND
    assert await database.write(lambda connection: pull_back(connection, [latest], 100)) == 1
    assert await database.write(lambda connection: pull_back(connection, [latest], 100)) == 0
    assert await rows(database, "SELECT due_at FROM deliveries ORDER BY id") == [(latest,), (NOW + 100 * SECOND,)]
    assert await rows(database, "SELECT wake_at FROM destinations") == [(NOW + 100 * SECOND,)]


async def test_two_relays_never_claim_the_same_delivery(postgres_url: str) -> None:
    """SKIP LOCKED: while one transaction holds its claim, another takes the remaining deliveries without waiting."""
    opened = open_database(postgres_url)
    await opened.open()
    try:
        await put(opened, *(waiting(number, f"d:{number % 4}") for number in range(1, 201)))
        found: Sequence[Claim] = await asyncio.gather(
            *(claimed(opened, room=30, default=10, owner=owner) for owner in range(1, 9))
        )
        taken = [each.id for one in found for job in one.jobs for each in job[2]]
        assert len(taken) == len(set(taken))
        while more := (await claimed(opened, default=50)).count:
            taken += [0] * more
        assert len(taken) == 200
    finally:
        await opened.close()


def sources_of(claims: Claim) -> dict[str, list[int]]:
    """Returns the ids of the claimed messages of each source, in their order."""
    taken: dict[str, list[int]] = {}
    for _, message, _ in claims.jobs:
        taken.setdefault(message.source, []).append(message.id)
    return taken


async def test_sources_are_served_in_turns_and_each_keeps_its_order(database: Database) -> None:
    for number in range(1, 41):
        await put(database, waiting(number, "d:a", source="bulk"), at=NOW - 1000 + number)
    await put(database, waiting(90, "d:a", source="other"), waiting(91, "d:a", source="third"))
    first = await claimed(database, default=6)
    assert sources_of(first) == {"bulk": [1, 2], "other": [90], "third": [91]}
    assert first.drained == [("d:a", "other"), ("d:a", "third")]
    assert first.more == {"d:a": {"bulk"}}
    assert sources_of(await claimed(database, default=6)) == {"bulk": list(range(3, 9))}


async def test_a_source_with_enough_deliveries_is_skipped(database: Database) -> None:
    await put(database, waiting(1, "d:a", source="bulk"), waiting(2, "d:a", source="other"))
    await put(database, waiting(3, "d:b", source="bulk"))
    there = await claimed(database, wanted_of_source={("d:a", "bulk"): 0}, left_of_source={"bulk": 0})
    assert sources_of(there) == {"other": [2]}
    assert there.more == {"d:a": {"bulk"}}
    # No other source waits for d:b, so no claim looks at d:b for a while. Its mail is found again when a claim names
    # its source as refilled.
    assert (await claimed(database)).jobs[0][1].id == 1
    again = await claimed(database)
    assert again.jobs == []
    assert sources_of(await claimed(database, refilled={"bulk"})) == {"bulk": [3]}


async def test_a_destination_gets_what_its_share_of_the_memory_leaves(database: Database) -> None:
    await put(database, *(waiting(number, f"d:{number % 2}") for number in range(1, 101)))
    # There are 50 places in memory, of which each of the two destinations gets 20. One has 15 deliveries there already.
    found = await claimed(database, memory=50, held={"d:0": 15})
    assert {name: sum(job[0] == name for job in found.jobs) for name in ("d:0", "d:1")} == {"d:0": 5, "d:1": 20}


async def test_mail_of_an_older_release_is_found_without_rows_of_sources(database: Database) -> None:
    await put(database, waiting(1, "d:a"), waiting(2, "d:a", source="other"))
    await database.write(lambda connection: connection.execute(text("DELETE FROM waiting_sources")))
    assert sources_of(await claimed(database)) == {"": [1], "other": [2]}


async def test_mail_of_an_older_release_is_found_beside_deferred_sources(database: Database) -> None:
    await put(database, waiting(1, "d:a", source="later"), at=NOW + 3600 * SECOND)
    await put(database, waiting(2, "d:a"))
    await database.write(lambda connection: connection.execute(text("DELETE FROM waiting_sources WHERE source = ''")))
    assert (await claimed(database)).jobs == []
    assert await database.write(wake_forgotten) == 1
    assert sources_of(await claimed(database)) == {"": [2]}
    assert await database.write(wake_forgotten) == 0
