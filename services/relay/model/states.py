"""The states of a delivery and the kinds of messages, as the database keeps them. Pure."""

from __future__ import annotations

from enum import IntEnum

# suspended_until of a destination that waits for somebody to resume it.
FOREVER = 2**62
# The destination of mail that no route takes (RouteKind.HOLD).
HELD_BY_ROUTE = "hold"
# The destination of marked mail, where the configuration says that it is held. Nothing of it is reported to its sender.
QUARANTINE = "quarantine"


class State(IntEnum):
    """The states of a delivery. The numbers are those of the contract's DeliveryState.

    QUEUED stands for both of the contract's ACTIVE and DEFERRED: which of them it is depends on the hour.
    """

    QUEUED = 1
    HELD = 3
    DELIVERED = 4
    BOUNCED = 5
    DISCARDED = 6
    DELETED = 7
    EXPANDED = 8
    REJECTED = 9
    QUARANTINED = 10
    REDIRECTED = 11

    @property
    def open(self) -> bool:
        """Still to be dealt with."""
        return self <= State.HELD


class Kind(IntEnum):
    """The kinds of messages."""

    MAIL = 0
    # A delivery status notification of ours.
    REPORT = 1
    # Tells the postmasters of a report that could not be returned; nothing is ever sent about it.
    DOUBLE_BOUNCE = 2
    # Refused before it had a content; only in the history.
    REFUSED = 3
