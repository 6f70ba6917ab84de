from typing import Literal, cast

AccessCriterion = Literal["domain", "ip", "network", "recipient", "sender"]


def check_access_criterion(value: str) -> AccessCriterion:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(AccessCriterion, value)
