from typing import Literal, cast

TlsPolicyLevel = Literal["encrypt", "may", "none", "verify"]


def check_tls_policy_level(value: str) -> TlsPolicyLevel:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(TlsPolicyLevel, value)
