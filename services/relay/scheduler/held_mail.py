"""Mail that was held since its address stood for nobody, once a configuration says for whom it stands. Pure."""

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
    """The message anew, for those whom the held recipient stands for by now, and reports that this calls for.

    A message of its own, since its deliveries are other ones, and its time begins now. Empty when the recipient stands
    for nobody yet, or for somebody whose mail would be held again. The content must be here.
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
