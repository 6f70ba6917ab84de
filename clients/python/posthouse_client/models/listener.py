from typing import Literal, cast

Listener = Literal["smtp", "submission", "submissions"]


def check_listener(value: str) -> Listener:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(Listener, value)
