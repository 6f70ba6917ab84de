"""The actions of operators on messages, and their effects in words. This module is pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """One action. `states` are the states of deliveries that allow the action. `effect` describes it
    before it is done.
    """

    name: str
    title: str
    states: frozenset[str]
    effect: str
    done: str
    done_to_many: str
    is_final: bool = False


ACTIONS: Mapping[str, Action] = {
    action.name: action
    for action in (
        Action(
            "retry",
            "Retry now",
            frozenset({"deferred"}),
            "Each recipient that waits is tried at once, with the current configuration. A failure leaves its place in"
            " the retry schedule and its time of expiry as they are.",
            "is tried now",
            "are tried now",
        ),
        Action(
            "hold",
            "Hold",
            frozenset({"active", "deferred"}),
            "No recipient is tried until the message is released. The message still expires at its time.",
            "is held",
            "are held",
        ),
        Action(
            "release",
            "Release",
            frozenset({"held", "quarantined"}),
            "The recipients that are held are tried again, at once.",
            "is released",
            "are released",
        ),
        Action(
            "bounce",
            "Bounce",
            frozenset({"active", "deferred", "held"}),
            "Every recipient that is not finished fails for good, and the sender gets a report of it. This can't be"
            " undone.",
            "is bounced",
            "are bounced",
            is_final=True,
        ),
        Action(
            "delete",
            "Delete",
            frozenset({"active", "deferred", "held", "quarantined"}),
            "Every recipient that is not finished is dropped, and nobody gets a report. This can't be undone.",
            "is deleted",
            "are deleted",
            is_final=True,
        ),
    )
}
REDIRECT = Action(
    "redirect",
    "Redirect",
    frozenset({"active", "deferred", "held"}),
    "",
    "is redirected",
    "are redirected",
)
# The effects of a redirect, by the member of the API's request that names the new target.
REDIRECT_EFFECTS: Mapping[str, str] = {
    "recipient": "The new recipient takes the place of those that wait, and is tried at once. Held recipients stay"
    " held. The sender stays the same, and a report to the sender names the recipient that was written to. Nobody gets"
    " two copies of one message. A new recipient can't be taken back.",
    "next_hop": "The mail goes to this server whatever the configuration says, without a login, and is tried at once."
    " Held recipients stay held. The recipients stay the same. The message can be redirected again, and back.",
    "configured_route": "A server that was given by a redirect before is forgotten: the configuration decides again,"
    " and the mail is tried at once. Held recipients stay held.",
}
