from typing import Literal, cast

RefusalAction = Literal["discard", "reject"]


def check_refusal_action(value: str) -> RefusalAction:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(RefusalAction, value)
