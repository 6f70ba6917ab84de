"""Makes deliveries from the recipients of an envelope: removes repetitions, expands aliases, and finds the
destinations. This module is pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from libs.smtp.parameters import MAX_ORCPT_OCTETS, encode_xtext, utf8_xtext
from libs.smtp.value import fast_value
from services.relay.configuration.model import Configuration
from services.relay.model.message import Action, NewDelivery, ReportedRecipient
from services.relay.model.states import Kind, State
from services.relay.routing.aliases import Expanded, expand, stands_for_itself
from services.relay.routing.rules import resolve

NextId = Callable[[], int]


@fast_value(frozen=True, slots=True)
class SubmittedRecipient:
    """A recipient as submitted."""

    address: bytes
    # NOTIFY and ORCPT of RFC 3461, as received.
    notify: tuple[str, ...] = ()
    orcpt: bytes = b""
    discarded: bool = False
    discard_reason: str = ""
    discard_rule_id: str = ""
    # The recipient to which the sender wrote, if `address` already replaces it.
    submitted_recipient: bytes = b""


@dataclass(slots=True)
class Addressed:
    """The deliveries of the recipients, and the reports that the sender gets at once."""

    deliveries: list[NewDelivery] = field(default_factory=list)
    reported: list[ReportedRecipient] = field(default_factory=list)


def address(
    configuration: Configuration,
    next_id: NextId,
    sender: bytes,
    recipients: Sequence[SubmittedRecipient],
    *,
    quarantine: bool,
) -> Addressed:
    """Makes deliveries for all recipients, with each exact address once (C56)."""
    # Most mail has one recipient that stands for itself.
    if len(recipients) == 1 and _is_plain(configuration, recipients[0]):
        wanted = recipients[0]
        return Addressed([_delivery(configuration, next_id, sender, wanted, quarantine, wanted.submitted_recipient)])
    result = Addressed()
    by_address: dict[bytes, SubmittedRecipient] = {}
    for recipient in recipients:
        if recipient.discarded:
            result.deliveries.append(_discarded(next_id, recipient))
        else:
            by_address.setdefault(recipient.address, recipient)
    for expanded in expand(configuration, tuple(by_address)):
        wanted = by_address[expanded.submitted]
        if expanded.fault is not None:
            _failed(result, next_id, wanted, *expanded.fault)
        elif not expanded.replaced:
            submitted = wanted.submitted_recipient
            result.deliveries.append(_delivery(configuration, next_id, sender, wanted, quarantine, submitted))
        else:
            _replaced(result, configuration, next_id, sender, wanted, expanded, quarantine)
    return result


def _is_plain(configuration: Configuration, recipient: SubmittedRecipient) -> bool:
    return not recipient.discarded and stands_for_itself(configuration, recipient.address)


def _delivery(
    configuration: Configuration,
    next_id: NextId,
    sender: bytes,
    recipient: SubmittedRecipient,
    quarantine: bool,
    submitted: bytes,
) -> NewDelivery:
    route = resolve(configuration, sender, recipient.address, quarantine=quarantine)
    return NewDelivery(
        next_id(), recipient.address, State.QUEUED, route.destination, submitted, recipient.notify, recipient.orcpt
    )


def _replaced(
    result: Addressed,
    configuration: Configuration,
    next_id: NextId,
    sender: bytes,
    recipient: SubmittedRecipient,
    expanded: Expanded,
    quarantine: bool,
) -> None:
    """Makes the deliveries of an alias or role. The recipient itself is stored as expanded, and its targets are queued,
    as RFC 3461 section 5.2.7 demands.
    """
    notify = recipient.notify
    if "SUCCESS" in notify and len(expanded.targets) > 1:
        result.reported.append(
            ReportedRecipient(
                recipient.address,
                Action.EXPANDED,
                "2.0.0",
                recipient.orcpt,
                text="expanded",
                submitted_recipient=recipient.submitted_recipient,
            )
        )
        notify = tuple(value for value in notify if value != "SUCCESS") or ("NEVER",)
    orcpt = recipient.orcpt or as_orcpt(recipient.submitted_recipient or recipient.address)
    result.deliveries.append(
        NewDelivery(
            next_id(),
            recipient.address,
            State.EXPANDED,
            notify=recipient.notify,
            orcpt=recipient.orcpt,
            reply=f"expanded to {len(expanded.targets)} addresses",
        )
    )
    for target in expanded.targets:
        target_recipient = replace(recipient, address=target, notify=notify, orcpt=orcpt)
        submitted = recipient.submitted_recipient or (recipient.address if target != recipient.address else b"")
        result.deliveries.append(_delivery(configuration, next_id, sender, target_recipient, quarantine, submitted))


def _failed(result: Addressed, next_id: NextId, recipient: SubmittedRecipient, enhanced_code: str, text: str) -> None:
    record = json.dumps({"result": "failed", "code": 0, "enhanced_code": enhanced_code, "text": text})
    result.deliveries.append(
        NewDelivery(
            next_id(),
            recipient.address,
            State.BOUNCED,
            notify=recipient.notify,
            orcpt=recipient.orcpt,
            record=record,
            reply=text,
        )
    )
    if wants_failure(recipient.notify):
        result.reported.append(
            ReportedRecipient(recipient.address, Action.FAILED, enhanced_code, recipient.orcpt, text=text)
        )


def _discarded(next_id: NextId, recipient: SubmittedRecipient) -> NewDelivery:
    record = json.dumps(
        {"result": "discarded", "text": recipient.discard_reason, "rule_id": recipient.discard_rule_id},
        ensure_ascii=False,
    )
    return NewDelivery(
        next_id(), recipient.address, State.DISCARDED, record=record, reply=f"discarded: {recipient.discard_reason}"
    )


def wants_failure(notify: Sequence[str]) -> bool:
    """Returns whether a failure is reported. This is so unless NOTIFY requests something else (RFC 3461 4.1)."""
    return not notify or "FAILURE" in notify


def hears_of_failure(kind: Kind, notify: Sequence[str]) -> bool:
    """Returns whether a failure is reported to anybody. A failure of our own report is always reported to the
    postmasters, although reports have NOTIFY=NEVER.
    """
    return kind is Kind.REPORT or wants_failure(notify)


def wants_delay(notify: Sequence[str]) -> bool:
    """Returns whether a delay is reported (RFC 3461 4.1)."""
    return not notify or "DELAY" in notify


def as_orcpt(recipient: bytes) -> bytes:
    """Returns the ORCPT of a replaced address: the address that the sender wrote (RFC 3461 5.2.7.1), in ASCII (RFC
    6533).
    """
    if b"@" not in recipient:
        return b""
    if recipient.isascii():
        orcpt = b"rfc822;" + encode_xtext(recipient)
    else:
        orcpt = b"utf-8;" + utf8_xtext(recipient.decode("utf-8", "replace")).encode("ascii")
    # No server must accept a longer ORCPT (RFC 3461 4.2), and the sender did not give this one.
    return orcpt if len(orcpt) <= MAX_ORCPT_OCTETS else b""
