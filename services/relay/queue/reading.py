"""Reads the views of operators: pages of the queue and of all messages, and single messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from libs.smtp import header
from services.relay.model.message_id import index_keys
from services.relay.model.states import State
from services.relay.queue.filters import MessageFilter, state_of
from services.relay.queue.statements import among, listed
from services.relay.queue.tables import attempts, contents, deliveries, events, messages

# The number of messages that one query checks, and the largest number of queries for one page. A filter that matches
# very few messages gives a short page, with a token for the next page.
_WINDOW = 20_000
_WINDOWS = 5
# The number of messages that one batch of an action checks.
_LOOKED_THROUGH = 2_000
# The largest number of deliveries of each message that a list shows.
_SHOWN = 50
_HEADER_OCTETS = 256 * 1024
_NEWEST_FIRST = (messages.c.received_at.desc(), messages.c.id.desc())
# The number of groups in the index of Message-IDs that one query searches.
_KEYS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Position:
    """The end of a page: (time, message), in the order of the list."""

    at: int
    message_id: int

    def token(self) -> str:
        return f"{self.at}-{self.message_id}"

    @classmethod
    def parse(cls, token: str) -> Position | None:
        """Reads a page token. Returns None for the empty token. Raises ValueError."""
        if not token:
            return None
        at, dash, message = token.partition("-")
        if not dash or not (at.isascii() and at.isdigit() and message.isascii() and message.isdigit()):
            raise ValueError("the text is not a page token")
        position = cls(int(at), int(message))
        if max(position.at, position.message_id) >= 2**63:
            raise ValueError("the text is not a page token")
        return position


@dataclass(slots=True)
class StoredMessage:
    """The row of a message with its deliveries, and more data if it was requested. The rows have the columns of the
    tables.
    """

    row: Any
    deliveries: list[Any] = field(default_factory=list)
    delivery_count: int = 0
    # The contract's DeliveryState.
    state: int = 0
    attempts: dict[int, list[str]] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    header: bytes = b""


@dataclass(frozen=True, slots=True)
class Page:
    messages: tuple[StoredMessage, ...]
    next: Position | None


def queue_page(connection: Connection, wanted: MessageFilter, size: int, after: Position | None, now: int) -> Page:
    """Returns messages with open deliveries, the oldest first."""
    rows_found: list[Any] = []
    for _ in range(_WINDOWS):
        start = _after(after)
        edge = connection.execute(
            select(messages.c.stored_at, messages.c.id)
            .where(messages.c.open > 0, *start)
            .order_by(messages.c.stored_at, messages.c.id)
            .offset(_WINDOW)
            .limit(1)
        ).first()
        bound = [] if edge is None else [_up_to(edge[0], edge[1])]
        rows_found += connection.execute(
            select(messages)
            .where(messages.c.open > 0, *start, *bound, *wanted.conditions(now))
            .order_by(messages.c.stored_at, messages.c.id)
            .limit(size + 1 - len(rows_found))
        ).all()
        if len(rows_found) > size:
            last = rows_found[size - 1]
            return Page(_with_deliveries(connection, rows_found[:size], now), Position(last.stored_at, last.id))
        if edge is None:
            return Page(_with_deliveries(connection, rows_found, now), None)
        after = Position(edge[0], edge[1])
    return Page(_with_deliveries(connection, rows_found, now), after)


def message_page(connection: Connection, wanted: MessageFilter, size: int, after: Position | None, now: int) -> Page:
    """Returns queued, finished and refused messages, the newest first by their arrival."""
    if wanted.message_id:
        return _page_by_message_id(connection, wanted, size, after, now)
    rows_found: list[Any] = []
    only_one = wanted.number is not None
    for _ in range(_WINDOWS):
        start = [*wanted.in_time(), *_before(after)]
        edge = None if only_one else _window_edge(connection, start)
        bound = [] if edge is None else [_down_to(edge[0], edge[1])]
        rows_found += connection.execute(
            select(messages)
            .where(*start, *bound, *wanted.conditions(now))
            .order_by(*_NEWEST_FIRST)
            .limit(size + 1 - len(rows_found))
        ).all()
        if len(rows_found) > size:
            return _full_page(connection, rows_found, size, now)
        if edge is None:
            return Page(_with_deliveries(connection, rows_found, now), None)
        after = Position(edge[0], edge[1])
    return Page(_with_deliveries(connection, rows_found, now), after)


def _page_by_message_id(
    connection: Connection, wanted: MessageFilter, size: int, after: Position | None, now: int
) -> Page:
    """Searches the index of Message-IDs, with one key for each group of message numbers that is in use."""
    # Each end has a separate query, because both databases then read only the ends of the index.
    ends = [select(bound(messages.c.id)).scalar_subquery() for bound in (func.min, func.max)]
    lowest, highest = connection.execute(select(*ends)).one()
    if lowest is None:
        return Page((), None)
    keys = index_keys(wanted.message_id, lowest, highest)
    found: list[Any] = []
    # Every group is searched, because the message numbers of several relays are not in the order of time.
    while some := list(islice(keys, _KEYS_AT_ONCE)):
        # There are few matches. The database must not use its index by time for the order.
        ids = select(messages.c.id).where(among(connection.dialect.name, messages.c.message_id_key, "keys"))
        found += connection.execute(
            select(messages)
            .where(messages.c.id.in_(ids), *_before(after), *wanted.conditions(now))
            .order_by(*_NEWEST_FIRST)
            .limit(size + 1),
            {"keys": listed(connection, some)},
        ).all()
        found.sort(key=lambda row: (row.received_at, row.id), reverse=True)
        del found[size + 1 :]
    if len(found) > size:
        return _full_page(connection, found, size, now)
    return Page(_with_deliveries(connection, found, now), None)


def _full_page(connection: Connection, found: list[Any], size: int, now: int) -> Page:
    last = found[size - 1]
    return Page(_with_deliveries(connection, found[:size], now), Position(last.received_at, last.id))


def _window_edge(connection: Connection, start: list[Any]) -> Any:
    """Returns the end of the next group of messages, or None when this group has all that are left."""
    return connection.execute(
        select(messages.c.received_at, messages.c.id).where(*start).order_by(*_NEWEST_FIRST).offset(_WINDOW).limit(1)
    ).first()


def candidates(
    connection: Connection, wanted: MessageFilter, after: Position | None, until: int, size: int, now: int
) -> tuple[list[int], Position | None]:
    """Returns the ids of messages of the queue that match, the oldest first, and the position for the next call, which
    is None at the end.

    Messages that were stored after `until` are left out, so that the pages come to an end.
    """
    start = [messages.c.open > 0, messages.c.stored_at <= until, *_after(after)]
    order = (messages.c.stored_at, messages.c.id)
    edge = connection.execute(
        select(messages.c.stored_at, messages.c.id).where(*start).order_by(*order).offset(_LOOKED_THROUGH).limit(1)
    ).first()
    bound = [] if edge is None else [_up_to(edge[0], edge[1])]
    rows = connection.execute(
        select(messages.c.stored_at, messages.c.id)
        .where(*start, *bound, *wanted.conditions(now))
        .order_by(*order)
        .limit(size)
    ).all()
    if len(rows) == size:
        return [row[1] for row in rows], Position(rows[-1][0], rows[-1][1])
    return [row[1] for row in rows], None if edge is None else Position(edge[0], edge[1])


def whole_message(connection: Connection, message_id: int, now: int, *, with_header: bool) -> StoredMessage | None:
    """Returns a message with every delivery, attempt and event, or None when it does not exist."""
    row = connection.execute(select(messages).where(messages.c.id == message_id)).first()
    if row is None:
        return None
    stored_message = StoredMessage(row)
    stored_message.deliveries = list(
        connection.execute(
            select(deliveries).where(deliveries.c.message_id == message_id).order_by(deliveries.c.id)
        ).all()
    )
    stored_message.delivery_count = len(stored_message.deliveries)
    stored_message.state = least_finished(
        [state_of(each.state, each.lease_owner, each.due_at, now) for each in stored_message.deliveries]
    )
    of_them = select(deliveries.c.id).where(deliveries.c.message_id == message_id)
    for delivery, attempt in connection.execute(
        select(attempts.c.delivery_id, attempts.c.attempt)
        .where(attempts.c.delivery_id.in_(of_them))
        .order_by(attempts.c.delivery_id, attempts.c.started_at)
    ):
        stored_message.attempts.setdefault(delivery, []).append(attempt)
    stored_message.events = list(
        connection.execute(
            select(events).where(events.c.message_id == message_id).order_by(events.c.at, events.c.id)
        ).all()
    )
    if with_header:
        head: object = connection.execute(
            select(func.substr(contents.c.content, 1, _HEADER_OCTETS)).where(contents.c.message_id == message_id)
        ).scalar()
        stored_message.header, _ = header.split(head if isinstance(head, bytes) else b"")
    return stored_message


def content_piece(connection: Connection, message_id: int, offset: int, size: int) -> bytes | None:
    """Returns octets of a content from `offset` on. The result is empty at the end of the content, and None when the
    content was removed.
    """
    piece = connection.execute(
        select(func.substr(contents.c.content, offset + 1, size)).where(contents.c.message_id == message_id)
    ).first()
    return None if piece is None else bytes(piece[0] or b"")


def least_finished(states: Sequence[int]) -> int:
    """Returns the state of a message, computed from its deliveries. A delivery that others replaced counts only when
    there is no other.
    """
    real = [state for state in states if state not in (State.EXPANDED, State.REDIRECTED)]
    return min(real or states, default=int(State.REJECTED))


def _with_deliveries(connection: Connection, rows: Sequence[Any], now: int) -> tuple[StoredMessage, ...]:
    by_id = {row.id: StoredMessage(row) for row in rows}
    if not by_id:
        return ()
    number = func.row_number().over(partition_by=deliveries.c.message_id, order_by=deliveries.c.id).label("number")
    states: dict[int, list[int]] = {}
    for row in connection.execute(select(deliveries, number).where(deliveries.c.message_id.in_(list(by_id)))):
        stored_message = by_id[row.message_id]
        stored_message.delivery_count += 1
        states.setdefault(row.message_id, []).append(state_of(row.state, row.lease_owner, row.due_at, now))
        if row.number <= _SHOWN:
            stored_message.deliveries.append(row)
    for message, stored_message in by_id.items():
        stored_message.state = least_finished(states.get(message, []))
    return tuple(by_id.values())


def _after(position: Position | None) -> list[Any]:
    """Returns the condition for rows after a position, in a form for which both databases use the index."""
    if position is None:
        return []
    later = and_(messages.c.stored_at == position.at, messages.c.id > position.message_id)
    return [messages.c.stored_at >= position.at, or_(messages.c.stored_at > position.at, later)]


def _up_to(at: int, message_id: int) -> Any:
    same = and_(messages.c.stored_at == at, messages.c.id <= message_id)
    return and_(messages.c.stored_at <= at, or_(messages.c.stored_at < at, same))


def _before(position: Position | None) -> list[Any]:
    if position is None:
        return []
    earlier = and_(messages.c.received_at == position.at, messages.c.id < position.message_id)
    return [messages.c.received_at <= position.at, or_(messages.c.received_at < position.at, earlier)]


def _down_to(at: int, message_id: int) -> Any:
    same = and_(messages.c.received_at == at, messages.c.id >= message_id)
    return and_(messages.c.received_at >= at, or_(messages.c.received_at > at, same))
