"""Computes the new deliveries of a message that is redirected to another recipient. This module is pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from services.relay.configuration.model import Configuration
from services.relay.model.attempt import RouteKind
from services.relay.model.message import QueuedMessage
from services.relay.model.states import State
from services.relay.routing.aliases import expand_one, identity
from services.relay.routing.recipients import Addressed, NextId, SubmittedRecipient, address, as_orcpt
from services.relay.routing.rules import resolve


def undeliverable(configuration: Configuration, recipient: bytes) -> str:
    """Returns the reason why mail for the recipient would fail before any attempt. The result is empty when there is
    none.
    """
    expanded = expand_one(configuration, recipient)
    if expanded.fault is not None:
        return expanded.fault[1]
    routes = [resolve(configuration, b"", target, quarantine=False) for target in expanded.targets]
    return next((route.reason for route in routes if route.kind is RouteKind.FAIL), "")


def is_same_recipient(configuration: Configuration, first: bytes, second: bytes) -> bool:
    """Returns whether both addresses are the same recipient of a message (C56)."""
    return identity(configuration, first) == identity(configuration, second)


def redirected(
    configuration: Configuration,
    next_id: NextId,
    message: QueuedMessage,
    replaced: Sequence[SubmittedRecipient],
    recipient: bytes,
    present: Collection[bytes],
    *,
    held: bool,
) -> Addressed:
    """Returns the deliveries that replace `replaced`, and the reports that the sender gets at once.

    `present` are the recipients that have the message or will get it. None of them gets it twice (C56). Reports name
    the recipient to which the sender wrote, or the first of several, as for an alias (RFC 3461 5.2.7, F22).
    """
    first = replaced[0]
    submitted = first.submitted_recipient or first.address
    wanted = SubmittedRecipient(
        recipient,
        first.notify,
        first.orcpt or as_orcpt(submitted),
        submitted_recipient=b"" if submitted == recipient else submitted,
    )
    addressed = address(configuration, next_id, message.sender, (wanted,), quarantine=message.quarantine)
    known = {identity(configuration, each) for each in present}
    deliveries = [
        each
        for each in addressed.deliveries
        if each.state is not State.QUEUED or identity(configuration, each.recipient) not in known
    ]
    if held:
        deliveries = [replace(each, state=State.HELD) if each.state is State.QUEUED else each for each in deliveries]
    return Addressed(deliveries, addressed.reported)
