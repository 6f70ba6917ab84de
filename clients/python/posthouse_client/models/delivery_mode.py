from typing import Literal, cast

DeliveryMode = Literal["direct", "relay_host"]


def check_delivery_mode(value: str) -> DeliveryMode:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(DeliveryMode, value)
