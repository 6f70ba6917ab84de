from typing import Literal, cast

ApiKeyRole = Literal["admin", "operator", "reader", "sender"]


def check_api_key_role(value: str) -> ApiKeyRole:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(ApiKeyRole, value)
