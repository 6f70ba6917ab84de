"""The states of a delivery and the kinds of messages, as the database keeps them. This module is pure."""

from __future__ import annotations

from enum import IntEnum

# The value of suspended_until for a destination that is suspended until an operator resumes it.
FOREVER = 2**62
# The destination of mail for which there is no route (RouteKind.HOLD).
HELD_BY_ROUTE = "hold"
# The destination of mail in quarantine, where the configuration says that it is held. Its sender gets no reports about
# it.
QUARANTINE = "quarantine"


class State(IntEnum):
    """The states of a delivery. The numbers are those of the contract's DeliveryState.

    QUEUED stands for three states of the contract: ACTIVE while the delivery is leased or due, DEFERRED while it is due
    later, and HELD while it has no due time.
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
        """Whether the delivery is not finished."""
        return self <= State.HELD


class Kind(IntEnum):
    """The kinds of messages."""

    MAIL = 0
    # A delivery status notification that relay made.
    REPORT = 1
    # A message that tells the postmasters of a report that could not be returned. It causes no report itself.
    DOUBLE_BOUNCE = 2
    # A message that ingress refused or discarded. It is in the history only.
    REFUSED = 3
