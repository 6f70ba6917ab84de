from typing import Literal, cast

AccessList = Literal["allow", "block"]


def check_access_list(value: str) -> AccessList:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(AccessList, value)
