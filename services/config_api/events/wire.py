"""Converts events of relay.v1 to the form of the API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from posthouse.relay.v1 import relay_pb2 as pb

_KIND = "EVENT_KIND_"


@dataclass(frozen=True, slots=True)
class Event:
    """An event. `id` is relay's cursor after this event. `body` is sent to clients, and contains no content of mail."""

    id: str
    kind: str
    queue_id: str
    body: dict[str, Any] = field(repr=False)
    # The approximate size of the event in memory, in octets.
    octets: int = 0


@dataclass(frozen=True, slots=True)
class EventPage:
    events: tuple[Event, ...]
    next_cursor: str


def request(
    cursor: str, size: int, wait_seconds: float = 0.0, *, including_cursor: bool = False
) -> pb.ReadEventsRequest:
    return pb.ReadEventsRequest(
        cursor=cursor, page_size=size, wait_ms=int(wait_seconds * 1000), including_cursor=including_cursor
    )


def page(found: pb.ReadEventsResponse) -> EventPage:
    return EventPage(tuple(map(event, found.events)), found.next_cursor)


def event(found: pb.DeliveryEvent) -> Event:
    kind = pb.EventKind.Name(found.kind).removeprefix(_KIND).lower() if found.kind in pb.EventKind.values() else ""
    origin = found.origin
    body = {
        "type": kind or "unknown",
        "timestamp": _time(found.at),
        "data": {
            "event_id": found.cursor,
            "queue_id": found.queue_id,
            "sender": _text(found.sender),
            "recipients": [_text(recipient) for recipient in found.recipients],
            "envelope_id": _text(found.envelope_id) or None,
            "session_id": origin.session_id or None,
            "client_address": origin.client_address or None,
            "account_login": origin.account_login or None,
            "attempt": _attempt(found.attempt) if found.HasField("attempt") else None,
            "reply": _reply(found) if found.code else None,
            "reason_id": found.reason_id or None,
            "rule_id": found.rule_id or None,
            "stage": found.stage.lower() or None,
            "detail": found.detail or None,
            "actor": found.actor or None,
        },
    }
    return Event(found.cursor, kind, found.queue_id, body, 2 * found.ByteSize())


def _attempt(of: pb.Attempt) -> dict[str, Any]:
    return {
        "host": of.host or None,
        "address": of.address or None,
        "port": of.port or None,
        "tls": of.tls or None,
        "code": of.code or None,
        "enhanced_code": of.enhanced_code or None,
        "text": of.text or None,
        "possible_duplicate": of.possible_duplicate,
    }


def _reply(of: pb.DeliveryEvent) -> dict[str, Any]:
    return {"code": of.code, "enhanced_code": of.enhanced_code or None, "text": of.text}


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def _time(at: Timestamp) -> str:
    """Returns the time as RFC 3339 in UTC."""
    return at.ToJsonString()
