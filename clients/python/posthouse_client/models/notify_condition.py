from typing import Literal, cast

NotifyCondition = Literal["delay", "failure", "never", "success"]


def check_notify_condition(value: str) -> NotifyCondition:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(NotifyCondition, value)
