"""Computes from the outcomes of an attempt what is stored after it: states, due times, records, and reports to the
sender. This module is pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as quoted

from libs.smtp.value import fast_value
from services.relay.configuration.model import QueueSettings
from services.relay.model.attempt import Outcome, Result
from services.relay.model.message import Action, QueuedDelivery, QueuedMessage, ReportedRecipient, Settled
from services.relay.model.retry_schedule import UNCOUNTED_LIMIT, expiry, next_attempt
from services.relay.model.states import State
from services.relay.routing.recipients import hears_of_failure

_RESULTS = {result: quoted(result.value) for result in Result}
# The enhanced code of "delivery time expired" (RFC 3463).
EXPIRED = "4.4.7"
# The enhanced codes about an address or its mailbox (RFC 3463).
_ABOUT_THE_RECIPIENT = ("5.1.", "5.2.")


@fast_value(frozen=True, slots=True)
class AttemptFacts:
    """The facts about one attempt besides its outcomes. Times are in microseconds since 1970."""

    settings: QueueSettings
    destination: str
    # Whether the next hop is the mailbox itself, so that a report says delivered and not relayed (RFC 3464 2.3.3).
    is_mailbox: bool
    started_at: int
    now: int
    # Whether messages may expire. This is false while the wall clock cannot be trusted.
    may_expire: bool
    worker: str
    # Gives a random number in [0, 1).
    jitter: Callable[[], float]


@dataclass(slots=True)
class Settlements:
    """The new states of the recipients of one attempt."""

    settled: list[Settled] = field(default_factory=list)
    reported: list[ReportedRecipient] = field(default_factory=list)
    # The last error of the destination. Empty means none.
    error: str = ""
    # Destinations that must be suspended, because an operator must correct something first.
    suspend: set[str] = field(default_factory=set)
    # Recipients that a server refuses permanently, because of the address or its mailbox.
    refused_recipients: list[bytes] = field(default_factory=list)


def settle(
    attempt_facts: AttemptFacts,
    message: QueuedMessage,
    deliveries: Sequence[QueuedDelivery],
    outcomes: Sequence[Outcome],
) -> Settlements:
    """Applies the outcomes to the deliveries; both are in the same order."""
    result = Settlements()
    for delivery, outcome in zip(deliveries, outcomes, strict=True):
        if outcome.result is Result.DELIVERED:
            _delivered(result, attempt_facts, message, delivery, outcome)
        elif outcome.result is Result.FAILED:
            _failed(result, attempt_facts, message, delivery, outcome)
        else:
            _deferred(result, attempt_facts, message, delivery, outcome)
        if outcome.suspend_destination:
            result.suspend.add(outcome.suspend_destination)
    return result


def _delivered(
    result: Settlements,
    attempt_facts: AttemptFacts,
    message: QueuedMessage,
    delivery: QueuedDelivery,
    outcome: Outcome,
) -> None:
    result.settled.append(_finished(attempt_facts, delivery, outcome, State.DELIVERED))
    if message.sender and "SUCCESS" in delivery.notify and not outcome.dsn_passed_on:
        # RFC 3461 5.2.2: if the next host does not support DSN, the sender gets a report that the message was relayed.
        action = Action.DELIVERED if attempt_facts.is_mailbox else Action.RELAYED
        result.reported.append(_reported(attempt_facts, delivery, outcome, action, outcome.enhanced_code or "2.0.0"))


def _failed(
    result: Settlements,
    attempt_facts: AttemptFacts,
    message: QueuedMessage,
    delivery: QueuedDelivery,
    outcome: Outcome,
) -> None:
    result.settled.append(_finished(attempt_facts, delivery, outcome, State.BOUNCED))
    if not outcome.own and outcome.enhanced_code.startswith(_ABOUT_THE_RECIPIENT):
        result.refused_recipients.append(delivery.recipient)
    if hears_of_failure(message.kind, delivery.notify):
        status = outcome.enhanced_code if outcome.enhanced_code[:1] in ("4", "5") else "5.0.0"
        result.reported.append(_reported(attempt_facts, delivery, outcome, Action.FAILED, status))


def _deferred(
    result: Settlements,
    attempt_facts: AttemptFacts,
    message: QueuedMessage,
    delivery: QueuedDelivery,
    outcome: Outcome,
) -> None:
    now, settings = attempt_facts.now, attempt_facts.settings
    expires_at = expiry(settings, message.stored_at, null_sender=not message.sender)
    result.error = _line(outcome)
    if now >= expires_at and attempt_facts.may_expire:
        result.settled.append(_finished(attempt_facts, delivery, outcome, State.BOUNCED))
        if hears_of_failure(message.kind, delivery.notify):
            result.reported.append(_reported(attempt_facts, delivery, outcome, Action.FAILED, EXPIRED))
        return
    uncounted = 0 if outcome.counts else delivery.uncounted + 1
    if 0 < uncounted <= UNCOUNTED_LIMIT:
        attempts, due_at = delivery.attempts, now
    else:
        uncounted, attempts = 0, delivery.attempts + 1
        # While the clock cannot be trusted, the message does not expire, and the retries continue by the schedule.
        limit = expires_at if now < expires_at else now + int(settings.max_retry * 1_000_000)
        due_at = next_attempt(settings, attempts, now, limit, attempt_facts.jitter())
    result.settled.append(
        Settled(
            delivery.id,
            State.QUEUED,
            attempt_facts.destination,
            due_at,
            attempts,
            record(attempt_facts, outcome, uncounted),
            attempt_facts.started_at,
            _line(outcome),
            outcome.possible_duplicate or delivery.possible_duplicate,
        )
    )


def _finished(attempt_facts: AttemptFacts, delivery: QueuedDelivery, outcome: Outcome, state: State) -> Settled:
    return Settled(
        delivery.id,
        state,
        attempt_facts.destination,
        None,
        delivery.attempts + 1,
        record(attempt_facts, outcome, 0),
        attempt_facts.started_at,
        _line(outcome),
        outcome.possible_duplicate or delivery.possible_duplicate,
    )


def _reported(
    attempt_facts: AttemptFacts, delivery: QueuedDelivery, outcome: Outcome, action: Action, status: str
) -> ReportedRecipient:
    return ReportedRecipient(
        address=delivery.recipient,
        action=action,
        status=status,
        orcpt=delivery.orcpt,
        code=outcome.code if outcome.host and not outcome.own else 0,
        text=outcome.text,
        remote_host=outcome.host,
        last_attempt_at=attempt_facts.now,
        submitted_recipient=delivery.submitted_recipient,
    )


def _line(outcome: Outcome) -> str:
    return f"{outcome.code} {outcome.text}" if outcome.code else outcome.text


def record(attempt_facts: AttemptFacts, outcome: Outcome, uncounted: int) -> str:
    """Returns an attempt in the form in which it is stored: JSON, without most of the fields that are empty. The text
    is assembled by hand, which takes a third of the time of json.dumps.
    """
    fields = (
        f'{{"started_at": {attempt_facts.started_at}, "ended_at": {attempt_facts.now}, '
        f'"result": {_RESULTS[outcome.result]}, "code": {outcome.code}, '
        f'"enhanced_code": {quoted(outcome.enhanced_code)}, "text": {quoted(outcome.text)}, '
        f'"worker": {quoted(attempt_facts.worker)}'
    )
    if outcome.host:
        fields += f', "host": {quoted(outcome.host)}, "address": {quoted(outcome.address)}, "port": {outcome.port}'
    if outcome.tls_policy:
        fields += f', "tls": {quoted(outcome.tls)}, "tls_policy": {quoted(outcome.tls_policy)}'
    if outcome.possible_duplicate:
        fields += ', "possible_duplicate": true'
    if outcome.own:
        fields += ', "own": true'
    if uncounted:
        fields += f', "uncounted": {uncounted}'
    return fields + "}"


@fast_value(frozen=True, slots=True)
class LastAttempt:
    """The fields of a stored attempt that reports need."""

    code: int = 0
    enhanced_code: str = ""
    text: str = ""
    host: str = ""
    ended_at: int | None = None
    own: bool = False

    @classmethod
    def parse(cls, kept: str | None) -> LastAttempt:
        """Reads the last attempt from its JSON. The result is empty when no attempt was made, or when it cannot be
        read.
        """
        try:
            fields = json.loads(kept or "{}")
            return cls(
                int(fields.get("code", 0)),
                str(fields.get("enhanced_code", "")),
                str(fields.get("text", "")),
                str(fields.get("host", "")),
                fields.get("ended_at"),
                bool(fields.get("own")),
            )
        except (ValueError, TypeError, AttributeError):
            return cls()
