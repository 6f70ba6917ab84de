"""Filters and actions as values."""

from __future__ import annotations

from posthouse.relay.v1 import relay_pb2 as pb

from services.relay.api.operator import Action, Progress
from services.relay.api.wire.fields import clean, microseconds
from services.relay.model.message import message_id
from services.relay.model.message_id import bare
from services.relay.queue.filters import MessageFilter

_ACTIONS: dict[int, Action] = {
    pb.QUEUE_ACTION_RETRY: Action.RETRY,
    pb.QUEUE_ACTION_HOLD: Action.HOLD,
    pb.QUEUE_ACTION_RELEASE: Action.RELEASE,
    pb.QUEUE_ACTION_BOUNCE: Action.BOUNCE,
    pb.QUEUE_ACTION_DELETE: Action.DELETE,
}


def message_filter(of: pb.MessageFilter) -> MessageFilter:
    """Empty fields stand for any. A state that is none is one that nothing is in, and not any."""
    return MessageFilter(
        sender=of.sender or None,
        recipient=of.recipient or None,
        sender_domain=clean(of.sender_domain),
        recipient_domain=clean(of.recipient_domain),
        states=tuple(int(state) for state in of.states),
        destination=clean(of.destination),
        received_after=microseconds(of.received_after) if of.HasField("received_after") else None,
        received_before=microseconds(of.received_before) if of.HasField("received_before") else None,
        last_reply_contains=clean(of.last_reply_contains),
        account_login=clean(of.account_login),
        client_address=clean(of.client_address),
        attempts_at_least=of.attempts_at_least,
        session_id=clean(of.session_id),
        message_id=bare(of.message_id),
        envelope_id=of.envelope_id,
        number=_number(of.queue_id) if of.queue_id else None,
        address_contains=clean(of.address_contains),
        subject_contains=clean(of.subject_contains),
        rule_id=clean(of.rule_id),
        reason_id=clean(of.reason_id),
        shadow_reason_id=clean(of.shadow_reason_id),
    )


def _number(queue_id: str) -> int:
    number = message_id(queue_id)
    return -1 if number is None else number


def action(of: int) -> Action | None:
    """None for one that is not known."""
    return _ACTIONS.get(of)


def progress(of: Progress) -> pb.ActOnMessagesProgress:
    return pb.ActOnMessagesProgress(matched=of.matched, acted=of.acted, skipped=of.skipped, done=of.done)
