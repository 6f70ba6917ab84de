"""Converts messages of relay.v1 to the form of the API, and filters of the API to relay.v1."""

from __future__ import annotations

from collections import Counter
from typing import Any

from posthouse.relay.v1 import relay_pb2 as pb

from services.config_api.operations.queue.schemas import MessageFilter, MessageQuery, MessageRedirect
from services.config_api.operations.wire import name, or_none, text, when

_STATE = "DELIVERY_STATE_"


def message_filter(given: MessageFilter) -> pb.MessageFilter:
    found = pb.MessageFilter(
        sender=(given.sender or "").encode(),
        recipient=(given.recipient or "").encode(),
        sender_domain=given.sender_domain or "",
        recipient_domain=given.recipient_domain or "",
        destination=given.destination or "",
        last_reply_contains=given.last_reply_contains or "",
        account_login=given.account_login or "",
        client_address=given.client_address or "",
        attempts_at_least=given.attempts_at_least or 0,
        session_id=given.session_id or "",
        message_id=(given.message_id or "").encode(),
        envelope_id=(given.envelope_id or "").encode(),
        queue_id=given.queue_id or "",
        address_contains=given.address_contains or "",
        subject_contains=given.subject_contains or "",
        rule_id=given.rule_id or "",
        reason_id=given.reason_id or "",
        shadow_reason_id=given.shadow_reason_id or "",
        shadow_rule_id=given.shadow_rule_id or "",
    )
    if given.state is not None:
        found.states.append(pb.DeliveryState.Value(_STATE + given.state.upper()))
    if given.received_after is not None:
        found.received_after.FromDatetime(given.received_after)
    if given.received_before is not None:
        found.received_before.FromDatetime(given.received_before)
    return found


def list_request(given: MessageQuery, token: str) -> pb.ListMessagesRequest:
    return pb.ListMessagesRequest(filter=message_filter(given), page_size=given.limit, page_token=token)


def history_request(given: MessageQuery, token: str) -> pb.ListHistoryRequest:
    return pb.ListHistoryRequest(filter=message_filter(given), page_size=given.limit, page_token=token)


def act_on_one(action: str, queue_id: str, actor: str) -> pb.ActOnMessagesRequest:
    return pb.ActOnMessagesRequest(action=_action(action), queue_id=queue_id, actor=actor)


def act_on_many(action: str, given: MessageFilter, actor: str, *, dry_run: bool) -> pb.ActOnMessagesRequest:
    return pb.ActOnMessagesRequest(action=_action(action), filter=message_filter(given), actor=actor, dry_run=dry_run)


def redirect_one(queue_id: str, redirect: MessageRedirect, actor: str) -> pb.ActOnMessagesRequest:
    request = act_on_one("redirect", queue_id, actor)
    request.redirect.CopyFrom(_redirect(redirect))
    return request


def redirect_many(
    redirect: MessageRedirect, given: MessageFilter, actor: str, *, dry_run: bool
) -> pb.ActOnMessagesRequest:
    request = act_on_many("redirect", given, actor, dry_run=dry_run)
    request.redirect.CopyFrom(_redirect(redirect))
    return request


def _redirect(given: MessageRedirect) -> pb.Redirect:
    if given.recipient is not None:
        return pb.Redirect(recipient=given.recipient.encode())
    if given.next_hop is None:
        return pb.Redirect(configured_route=True)
    server = given.next_hop
    fallback_hosts = [pb.FallbackHost(host=each.host, port=each.port) for each in server.fallback_hosts]
    return pb.Redirect(
        next_hop=pb.NextHop(
            kind=server.kind, host=server.host, port=server.port, tls=server.tls, fallback_hosts=fallback_hosts
        )
    )


def redirect_target(place: str, redirect: MessageRedirect, progress: pb.ActOnMessagesProgress | None) -> str:
    """Returns a description for the audit log of which recipients were redirected, and to where."""
    what = f"{place} {redirect.text}"
    if progress is None or not progress.redirected_recipients:
        return what
    old = list(dict.fromkeys(progress.redirected_recipients))
    more = progress.matched - progress.skipped - len(progress.redirected_recipients)
    return f"{what} from {', '.join(text(each) for each in old)}" + (f" and {more} more" if more else "")


def suspend_request(destination: str, until: Any, actor: str) -> pb.SuspendDestinationRequest:
    request = pb.SuspendDestinationRequest(name=destination, actor=actor)
    if until is not None:
        request.until.FromDatetime(until)
    return request


def resume_request(destination: str, actor: str) -> pb.ResumeDestinationRequest:
    return pb.ResumeDestinationRequest(name=destination, actor=actor)


def progress(found: pb.ActOnMessagesProgress) -> dict[str, Any]:
    return {"matched": found.matched, "acted": found.acted, "skipped": found.skipped, "done": found.done}


