from typing import Literal, cast

SpfSoftfailAction = Literal["accept", "reject"]


def check_spf_softfail_action(value: str) -> SpfSoftfailAction:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(SpfSoftfailAction, value)
