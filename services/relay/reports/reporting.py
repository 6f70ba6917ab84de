"""Decides which reports a message needs and who gets them, and makes them as messages for the queue. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.relay.configuration.model import Configuration
from services.relay.model.message import Action, NewMessage, QueuedMessage, ReportedRecipient, queue_id, queued
from services.relay.model.retry_schedule import sweep
from services.relay.model.states import Kind, State
from services.relay.reports.dsn import Report, build, is_automatic, recipients_by_action
from services.relay.routing.aliases import postmasters
from services.relay.routing.recipients import NextId, SubmittedRecipient, address


def reports(
    configuration: Configuration,
    next_id: NextId,
    message: QueuedMessage,
    reported: Sequence[ReportedRecipient],
    now: int,
) -> tuple[NewMessage, ...]:
    """The reports on `reported`, one for each action.

    None about `<>`, but for a failure, which the postmasters hear of once. The content must be here. Reports go out
    from `<>` with NOTIFY=NEVER (RFC 3464 section 2).
    """
    if not reported:
        return ()
    if message.kind is Kind.DOUBLE_BOUNCE:
        return ()
    if not message.sender:
        return _double_bounce(configuration, next_id, message, reported, now)
    content = message.content or b""
    report_messages: list[NewMessage] = []
    for action, group in recipients_by_action(as_written_to(reported)).items():
        if action in (Action.FAILED, Action.DELAYED) and is_automatic(content):
            continue
        report = _report(configuration, next_id, message, group, now, (message.sender,), Kind.REPORT)
        report_messages += (report, *_unreturnable(configuration, next_id, report, now))
    return tuple(report_messages)


def as_written_to(reported: Sequence[ReportedRecipient]) -> list[ReportedRecipient]:
    """The recipients as the sender knows them: where an alias leads is not told, by no word and no field (F22).

    What a server on the way said, its name and its code may tell that, and are left out. Several of an alias' targets
    are one recipient to the sender.
    """
    shown: dict[tuple[bytes, Action], ReportedRecipient] = {}
    for number, recipient in enumerate(reported):
        if not recipient.submitted_recipient:
            # Each stays by itself.
            shown[b"%d" % number, recipient.action] = recipient
            continue
        known_as = replace(
            recipient,
            address=recipient.submitted_recipient,
            code=0,
            remote_host="",
            text=_EXPANDED_TEXTS[recipient.action],
        )
        shown.setdefault((recipient.submitted_recipient, recipient.action), known_as)
    return list(shown.values())


_EXPANDED_TEXTS = {
    Action.FAILED: "the mail could not be delivered to where mail for this address goes",
    Action.DELAYED: "the mail could not be delivered yet to where mail for this address goes",
    Action.DELIVERED: "delivered",
    Action.RELAYED: "passed on",
    Action.EXPANDED: "expanded",
}


def _unreturnable(
    configuration: Configuration, next_id: NextId, report: NewMessage, now: int
) -> tuple[NewMessage, ...]:
    """Where the sender's address leads nowhere, as an alias of itself does, its report ends before any attempt."""
    if any(delivery.state.open for delivery in report.deliveries):
        return ()
    lost = [
        ReportedRecipient(delivery.recipient, Action.FAILED, "5.4.6", text=delivery.reply)
        for delivery in report.deliveries
        if delivery.state is State.BOUNCED
    ]
    about, _ = queued(report, (), now, 0)
    return _double_bounce(configuration, next_id, about, lost, now)


def _double_bounce(
    configuration: Configuration,
    next_id: NextId,
    message: QueuedMessage,
    reported: Sequence[ReportedRecipient],
    now: int,
) -> tuple[NewMessage, ...]:
    """Mail from `<>` that can't be delivered is never reported to anybody but the postmasters, and that once (C141)."""
    failed = tuple(recipient for recipient in reported if recipient.action is Action.FAILED)
    if not failed:
        return ()
    # Without postmasters the report is held until the configuration names one.
    to = postmasters(configuration) or (b"postmaster",)
    return (_report(configuration, next_id, message, failed, now, to, Kind.DOUBLE_BOUNCE),)


def _report(
    configuration: Configuration,
    next_id: NextId,
    message: QueuedMessage,
    group: tuple[ReportedRecipient, ...],
    now: int,
    to: Sequence[bytes],
    kind: Kind,
) -> NewMessage:
    number = next_id()
    hostname = configuration.hostname or "localhost"
    content = build(
        Report(
            hostname=hostname,
            unique=f"{queue_id(number)}.{queue_id(message.id)}",
            now=now,
            to=to[0],
            recipients=group,
            queue_id=queue_id(message.id),
            content=message.content or b"",
            arrived_at=message.stored_at,
            received_from=message.helo_name,
            envelope_id=message.envelope_id,
            ret=message.ret,
            double_bounce=kind is Kind.DOUBLE_BOUNCE,
        )
    )
    recipients = [SubmittedRecipient(recipient_address, notify=("NEVER",)) for recipient_address in to]
    return NewMessage(
        id=number,
        kind=kind,
        sender=b"",
        content=content,
        received_at=now,
        deliveries=tuple(address(configuration, next_id, b"", recipients, quarantine=False).deliveries),
        smtputf8=not all(recipient_address.isascii() for recipient_address in to),
        body_8bitmime=not content.isascii(),
        sweep_at=sweep(configuration.queue, now, null_sender=True, delay_noticed=False),
        traceparent=message.traceparent,
        source=message.source,
    )


def waiting_copy(report: NewMessage) -> NewMessage:
    """The report as one that waits in the database, for those who store it in a transaction of their own."""
    return replace(report, unleased=frozenset(delivery.destination for delivery in report.waiting))
