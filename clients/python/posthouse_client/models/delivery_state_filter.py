from typing import Literal, cast

DeliveryStateFilter = Literal[
    "active",
    "bounced",
    "deferred",
    "deleted",
    "delivered",
    "discarded",
    "expanded",
    "held",
    "quarantined",
    "redirected",
    "rejected",
]


def check_delivery_state_filter(value: str) -> DeliveryStateFilter:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(DeliveryStateFilter, value)
