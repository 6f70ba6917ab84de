from typing import Literal, cast

BatchAction = Literal["create", "delete", "replace"]


def check_batch_action(value: str) -> BatchAction:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(BatchAction, value)
