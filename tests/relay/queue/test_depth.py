"""The depth of the queue: how many deliveries wait, in which state, for which destination, and since when."""

from __future__ import annotations

from prometheus_client.samples import Sample
from sqlalchemy import text

from services.relay.clock import Clock
from services.relay.metrics import QUEUE_DELIVERIES, QUEUE_DESTINATION_DELIVERIES, QUEUE_OLDEST_AGE
from services.relay.queue.database import Database
from services.relay.queue.depth import Depth, DestinationDepth, depth, longest
from services.relay.queue.gauges import QueueGauges
from tests.relay.queue.test_claiming import NOW, SECOND, claimed, database, put, waiting

__all__ = ["database"]


async def found(database: Database, now: int = NOW) -> Depth:
    return await database.read(lambda connection: depth(connection, now))


async def test_each_delivery_is_counted_in_one_state(database: Database) -> None:
    assert await found(database) == Depth(0, 0, 0, 0, None)
    await put(database, waiting(1, "domain:a.test", 3), waiting(2, "domain:b.test", 4), at=NOW)
    await put(database, waiting(3, "domain:c.test", leased=True), at=NOW + SECOND)
    await claimed(database, share={"domain:b.test": 0})

    def defer_and_hold(connection: object) -> None:
        connection.execute(text("UPDATE deliveries SET due_at = :at WHERE id = 200"), {"at": NOW + 9 * SECOND})  # type: ignore[attr-defined]
        connection.execute(text("UPDATE deliveries SET due_at = NULL, state = 3 WHERE id = 201"))  # type: ignore[attr-defined]
        connection.execute(text("UPDATE deliveries SET due_at = NULL, state = 4 WHERE id = 202"))  # type: ignore[attr-defined]

    await database.write(defer_and_hold)
    assert await found(database) == Depth(leased=4, due=1, deferred=1, held=1, oldest_at=NOW)


async def test_the_gauges_show_the_queue(database: Database) -> None:
    figures = QueueGauges(database, Clock(wall=lambda: NOW + 90 * SECOND))
    await put(database, waiting(1, "domain:a.test", 2))
    await figures.look()
    assert QUEUE_DELIVERIES.labels("due")._value.get() == 2
    assert QUEUE_DELIVERIES.labels("held")._value.get() == 0
    assert QUEUE_OLDEST_AGE._value.get() == 90
    await database.write(lambda connection: connection.execute(text("UPDATE messages SET open = 0")))
    await database.write(lambda connection: connection.execute(text("UPDATE deliveries SET state = 4")))
    await figures.look()
    assert QUEUE_DELIVERIES.labels("due")._value.get() == 0
    assert QUEUE_OLDEST_AGE._value.get() == 0


async def test_the_longest_queues_come_first_up_to_the_limit(database: Database) -> None:
    await put(database, waiting(1, "domain:few.test", 1), waiting(2, "domain:many.test", 4), waiting(3, "hold", 2))

    def defer_and_hold(connection: object) -> None:
        connection.execute(text("UPDATE deliveries SET due_at = :at WHERE id = 200"), {"at": NOW + 9 * SECOND})  # type: ignore[attr-defined]
        connection.execute(text("UPDATE deliveries SET due_at = NULL, state = 3 WHERE id IN (201, 300, 301)"))  # type: ignore[attr-defined]

    await database.write(defer_and_hold)
    many, hold = DestinationDepth("domain:many.test", 2, 1, 1), DestinationDepth("hold", 0, 0, 2)
    assert await database.read(lambda connection: longest(connection, NOW, 2)) == [many, hold]
    assert len(await database.read(lambda connection: longest(connection, NOW, 20))) == 3


async def test_a_destination_is_shown_while_mail_waits_for_it(database: Database) -> None:
    figures = QueueGauges(database, Clock(wall=lambda: NOW + 90 * SECOND))
    await put(
        database,
        waiting(1, "relay:smart.test:587:alice@our.test", 2),
        waiting(2, "relay:smart.test:587:bob", 3),
        *(waiting(number, f"domain:d{number}.test") for number in range(3, 40)),
    )
    await figures.look()
    shown = {sample.labels["destination"]: sample.value for sample in _samples() if sample.labels["state"] == "due"}
    assert shown["relay:smart.test:587"] == 5
    assert len(shown) == 19, "20 destinations are shown, and two of them share a label"
    await database.write(lambda connection: connection.execute(text("UPDATE deliveries SET state = 4")))
    await figures.look()
    assert _samples() == []


def _samples() -> list[Sample]:
    (family,) = QUEUE_DESTINATION_DELIVERIES.collect()
    return list(family.samples)
