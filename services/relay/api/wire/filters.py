"""Converts filters and actions to values."""

from __future__ import annotations

from posthouse.relay.v1 import relay_pb2 as pb

from services.relay.api.operator import Action, Progress
from services.relay.api.wire.fields import clean, microseconds
from services.relay.configuration.model import FallbackHost, Mailbox, MailboxKind, TlsLevel
from services.relay.model.message import message_id
from services.relay.model.message_id import bare
from services.relay.model.redirect import Redirect
from services.relay.queue.filters import MessageFilter

_ACTIONS: dict[int, Action] = {
    pb.QUEUE_ACTION_RETRY: Action.RETRY,
    pb.QUEUE_ACTION_HOLD: Action.HOLD,
    pb.QUEUE_ACTION_RELEASE: Action.RELEASE,
    pb.QUEUE_ACTION_BOUNCE: Action.BOUNCE,
    pb.QUEUE_ACTION_DELETE: Action.DELETE,
    pb.QUEUE_ACTION_REDIRECT: Action.REDIRECT,
}


def message_filter(of: pb.MessageFilter) -> MessageFilter:
    """Reads a filter. An empty field matches everything. An unknown state matches no delivery."""
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
        shadow_rule_id=clean(of.shadow_rule_id),
    )


def _number(queue_id: str) -> int:
    number = message_id(queue_id)
    return -1 if number is None else number


def action(of: int) -> Action | None:
    """Returns the action, or None for an unknown one."""
    return _ACTIONS.get(of)


def redirect(of: pb.Redirect) -> Redirect:
    """Reads a redirect. Raises ValueError when it has no target, or an invalid one."""
    target = of.WhichOneof("target")
    if target == "recipient" and of.recipient:
        return Redirect(recipient=of.recipient)
    if target == "next_hop":
        next_hop = of.next_hop
        if not next_hop.host or not 0 < next_hop.port < 65536:
            raise ValueError("a next hop needs a host and a port")
        kind, tls = MailboxKind(next_hop.kind), TlsLevel(next_hop.tls)
        if kind is MailboxKind.MAILDIR:
            raise ValueError("a next hop must accept mail by SMTP or LMTP")
        fallback_hosts = tuple(FallbackHost(clean(each.host), each.port) for each in next_hop.fallback_hosts)
        return Redirect(
            next_hop=Mailbox(kind, clean(next_hop.host), next_hop.port, tls=tls, fallback_hosts=fallback_hosts)
        )
    if target == "configured_route" and of.configured_route:
        return Redirect()
    raise ValueError("a recipient, a next hop or the configured route is needed")


def progress(of: Progress) -> pb.ActOnMessagesProgress:
    return pb.ActOnMessagesProgress(
        matched=of.matched,
        acted=of.acted,
        skipped=of.skipped,
        done=of.done,
        redirected_recipients=of.redirected_recipients,
    )
