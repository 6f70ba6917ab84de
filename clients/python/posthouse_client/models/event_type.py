from typing import Literal, cast

EventType = Literal["bounced", "client_blocked", "deferred", "delivered", "expired", "held", "refused"]


def check_event_type(value: str) -> EventType:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(EventType, value)
