"""Converts events about messages to their form in relay.v1."""

from __future__ import annotations

import contextlib
import json

from posthouse.relay.v1 import relay_pb2 as pb

from services.relay.api.wire import views
from services.relay.api.wire.fields import timestamp
from services.relay.model.message import queue_id
from services.relay.queue.event_reading import EventKind, EventPage, StoredEvent

_KINDS = {
    EventKind.DELIVERED: pb.EVENT_KIND_DELIVERED,
    EventKind.DEFERRED: pb.EVENT_KIND_DEFERRED,
    EventKind.BOUNCED: pb.EVENT_KIND_BOUNCED,
    EventKind.EXPIRED: pb.EVENT_KIND_EXPIRED,
    EventKind.HELD: pb.EVENT_KIND_HELD,
    EventKind.REFUSED: pb.EVENT_KIND_REFUSED,
    EventKind.CLIENT_BLOCKED: pb.EVENT_KIND_CLIENT_BLOCKED,
}


def page(of: EventPage) -> pb.ReadEventsResponse:
    return pb.ReadEventsResponse(events=[_event(event) for event in of.events], next_cursor=of.next.text())


def _event(of: StoredEvent) -> pb.DeliveryEvent:
    row = of.message
    shown = pb.DeliveryEvent(
        cursor=of.cursor.text(),
        kind=_KINDS[of.kind],
        at=timestamp(of.at),
        queue_id=queue_id(row.id),
        sender=row.sender,
        recipients=of.recipients,
        envelope_id=row.envelope_id,
        origin=views.origin(row),
        detail=of.detail,
        actor=of.actor,
    )
    # When the JSON of an attempt or a refusal cannot be read, the event has only the fields that come from the columns
    # of the tables (C140).
    with contextlib.suppress(ValueError, TypeError, AttributeError, LookupError):
        if of.attempt is not None:
            shown.attempt.CopyFrom(views.attempt(of.attempt))
    with contextlib.suppress(ValueError, TypeError, AttributeError, LookupError):
        if row.refusal:
            refusal = json.loads(row.refusal)
            shown.code = refusal["code"]
            shown.enhanced_code = refusal["enhanced_code"]
            shown.text = refusal["text"]
            shown.reason_id = refusal["reason_id"]
            shown.rule_id = refusal["rule_id"]
            shown.stage = refusal["stage"]
    return shown
