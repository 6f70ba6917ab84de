"""The filters of operators, as values and as SQL conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, ColumnElement, LargeBinary, and_, bindparam, exists, func, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from services.relay.model.states import Kind, State
from services.relay.queue.tables import deliveries, messages
from services.relay.queue.verdicts import member

# Values of the contract's DeliveryState. A delivery in the state QUEUED of the database is active, deferred or held,
# depending on whether it is leased or due.
ACTIVE, DEFERRED, HELD = 1, 2, 3

Condition = ColumnElement[bool]

_STATES = frozenset(map(int, State))


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Each field that is set must match. All fields about deliveries must match the same delivery."""

    sender: bytes | None = None
    recipient: bytes | None = None
    sender_domain: str = ""
    recipient_domain: str = ""
    # Numbers of the contract's DeliveryState.
    states: tuple[int, ...] = ()
    destination: str = ""
    # Microseconds since 1970.
    received_after: int | None = None
    received_before: int | None = None
    last_reply_contains: str = ""
    account_login: str = ""
    client_address: str = ""
    attempts_at_least: int = 0
    session_id: str = ""
    # A Message-ID without angle brackets.
    message_id: str = ""
    envelope_id: bytes = b""
    # The number of the message. -1 matches no message.
    number: int | None = None
    # A part of the sender or of a recipient, and a part of the subject.
    address_contains: str = ""
    subject_contains: str = ""
    # The message must have a verdict with each of these ids.
    rule_id: str = ""
    reason_id: str = ""
    shadow_reason_id: str = ""
    shadow_rule_id: str = ""

    def of_messages(self) -> list[Condition]:
        """Returns the conditions about the message alone."""
        conditions: list[Condition] = []
        if self.sender is not None:
            conditions.append(messages.c.sender == self.sender)
        if self.sender_domain:
            conditions.append(messages.c.sender_domain == self.sender_domain.lower())
        conditions += self.in_time()
        if self.account_login:
            conditions.append(messages.c.account_login == self.account_login)
        if self.client_address:
            conditions.append(messages.c.client_address == self.client_address)
        if self.session_id:
            conditions.append(messages.c.session_id == self.session_id)
        if self.number is not None:
            conditions.append(messages.c.id == self.number)
        if self.message_id:
            conditions.append(messages.c.message_id == self.message_id)
        if self.envelope_id:
            conditions.append(messages.c.envelope_id == self.envelope_id)
        if self.subject_contains:
            conditions.append(_contains(messages.c.subject, self.subject_contains))
        return conditions + self._of_verdicts()

    def in_time(self) -> list[Condition]:
        """Returns the conditions about the time of arrival."""
        conditions: list[Condition] = []
        if self.received_after is not None:
            conditions.append(messages.c.received_at >= self.received_after)
        if self.received_before is not None:
            conditions.append(messages.c.received_at < self.received_before)
        return conditions

    def _of_verdicts(self) -> list[Condition]:
        conditions: list[Condition] = []
        for name, wanted_id in (("rule_id", self.rule_id), ("reason_id", self.reason_id)):
            if wanted_id:
                text = member(name, wanted_id)
                conditions.append(or_(_holds(messages.c.verdicts, text), _holds(messages.c.refusal, text)))
        for name, wanted_id in (
            ("shadow_reason_id", self.shadow_reason_id),
            ("shadow_rule_id", self.shadow_rule_id),
        ):
            if wanted_id:
                conditions.append(_holds(messages.c.verdicts, member(name, wanted_id)))
        return conditions

    def of_deliveries(self, now: int, from_it: Condition | None = None) -> list[Condition]:
        """Returns the conditions about one delivery. `from_it` is the condition that the sender of its message contains
        `address_contains`, if the query includes the message.
        """
        found: list[Condition] = []
        if self.recipient is not None:
            found.append(or_(deliveries.c.recipient == self.recipient, _submitted_as(self.recipient)))
        if self.recipient_domain:
            found.append(deliveries.c.recipient_domain == self.recipient_domain.lower())
        if self.destination:
            found.append(deliveries.c.destination == self.destination)
        if self.last_reply_contains:
            found.append(_contains(deliveries.c.last_reply, self.last_reply_contains))
        if self.attempts_at_least:
            found.append(deliveries.c.attempts >= self.attempts_at_least)
        if self.states:
            found.append(or_(*(in_state(state, now) for state in self.states)))
        if self.address_contains:
            found.append(self._address(from_it))
        return found

    def conditions(self, now: int) -> list[Condition]:
        """Returns the conditions for a query of messages."""
        found = self.of_messages()
        if self.states == (int(State.REJECTED),):
            # Only refused messages have deliveries in this state. With this condition the database need not look at the
            # deliveries of each message.
            found.append(messages.c.kind == int(Kind.REFUSED))
        about = self.of_deliveries(now, octets_contain(messages.c.sender, self.address_contains))
        if about:
            matching: Condition = exists().where(deliveries.c.message_id == messages.c.id, *about)
            if self._may_have_no_delivery:
                # A session that was refused before it named a recipient has no delivery.
                refused: Condition = messages.c.kind == int(Kind.REFUSED)
                if self.address_contains:
                    refused = and_(refused, octets_contain(messages.c.sender, self.address_contains))
                matching = or_(matching, refused)
            found.append(matching)
        return found

    def _address(self, from_it: Condition | None) -> Condition:
        """Returns the condition that the text is part of the recipient of the delivery or of the sender of its message.
        An action changes only the deliveries for which this is true.
        """
        part = self.address_contains
        if from_it is None:
            sent = messages.alias("sent")
            from_it = exists().where(sent.c.id == deliveries.c.message_id, octets_contain(sent.c.sender, part))
        return or_(
            octets_contain(deliveries.c.recipient, part),
            octets_contain(deliveries.c.submitted_recipient, part),
            from_it,
        )

    @property
    def _may_have_no_delivery(self) -> bool:
        is_state = not self.states or int(State.REJECTED) in self.states
        return is_state and not (
            self.recipient is not None
            or self.recipient_domain
            or self.destination
            or self.last_reply_contains
            or self.attempts_at_least
        )


