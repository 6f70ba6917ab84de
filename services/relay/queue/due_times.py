"""Corrects due times that are later than any schedule allows. They come from a wall clock that was set back, or from
earlier settings with longer times.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Connection, case, literal, select, update

from services.relay.queue.destinations import wake
from services.relay.queue.tables import HAS_OPEN_DELIVERIES, WAITING, deliveries, destinations, messages


def pull_back(connection: Connection, latest: Sequence[int], size: int) -> int:
    """Moves up to `size` deliveries that are due too late to the latest allowed time.

    `latest[n]` is the latest allowed time after n attempts. The last entry is for all higher numbers of attempts.
    Returns how many deliveries were moved.
    """
    times = [literal(at, BigInteger) for at in latest]
    by_attempts = [(deliveries.c.attempts <= number, at) for number, at in enumerate(times[:-1])]
    bound = case(*by_attempts, else_=times[-1]) if by_attempts else times[-1]
    first = min(latest)
    names = connection.execute(select(destinations.c.name).order_by(destinations.c.name)).scalars().all()
    pulled = 0
    for name in names:
        rows = connection.execute(
            select(deliveries.c.id, deliveries.c.source)
            .where(WAITING, deliveries.c.destination == name, deliveries.c.due_at > first, deliveries.c.due_at > bound)
            .limit(size - pulled)
            .with_for_update(skip_locked=True)
        ).all()
        if rows:
            ids = [row[0] for row in rows]
            connection.execute(update(deliveries).where(deliveries.c.id.in_(ids)).values(due_at=bound))
            wake(connection, {(name, row[1]): first for row in rows})
            pulled += len(rows)
        if pulled >= size:
            break
    return pulled


def pull_sweeps_back(connection: Connection, fresh: int, noticed: int, null_sender: int, size: int) -> int:
    """Moves the time of the next sweep of up to `size` messages, where it is too late, to the correct time.

    The arguments are the microseconds from storing a message to its sweep: `fresh` before its sender was told of a
    delay, `noticed` after that, `null_sender` when the sender is `<>`. Returns how many messages were moved.
    """
    after = case(
        (messages.c.sender == b"", literal(null_sender, BigInteger)),
        (messages.c.delay_noticed, literal(noticed, BigInteger)),
        else_=literal(fresh, BigInteger),
    )
    bound = messages.c.stored_at + after
    query = select(messages.c.id).where(HAS_OPEN_DELIVERIES, messages.c.sweep_at > bound).limit(size)
    ids = connection.execute(query.with_for_update(skip_locked=True)).scalars().all()
    if ids:
        connection.execute(update(messages).where(messages.c.id.in_(ids)).values(sweep_at=bound))
    return len(ids)
