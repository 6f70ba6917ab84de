"""Due times that lie further ahead than any schedule could have put them: left by a wall clock that was set back."""

from __future__ import annotations

from sqlalchemy import Connection, literal_column, select, update

from services.relay.queue.destinations import wake
from services.relay.queue.tables import deliveries, destinations


def pull_back(connection: Connection, latest: int, size: int) -> int:
    """Makes up to `size` deliveries due at `latest` that were to be due after it; how many that were."""
    names = connection.execute(select(destinations.c.name).order_by(destinations.c.name)).scalars().all()
    pulled = 0
    for name in names:
        ids = (
            connection.execute(
                select(deliveries.c.id)
                .where(
                    literal_column("deliveries.lease_owner IS NULL"),
                    literal_column("deliveries.state <= 3"),
                    deliveries.c.destination == name,
                    deliveries.c.due_at > latest,
                )
                .limit(size - pulled)
                .with_for_update(skip_locked=True)
            )
            .scalars()
            .all()
        )
        if ids:
            connection.execute(update(deliveries).where(deliveries.c.id.in_(ids)).values(due_at=latest))
            wake(connection, {name: latest})
            pulled += len(ids)
        if pulled >= size:
            break
    return pulled
