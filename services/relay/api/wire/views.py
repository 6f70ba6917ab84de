"""Converts rows of the queue to messages of relay.v1, for operators."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from posthouse.relay.v1 import relay_pb2 as pb

from services.relay.api.wire.fields import optional, timestamp
from services.relay.configuration.model import QueueSettings
from services.relay.model.message import SessionVerdict, queue_id
from services.relay.model.redirect import address_of, next_hop_of
from services.relay.model.retry_schedule import expiry
from services.relay.model.states import FOREVER, Kind, State
from services.relay.queue import verdicts
from services.relay.queue.destinations import DestinationView
from services.relay.queue.filters import state_of
from services.relay.queue.reading import StoredMessage
from services.relay.queue.statistics import Count, CountedEvent

# The results of records that are stored as attempts although nothing was sent.
_NO_ATTEMPT = ("held", "discarded")
# The fields of a bucket of statistics in the contract.
_TOTALS = ("accepted", "delivered", "deferred", "bounced")


def message(of: StoredMessage, settings: QueueSettings | None, now: int) -> pb.Message:
    """Returns a message with the deliveries that were read. A row that cannot be read is shown with a remark that says
    so (C140). `settings` is None while relay has no configuration. The time at which deliveries expire is unknown then.
    """
    try:
        return _message(of, settings, now)
    except (ValueError, TypeError, AttributeError, LookupError):
        unreadable = pb.DELIVERY_STATE_QUARANTINED
        return pb.Message(queue_id=queue_id(of.row.id), state=unreadable, text="the message's rows can't be read")


def _message(of: StoredMessage, settings: QueueSettings | None, now: int) -> pb.Message:
    row = of.row
    expires_at = None
    if settings is not None:
        expires_at = expiry(settings, row.stored_at, null_sender=not row.sender)
    shown = pb.Message(
        queue_id=queue_id(row.id),
        submission_id=row.submission_id or "",
        sender=row.sender,
        size=row.size,
        received_at=timestamp(row.received_at),
        origin=origin(row),
        state=of.state,  # type: ignore[arg-type]
        deliveries=[_delivery(of, delivery, expires_at, now) for delivery in of.deliveries],
        delivery_count=of.delivery_count,
        timeline=[],
        header=of.header,
        envelope_id=row.envelope_id,
        smtputf8=row.smtputf8,
        quarantine=row.quarantine,
        message_id=_octets(row.message_id),
        subject=_octets(row.subject),
    )
    if row.refusal:
        refusal = json.loads(row.refusal)
        shown.code = refusal["code"]
        shown.enhanced_code = refusal["enhanced_code"]
        shown.text = refusal["text"]
        shown.reason_id = refusal["reason_id"]
        shown.rule_id = refusal["rule_id"]
        shown.stage = refusal["stage"]
        if not of.deliveries:
            discarded = refusal["discarded"]
            shown.state = pb.DELIVERY_STATE_DISCARDED if discarded else pb.DELIVERY_STATE_REJECTED
    return shown


def origin(row: Any) -> pb.Origin:
    """Returns the origin of a message: its session and client."""
    return pb.Origin(
        session_id=row.session_id,
        client_address=row.client_address,
        helo_name=row.helo_name,
        account_login=row.account_login,
        listener=row.listener,
        tls=row.tls,
    )


def whole(of: StoredMessage, settings: QueueSettings | None, now: int) -> pb.Message:
    """Returns a message with its timeline."""
    shown = message(of, settings, now)
    with contextlib.suppress(ValueError, TypeError, AttributeError, LookupError):
        for entry in sorted(_timeline(of), key=lambda entry: (entry.at.seconds, entry.at.nanos)):
            shown.timeline.append(entry)
    return shown


def statistics(of: Sequence[Count]) -> pb.GetStatisticsResponse:
    """Returns the counts in order of time, with one bucket for each period that has counts."""
    response = pb.GetStatisticsResponse()
    bucket: pb.StatisticsBucket | None = None
    starts_at = -1
    for count in of:
        if bucket is None or count.starts_at != starts_at:
            starts_at = count.starts_at
            bucket = response.buckets.add(starts_at=timestamp(starts_at))
        if count.event in (CountedEvent.REFUSED.value, CountedEvent.SHADOW.value):
            reasons = bucket.refused if count.event == CountedEvent.REFUSED.value else bucket.shadow
            reasons.add(reason_id=count.reason_id, rule_id=count.rule_id, count=count.count)
        elif count.event in _TOTALS:
            setattr(bucket, count.event, count.count)
    return response


def destination(of: DestinationView) -> pb.Destination:
    suspension = of.suspension
    until = None if suspension is None or suspension.until >= FOREVER else suspension.until
    return pb.Destination(
        name=of.name,
        queued=of.queued,
        active=of.active,
        deferred=of.deferred,
        held=of.held,
        oldest_at=optional(of.oldest_at),
        last_error=of.last_error,
        last_error_at=optional(of.last_error_at),
        suspended=suspension is not None,
        suspended_until=optional(until),
        suspended_by="" if suspension is None else suspension.by,
        next_due_at=optional(of.next_due_at),
    )


def _delivery(of: StoredMessage, row: Any, expires_at: int | None, now: int) -> pb.Delivery:
    state = state_of(row.state, row.lease_owner, row.due_at, now)
    shown = pb.Delivery(
        id=str(row.id),
        recipient=row.recipient,
        original_recipient=row.submitted_recipient,
        state=state,  # type: ignore[arg-type]
        destination=row.destination,
        attempts=row.attempts,
        due_at=optional(row.due_at),
        expires_at=optional(expires_at if row.finished_at is None else None),
        finished_at=optional(row.finished_at),
        possible_duplicate=row.possible_duplicate,
        next_hop=_next_hop(row.next_hop),
        history=[attempt(each) for each in _attempts(of, row)],
    )
    if row.last_attempt:
        shown.last_attempt.CopyFrom(attempt(row.last_attempt))
    return shown


def _next_hop(stored: str | None) -> str:
    next_hop = next_hop_of(stored)
    return "" if next_hop is None else address_of(next_hop)


def _attempts(of: StoredMessage, row: Any) -> list[str]:
    """Returns the attempts that have separate rows, and the last attempt of a finished delivery, which is in the row of
    the delivery.
    """
    kept = list(of.attempts.get(row.id, []))
    if row.last_attempt and not State(row.state).open and row.last_attempt not in kept:
        kept.append(row.last_attempt)
    return [each for each in kept if json.loads(each).get("result") not in _NO_ATTEMPT]


def attempt(kept: str) -> pb.Attempt:
    """Reads an attempt from its JSON."""
    fields = json.loads(kept)
    return pb.Attempt(
        started_at=_moment(fields.get("started_at")),
        ended_at=_moment(fields.get("ended_at")),
        host=fields.get("host", ""),
        address=fields.get("address", ""),
        port=fields.get("port", 0),
        tls=fields.get("tls", ""),
        tls_policy=fields.get("tls_policy", ""),
        result=fields.get("result", ""),
        code=fields.get("code", 0),
        enhanced_code=fields.get("enhanced_code", ""),
        text=fields.get("text", ""),
        possible_duplicate=fields.get("possible_duplicate", False),
        worker=fields.get("worker", ""),
    )


def _octets(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "surrogatepass")


def _moment(at: object) -> Timestamp | None:
    return timestamp(at) if isinstance(at, int) else None


def _timeline(of: StoredMessage) -> list[pb.TimelineEvent]:
    row = of.row
    kind = "refused" if row.kind == Kind.REFUSED else "stored"
    found = [_verdict(each) for each in verdicts.parse(row.verdicts)]
    found.append(pb.TimelineEvent(at=timestamp(row.stored_at), event=kind, detail=_detail(row)))
    for delivery in of.deliveries:
        found += [_attempted(delivery, kept) for kept in _attempts(of, delivery)]
        if delivery.state == State.EXPANDED:
            event = pb.TimelineEvent(at=timestamp(row.stored_at), event="expanded", recipient=delivery.recipient)
            event.detail = delivery.last_reply
            found.append(event)
        elif delivery.state == State.DISCARDED and row.kind != Kind.REFUSED:
            event = pb.TimelineEvent(at=timestamp(row.stored_at), event="discarded", recipient=delivery.recipient)
            event.detail = delivery.last_reply
            found.append(event)
    found += [
        pb.TimelineEvent(
            at=timestamp(each.at), event=each.event, recipient=each.recipient, detail=each.detail, actor=each.actor
        )
        for each in of.events
    ]
    return found


def _verdict(of: SessionVerdict) -> pb.TimelineEvent:
    return pb.TimelineEvent(
        at=timestamp(of.at),
        event="verdict",
        verdict=pb.SessionVerdict(
            at=timestamp(of.at),
            stage=of.stage,
            action=of.action,
            code=of.code,
            enhanced_code=of.enhanced_code,
            reason_id=of.reason_id,
            rule_id=of.rule_id,
            shadow=[pb.ShadowResult(reason_id=reason, rule_id=rule) for reason, rule in of.shadow],
        ),
    )


def _attempted(row: Any, kept: str) -> pb.TimelineEvent:
    fields = json.loads(kept)
    result = {"delivered": "delivered", "failed": "bounced"}.get(fields.get("result", ""), "deferred")
    if row.state == State.BOUNCED and fields.get("ended_at") is not None and result == "deferred":
        # The last attempt ended when the delivery expired.
        result = "expired" if row.finished_at == fields["ended_at"] else result
    text = " ".join(str(part) for part in (fields.get("code") or "", fields.get("text", "")) if part)
    return pb.TimelineEvent(
        at=_moment(fields.get("ended_at")),
        event=result,
        recipient=row.recipient,
        detail=f"{fields['host']}: {text}" if fields.get("host") else text,
        attempt=attempt(kept),
    )


def _detail(row: Any) -> str:
    if row.kind == Kind.REPORT:
        return "a report of ours"
    if row.kind == Kind.DOUBLE_BOUNCE:
        return "a notice to the postmasters"
    return f"from {row.client_address}" if row.client_address else ""
