"""Forwards mail that was held because its address stood for no other address, when a new configuration names addresses
for it. This module is pure.
"""

from __future__ import annotations

from services.relay.configuration.model import Configuration
from services.relay.model.message import NewMessage, Origin, QueuedDelivery, QueuedMessage
from services.relay.model.retry_schedule import sweep
from services.relay.model.states import HELD_BY_ROUTE, QUARANTINE, State
from services.relay.reports.reporting import reports
from services.relay.routing.recipients import NextId, SubmittedRecipient, address


def readdressed(
    configuration: Configuration, next_id: NextId, message: QueuedMessage, held: QueuedDelivery, now: int
) -> tuple[NewMessage, ...]:
    """Makes a new message for the addresses that the held recipient stands for now, and the reports that its sender
    must get.

    The mail becomes a new message because it has other deliveries, and because its time to expiry begins now. The
    result is empty when the recipient still stands for no address, or when the new mail would be held again. The
    content of the message must have been read.
    """
    recipient = SubmittedRecipient(
        held.recipient, held.notify, held.orcpt, submitted_recipient=held.submitted_recipient
    )
    addressed = address(configuration, next_id, message.sender, (recipient,), quarantine=message.quarantine)
    first, *targets = addressed.deliveries
    if first.state is not State.EXPANDED or any(
        target.destination in (HELD_BY_ROUTE, QUARANTINE) for target in targets
    ):
        return ()
    new = NewMessage(
        id=next_id(),
        kind=message.kind,
        sender=message.sender,
        content=message.content or b"",
        received_at=message.stored_at,
        deliveries=tuple(targets),
        origin=Origin(
            session_id=message.session_id,
            helo_name=message.helo_name,
            account_login=message.account_login,
            may_relay=message.may_relay,
        ),
        ret=message.ret,
        envelope_id=message.envelope_id,
        smtputf8=message.smtputf8,
        body_8bitmime=message.body_8bitmime,
        quarantine=message.quarantine,
        sweep_at=sweep(configuration.queue, now, null_sender=not message.sender, delay_noticed=False),
        traceparent=message.traceparent,
        source=message.source,
    )
    return (new, *reports(configuration, next_id, message, addressed.reported, now))
