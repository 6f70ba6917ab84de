"""Decides which reports a message needs and who gets them, and makes them as messages for the queue. This module is
pure.
"""

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
    """Makes the reports about `reported`, one for each action.

    Mail from `<>` causes no report, except that the postmasters get one report about a failure. The content of the
    message must have been read. Reports go out from `<>` with NOTIFY=NEVER (RFC 3464 section 2).
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
    """Returns the recipients as the sender knows them. No text and no field of the report may show where an alias leads
    (F22).

    The reply, the name and the code of a server might show that, so they are left out. Several targets of one alias are
    one recipient for the sender.
    """
    shown: dict[tuple[bytes, Action], ReportedRecipient] = {}
    for number, recipient in enumerate(reported):
        if not recipient.submitted_recipient:
            # These recipients are not grouped.
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
    Action.FAILED: "the mail could not be delivered to the target of this address",
    Action.DELAYED: "the mail could not be delivered yet to the target of this address",
    Action.DELIVERED: "delivered",
    Action.RELAYED: "passed on",
    Action.EXPANDED: "expanded",
}


def _unreturnable(
    configuration: Configuration, next_id: NextId, report: NewMessage, now: int
) -> tuple[NewMessage, ...]:
    """Returns the report to the postmasters when a report cannot be delivered, and otherwise nothing. If the sender's
    address leads nowhere, for example because it is an alias of itself, the delivery of the report fails at once.
    """
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
    """Reports a failure of mail from `<>` to the postmasters, once, and to nobody else (C141)."""
    failed = tuple(recipient for recipient in reported if recipient.action is Action.FAILED)
    if not failed:
        return ()
    # Without postmasters, the report is held until the configuration names one.
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
    """Returns the report in the form in which it waits in the database, for callers that store it in their own
    transaction.
    """
    return replace(report, unleased=frozenset(delivery.destination for delivery in report.waiting))