def in_state(state: int, now: int) -> Condition:
    """Returns the condition that a delivery is in a state of the contract now."""
    queued = deliveries.c.state == int(State.QUEUED)
    if state == ACTIVE:
        return and_(queued, or_(deliveries.c.lease_owner.is_not(None), deliveries.c.due_at <= now))
    if state == DEFERRED:
        return and_(queued, deliveries.c.lease_owner.is_(None), deliveries.c.due_at > now)
    if state == HELD:
        by_route = and_(queued, deliveries.c.lease_owner.is_(None), deliveries.c.due_at.is_(None))
        return or_(deliveries.c.state == int(State.HELD), by_route)
    return deliveries.c.state == state


def state_of(state: int, lease_owner: int | None, due_at: int | None, now: int) -> int:
    """Returns the contract's DeliveryState of a row."""
    if state != State.QUEUED:
        return state if state in _STATES else State.QUARANTINED
    if lease_owner is not None:
        return ACTIVE
    if not isinstance(due_at, int):
        return HELD
    return ACTIVE if due_at <= now else DEFERRED


def _submitted_as(recipient: bytes) -> Condition:
    return deliveries.c.submitted_recipient == recipient


class octets_contain(FunctionElement[bool]):  # noqa: N801 - as SQLAlchemy names functions
    """The condition that a column of octets contains a text. Letters are compared without regard to case."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, octets: Any, text: str) -> None:
        super().__init__(octets, bindparam(None, text.encode("utf-8", "surrogatepass"), type_=LargeBinary))


@compiles(octets_contain, "sqlite")
def _in_sqlite(element: octets_contain, compiler: Any, **options: Any) -> str:
    octets, part = (compiler.process(clause, **options) for clause in element.clauses)
    return f"instr(lower(CAST({octets} AS TEXT)), lower(CAST({part} AS TEXT))) > 0"


@compiles(octets_contain, "postgresql")
def _in_postgresql(element: octets_contain, compiler: Any, **options: Any) -> str:
    # Addresses may contain octets that are not UTF-8. PostgreSQL compares both sides with these octets escaped.
    octets, part = (compiler.process(clause, **options) for clause in element.clauses)
    return f"strpos(lower(encode({octets}, 'escape')), lower(encode({part}, 'escape'))) > 0"


def _holds(column: Any, text: str) -> Condition:
    """Returns the condition that a text column contains a text exactly."""
    condition: Condition = column.contains(text, autoescape=True)
    return condition


def _contains(column: Any, text: str) -> Condition:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    condition: Condition = func.lower(column).like(func.lower(f"%{escaped}%"), escape="\\")
    return condition
