from typing import Literal, cast

AuthenticationResult = Literal["fail", "neutral", "none", "pass", "permerror", "policy", "softfail", "temperror"]


def check_authentication_result(value: str) -> AuthenticationResult:
    """Takes the value as it is: a newer release of the service may know more of them."""
    return cast(AuthenticationResult, value)