def why_nothing_was_done(action: str, found: pb.Message) -> str:
    """Returns a sentence that explains why the action was not allowed for any delivery of the message."""
    states = Counter(name(pb.DeliveryState, delivery.state, _STATE) for delivery in found.deliveries)
    shown = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    if "active" in states:
        shown += ". The active ones are being tried now"
    elif action == "redirect" and not states.keys().isdisjoint(("deferred", "held")):
        shown += ". The waiting ones already go there"
    return f"{action} is not allowed for any delivery of this message: {shown or 'there are none'}."


def warnings_of_suspension(found: pb.Destination) -> list[dict[str, str]]:
    """Returns a warning when no mail is queued for a destination, because its name may be mistyped."""
    if found.queued:
        return []
    return [
        {"pointer": "/name", "code": "no_mail_queued", "detail": "No mail is queued for a destination with this name."}
    ]


def message(found: pb.Message) -> dict[str, Any]:
    return {
        "queue_id": found.queue_id,
        "submission_id": or_none(found.submission_id),
        "sender": or_none(text(found.sender)),
        "size": found.size,
        "received_at": when(found, "received_at"),
        "origin": {
            "session_id": or_none(found.origin.session_id),
            "client_address": or_none(found.origin.client_address),
            "helo_name": or_none(text(found.origin.helo_name)),
            "account_login": or_none(found.origin.account_login),
            "listener": or_none(found.origin.listener),
            "tls": found.origin.tls,
        },
        "state": name(pb.DeliveryState, found.state, _STATE),
        "deliveries": [_delivery(delivery) for delivery in found.deliveries],
        "delivery_count": found.delivery_count,
        "timeline": [
            {
                "occurred_at": when(event, "at"),
                "event": event.event,
                "recipient": or_none(text(event.recipient)),
                "detail": or_none(event.detail),
                "actor": or_none(event.actor),
                "verdict": _verdict(event.verdict) if event.HasField("verdict") else None,
                "attempt": _attempt(event.attempt) if event.HasField("attempt") else None,
            }
            for event in found.timeline
        ],
        "header": or_none(text(found.header)),
        "envelope_id": or_none(text(found.envelope_id)),
        "message_id": or_none(text(found.message_id)),
        "subject": or_none(text(found.subject)),
        "smtputf8": found.smtputf8,
        "quarantine": found.quarantine,
        "code": or_none(found.code),
        "enhanced_code": or_none(found.enhanced_code),
        "text": or_none(found.text),
        "reason_id": or_none(found.reason_id),
        "rule_id": or_none(found.rule_id),
        "stage": or_none(found.stage.lower()),
    }


def destination(found: pb.Destination) -> dict[str, Any]:
    return {
        "name": found.name,
        "queued": found.queued,
        "active": found.active,
        "deferred": found.deferred,
        "held": found.held,
        "oldest_at": when(found, "oldest_at"),
        "last_error": or_none(found.last_error),
        "last_error_at": when(found, "last_error_at"),
        "suspended": found.suspended,
        "suspended_until": when(found, "suspended_until"),
        "suspended_by": or_none(found.suspended_by),
        "next_due_at": when(found, "next_due_at"),
    }


def _delivery(found: pb.Delivery) -> dict[str, Any]:
    return {
        "id": found.id,
        "recipient": text(found.recipient),
        "original_recipient": or_none(text(found.original_recipient)),
        "state": name(pb.DeliveryState, found.state, _STATE),
        "destination": found.destination,
        "next_hop": or_none(found.next_hop),
        "attempts": found.attempts,
        "due_at": when(found, "due_at"),
        "expires_at": when(found, "expires_at"),
        "finished_at": when(found, "finished_at"),
        "last_attempt": _attempt(found.last_attempt) if found.HasField("last_attempt") else None,
        "history": [_attempt(attempt) for attempt in found.history],
        "possible_duplicate": found.possible_duplicate,
    }


def _verdict(found: pb.SessionVerdict) -> dict[str, Any]:
    return {
        "stage": found.stage.lower(),
        "action": found.action,
        "code": found.code or None,
        "enhanced_code": found.enhanced_code or None,
        "reason_id": found.reason_id or None,
        "rule_id": found.rule_id or None,
        "shadow": [{"reason_id": each.reason_id, "rule_id": each.rule_id or None} for each in found.shadow],
    }


def _attempt(found: pb.Attempt) -> dict[str, Any]:
    return {
        "started_at": when(found, "started_at"),
        "ended_at": when(found, "ended_at"),
        "host": or_none(found.host),
        "address": or_none(found.address),
        "port": or_none(found.port),
        "tls": or_none(found.tls),
        "tls_policy": or_none(found.tls_policy),
        "result": or_none(found.result),
        "code": or_none(found.code),
        "enhanced_code": or_none(found.enhanced_code),
        "text": found.text,
        "possible_duplicate": found.possible_duplicate,
        "worker": found.worker,
    }


def _action(action: str) -> pb.QueueAction.ValueType:
    return pb.QueueAction.Value(f"QUEUE_ACTION_{action.upper()}")
