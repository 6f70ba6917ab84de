"""Chooses the counters that a decision changes or reads, before any rule is tried. This module is pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from services.policy.rules import exemptions
from services.policy.rules.access import discarded_by
from services.policy.rules.model import Counts, Facts, Snapshot, Stage, Verification


class Counter(StrEnum):
    """The kinds of counters. The first four counters have fields in `Counts`. No rule reads the others."""

    BLOCKED = "blocked"
    CONNECTIONS = "connections"
    CONNECTIONS_THIS_MINUTE = "connections_this_minute"
    MESSAGES_THIS_MINUTE = "messages_this_minute"
    UNKNOWN_RECIPIENTS_TODAY = "unknown_recipients_today"
    FAILED_LOGINS_OF_CLIENT = "failed_logins_of_client"
    FAILED_LOGINS_OF_LOGIN = "failed_logins_of_login"


# The values are stored here, because access to members of enumerations is slow and this runs for every decision.
_BLOCKED, _CONNECTIONS = Counter.BLOCKED, Counter.CONNECTIONS
_CONNECTIONS_THIS_MINUTE, _MESSAGES_THIS_MINUTE = Counter.CONNECTIONS_THIS_MINUTE, Counter.MESSAGES_THIS_MINUTE


# The largest number of clients whose operation BLOCKED is cached.
_REMEMBERED = 20_000

# With this value of `limit`, a counter of a minute is read and not changed.
READ_ONLY = -1


class Operation(NamedTuple):
    """One operation on one counter of one client (`Client.key`), whose answer is a number. BLOCKED: the answer is 1
    when the client is blocked. CONNECTIONS: `member` is a session that opens, and the answer is the number of open
    sessions. *_THIS_MINUTE: the answer is the number in this minute of the clock, including this operation. With the
    limit READ_ONLY, this operation is not added, because it may have been counted before. FAILED_LOGINS_*: the answer
    is the number of failed logins in this minute, for a client, or for a login, whose digest then takes the place of
    the client. UNKNOWN_RECIPIENTS_TODAY: `member` stands for the recipient, and the answer is the number of distinct
    recipients until `ends_at`. When this number reaches `limit`, the client is blocked until `ends_at`.
    """

    counter: Counter
    client: str
    # The end of the window, in seconds since the epoch.
    ends_at: int = 0
    member: str = ""
    limit: int = 0


def operations(facts: Facts, snapshot: Snapshot) -> Sequence[Operation]:
    """Returns the operations for this decision. The result is empty when no rule of the stage needs a counter, for
    example because the rule is off or the client is exempt.
    """
    at_stage = AT_STAGE.get(facts.stage)
    return at_stage(facts, snapshot) if at_stage is not None else ()


def counted(counter_operations: Sequence[Operation], numbers: Sequence[int | None]) -> Counts:
    """Returns the counts from the answers to these operations."""
    if len(numbers) == 1 and numbers[0] == 0 and counter_operations[0].counter is _BLOCKED:
        # Nearly every recipient takes this path.
        return _NOT_BLOCKED
    counts = Counts()
    for operation, number in zip(counter_operations, numbers, strict=True):
        counter = operation.counter
        if counter is _BLOCKED:
            counts.blocked = number
        elif counter is _CONNECTIONS:
            counts.connections = number
        elif counter is _CONNECTIONS_THIS_MINUTE:
            counts.connections_this_minute = number
        elif counter is _MESSAGES_THIS_MINUTE:
            counts.messages_this_minute = number
    return counts


def minute_end(now: float) -> int:
    """Returns the end of this minute of the clock, which begins at :00 on every replica."""
    return (int(now) // 60 + 1) * 60


def day_end(now: float, timezone: tzinfo) -> int:
    """Returns the next midnight in `timezone`."""
    today = datetime.fromtimestamp(now, timezone)
    midnight = datetime.combine(today.date() + timedelta(days=1), datetime.min.time(), timezone)
    return int(midnight.timestamp())


def _at_connect(facts: Facts, snapshot: Snapshot) -> Sequence[Operation]:
    counter_operations: list[Operation] = []
    client, may_be_exempt = facts.client.key, facts.may_be_exempt
    if snapshot.advanced.max_unknown_recipients_per_day and not (
        may_be_exempt and exemptions.never_blocked(facts, snapshot)
    ):
        counter_operations += _blocked(client)
    policy = snapshot.connection_policy
    if (policy.max_connections_per_minute or policy.max_concurrent_connections) and not (
        may_be_exempt and exemptions.connection_policy(facts, snapshot)
    ):
        if policy.max_connections_per_minute:
            counter_operations.append(_in_minute(_CONNECTIONS_THIS_MINUTE, facts))
        if policy.max_concurrent_connections:
            counter_operations.append(
                _operation(_CONNECTIONS, client, 0, facts.session_id, policy.max_concurrent_connections)
            )
    return counter_operations


def _at_mail(facts: Facts, snapshot: Snapshot) -> Sequence[Operation]:
    counter_operations: tuple[Operation, ...] = ()
    may_be_exempt = facts.may_be_exempt
    if snapshot.advanced.max_unknown_recipients_per_day and not (
        may_be_exempt and exemptions.never_blocked(facts, snapshot)
    ):
        counter_operations = _blocked(facts.client.key)
    if snapshot.connection_policy.max_messages_per_minute and not (
        may_be_exempt and exemptions.connection_policy(facts, snapshot)
    ):
        counter_operations += (_in_minute(_MESSAGES_THIS_MINUTE, facts),)
    return counter_operations


def _in_minute(counter: Counter, facts: Facts) -> Operation:
    """Returns the operation on a counter of this minute. A repeated request is counted once, so that the death of a
    replica does not bring a client nearer to its limit.
    """
    limit = READ_ONLY if facts.asked_before else 0
    return _operation(counter, facts.client.key, minute_end(facts.now), "", limit)


def _operation(counter: Counter, client: str, ends_at: int, member: str, limit: int) -> Operation:
    """Makes an Operation. `Operation(…)` would take twice as long."""
    return tuple.__new__(Operation, (counter, client, ends_at, member, limit))


def _at_rcpt(facts: Facts, snapshot: Snapshot) -> Sequence[Operation]:
    limit = snapshot.advanced.max_unknown_recipients_per_day
    if not limit or (facts.may_be_exempt and exemptions.never_blocked(facts, snapshot)):
        return ()
    client = facts.client.key
    recipient = facts.recipient
    is_unknown = recipient.is_unknown or (recipient.is_verified and facts.verification == Verification.NONE)
    if not is_unknown or exemptions.logged_in(facts, snapshot) or discarded_by(facts, snapshot):
        return _blocked(client)
    return (
        *_blocked(client),
        Operation(
            Counter.UNKNOWN_RECIPIENTS_TODAY,
            client,
            day_end(facts.now, snapshot.timezone),
            member=_digest(recipient.key),
            limit=limit,
        ),
    )


# The result is cached, because nearly every decision needs it.
@lru_cache(maxsize=_REMEMBERED)
def _blocked(client: str) -> tuple[Operation, ...]:
    return (_operation(_BLOCKED, client, 0, "", 0),)


def _digest(address: str) -> str:
    """Returns a digest, because counters contain no addresses, and a key has a fixed size (C155)."""
    return hashlib.blake2b(address.encode(), digest_size=12).hexdigest()


_NOT_BLOCKED = Counts(blocked=0)
# For each stage with counters, the function that returns its operations.
AT_STAGE: dict[int, Callable[[Facts, Snapshot], Sequence[Operation]]] = {
    Stage.CONNECT: _at_connect,
    Stage.MAIL: _at_mail,
    Stage.RCPT: _at_rcpt,
}
